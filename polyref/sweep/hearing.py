"""One range of inputs before a judge: the filter's first look, its second, its third, and the balls for the rest.

The first look is cheap and decides what is rounded correctly or within one ulp. The second has all figures of the
filter, with the tables of radii; the third has radii of its own for each margin, and hears many inputs at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from polyref.grades import Grade
from polyref.regimes import REGIMES
from polyref.sweep.exact import difference
from polyref.sweep.filter import GRADES, Bounds, Observed, filtered, graded
from polyref.sweep.judge import Judge
from polyref.sweep.radii import BASE, CELLS, SHIFT
from polyref.sweep.rounding import look
from polyref.sweep.special import judge_special
from polyref.sweep.tally import Tally, Worst, empty, worst

#: Inputs that the third look hears at once: enough that the work is that of the numbers, not of the calls.
_TOGETHER = 1 << 13
_CORRECT, _FAITHFUL = GRADES.index(Grade.CORRECTLY_ROUNDED), GRADES.index(Grade.FAITHFUL)
#: Worst cases that the balls look at: more than are kept, as the filter's order is not the balls'.
_CANDIDATES = 8


class _Candidate(NamedTuple):
    """An input that may be among the worst: how far it is off at most, its place and what was observed."""

    bound: float
    place: int
    observed: list[float]


class Candidates:
    """The inputs of the largest bounds so far."""

    def __init__(self) -> None:
        self.kept: list[_Candidate] = []
        self.most = 0.0

    def add(self, bounds: Tensor, places: Tensor, observed: Tensor) -> None:
        """Look at the bounds of a part, those below 0 excepted."""
        if not len(bounds):
            return
        most = float(bounds.max())
        if math.isnan(most):  # as far off as can be
            bounds = bounds.nan_to_num(nan=torch.inf)
            most = float(bounds.max())
        self.most = max(self.most, most)
        if most < 0 or (len(self.kept) == _CANDIDATES and most <= self.kept[-1].bound):
            return
        top = bounds.topk(min(_CANDIDATES, len(bounds)))
        where, rows = places[top.indices].tolist(), observed[top.indices].tolist()
        for bound, place, row in zip(top.values.tolist(), where, rows, strict=True):
            if bound >= 0:
                self.kept.append(_Candidate(bound, place, row))
        self.kept.sort(key=lambda c: (-c.bound, c.place))
        del self.kept[_CANDIDATES:]


class _Parts:
    """One quantity of the parts so far."""

    def __init__(self, quantity: str) -> None:
        self.quantity = quantity
        self.tally = empty(len(Grade), len(REGIMES))
        self.by_ulps, self.by_ratio = Candidates(), Candidates()


class _Close(NamedTuple):
    """Inputs that the first look does not decide.

    Attributes:
        places: in order.
        regimes: of Pt.
        margins: z_o - z_y.
        numbers: of the quantity.
    """

    places: Tensor
    regimes: Tensor
    margins: Tensor
    numbers: list[Observed]

    def at(self, which: Tensor) -> _Close:
        """Some of them."""
        numbers: list[Observed] = [(a[which], b[which], c[which], d[which]) for a, b, c, d in self.numbers]
        return _Close(self.places[which], self.regimes[which], self.margins[which], numbers)

    @classmethod
    def all_of(cls, parts: list[_Close]) -> _Close:
        """All of them together."""
        columns = zip(*(p.numbers for p in parts), strict=True)
        numbers: list[Observed] = [tuple(map(torch.cat, zip(*column, strict=True))) for column in columns]  # type: ignore[misc]
        places, regimes, margins = (
            torch.cat([getattr(p, name) for p in parts]) for name in ("places", "regimes", "margins")
        )
        return cls(places, regimes, margins, numbers)


class _Quantity:
    """What was found of one quantity so far, and what is still open."""

    def __init__(self, name: str, columns: tuple[int, ...]) -> None:
        self.name, self.columns = name, columns
        self.tally = empty(len(Grade), len(REGIMES))
        self.by_ulps, self.by_ratio = Candidates(), Candidates()
        self.open: list[_Close] = []

    def count(self, places: Tensor, regimes: Tensor, grade: int) -> None:
        """Count inputs of one grade, which are in order."""
        if not len(places):
            return
        tally = self.tally
        row = torch.bincount(regimes, minlength=len(REGIMES)).tolist()
        tally.counts[grade] = [a + b for a, b in zip(tally.counts[grade], row, strict=True)]
        first, before = int(places[0]), tally.first[grade]
        tally.first[grade] = first if before is None else min(before, first)
        tally.filtered += len(places)


@dataclass(frozen=True)
class _Part:
    """One part, prepared.

    Attributes:
        places: of its inputs.
        margin: z_o - z_y, 0 where a logit is no number.
        rest: what its rounding left off, None where that is nothing.
        usual: which inputs are numbers.
        strange: the indices of the others.
        cell: of the tables of radii.
        regime: of Pt.
    """

    places: Tensor
    margin: Tensor
    rest: Tensor | None
    usual: Tensor
    strange: Tensor
    cell: Tensor
    regime: Tensor


#: What a subject returned, the exact number and its error.
_Seen = tuple[Tensor, Tensor, Tensor]


class Hearing:
    """One range of inputs before a judge, part by part."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._value, self._gradient = _Quantity("value", (0,)), _Quantity("gradient", (1, 2))
        self._has_gradient = False

    def add(self, start: int, logits: Tensor, value: Tensor, gradient: Tensor | None) -> None:
        """Judge one part.

        Args:
            start: the place of its first input.
            logits: (N, 2), exact, in binary64.
            value: (N,), what the subject returned, in binary64.
            gradient: (N, 2), or None where there is none.
        """
        margin, rest = difference(logits)
        usual = margin.isfinite()
        strange = (~usual).nonzero().flatten()
        if len(strange):
            margin, rest = torch.where(usual, margin, 0.0), torch.where(usual, rest, 0.0)
        # A margin is a number of the format, and the other logit 0: the difference is exact.
        left = None if self._judge.space.kind == "margins" else rest
        exact = self._judge.losses.of(margin, left, slope=gradient is not None)
        cell = (margin.abs().view(torch.int64) >> SHIFT).sub_(BASE).clamp_(0, CELLS - 1)
        cell.add_(margin <= 0, alpha=CELLS)
        places = torch.arange(start, start + len(logits), device=logits.device)
        part = _Part(places, margin, left, usual, strange, cell, self._regimes(margin, cell))
        self._look(part, self._value, [(value, exact.value, exact.value_error)])
        if gradient is not None:
            self._has_gradient = True
            pairs: list[_Seen] = [
                (gradient[:, 0], -exact.slope, exact.slope_error),
                (gradient[:, 1], exact.slope, exact.slope_error),
            ]
            self._look(part, self._gradient, pairs)
        if len(strange):
            where = places[strange], logits[strange]
            judge_special(self._value.tally, *where, value[strange, None])
            if gradient is not None:
                judge_special(self._gradient.tally, *where, gradient[strange])

    def _regimes(self, margin: Tensor, cell: Tensor) -> Tensor:
        """The regime of each input: that of its cell, but for the few cells where one ends."""
        regime = self._judge.regime_of_cell[cell]
        open_ones = (regime < 0).nonzero().flatten()
        if len(open_ones):
            regime[open_ones] = torch.bucketize(-margin[open_ones], self._judge.regime_ends)
        return regime

    def _look(self, part: _Part, into: _Quantity, numbers: list[_Seen]) -> None:
        """The first look at a quantity of a part."""
        judge = self._judge
        looks = [look(*number, judge.space.format) for number in numbers]
        inner = [judge.textbook[c].inner[part.cell] for c in into.columns]
        ulps, ratio = looks[0].ulps_most, looks[0].most / inner[0]
        correct, decided = looks[0].correct, looks[0].correct | looks[0].faithful
        for other, radius in zip(looks[1:], inner[1:], strict=True):
            ulps, ratio = torch.maximum(ulps, other.ulps_most), torch.maximum(ratio, other.most / radius)
            correct, decided = correct & other.correct, decided & (other.correct | other.faithful)
        decided = (decided & (ratio <= 1) | correct) & part.usual
        others = part.usual & ~decided
        correct = correct & part.usual
        ulps[part.strange] = ratio[part.strange] = -1.0
        observed = numbers[0][0][:, None] if len(numbers) == 1 else torch.stack([n[0] for n in numbers], 1)
        into.by_ulps.add(ulps, part.places, observed)
        into.by_ratio.add(ratio, part.places, observed)
        for mask, grade in ((correct, _CORRECT), (decided & ~correct, _FAITHFUL)):
            which = mask.nonzero().flatten()
            into.count(part.places[which], part.regime[which], grade)
        which = others.nonzero().flatten()
        if not len(which):
            return
        margins, close = part.margin[which], []
        for number in numbers:
            seen, exact, error = (a[which] for a in number)
            better = exact, error, torch.zeros_like(error)
            if into.name == "value":
                left = None if part.rest is None else part.rest[which]
                better = judge.losses.refined(margins, left, exact, error)
            close.append((seen, *better))
        cells = part.cell[which]
        bounds = [judge.bounds(cells, c) for c in into.columns]
        self._weigh(into, _Close(part.places[which], part.regime[which], margins, close), bounds)
        if sum(len(c.places) for c in into.open) >= _TOGETHER:
            self._weigh_open(into)

    def _weigh(self, into: _Quantity, close: _Close, bounds: list[tuple[Bounds, Bounds]]) -> None:
        """Grade inputs by all figures of the filter, and keep those that are still open."""
        fmt = self._judge.space.format
        seen = [filtered(n, fmt, *both) for n, both in zip(close.numbers, bounds, strict=True)]
        grade, unsure = graded(seen)
        for g in range(len(GRADES)):
            which = (~unsure & (grade == g)).nonzero().flatten()
            into.count(close.places[which], close.regimes[which], g)
        which = unsure.nonzero().flatten()
        if len(which):
            into.open.append(close.at(which))

    def _weigh_open(self, into: _Quantity) -> None:
        """The third look at what is open; what it leaves is for the balls."""
        if not into.open:
            return
        close = _Close.all_of(into.open)
        into.open.clear()
        bounds = self._judge.bounds_at(close.margins)
        self._weigh(into, close, [bounds[c] for c in into.columns])
        for left in into.open:
            observed = torch.stack([n[0] for n in left.numbers], 1).tolist()
            for place, regime, row in zip(left.places.tolist(), left.regimes.tolist(), observed, strict=True):
                self._ask_balls(into, place, regime, row)
        into.open.clear()

    def _ask_balls(self, into: _Quantity, place: int, regime: int, observed: list[float]) -> None:
        tally = into.tally
        ulps, ratio, grade = self._judge.certified(place, into.name, observed)
        g = GRADES.index(grade)
        tally.counts[g][regime] += 1
        tally.by_balls += 1
        first = tally.first[g]
        tally.first[g] = place if first is None else min(first, place)
        tally.ulps = worst([*tally.ulps, Worst(ulps, place, observed)])
        tally.ratios = worst([*tally.ratios, Worst(ratio, place, observed)])

    def result(self) -> dict[str, Tally]:
        """The tallies, by quantity, their worst cases certified."""
        heard = [self._value, *([self._gradient] if self._has_gradient else [])]
        for quantity in heard:
            self._weigh_open(quantity)
        return {quantity.name: self._certified(quantity) for quantity in heard}

    def _certified(self, into: _Quantity) -> Tally:
        tally = into.tally
        candidates = {c.place: c for c in (*into.by_ulps.kept, *into.by_ratio.kept)}
        by_ulps, by_ratio = [*tally.ulps], [*tally.ratios]
        for place, c in sorted(candidates.items()):
            ulps, ratio, _ = self._judge.certified(place, into.name, c.observed)
            by_ulps.append(Worst(ulps, place, c.observed))
            by_ratio.append(Worst(ratio, place, c.observed))
        tally.ulps, tally.ratios = worst(by_ulps), worst(by_ratio)
        tally.ulps_at_most = max(into.by_ulps.most, *(w.size for w in tally.ulps), 0.0)
        tally.ratios_at_most = max(into.by_ratio.most, *(w.size for w in tally.ratios), 0.0)
        return tally

"""One range of inputs before a judge: the filter's first look, its second, its third, and the balls for the rest.

The first look is cheap and decides what is easy. The second has all figures of the filter, with the tables of radii;
the third has radii of its own for each margin, and hears many inputs at once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from polyref.grades import Grade
from polyref.regimes import REGIMES
from polyref.sweep.exact import difference
from polyref.sweep.filter import GRADES, Bounds, Observed, filtered, graded
from polyref.sweep.first import Found, first_look
from polyref.sweep.judge import Judge
from polyref.sweep.special import judge_special
from polyref.sweep.tally import Tally, empty

#: Inputs that the third look hears at once: enough that the work is that of the numbers, not of the calls.
_TOGETHER = 1 << 13
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

    @property
    def floor(self) -> float:
        """The bound that a further candidate has to exceed."""
        return self.kept[-1].bound if len(self.kept) == _CANDIDATES else -1.0

    def add(self, bounds: Tensor, places: Tensor, observed: Tensor) -> None:
        """Look at the bounds of inputs, none of them NaN."""
        top = bounds.topk(min(_CANDIDATES, len(bounds)))
        self.most = max(self.most, float(top.values[0]))
        if float(top.values[0]) <= self.floor:
            return
        where, rows = places[top.indices].tolist(), observed[top.indices].tolist()
        self.kept += map(_Candidate, top.values.tolist(), where, rows)
        self.kept.sort(key=lambda c: (-c.bound, c.place))
        del self.kept[_CANDIDATES:]


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
        if len(places):
            self.tally.count(grade, torch.bincount(regimes, minlength=len(REGIMES)).tolist(), int(places[0]))
            self.tally.filtered += len(places)


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
        self._has_gradient = gradient is not None
        answers = [(self._value, value[:, None]), *([] if gradient is None else [(self._gradient, gradient)])]
        floors = [(into.by_ulps.floor, into.by_ratio.floor) for into, _ in answers]
        strange, found = first_look(self._judge, logits, value, gradient, floors)
        for (into, observed), seen in zip(answers, found, strict=True):
            self._take(into, start, seen, observed)
            if len(seen.open):
                self._look_again(into, start + seen.open, logits[seen.open], observed[seen.open])
            if len(strange):
                judge_special(into.tally, start + strange, logits[strange], observed[strange])

    def _take(self, into: _Quantity, start: int, seen: Found, observed: Tensor) -> None:
        """What the first look decided, and what of that may be among the worst."""
        for grade, (row, by_regime) in enumerate(zip(seen.first, seen.counts, strict=True)):
            if row >= 0:
                into.tally.count(grade, by_regime, start + row)
                into.tally.filtered += sum(by_regime)
        if len(seen.high):
            places, rows = start + seen.high, observed[seen.high]
            into.by_ulps.add(seen.ulps, places, rows)
            into.by_ratio.add(seen.ratios, places, rows)

    def _look_again(self, into: _Quantity, places: Tensor, logits: Tensor, observed: Tensor) -> None:
        """The second look, at what the first one left open."""
        judge = self._judge
        margins, rest = difference(logits)
        exact = judge.losses.of(margins, rest, slope=into is self._gradient)
        cells = judge.cells(margins)
        if into is self._value:
            numbers = [(observed[:, 0], *judge.losses.refined(margins, rest, exact.value, exact.value_error))]
        else:
            unknown = torch.zeros_like(exact.slope)
            numbers = [(observed[:, i], s * exact.slope, exact.slope_error, unknown) for i, s in enumerate((-1, 1))]
        bounds = [judge.bounds(cells, c) for c in into.columns]
        self._weigh(into, _Close(places, judge.regimes(margins, cells), margins, numbers), bounds)
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
        sure = (~unsure).nonzero().flatten()
        if len(sure):
            ulps = torch.stack([n.off.ulps_most for n in seen]).amax(0).nan_to_num(nan=torch.inf, posinf=torch.inf)
            ratios = torch.stack([n.ratio for n in seen]).amax(0)
            observed = torch.stack([n[0] for n in close.numbers], 1)
            into.by_ulps.add(ulps[sure], close.places[sure], observed[sure])
            into.by_ratio.add(ratios[sure], close.places[sure], observed[sure])
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
        ulps, ratio, grade = self._judge.certified(place, into.name, observed)
        into.tally.count(GRADES.index(grade), [int(r == regime) for r in range(len(REGIMES))], place)
        into.tally.by_balls += 1
        into.tally.keep(place, observed, ulps, ratio)

    def result(self) -> dict[str, Tally]:
        """The tallies, by quantity, their worst cases certified."""
        heard = [self._value, *([self._gradient] if self._has_gradient else [])]
        for quantity in heard:
            self._weigh_open(quantity)
        return {quantity.name: self._certified(quantity) for quantity in heard}

    def _certified(self, into: _Quantity) -> Tally:
        tally = into.tally
        candidates = {c.place: c for c in (*into.by_ulps.kept, *into.by_ratio.kept)}
        for place, c in sorted(candidates.items()):
            ulps, ratio, _ = self._judge.certified(place, into.name, c.observed)
            tally.keep(place, c.observed, ulps, ratio)
        tally.ulps_at_most = max(into.by_ulps.most, *(w.size for w in tally.ulps), 0.0)
        tally.ratios_at_most = max(into.by_ratio.most, *(w.size for w in tally.ratios), 0.0)
        return tally

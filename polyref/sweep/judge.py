"""Judging parts of a sweep: the filter decides what it can prove, and the balls decide the rest.

The worst cases go to the balls too, so every figure that is reported for a single case is certified.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from polyref.grades import Grade, judged
from polyref.reference.model import cancellation_free
from polyref.regimes import REGIMES
from polyref.spec import Spec
from polyref.sweep.exact import Exact, Losses, difference
from polyref.sweep.filter import GRADES, Bounds, Observed, filtered, graded
from polyref.sweep.radii import BASE, CELLS, SHIFT, Radii, edges, tables
from polyref.sweep.rounding import look
from polyref.sweep.space import Space
from polyref.sweep.special import judge_special
from polyref.sweep.tally import Tally, Worst, empty, finite, worst
from polyref.verdict import Truth

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

    def add(self, bounds: Tensor, start: int, observed: Tensor) -> None:
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
        rows = observed[top.indices].tolist()
        for bound, i, row in zip(top.values.tolist(), top.indices.tolist(), rows, strict=True):
            if bound >= 0:
                self.kept.append(_Candidate(bound, start + i, row))
        self.kept.sort(key=lambda c: (-c.bound, c.place))
        del self.kept[_CANDIDATES:]


class _Parts:
    """One quantity of the parts so far."""

    def __init__(self, quantity: str) -> None:
        self.quantity = quantity
        self.tally = empty(len(Grade), len(REGIMES))
        self.by_ulps, self.by_ratio = Candidates(), Candidates()


class Judge:
    """Judges subjects under one spec.

    Args:
        space: the inputs.
        spec: the loss, with no reduction.
        device: where the subject's results are; the filter works there too.
    """

    def __init__(self, space: Space, spec: Spec, *, device: str = "cpu") -> None:
        self.space, self.spec = space, spec
        self.losses = Losses(spec)
        found = tables(spec, space.format)

        def placed(radii: Radii) -> Bounds:
            flat = (np.ascontiguousarray(a.ravel()) for a in (radii.inner, radii.outer))
            return Bounds(*(torch.from_numpy(a).to(device) for a in flat))

        self.textbook = [placed(r) for r in found.textbook]
        self.free = [placed(r) for r in found.free]
        self.regime_ends = torch.tensor([upper for _, upper in REGIMES[:-1]], dtype=torch.float64, device=device)
        ends = torch.from_numpy(edges()).to(device)
        # On side 0 the log-odds of the target are minus the magnitude, on side 1 the magnitude itself.
        sides = [torch.bucketize(sign * ends, self.regime_ends) for sign in (-1.0, 1.0)]
        self.regime_of_cell = torch.cat([torch.where(s[:-1] == s[1:], s[:-1], -1) for s in sides])

    def certified(self, place: int, quantity: str, observed: list[float]) -> tuple[float, float, Grade]:
        """One input's error in ulps and over the tolerance, and its grade, by the balls."""
        case = self.space.case(place, self.spec)
        truth = Truth.of(case)
        free = cancellation_free(case, exact=truth.balls)
        if quantity == "value":
            exact, radii, sharp = [truth.value(0)], truth.tolerance.value, free.value
        else:
            exact, radii, sharp = (
                [truth.gradient(0, k) for k in range(2)],
                truth.tolerance.gradient[0],
                free.gradient[0],
            )
        ulps, ratios, grade = judged(observed, exact, case.format, radii, sharp)
        return finite(max(ulps)), finite(max(ratios)), grade


class Hearing:
    """One range of inputs before a judge, part by part."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._value, self._gradient = _Parts("value"), _Parts("gradient")
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
        part = _Part(start, logits, margin, left, usual, strange, cell, self._regimes(margin, cell), exact)
        self._hear(part, self._value, [(value, exact.value, exact.value_error)], (0,))
        if gradient is not None:
            self._has_gradient = True
            pairs: list[_Seen] = [
                (gradient[:, 0], -exact.slope, exact.slope_error),
                (gradient[:, 1], exact.slope, exact.slope_error),
            ]
            self._hear(part, self._gradient, pairs, (1, 2))

    def _regimes(self, margin: Tensor, cell: Tensor) -> Tensor:
        """The regime of each input: that of its cell, but for the few cells where one ends."""
        regime = self._judge.regime_of_cell[cell]
        open_ones = (regime < 0).nonzero().flatten()
        if len(open_ones):
            regime[open_ones] = torch.bucketize(-margin[open_ones], self._judge.regime_ends)
        return regime

    def _hear(self, part: _Part, into: _Parts, numbers: list[_Seen], columns: tuple[int, ...]) -> None:
        judge, tally = self._judge, into.tally
        fmt = judge.space.format
        looks = [look(*number, fmt) for number in numbers]
        ratios = [n.most / judge.textbook[c].inner[part.cell] for n, c in zip(looks, columns, strict=True)]
        observed = torch.stack([n[0] for n in numbers], 1)
        for candidates, sizes in ((into.by_ulps, [n.ulps_most for n in looks]), (into.by_ratio, ratios)):
            largest = sizes[0] if len(sizes) == 1 else torch.maximum(*sizes)
            largest[part.strange] = -1.0
            candidates.add(largest, part.start, observed)
        correct = looks[0].correct if len(looks) == 1 else looks[0].correct & looks[1].correct
        correct &= part.usual
        self._count(into, part, correct.nonzero().flatten(), GRADES.index(Grade.CORRECTLY_ROUNDED))
        others = (part.usual & ~correct).nonzero().flatten()
        if len(others):
            self._hear_closely(part, into, others, numbers, columns)
        if len(part.strange):
            judge_special(tally, part.strange + part.start, part.logits[part.strange], observed[part.strange])

    def _hear_closely(
        self, part: _Part, into: _Parts, chosen: Tensor, numbers: list[_Seen], columns: tuple[int, ...]
    ) -> None:
        """Inputs of which the first look does not tell that they are rounded correctly."""
        judge = self._judge
        cells = part.cell[chosen]
        seen = []
        for (observed, exact, error), c in zip(numbers, columns, strict=True):
            number: Observed = (observed[chosen], exact[chosen], error[chosen], torch.zeros_like(error[chosen]))
            if into.quantity == "value":
                left = None if part.rest is None else part.rest[chosen]
                better = judge.losses.refined(part.margin[chosen], left, number[1], number[2])
                number = (number[0], *better)
            seen.append(filtered(number, judge.space.format, judge.textbook[c].at(cells), judge.free[c].at(cells)))
        grade, unsure = graded(seen)
        sure = ~unsure
        for g in range(len(GRADES)):
            mine = chosen[sure & (grade == g)]
            if len(mine):
                self._count(into, part, mine, g)
        for i in chosen[unsure].tolist():
            self._ask_balls(into, part, i, [n[0][i].item() for n in numbers])

    @staticmethod
    def _count(into: _Parts, part: _Part, mine: Tensor, g: int) -> None:
        """Count inputs of one grade, which are in order."""
        if not len(mine):
            return
        tally = into.tally
        row = torch.bincount(part.regime[mine], minlength=len(REGIMES)).tolist()
        tally.counts[g] = [a + b for a, b in zip(tally.counts[g], row, strict=True)]
        first = part.start + int(mine[0])
        before = tally.first[g]
        tally.first[g] = first if before is None else min(before, first)
        tally.filtered += len(mine)

    def _ask_balls(self, into: _Parts, part: _Part, i: int, observed: list[float]) -> None:
        place, tally = part.start + i, into.tally
        ulps, ratio, grade = self._judge.certified(place, into.quantity, observed)
        g = GRADES.index(grade)
        tally.counts[g][int(part.regime[i])] += 1
        tally.by_balls += 1
        first = tally.first[g]
        tally.first[g] = place if first is None else min(first, place)
        tally.ulps = worst([*tally.ulps, Worst(ulps, place, observed)])
        tally.ratios = worst([*tally.ratios, Worst(ratio, place, observed)])

    def result(self) -> dict[str, Tally]:
        """The tallies, by quantity, their worst cases certified."""
        heard = [self._value, *([self._gradient] if self._has_gradient else [])]
        return {parts.quantity: self._certified(parts) for parts in heard}

    def _certified(self, parts: _Parts) -> Tally:
        tally = parts.tally
        candidates = {c.place: c for c in (*parts.by_ulps.kept, *parts.by_ratio.kept)}
        by_ulps, by_ratio = [*tally.ulps], [*tally.ratios]
        for place, c in sorted(candidates.items()):
            ulps, ratio, _ = self._judge.certified(place, parts.quantity, c.observed)
            by_ulps.append(Worst(ulps, place, c.observed))
            by_ratio.append(Worst(ratio, place, c.observed))
        tally.ulps, tally.ratios = worst(by_ulps), worst(by_ratio)
        tally.ulps_at_most = max(parts.by_ulps.most, *(w.size for w in tally.ulps), 0.0)
        tally.ratios_at_most = max(parts.by_ratio.most, *(w.size for w in tally.ratios), 0.0)
        return tally


#: What a subject returned, the exact number and its error.
_Seen = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class _Part:
    """One part, prepared.

    Attributes:
        start: the place of its first input.
        logits: (N, 2).
        margin: z_o - z_y, 0 where a logit is no number.
        rest: what its rounding left off, None where that is nothing.
        usual: which inputs are numbers.
        strange: the indices of the others.
        cell: of the tables of radii.
        regime: of Pt.
        exact: the exact results.
    """

    start: int
    logits: Tensor
    margin: Tensor
    rest: Tensor | None
    usual: Tensor
    strange: Tensor
    cell: Tensor
    regime: Tensor
    exact: Exact

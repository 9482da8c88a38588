"""A case's rows at one precision: probabilities, losses and gradients, each logit's exponential taken once.

In the logits z of a softmax row, with c_k = Pt dl_k/dx at class k and q_k its share of the target,

    dl/dz_j = sum_{k != j} (q_k c_k p_j - q_j c_j p_k),

which is c p_j, and -c x for the target, where there is a single one. A logit of the sigmoid link is the row (z, 0).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import accumulate
from operator import add

from mpmath.libmp import from_float, mpf_sub

from polyref.case import Case
from polyref.reference._expansion import Expansion, Extended, enclosure, plus, times
from polyref.reference._intervals import Interval, Reals
from polyref.reference.enclosure import Enclosure
from polyref.spec import Link, Reduction, Response


@dataclass(frozen=True)
class Wanted:
    """The width that is asked of an output, and whether one that may be 0 has been given up."""

    bits: int
    floor: int | None
    hopeless: bool

    def settles(self, found: Enclosure) -> bool:
        """Whether this output needs no further digits."""
        mid, rad = found.mid, found.rad
        if found.special is not None or rad.man == 0 or (self.floor is not None and rad.magnitude <= self.floor):
            return True
        if mid.absolute().compare(rad) <= 0:
            return self.hopeless
        return rad.magnitude + self.bits < mid.magnitude


@dataclass(frozen=True)
class Finished:
    """What the result says of one row, and whether all of it is narrow enough; values are not reduced yet."""

    values: list[Extended]
    gradient: tuple[Enclosure, ...]
    pt: tuple[Enclosure, ...]
    pt_gradient: Enclosure | None
    settled: bool


class Batch:
    """A case at one precision."""

    def __init__(self, case: Case, reals: Reals) -> None:
        self.case, self.reals = case, reals
        self.divisor = Fraction(1) if case.denominator is None else case.denominator
        responses = case.spec.responses(case.weight, case.classes)
        made: dict[Response, Expansion] = {}

        def expand(each: Iterable[Response]) -> list[Expansion]:
            return [made.setdefault(r, Expansion(r, reals)) for r in each]

        self._positive = expand(responses.positive)
        self._elements: list[tuple[Expansion, Expansion]] = []
        if responses.mixed:
            self._elements = [(a, b) for a, b in map(expand, responses.mixed)]
        elif case.spec.link is Link.SIGMOID:
            self._elements = list(zip(self._positive, expand(responses.negative), strict=True))

    def finish(self, i: int, wanted: Wanted) -> Finished:
        """Row ``i``, its gradient divided as the reduction asks."""
        values, gradient, pt, slope = self._row(i)
        scaled = tuple(self.enclose(self._divided(g)) for g in gradient)
        probabilities = tuple(self.enclose(p) for p in pt)
        slope_found = None if slope is None else self.enclose(slope)
        outputs = [*scaled, *probabilities, *([slope_found] if slope_found else [])]
        if self.case.spec.reduction is Reduction.NONE:
            outputs += [self.enclose(v) for v in values]
        return Finished(values, scaled, probabilities, slope_found, all(map(wanted.settles, outputs)))

    def enclose(self, value: Extended) -> Enclosure:
        """The enclosure of a value at this precision."""
        return enclosure(self.reals, value)

    def radius(self, value: Extended) -> float:
        """About the power of two of a value's radius after the division; -inf where it is exact or infinite."""
        found = self.enclose(value)
        divisor = self.divisor.numerator.bit_length() - self.divisor.denominator.bit_length()
        return found.rad.magnitude - divisor if found.rad.man else -math.inf

    def total(self, values: Iterable[Extended]) -> Enclosure:
        """The reduced loss of these values."""
        return self.enclose(self._divided(reduce(plus, values, self.reals.zero)))

    def _divided(self, value: Extended) -> Extended:
        if self.divisor == 1 or (isinstance(value, float) and self.divisor):
            return value
        return value / self.reals.rational(self.divisor) if self.divisor else math.nan

    def _row(self, i: int) -> tuple[list[Extended], list[Interval], list[Interval], Extended | None]:
        """The values (one, or C elements), the gradient, the probabilities to show and dl/dPt of row ``i``."""
        case, spec = self.case, self.case.spec
        logits, shares, target = case.logits[i], case.distribution(i), case.target[i]
        elements = [
            _softmax(self.reals, (logits[k], 0.0), (shares[k], 1 - shares[k]), pair)
            for k, pair in enumerate(self._elements)
        ]
        if spec.link is Link.SIGMOID:
            sides = [0 if isinstance(target, tuple) or k == target else 1 for k in range(case.classes)]
            pt = [element.p[side] for element, side in zip(elements, sides, strict=True)]
            return [e.value for e in elements], [e.gradient[0] for e in elements], pt, None
        row = _softmax(self.reals, logits, shares, self._positive)
        value, gradient = row.value, row.gradient
        for k, element in enumerate(elements):  # the polynomial of the other link, as its mean over the classes
            value = plus(value, element.value / case.classes)
            gradient[k] = gradient[k] + element.gradient[0] / case.classes
        if isinstance(target, tuple):
            return [value], gradient, row.p, None
        alone = not spec.smoothing and not spec.mixed
        return [value], gradient, [row.p[target]], row.slopes[target] if alone else None


@dataclass(frozen=True)
class _Row:
    """A softmax problem's answer: the loss, its gradient in the C logits, the C probabilities, and dl/dPt."""

    value: Extended
    gradient: list[Interval]
    p: list[Interval]
    slopes: dict[int, Extended]


def _softmax(
    reals: Reals, logits: Sequence[float], shares: Sequence[Fraction], expansions: Sequence[Expansion]
) -> _Row:
    """One row of C logits: the loss sum_k q_k l_k(p_k) and what follows from it.

    Classes of one logit, share and response cancel each other's part of the gradient exactly, so they are left out of
    each other's sums; ties under a uniform target then give an exact zero.
    """
    exps = _exponentials(reals, logits)
    total = sum(exps[1:], exps[0])
    p = [e / total for e in exps]
    others = _without(reals, exps, [[k] for k in range(len(exps))])
    value: Extended = reals.zero
    pull = [reals.zero] * len(p)
    slopes: dict[int, Extended] = {}
    groups: dict[object, list[int]] = {}
    for k, q in enumerate(shares):
        groups.setdefault((logits[k], q, expansions[k] if q else None), []).append(k)
        if not q:
            continue
        share = reals.rational(q)
        x = reals.one if reals.is_zero(p[k]) else reals.clip(others[k] / total)
        loss, slope = expansions[k].jet(x, p[k], (0, 1))
        value = plus(value, times(loss, share))
        slopes[k] = times(slope, -1)
        if reals.is_zero(p[k]):  # Pt dl/dx tends to A as Pt does to 0
            pull[k] = share * reals.rational(expansions[k].response.log_weight)
        elif not reals.is_zero(x):  # and at x = 0 it is multiplied by x, or by a p_j that is 0 too
            pull[k] = share * p[k] * slope
    gradient = [reals.zero] * len(p)
    sums = zip(_without(reals, pull, groups.values()), _without(reals, p, groups.values()), strict=True)
    for members, (pull_of_others, p_of_others) in zip(groups.values(), sums, strict=True):
        for j in members:
            gradient[j] = p[j] * pull_of_others - pull[j] * p_of_others
    return _Row(value, gradient, p, slopes)


def _exponentials(reals: Reals, logits: Sequence[float]) -> list[Interval]:
    """exp(z_k - max z), each difference exact; 0 for a logit of -inf."""
    top = from_float(max(logits))
    found = {z: reals.exp(mpf_sub(from_float(z), top)) if z != -math.inf else reals.zero for z in set(logits)}
    return [found[z] for z in logits]


def _without(reals: Reals, items: Sequence[Interval], groups: Iterable[Sequence[int]]) -> list[Interval]:
    """For each group of a partition, the sum of the items outside it, added up and never subtracted."""
    sums = [reduce(add, (items[k] for k in group)) for group in groups]
    before = accumulate(sums[:-1], initial=reals.zero)
    after = [*accumulate(sums[:0:-1], initial=reals.zero)][::-1]
    return [b + a for b, a in zip(before, after, strict=True)]

"""The losses written down directly from the design's formulas, at a fixed high precision and with nothing proven.

It shares no formula with the engines beyond the definitions: polynomials are not expanded, -log Pt is log-sum-exp, the
gradient is the Jacobian's p_k (delta - p_j), and the reductions are spelt out. Every sum carries the magnitude of its
parts, which bounds what rounding can have done to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from mpmath.ctx_mp import MPContext

from polyref.case import Case
from polyref.formats import Dyadic
from polyref.reference.enclosure import Enclosure
from polyref.spec import Link, Reduction, Spec, Weighting

mp = MPContext()
mp.prec = 1400
SLACK = mp.mpf(2) ** -1300


def exact(value: Fraction | float) -> Any:
    """A rational at the context's precision."""
    value = Fraction(value)
    return mp.mpf(value.numerator) / value.denominator


class Number(NamedTuple):
    """A value and the magnitude of what was added up to it."""

    value: Any
    size: Any

    def __add__(self, other: Number) -> Number:  # type: ignore[override]
        return Number(self.value + other.value, self.size + other.size)

    def times(self, factor: Any) -> Number:
        return Number(self.value * factor, self.size * abs(factor))


NOTHING = Number(mp.zero, mp.zero)


def added(parts: Iterable[Any]) -> Number:
    parts = list(parts)
    return Number(mp.fsum(parts), mp.fsum(map(abs, parts)))


class Law(NamedTuple):
    """A x^gamma (-log p) + B x^gamma sum_j eps_j (1 - r p)^j."""

    a: Any
    b: Any
    r: Any
    epsilon: tuple[float, ...]
    gamma: float

    def value(self, p: Any, x: Any, nll: Any) -> Number:
        if x == 0:
            constant = sum(e * (1 - self.r) ** j for j, e in enumerate(self.epsilon, 1)) if self.gamma == 0 else 0
            return added([self.b * constant])
        powers = (e * (1 - self.r * p if self.r != 1 else x) ** j for j, e in enumerate(self.epsilon, 1))
        return added([self.a * nll, *(self.b * t for t in powers)]).times(x**self.gamma)

    def slope(self, p: Any, x: Any, nll: Any) -> Number:
        """p dl/dp, 0 where x is."""
        if x == 0:
            return NOTHING
        focal = self.value(p, x, nll).times(-self.gamma * p / x)
        base = 1 - self.r * p if self.r != 1 else x
        inner = [-self.a]
        inner += [-self.b * self.r * p * j * e * base ** (j - 1) for j, e in enumerate(self.epsilon, 1)]
        return focal + added(inner).times(x**self.gamma)


def law(spec: Spec, weights: Sequence[Fraction], k: int, positive: bool = True, part: str = "both") -> Law:
    """The law of class k; ``part`` "log" or "polynomial" drops the other."""
    w = weights[k]
    a, b = w, w if spec.weighting is Weighting.BOTH else Fraction(1)
    r = w * len(weights) / sum(weights) if spec.weighting is Weighting.RESCALED_P else Fraction(1)
    if spec.alpha is not None:
        share = Fraction(spec.alpha) if positive else 1 - Fraction(spec.alpha)
        a, b = a * share, b * share if spec.alpha_on_polynomial else b
    epsilon = () if part == "log" else spec.epsilon
    return Law(exact(0 if part == "polynomial" else a), exact(b), exact(r), epsilon, spec.gamma)


class Row(NamedTuple):
    value: Number
    gradient: list[Number]
    p: list[Any]


def row(logits: Sequence[Any], shares: Sequence[Fraction], laws: Sequence[Law]) -> Row:
    """A softmax row; no class with a share may be impossible."""
    top = max(logits)
    exps = [mp.zero if z == -math.inf else mp.exp(mp.mpf(z) - mp.mpf(top)) for z in logits]
    total = mp.fsum(exps)
    p = [e / total for e in exps]
    value, gradient = NOTHING, [NOTHING] * len(p)
    for k, q in enumerate(shares):
        if not q:
            continue
        others = mp.fsum(e for j, e in enumerate(exps) if j != k)
        x = others / total
        nll = mp.log1p(others / exps[k]) if others < exps[k] else mp.log(total) + mp.mpf(top) - mp.mpf(logits[k])
        value += laws[k].value(p[k], x, nll).times(exact(q))
        slope = laws[k].slope(p[k], x, nll).times(exact(q))
        gradient = [g + slope.times(x if j == k else -p[j]) for j, g in enumerate(gradient)]
    return Row(value, gradient, p)


def evaluate(case: Case, logits: Sequence[Sequence[Any]] | None = None) -> tuple[list[Number], list[list[Number]]]:
    """Values and gradient of a case; None-free, so no mean over nothing. ``logits`` replaces the case's."""
    spec, weights, classes = case.spec, case.weights, case.classes
    rows = case.logits if logits is None else logits
    values: list[list[Number]] = []
    gradients: list[list[Number]] = []
    count = Fraction(0)
    for i, z in enumerate(rows):
        if case.ignored(i):
            values.append([NOTHING] * (classes if spec.link is Link.SIGMOID else 1))
            gradients.append([NOTHING] * classes)
            continue
        target, shares = case.target[i], case.distribution(i)
        count += (
            weights[target]
            if spec.reduction is Reduction.MEAN and isinstance(target, int) and (spec.link is Link.SOFTMAX)
            else 1
        )
        mixed = spec.polynomial_link is Link.SIGMOID and spec.link is Link.SOFTMAX
        part = "polynomial" if mixed else "both"
        elements = [
            row([z[k], 0], [q, 1 - q], [law(spec, weights, k, side, part) for side in (True, False)])
            for k, q in enumerate(shares)
        ]
        if spec.link is Link.SIGMOID:
            values.append([e.value for e in elements])
            gradients.append([e.gradient[0] for e in elements])
            continue
        found = row(z, shares, [law(spec, weights, k, part="log" if mixed else "both") for k in range(classes)])
        value, gradient = found.value, found.gradient
        if mixed:
            for k, e in enumerate(elements):
                value += e.value.times(mp.one / classes)
                gradient[k] += e.gradient[0].times(mp.one / classes)
        values.append([value])
        gradients.append(gradient)
    flat = [v for each in values for v in each]
    if spec.reduction is Reduction.NONE:
        return flat, gradients
    if spec.reduction is Reduction.SUM:
        count = Fraction(1)
    if spec.reduction is Reduction.MEAN and spec.link is Link.SIGMOID:
        count *= classes
    scale = 1 / exact(count)
    return [sum(flat, NOTHING).times(scale)], [[g.times(scale) for g in each] for each in gradients]


def number(value: Dyadic) -> Any:
    """A dyadic at the context's precision."""
    return mp.mpf((value.man, value.exp))


def agrees(found: Enclosure, truth: Number) -> bool:
    """Whether the enclosure holds the truth, up to what rounding did to the latter."""
    return bool(abs(number(found.mid) - truth.value) <= number(found.rad) + SLACK * truth.size)

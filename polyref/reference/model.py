"""The rounding model: how far a correct textbook evaluation of a case may be from the exact result.

A small, declared set of textbook algorithms is evaluated in :class:`~polyref.reference.arithmetic.Arithmetic`, each
with its own backward, as automatic differentiation derives it:

    subtract   log_softmax (max, subtract, exp, sum, log, subtract) for the logarithm; softmax for Pt; x = 1 - Pt
    once       log_softmax for both: Pt = exp(log Pt), x = 1 - Pt, which is 1 - exp(-CE) too
    expm1      log_softmax for both: x = -expm1(log Pt), in the backward Pt = 1 - x

The tolerance of a case is the largest distance from the exact result that any of them may reach, never a factor on
top. Where an intermediate may overflow, or a power of a vanishing x is not bounded, the tolerance is infinite and the
case says nothing.

The same for the cancellation-free algorithm (x from the other classes' exponentials) is what "accurate" means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from flint import arb, ctx

from polyref.case import Case
from polyref.formats import Format
from polyref.reference.arithmetic import TORCH_CPU, Arithmetic, Library, Pass, RowResult
from polyref.reference.ball import Balls, evaluate_balls, rational
from polyref.reference.free import free
from polyref.reference.textbook import expm1, once, subtract
from polyref.spec import Link, Reduction


@dataclass(frozen=True)
class Tolerance:
    """Radii around the exact results of one case; infinite where the model bounds nothing.

    Attributes:
        value: one per value of the reference's result.
        gradient: N x C.
    """

    value: tuple[float, ...]
    gradient: tuple[tuple[float, ...], ...]


#: (case, row, pass) -> the row's results.
Algorithm = Callable[[Case, int, Pass], RowResult]


class Parts(NamedTuple):
    """What one algorithm makes of a batch: values and rows of gradients, None where an overflow left no bound."""

    values: list[arb | None]
    gradients: list[list[arb] | None]


def textbook(
    case: Case, *, compute: Format | None = None, library: Library = TORCH_CPU, exact: Balls | None = None
) -> Tolerance:
    """The tolerance of a case: the reach of correct textbook evaluations around the exact result.

    Args:
        case: the exact input; its format is that of the output.
        compute: the format that operations are rounded to; the case's own where None. A wider one is followed by
            one rounding of each result to the case's format.
        library: the documented errors of exp, log and pow.
        exact: the case's exact result, where the caller has it already.
    """
    return _reach(case, (subtract, once, expm1), compute, library, exact)


def cancellation_free(
    case: Case, *, compute: Format | None = None, library: Library = TORCH_CPU, exact: Balls | None = None
) -> Tolerance:
    """As :func:`textbook`, for the cancellation-free algorithm: what the grade "accurate" asks for."""
    return _reach(case, (free,), compute, library, exact)


def reference_for(case: Case) -> Balls:
    """The exact result, sharp enough to judge the case's format by."""
    fmt = case.format
    return evaluate_balls(case, bits=fmt.precision + 24, floor=fmt.emin - fmt.precision - 24, max_bits=1 << 14)


def _reach(
    case: Case, algorithms: Sequence[Algorithm], compute: Format | None, library: Library, exact: Balls | None
) -> Tolerance:
    fmt = compute or case.format
    exact = exact or reference_for(case)
    value = [0.0] * len(exact.value or ())
    gradient = [[0.0] * case.classes for _ in case.logits]
    forward, backward, shared = Arithmetic(fmt, library), Arithmetic(fmt, library), dict[int, Any]()
    with ctx.workprec(fmt.precision + 48):
        for algorithm in algorithms:
            parts = _batch(case, algorithm, forward, backward, shared)
            for i, v in enumerate(exact.value or ()):
                value[i] = max(value[i], _radius(parts.values[i], v))
            for row, got, want in zip(gradient, parts.gradients, exact.gradient, strict=True):
                for k, v in enumerate(want):
                    row[k] = max(row[k], _radius(got[k] if got else None, v))
    return Tolerance(tuple(value), tuple(tuple(row) for row in gradient))


def _radius(got: arb | None, want: arb) -> float:
    if got is None or not got.is_finite() or not want.is_finite():
        return math.inf
    # Rounded up: float() goes to the nearest, and the smallest subnormal keeps an underflow from becoming zero.
    reach = float((got - want).abs_upper())
    return reach * (1 + 2.0**-50) if reach == 0 or reach > 1e-300 else reach + 5e-324


def _batch(
    case: Case, algorithm: Algorithm, forward: Arithmetic, backward: Arithmetic, shared: dict[int, Any]
) -> Parts:
    """Rows, reduction and final rounding."""
    forward.overflowed = backward.overflowed = False
    each = 1 if case.spec.link is Link.SOFTMAX else case.classes
    denominator = case.denominator
    scaled = case.spec.reduction in (Reduction.MEAN, Reduction.MEAN_OVER_SAMPLES) and bool(denominator)
    upstream = arb(1)
    if scaled and denominator:
        # A sum of weights, or a count that the format may be too narrow for, and a division.
        forward.checked(rational(denominator))
        upstream = forward.perturbed(rational(1 / denominator), len(case.logits) * each)
    undivided = forward.overflowed
    out = case.format
    values: list[arb | None] = []
    gradients: list[list[arb] | None] = []
    for i in range(len(case.logits)):
        if case.ignored(i):
            values += [arb(0)] * each
            gradients.append([arb(0)] * case.classes)
            continue
        forward.overflowed = backward.overflowed = undivided
        row = algorithm(case, i, Pass(forward, backward, upstream, shared))
        gradient = [backward.rounded_to(out, backward.checked(g)) for g in row.gradient]
        gradients.append(None if backward.overflowed else gradient)
        checked = [forward.checked(v) for v in row.values]
        values += [None] * each if forward.overflowed else checked
    if denominator is None:
        return Parts([v if v is None else forward.rounded_to(out, v) for v in values], gradients)
    bounded = [v for v in values if v is not None]
    if len(bounded) < len(values):
        return Parts([None], gradients)
    forward.overflowed = False
    total = forward.checked(forward.sum(bounded))
    value = forward.checked(forward.mul(total, upstream) if scaled else total)
    return Parts([None if forward.overflowed else forward.rounded_to(out, value)], gradients)

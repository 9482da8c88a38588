"""The law of the second derivative, along the direction v of :func:`polyref.subject.manner.direction`.

There is no rounding model of a backward pass through a backward pass. But whoever has the gradient alone, from a
correct textbook evaluation, can take its central difference along v; a second derivative that is returned should be
nearer to the exact one than that.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from itertools import chain

from hypothesis.strategies import SearchStrategy

from polyref.case import Case, Row
from polyref.formats import BINARY64
from polyref.property import Context, Property
from polyref.reference.ball import enclosure, evaluate_balls
from polyref.subject.manner import Manner, direction
from polyref.verdict import Outcome, Truth, shown
from polyref_properties.checks import PAPER, UNDECIDED, answer, over, rational, worse
from polyref_properties.conditions import all_of, needs_gradient, needs_torch, needs_wide_format
from polyref_properties.strategies import cases

_CURVED = Manner(curvature=True)

#: The step of the exact difference quotient: its error, l'''' step^2 / 6, is below the last digit of binary64 by far,
#: and eighths plus and minus it times v are numbers of binary64.
_EXACT_STEP = 2.0**-40
_EXACT_BITS = 200


def _small_cases(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=("eighths",))


def _matches(case: Case, context: Context) -> Outcome:
    """The tolerance is the distance of a central difference of correct textbook gradients.

    That is its truncation error, from the exact gradients, and their tolerances over the step. The step is the cube
    root of the unit roundoff, where the two are about as large.
    """
    seen = answer(context, case, _CURVED, gradient=True)
    if seen is None or seen.curvature is None:
        return UNDECIDED
    step = 2.0 ** -round(case.format.precision / 3)
    if not all(map(case.format.contains, chain(*_moved(case, step), *_moved(case, -step)))):
        return UNDECIDED
    ends = [context.truth(replace(case, logits=_moved(case, s))) for s in (step, -step)]
    if any(t.balls.value is None for t in ends):
        return UNDECIDED
    exact = _second_derivative(context.dialect.own(case))
    outcomes = []
    for k, (observed, wanted) in enumerate(zip(seen.curvature[0], exact, strict=True)):
        rounding = sum(t.tolerance.gradient[0][k] for t in ends) / (2 * step)
        if math.isinf(rounding):
            continue
        truncation = abs(_quotient(ends, k, step) - wanted)
        error = rational(observed) - wanted if math.isfinite(observed) else math.inf
        outcomes.append(
            Outcome.of(
                over(error, float(truncation) + rounding),
                f"d/dz_{k} of sum_i v_i dl/dz_i = {float(wanted):.12g}",
                f"d/dz_{k} of sum_i v_i dl/dz_i = {shown(observed)}",
                f"The second derivative in logit {k} along v is {observed:.6g} where that of the loss is "
                f"{float(wanted):.6g}: the gradient, differentiated again, is that of another function.",
            )
        )
    return worse(*outcomes)


def _moved(case: Case, step: float) -> tuple[Row, ...]:
    """The rows moved along v."""
    v = direction(case.classes)
    return tuple(tuple(z + step * a for z, a in zip(row, v, strict=True)) for row in case.logits)


def _second_derivative(own: Case) -> list[Fraction]:
    """Of the exact gradient of a single row, by a difference quotient whose error no format shows."""
    wide = replace(own, format=BINARY64)
    moved = [replace(wide, logits=_moved(wide, s)) for s in (_EXACT_STEP, -_EXACT_STEP)]
    ends = [[rational(enclosure(g)) for g in evaluate_balls(c, bits=_EXACT_BITS).gradient[0]] for c in moved]
    return [(a - b) / Fraction(2 * _EXACT_STEP) for a, b in zip(*ends, strict=True)]


def _quotient(ends: list[Truth], k: int, step: float) -> Fraction:
    high, low = (rational(t.gradient(0, k)) for t in ends)
    return (high - low) / Fraction(2 * step)


SECOND_DERIVATIVE = Property(
    id="second-derivative-matches-the-reference",
    theme="values",
    statement="The second derivative, where there is one, is that of the loss's own formula.",
    formula="|sum_i v_i d2l/dz_i dz_k - exact| <= distance of the central difference of correct gradients, for every k",
    citation=f"{PAPER}; Gill, Murray and Wright, Practical Optimization, 1981, section 8.6 for the step",
    remedy="Build the backward pass of differentiable operations, or give it a derivative of its own.",
    applies=all_of(needs_torch, needs_gradient, needs_wide_format),
    strategy=_small_cases,
    check=_matches,
    mutants=(
        "curvature-halved",
        "cross-entropy-detached",
        "polynomial-detached",
        "focal-factor-detached",
        "gradient-clipped",
    ),
)

LAWS = (SECOND_DERIVATIVE,)

"""The course of an error over the formats: whether it is another formula or lost precision.

A disagreement that stays as large as it is while the unit roundoff u shrinks is another formula; one that shrinks with
u is lost precision. The exponent of u is measured, so no factor has to be chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from polyref.case import Case
from polyref.formats import Format, named
from polyref.spec import Spec
from polyref.subject.dialect import Dialect
from polyref.subject.family import distance
from polyref.subject.questions import ROWS, ask, first, usual_reduction
from polyref.subject.runner import Runner


def growth(errors: Mapping[Format, float]) -> float | None:
    """The exponent a of the u^a that errors follow over the formats, by least squares; None for fewer than two."""
    if len(errors) < 2:
        return None
    roundoff = np.log([fmt.unit_roundoff for fmt in errors])
    slope, _ = np.polyfit(roundoff, np.log(list(errors.values())), 1)
    return float(slope)


def course(runner: Runner, dialect: Dialect, *, rounds: bool) -> str | None:
    """How the difference between a subject and the nearest member of the family moves with the format, in words.

    Args:
        runner: the subject.
        dialect: the member of the family that it is nearest to.
        rounds: whether it is known to round to a fixed number of digits.

    Returns:
        A note; None where there are not two formats to compare.
    """
    errors: dict[Format, float] = {}
    for name in runner.convention.formats:
        fmt = named(name)
        samples = ask(runner, [_case(runner, dialect, fmt, gamma) for gamma in _gammas(dialect)])
        if samples:
            error = distance(dialect, samples, math.inf)
            if 0 < error < math.inf:
                errors[fmt] = error
    exponent = growth(errors)
    if exponent is None:
        return None
    shown = ", ".join(f"{error:.2g} in {fmt.name}" for fmt, error in errors.items())
    text = f"Its difference from the nearest PolyLoss is {shown}"
    if exponent >= 0.5:
        return f"{text}: it shrinks with the unit roundoff, so this is lost precision, not another formula."
    if rounds:
        return f"{text}: it does not shrink with the unit roundoff, as a step rounds to a fixed number of digits."
    return f"{text}: it does not shrink with the unit roundoff, so this is another formula, not lost precision."


def _gammas(dialect: Dialect) -> tuple[float, ...]:
    return (0.0, 2.0) if "gamma" in dialect.settable else (0.0,)


def _case(runner: Runner, dialect: Dialect, fmt: Format, gamma: float) -> Case:
    classes = runner.convention.classes or 4
    spec = Spec(link=dialect.spec.link, epsilon=(2.0,), gamma=gamma, reduction=usual_reduction(runner.convention))
    rows = tuple(first(classes, row) for row in ROWS)
    return Case(spec, fmt, rows, tuple(i % classes for i in range(len(rows))))

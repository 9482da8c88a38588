"""Consequences of a weighting law, measured on the subject: what epsilon = -1 leaves, and where training ends.

Every number in the notes was read off the subject: the values at a prediction that is certainly right, the place of
the least value along the target's logit, and where gradient descent on free logits arrives by the subject's own
gradient. The law only decides which of them are worth saying.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.optimize import minimize_scalar

from polyref.case import Case
from polyref.formats import Format, named
from polyref.spec import Link, Reduction, Spec
from polyref.subject.dialect import Dialect
from polyref.subject.runner import Runner

#: Weight vectors that tell the laws apart: one with mean 1, one with mean 1/3.
_WEIGHTS = ((0.5, 1.0, 1.5), (0.2, 0.3, 0.5))
#: Margins of the target's logit between which a minimum is looked for: Pt from 1e-4 to 1 - 1e-5 with three classes.
_MARGINS = (-8.0, 12.0)
_GRID = 41
#: Gradient descent: steps, and their length, which is stable up to 2 over the largest curvature, half of a weight.
_STEPS = 100
_LENGTH = 2.0
#: A margin at which nothing but a constant is left of the loss: x is about 1e-17.
_CERTAIN = 40.0


@dataclass(frozen=True)
class Left:
    """What epsilon = -1 leaves for one class.

    Attributes:
        weight: the class's weight.
        constant: the value at a prediction that is certainly right.
        minimum: Pt where the loss is least, None if it decreases all the way.
    """

    weight: float
    constant: float
    minimum: float | None


def consequences(runner: Runner, dialect: Dialect) -> tuple[str, ...]:
    """Notes in a person's words on a weighting law that is not the whole-loss law; empty for all others."""
    convention = runner.convention
    if (
        dialect.weighting not in ("ce_only", "rescaled_p", "other")
        or "weight" not in dialect.settable
        or "epsilon" not in dialect.settable
    ):
        return ()
    if dialect.spec.link is not Link.SOFTMAX or dialect.spec.mixed:
        return ()  # there is no one Pt to speak of
    gamma_free = "gamma" in dialect.settable or dialect.spec.gamma == 0
    if not gamma_free or convention.classes not in (None, 3) or str(Reduction.NONE) not in convention.reductions:
        return ()
    fmt = named(convention.formats[0])
    notes = []
    for vector in _WEIGHTS:
        weight = tuple(fmt.round(w) for w in vector)
        left = [_left(runner, fmt, weight, k) for k in range(3)]
        if all(item is not None for item in left):
            note = _note(dialect, vector, [item for item in left if item is not None])
            notes += [] if note is None else [f"{note}{_arrival(descent(runner, fmt, weight))}"]
    return tuple(notes)


def descent(runner: Runner, fmt: Format, weight: tuple[float, ...]) -> list[float] | None:
    """Pt of each class after gradient descent on free logits at epsilon = -1, a row for each class.

    Returns:
        None where the subject gives no finite gradient.
    """
    classes = len(weight)
    rows = [[0.0] * classes for _ in range(classes)]
    spec = Spec(epsilon=(-1.0,), reduction=Reduction.NONE)
    for _ in range(_STEPS):
        rows = [[fmt.round(z) for z in row] for row in rows]
        case = Case(spec, fmt, tuple(map(tuple, rows)), tuple(range(classes)), weight)
        gradient = runner.observe(case).gradient
        if gradient is None or not all(math.isfinite(g) for row in gradient for g in row):
            return None
        rows = [[z - _LENGTH * g for z, g in zip(*pair, strict=True)] for pair in zip(rows, gradient, strict=True)]
    return [1 / sum(math.exp(z - row[k]) for z in row) for k, row in enumerate(rows)]


def _arrival(places: Sequence[float] | None) -> str:
    if places is None:
        return ""
    shown = ", ".join(f"{pt:.3g}" for pt in places)
    return f" From equal logits, {_STEPS} steps of gradient descent arrive at Pt = {shown}."


def _left(runner: Runner, fmt: Format, weight: tuple[float, ...], k: int) -> Left | None:
    def case(margin: float) -> Case:
        row = tuple(fmt.round(margin) if i == k else 0.0 for i in range(3))
        return Case(Spec(epsilon=(-1.0,), reduction=Reduction.NONE), fmt, (row,), (k,), weight)

    def loss(margin: float) -> float:
        value = runner.observe(case(margin), gradient=False).value
        return value[0] if value else math.inf

    low, high = _MARGINS
    step = (high - low) / (_GRID - 1)
    grid = [low + i * step for i in range(_GRID)]
    seen = runner.observe_all([case(m) for m in (*grid, _CERTAIN)], gradient=False)
    values = [o.value[0] for o in seen if o.value]
    if len(values) != _GRID + 1 or not all(map(math.isfinite, values)):
        return None
    *course, constant = values
    lowest = min(range(_GRID), key=course.__getitem__)
    # A real minimum is below the value at certainty by more than rounding could make it.
    if lowest in (0, _GRID - 1) or course[lowest] >= constant - math.sqrt(fmt.unit_roundoff):
        return Left(weight[k], constant, None)
    found = minimize_scalar(loss, bounds=(grid[lowest - 1], grid[lowest + 1]), method="bounded")
    odds = math.exp(float(found.x)) / 2  # two other classes with logit 0
    return Left(weight[k], constant, odds / (1 + odds))


def _note(dialect: Dialect, vector: Sequence[float], left: Sequence[Left]) -> str | None:
    mean = sum(vector) / len(vector)
    shown = f"({', '.join(f'{w:g}' for w in vector)})"
    head = f"At epsilon = -1 under the class weights {shown}, mean {mean:.4g}: "
    minima = [item.minimum for item in left]
    constants = ", ".join(_signed(item.constant) for item in left)
    if dialect.weighting == "other":
        if all(m is None for m in minima):
            return None
        text = f"a prediction that is certainly right has the losses {constants}"
    elif dialect.weighting == "rescaled_p":
        text = f"the constants {constants} stay in the value"
        if all(m is None for m in minima):
            return f"{head}{text}, and the gradient of the first term is cancelled."
    else:
        text = f"{', '.join(_signed(w - 1) + ' x' for w in vector)} is left of the first term"
        if all(m is None for m in minima):
            return f"{head}{text}."
    places = {f"{m:.3g}" for m in minima if m is not None}
    if len(places) == 1 and None not in minima:
        where = f"the loss of every class has its minimum at Pt = {places.pop()}"
    else:
        stops = [f"Pt = {m:.3g} for w = {w:g}" for w, m in zip(vector, minima, strict=True) if m is not None]
        where = f"the loss has its minimum at {', '.join(stops)}"
    return f"{head}{text}; {where}, and training stops there."


def _signed(value: float) -> str:
    rounded = round(value, 6) + 0.0
    return f"{rounded:+.4g}" if rounded else "0"

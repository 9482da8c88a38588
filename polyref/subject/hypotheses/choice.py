"""Choices: a loss is made in steps, and each step can be done right or otherwise.

A :class:`Choice` is one way to do one step, with how it is written, what is wrong with it and what mends it. A
:class:`Formula` is the right loss with some steps chosen otherwise. Some choices have a number in them (a clamp's
width, a factor), which is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from polyref.spec import Link, Reduction
from polyref.subject.rows import Array, Rows


@dataclass(frozen=True, eq=False)
class Choice:
    """One way to do one step.

    Attributes:
        step: the step that is done so; see ``RIGHT``.
        text: how a formula writes it, where the step shows in one; else what a remark behind the formula says.
        defect: what is wrong, in a sentence; ``{c}`` stands for its number.
        remedy: what mends it, in a sentence.
        compute: the step itself: arguments as for the right choice, and its number last where it has one.
        span: the least and the largest number that it may have; None where it has none.
        rounds: whether it rounds: then digits are lost, and the formula has no derivative worth the name.
    """

    step: str
    text: str
    defect: str
    remedy: str
    compute: Callable[..., Any]
    span: tuple[float, float] | None = None
    rounds: bool = False


class Formula:
    """The right loss, with some steps chosen otherwise.

    Args:
        chosen: choices of different steps, each with its number (0 where it has none).

    Attributes:
        chosen: as given.
        steps: the same by step.
    """

    def __init__(self, *chosen: tuple[Choice, float]) -> None:
        self.chosen = chosen
        self.steps = {choice.step: (choice, c) for choice, c in chosen}

    def __call__(self, step: str, *arguments: Any) -> Any:
        """What a step computes."""
        found = self.steps.get(step)
        if found is None:
            return RIGHT[step](*arguments)
        choice, c = found
        return choice.compute(*arguments) if choice.span is None else choice.compute(*arguments, c)

    def __contains__(self, step: str) -> bool:
        return step in self.steps

    def choice(self, step: str) -> tuple[Choice, float] | None:
        """What is chosen for a step, None where it is done right."""
        return self.steps.get(step)


def _mean(rows: Rows, a: Array, b: Array) -> Any:
    losses = a + b
    if rows.link is Link.SIGMOID:
        return losses.mean()
    return losses.sum() / _denominator(rows)


def _denominator(rows: Rows) -> float:
    if rows.soft or rows.reduction is Reduction.MEAN_OVER_SAMPLES:
        return float(rows.kept.sum())
    return float(rows.w[rows.y][rows.kept].sum())


def _both(q: Array) -> tuple[Array, Array]:
    return q, q


#: Every step as it is done right. Where a polynomial as a whole is chosen, it stands for coefficients and powers.
RIGHT: dict[str, Callable[..., Any]] = {
    "ignored rows": lambda rows: rows,
    "all probabilities": lambda rows: rows,
    "logits": lambda rows: rows.z,
    "labels": lambda rows: rows.q,
    "smoothing": lambda rows: _both(rows.smoothed),
    "probability": lambda rows: rows.p,
    "polynomial probability": lambda rows: rows.p,
    "logarithm": lambda rows, x: -rows.log_p,
    "focal": lambda rows, x: x**rows.gamma,
    "power": lambda rows, x, j: x ** (rows.gamma + j),
    "coefficient": lambda rows, j: rows.epsilon[j - 1],
    "given weights": lambda rows: rows.w,
    "weight": lambda rows: rows.w,
    "factor": lambda rows: 1.0,
    "losses": lambda rows, a, b: (a, b),
    "none": lambda rows, a, b: a + b,
    "sum": lambda rows, a, b: (a + b).sum(),
    "mean": _mean,
}

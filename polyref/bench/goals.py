"""What the fast losses are wanted to reach, and whether a run reached it.

A goal of time is a ratio of times, held against the median of the rounds. A goal of memory is counted in tenths of the
logits: what a loss needs for each row and not for each logit is small beside them, but not nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OURS = "polyref "
NATIVE = OURS + "native"
EAGER = OURS + "eager"
TRITON = OURS + "triton"
CROSS_ENTROPY = "F.cross_entropy"
COPY = "copy"

#: The goals of time on the CPU are stated for so many threads and for wall time.
THREADS = 2

_SHAPES = ("a", "b", "c", "d")

#: Time over that of F.cross_entropy on the CPU, for the shapes in this order; by contender and dtype.
_ON_CPU = {
    (NATIVE, "float32"): (0.30, 0.45, 0.40, 0.40),
    (NATIVE, "bfloat16"): (0.30, 0.60, 0.50, 0.50),
    (EAGER, "float32"): (0.65, 0.85, 0.55, 1.0),
}

#: Time on CUDA for shape c, in both dtypes: 2.5 times as fast as F.cross_entropy, and 80 % of the rate of a copy.
_ON_CUDA = {CROSS_ENTROPY: 1 / 2.5, COPY: 1 / 0.8}

#: Peak memory beyond what was there before, in units of the logits: the gradient.
_MEMORY = 1.0


@dataclass(frozen=True)
class Goal:
    """One figure that is wanted.

    Attributes:
        quantity: 'time' or 'memory'.
        of: the contender.
        to: whose time, or 'logits', the figure is a ratio to.
        limit: the largest figure that meets the goal.
    """

    quantity: str
    of: str
    to: str
    limit: float

    def met(self, value: float | None) -> bool:
        """Whether a figure meets the goal; None, for one that was not measured, does not."""
        if value is None:
            return False
        return (round(value, 1) if self.quantity == "memory" else value) <= self.limit


def goals(device: str, shape: str, dtype: str) -> tuple[Goal, ...]:
    """The goals for a shape of the full run, by its name; none for another."""
    if shape not in _SHAPES:
        return ()
    if device == "cuda":
        times = [Goal("time", TRITON, to, limit) for to, limit in _ON_CUDA.items()] if shape == "c" else []
        return (*times, Goal("memory", TRITON, "logits", _MEMORY))
    times = [
        Goal("time", of, CROSS_ENTROPY, limits[_SHAPES.index(shape)])
        for (of, wanted), limits in _ON_CPU.items()
        if wanted == dtype
    ]
    return (*times, *(Goal("memory", of, "logits", _MEMORY) for of in (NATIVE, EAGER)))


@dataclass(frozen=True)
class Judged:
    """A goal and the figure measured; None if its contender was left out."""

    goal: Goal
    value: float | None

    @property
    def met(self) -> bool:
        """Whether the figure meets the goal."""
        return self.goal.met(self.value)


def judge(
    wanted: tuple[Goal, ...], times: Mapping[tuple[str, str], float], memory: Mapping[str, float]
) -> tuple[Judged, ...]:
    """Each goal with its figure, from the medians of ratios by (of, to) and the memory by contender."""
    return tuple(Judged(g, times.get((g.of, g.to)) if g.quantity == "time" else memory.get(g.of)) for g in wanted)

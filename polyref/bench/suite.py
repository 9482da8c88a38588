"""Which groups a run measures, and the loop over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from polyref.bench import losses, reference
from polyref.bench.contender import Group
from polyref.bench.memory import Held, held
from polyref.bench.timer import Clock, Plan, Samples, cpu_clock, measure


@dataclass(frozen=True)
class Settings:
    """The size of a run.

    Attributes:
        plan: how long a sample lasts, and how many rounds there are.
        rows: rows of the batches that the reference evaluates.
        points: (classes, digits) at which the engines meet.
        model_classes: classes of the cases whose rounding models are evaluated.
        digits: of the one check value.
        reference_seconds: for each group of the reference.
        shapes: (N, C, ...) of the losses, by name.
        dtypes: of the losses.
        loss_seconds: for each group of losses, by the name of the shape.
    """

    plan: Plan
    rows: int
    points: tuple[tuple[int, int], ...]
    model_classes: tuple[int, ...]
    digits: int
    reference_seconds: float
    shapes: dict[str, tuple[int, ...]]
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16)
    loss_seconds: dict[str, float] = field(default_factory=dict)

    def groups(self) -> Iterator[Group]:
        """Every group, made when it is its turn."""
        yield from reference.groups(
            rows=self.rows,
            points=self.points,
            model_classes=self.model_classes,
            digits=self.digits,
            budget=self.reference_seconds,
        )
        yield from losses.groups(self.shapes, self.dtypes, self.loss_seconds)


FULL = Settings(
    plan=Plan(),
    rows=32,
    points=((10, 50), (2, 50), (10, 20), (2, 20)),
    model_classes=(10, 2),
    digits=1000,
    reference_seconds=5.0,
    shapes={"a": (4096, 10), "b": (4096, 1000), "c": (1024, 32000), "d": (8, 21, 256, 256)},
    loss_seconds={"a": 5.0, "b": 8.0, "c": 20.0, "d": 15.0},
)

#: The same groups on less data, marked by a star: a look at whether something moved, not a figure to state.
QUICK = Settings(
    plan=Plan(sample=0.005, fewest=3, most=11),
    rows=8,
    points=FULL.points,
    model_classes=FULL.model_classes,
    digits=FULL.digits,
    reference_seconds=0.5,
    shapes={"a": (4096, 10), "b*": (512, 1000), "c*": (32, 32000), "d*": (1, 21, 128, 128)},
    loss_seconds={"a": 0.5, "b*": 0.5, "c*": 0.5, "d*": 0.5},
)


@dataclass(frozen=True)
class Outcome:
    """What was measured of one group.

    Attributes:
        group: what was measured.
        samples: the times.
        waiting: seconds on the wall over seconds on the clock, for the whole group; 1 on an idle machine.
        memory: by contender; empty where it is not measured.
    """

    group: Group
    samples: Samples
    waiting: float
    memory: dict[str, Held]


def run(
    groups: Iterable[Group], plan: Plan, *, clock: Clock = cpu_clock, watch: Callable[[Outcome], None] | None = None
) -> list[Outcome]:
    """Measure group after group on one thread; ``watch`` is told of each when it is done."""
    outcomes = []
    with _one_thread():
        for group in groups:
            # Before the times, so that what the profiler starts and keeps is over when they are taken.
            memory = {c.name: held(c.run) for c in group.contenders} if group.logits is not None else {}
            wall, start = time.perf_counter_ns(), clock()
            samples = measure(group.contenders, plan, group.budget, clock=clock)
            waiting = (time.perf_counter_ns() - wall) / max(clock() - start, 1)
            outcomes.append(Outcome(_without_data(group), samples, waiting, memory))
            if watch is not None:
                watch(outcomes[-1])
    return outcomes


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _without_data(group: Group) -> Group:
    """The group with nothing left to run, so that its tensors are free before the next group makes its own."""
    return replace(group, contenders=tuple(replace(c, run=_nothing) for c in group.contenders))


def _nothing() -> None:
    """What is left of a contender."""

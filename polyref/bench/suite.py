"""Which groups a run measures, and the loop over them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from polyref.bench import binary, cuda, losses, machine, reference
from polyref.bench.contender import Contender, Group, nothing
from polyref.bench.goals import Judged, judge
from polyref.bench.memory import Held, held
from polyref.bench.timer import CPU_TIME, WALL_TIME, Plan, Samples, Timer, measure

#: What can be measured alone: the engines of the reference, the rounding models, the losses.
PARTS = ("reference", "model", "losses")


@dataclass(frozen=True)
class Settings:
    """The size of a run.

    Attributes:
        plan: how long a sample lasts, and how many rounds there are.
        rows: rows of the batches that the reference evaluates.
        points: (classes, digits) at which the engines meet.
        model_classes: classes of the cases whose rounding models are evaluated.
        digits: of the one check value.
        reference_seconds: for each group of the reference and of the models.
        shapes: (N, C, ...) of the losses, by name.
        dtypes: of the losses.
        loss_seconds: for each group of losses, by the name of the shape.
        binary_shapes: of the binary losses, by name.
        binary_seconds: for each group of binary losses.
        compiler: makes the compiled forms of other people's losses; None leaves them out.
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
    binary_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    binary_seconds: float = 3.0
    compiler: losses.Compiler | None = losses.inductor

    def groups(self, parts: Collection[str] = PARTS, *, devices: Iterable[str] = ("cpu",)) -> Iterator[Group]:
        """Every group of the parts, made when it is its turn."""
        if "reference" in parts:
            yield from reference.engine_groups(
                rows=self.rows, points=self.points, digits=self.digits, budget=self.reference_seconds
            )
        if "model" in parts:
            yield from reference.model_groups(rows=self.rows, classes=self.model_classes, budget=self.reference_seconds)
        if "losses" in parts:
            for device in devices:
                yield from losses.groups(
                    self.shapes, self.dtypes, self.loss_seconds, device=device, compiler=self.compiler
                )
                yield from binary.groups(self.binary_shapes, self.dtypes, self.binary_seconds, device=device)


FULL = Settings(
    plan=Plan(),
    rows=32,
    points=((10, 50), (2, 50), (10, 20), (2, 20)),
    model_classes=(10, 2),
    digits=1000,
    reference_seconds=5.0,
    shapes={"a": (4096, 10), "b": (4096, 1000), "c": (1024, 32000), "d": (8, 21, 256, 256)},
    loss_seconds={"a": 4.0, "b": 6.0, "c": 15.0, "d": 12.0},
    binary_shapes={"e": (4096, 1000), "f": (65536, 80)},
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
    binary_shapes={"e*": (512, 1000), "f*": (4096, 80)},
    binary_seconds=0.3,
    compiler=None,
)


@dataclass(frozen=True)
class Outcome:
    """What was measured of one group.

    Attributes:
        group: what was measured.
        clock: what the times are read from.
        threads: of torch.
        samples: the times.
        others: cores that other programs kept busy meanwhile, on average; None where the system does not say.
        memory: by contender; empty where it is not measured.
    """

    group: Group
    clock: str
    threads: int
    samples: Samples
    others: float | None
    memory: dict[str, Held]

    def memory_over_logits(self) -> dict[str, float]:
        """The peaks in units of the logits."""
        return {name: h.peak / (self.group.logits or 1) for name, h in self.memory.items()}

    def judged(self) -> tuple[Judged, ...]:
        """The goals of the group, held against what was measured."""
        times = {(of, to): self.samples.ratio(of, to).median for of, to in self.group.pairs}
        return judge(self.group.goals, times, self.memory_over_logits())


def timer_for(group: Group, threads: int) -> Timer:
    """The device's own timer; the wall clock for work on several threads; else the CPU time."""
    if group.device == "cuda":
        return cuda.event_timer()
    return WALL_TIME if group.parallel and threads > 1 else CPU_TIME


def run(
    groups: Iterable[Group],
    plan: Plan,
    *,
    threads: int,
    timers: Callable[[Group, int], Timer] | None = None,
    watch: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Measure group after group; those that are parallel on so many threads, the others on one.

    ``timers`` finds the timer of a group and its threads, as :func:`timer_for` does; ``watch`` is told of each group
    when it is done. The number of threads is set before a group is made, too: a compiler may look at it.
    """
    outcomes = []
    with _threads(threads):
        for group in groups:
            used = threads if group.parallel else 1
            timer = (timers or timer_for)(group, used)
            with _threads(used):
                # Before the times, so that what the profiler starts and keeps is over when they are taken.
                memory = {c.name: _memory(c, group.device) for c in group.contenders} if group.logits else {}
                watcher = machine.Others()
                samples = measure(group.contenders, plan, group.budget, timer=timer)
                others = watcher.cores()
            outcomes.append(Outcome(_without_data(group), timer.name, used, samples, others, memory))
            del group, timer
            if watch is not None:
                watch(outcomes[-1])
    return outcomes


def _memory(contender: Contender, device: str) -> Held:
    """What a call holds; not its first, which may load or build what later ones find."""
    with contender.within():
        contender.before()
        contender.run()
        contender.before()
        return cuda.held(contender.run) if device == "cuda" else held(contender.run)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _without_data(group: Group) -> Group:
    """The group with nothing left to run, so that its tensors are free before the next group makes its own."""
    return replace(group, contenders=tuple(Contender(c.name, nothing) for c in group.contenders))

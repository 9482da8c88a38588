"""What a benchmark times, what it compares, and what is wanted of the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from polyref.bench.goals import Goal
from polyref.errors import UsageError


def nothing() -> None:
    """Does nothing."""


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: how tables and documents call it.
        run: does the work once; what it returns is dropped within the time taken, so freeing it counts.
        before: puts back what ``run`` overwrites. It comes before every call, and its time does not count.
        within: what must be set while it runs; entered before a sample is taken and left after it.
    """

    name: str
    run: Callable[[], object]
    before: Callable[[], object] = nothing
    within: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True)
class Group:
    """Contenders that do the same work on the same data, and so may be compared.

    Attributes:
        section: the groups of one section make the rows of its tables.
        title: the data that they work on.
        contenders: at least one.
        pairs: names (of, to): the ratios of times to report.
        budget: seconds that the samples of this group may take together.
        work: how many units of work one call does ...
        unit: ... and what a unit is.
        logits: bytes of the logits, the unit of memory; None where memory is not measured.
        legend: what the title is short for.
        device: where the work is done, 'cpu' or 'cuda'.
        parallel: whether the contenders use torch's threads.
        left_out: contenders that cannot run here, with the reason.
        goals: what is wanted; of contenders that were left out too.
    """

    section: str
    title: str
    contenders: tuple[Contender, ...]
    pairs: tuple[tuple[str, str], ...]
    budget: float
    work: int = 1
    unit: str = "call"
    logits: int | None = None
    legend: str = ""
    device: str = "cpu"
    parallel: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()

    def __post_init__(self) -> None:
        names = [c.name for c in self.contenders]
        if len(set(names)) < len(names):
            raise UsageError(f"two contenders of {self.title!r} share a name among {names}: give each its own")
        for name in (name for pair in self.pairs for name in pair):
            if name not in names:
                raise UsageError(f"{name!r} is no contender of {self.title!r}: choose one of {names}")

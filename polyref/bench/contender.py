"""What a benchmark times, and what it compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from polyref.errors import UsageError


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes:
        name: how tables and documents call it.
        run: does the work once; what it returns is dropped within the time taken, so freeing it counts.
    """

    name: str
    run: Callable[[], object]


@dataclass(frozen=True)
class Group:
    """Contenders that do the same work on the same data, and so may be compared.

    Attributes:
        section: the groups of one section make the rows of one table.
        title: the data that they work on.
        contenders: at least one.
        pairs: names (of, to): the ratios of times to report.
        budget: seconds that the samples of this group may take together.
        work: how many units of work one call does ...
        unit: ... and what a unit is.
        logits: bytes of the logits, the unit of memory; None where memory is not measured.
        legend: what the title is short for.
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

    def __post_init__(self) -> None:
        names = [c.name for c in self.contenders]
        if len(set(names)) < len(names):
            raise UsageError(f"two contenders of {self.title!r} share a name among {names}: give each its own")
        for name in (name for pair in self.pairs for name in pair):
            if name not in names:
                raise UsageError(f"{name!r} is no contender of {self.title!r}: choose one of {names}")

"""What every way of running a subject offers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from polyref.case import Case
from polyref.errors import PolyrefError
from polyref.subject.convention import Convention
from polyref.subject.load import Source
from polyref.subject.manner import PLAIN, Manner
from polyref.subject.observation import Observation


class Exhausted(PolyrefError):
    """A limit of the whole audit is reached: nothing more is asked of the subject.

    Attributes:
        seen: the observations that the request had got before, in order.
    """

    exit_code = 3

    def __init__(self, reason: str, seen: Sequence[Observation] = ()) -> None:
        super().__init__(reason)
        self.seen = tuple(seen)


@dataclass(frozen=True)
class Death:
    """One case that ended its process.

    Attributes:
        case: the case in flight.
        manner: how it was handed over.
        killed: as :attr:`Observation.killed`.
        words: the telling line of what the process wrote last, if there is one.
        calls: the cases that the process had answered before.
    """

    case: Case
    manner: Manner
    killed: str
    words: str = ""
    calls: int = 0


class Runner(Protocol):
    """A subject that can be asked for cases, in a process of its own or in this one."""

    @property
    def name(self) -> str:
        """The subject's name."""

    @property
    def source(self) -> Source:
        """Where its code is, as far as that is known."""

    @property
    def convention(self) -> Convention:
        """How it is called."""

    def observe(self, case: Case, *, gradient: bool = True, twice: bool = False, manner: Manner = PLAIN) -> Observation:
        """Run one case, in a manner.

        Raises:
            NotOffered: if the convention has no way to ask for the case.
            Exhausted: if a limit of the whole audit is reached.
        """

    def observe_all(self, cases: Iterable[Case], *, gradient: bool = True, twice: bool = False) -> list[Observation]:
        """Run cases, one observation for each, in order.

        Raises:
            NotOffered: if the convention has no way to ask for one of them; none is run then.
            Exhausted: if a limit of the whole audit is reached; it has the observations until then.
        """

    def afresh(self) -> None:
        """Forget what was asked last: the next case draws the random numbers that it draws when it is asked first."""

    def environment(self) -> dict[str, str]:
        """Versions and machine properties of the process that runs it, as text."""


class Audited(Runner, Protocol):
    """A subject of an audit: what became of its process can be told."""

    @property
    def deaths(self) -> Sequence[Death]:
        """The cases that ended its process, in order."""

    @property
    def changed(self) -> Sequence[str]:
        """What importing it left otherwise in its process."""

    @property
    def slow_import(self) -> bool:
        """Whether importing it took longer than anybody expects."""

    @property
    def writes(self) -> Collection[str]:
        """When it wrote to standard output or error: ``imported``, ``called``."""

    @property
    def exhausted(self) -> str | None:
        """The limit of the whole audit that is reached, in words, or None."""

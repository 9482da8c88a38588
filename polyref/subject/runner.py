"""What every way of running a subject offers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from polyref.case import Case
from polyref.subject.convention import Convention
from polyref.subject.load import Source
from polyref.subject.manner import PLAIN, Manner
from polyref.subject.observation import Observation


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
        """

    def observe_all(self, cases: Iterable[Case], *, gradient: bool = True, twice: bool = False) -> list[Observation]:
        """Run cases, one observation for each, in order.

        Raises:
            NotOffered: if the convention has no way to ask for one of them; none is run then.
        """

    def environment(self) -> dict[str, str]:
        """Versions and machine properties of the process that runs it, as text."""

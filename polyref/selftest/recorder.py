"""Asking subjects: answers that are kept, and an end to those that never answer."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import NamedTuple

import torch

from polyref.case import Case
from polyref.subject.convention import Convention
from polyref.subject.load import Source
from polyref.subject.local import LocalSubject
from polyref.subject.manner import PLAIN, Manner
from polyref.subject.observation import Observation


class TimedOut(BaseException):
    """A trial took too long; no Exception, as a subject's errors are caught where it is called."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End the block after so many seconds; without effect outside of the main thread, which alone gets signals.

    Raises:
        TimedOut: if the block takes longer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    running = True

    def late(_: int, __: FrameType | None) -> None:
        if running:
            raise TimedOut

    def unraisable(error: sys.UnraisableHookArgs) -> None:
        if error.exc_type is not TimedOut:  # in a destructor: the next one will be heard
            hook(error)

    before, hook = signal.signal(signal.SIGALRM, late), sys.unraisablehook
    sys.unraisablehook = unraisable
    # Again and again: what is raised first may be caught by a subject that catches everything.
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
    try:
        yield
    finally:
        running = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = hook


class Asked(NamedTuple):
    """One call of a subject."""

    case: Case
    gradient: bool
    twice: bool
    manner: Manner


@dataclass
class Recorder:
    """A runner that keeps what its subject answered, and gives the same answers again after :meth:`rewind`.

    Attributes:
        subject: who answers.
        answers: the calls in order, with what was answered.
    """

    subject: LocalSubject
    answers: list[tuple[Asked, Observation]] = field(default_factory=list)
    _given: int = 0

    @property
    def name(self) -> str:
        """The subject's."""
        return self.subject.name

    @property
    def source(self) -> Source:
        """The subject's."""
        return self.subject.source

    @property
    def convention(self) -> Convention:
        """The subject's."""
        return self.subject.convention

    def environment(self) -> dict[str, str]:
        """The subject's."""
        return self.subject.environment()

    def afresh(self) -> None:
        """Nothing: each case of a law begins with no answers."""

    def observe(self, case: Case, *, gradient: bool = True, twice: bool = False, manner: Manner = PLAIN) -> Observation:
        """Ask the subject, or remember. Only a call that is repeated draws other random numbers, as in an audit."""
        asked = Asked(case, gradient, twice, manner)
        if self._given == len(self.answers):
            again = 0
            while again < len(self.answers) and self.answers[-1 - again][0] == asked:
                again += 1
            torch.default_generator.manual_seed(again)
            self.answers.append((asked, self.subject.observe(case, gradient=gradient, twice=twice, manner=manner)))
        known, seen = self.answers[self._given]
        assert known == asked, "a check asks the same when it is answered the same"
        self._given += 1
        return seen

    def observe_all(self, cases: Iterable[Case], *, gradient: bool = True, twice: bool = False) -> list[Observation]:
        """Ask the subject for each, or remember."""
        return [self.observe(case, gradient=gradient, twice=twice) for case in cases]

    def ask(self, asked: Asked) -> Observation:
        """One call again that was made before, of another subject."""
        return self.observe(asked.case, gradient=asked.gradient, twice=asked.twice, manner=asked.manner)

    def rewind(self) -> None:
        """Give the same answers again, in the same order."""
        self._given = 0

    def forget(self) -> None:
        """Begin anew."""
        self.answers, self._given = [], 0


def same(a: Observation, b: Observation) -> bool:
    """Equal bit by bit; equality of numbers alone would not tell zeros apart."""
    return a == b and repr(a) == repr(b)

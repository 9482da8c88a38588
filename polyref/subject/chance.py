"""The random numbers that a subject draws, if any: the same ones for the same case, in every process."""

from __future__ import annotations

from typing import Any

from polyref.case import Case
from polyref.subject.local import LocalSubject
from polyref.subject.manner import PLAIN, Manner
from polyref.subject.observation import Observation
from polyref.subject.state import seed


class SeededSubject(LocalSubject):
    """A subject in this process that chance has no part in; it sets the seeds of the process.

    The same case draws the same numbers, but for one that is asked twice in a row: chance is to be seen.

    Attributes:
        times: how often the last case had been asked before it, in a row.
    """

    def __init__(self, subject: Any, **options: Any) -> None:
        seed(0)  # the probe calls it
        super().__init__(subject, **options)
        self._asked: tuple[object, ...] | None = None
        self.times = 0

    def afresh(self) -> None:
        """Forget what was asked last: the next case draws the random numbers that it draws when it is asked first."""
        self._asked = None

    def observe(self, case: Case, *, gradient: bool = True, twice: bool = False, manner: Manner = PLAIN) -> Observation:
        """Run one case, in a manner.

        Raises:
            NotOffered: if the convention has no way to ask for the case.
        """
        asked = (case, gradient, twice, repr(manner))  # as text, where a NaN is equal to itself
        self.times = self.times + 1 if asked == self._asked else 0
        self._asked = asked
        seed(self.times)
        self._caller.framework.seed(self.times)
        return super().observe(case, gradient=gradient, twice=twice, manner=manner)

"""One audit by two processes: its searches are dealt out, and each process has a subject of its own.

What a search finds depends on its law, its format and the seed, and of a loss that has no memory on nothing that was
asked before it; so the document is the one that a single process writes. Where that is not certain, because a case
ended the subject's process, a call gave another answer when it was repeated, an error was set aside under the laws that
met it later, or the other process failed, :class:`Unusual` says so, and a single process judges everything anew.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from polyref.errand import Errands, Order
from polyref.errors import PolyrefError
from polyref.formats import Format
from polyref.judging import Done, Unit, audited_formats, done, units
from polyref.options import PROFILES, Options, Result
from polyref.search import breakdown
from polyref.standby import stand_by
from polyref.subject.client import Subject
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.verdict import Verdict

#: The laws that a loss with a memory breaks.
_REPEATED = ("inputs-untouched-and-repeatable", "deterministic")
#: Seconds that the other process may take to end its subject's process, and what that has started.
_GRACE = 2.0


class Unusual(Exception):
    """One process must judge everything; the text says why."""


class Half(NamedTuple):
    """What the other process found, and when its subject wrote to its output, as the subject has it."""

    done: Done
    writes: frozenset[str]


class Deal:
    """Who does what; both processes come to the same.

    Args:
        convention: how the subject is called.
        dialect: what it computes; its answers are not drawn by chance.
        options: of the audit.
        graded: whether the subject is graded.

    Attributes:
        every: all that is to be judged.
    """

    def __init__(self, convention: Convention, dialect: Dialect, options: Options, *, graded: bool) -> None:
        self.every = units(convention, dialect, options, chance=False)
        self._formats = audited_formats(convention, options)
        searched = [i for i, unit in enumerate(self.every) if unit.objection is None]
        if convention.few_shapes:
            # Each format to one of them: both would compile the programs of a format that they share.
            self._others = {i for i in searched if self.every[i].format != self._formats[0]}
            theirs = self._formats[1:]
        else:
            self._others = _lighter_half({i: _cost(self.every[i]) for i in searched})
            theirs = self._formats[1::2]
        self._grading = {f: f in theirs for f in self._formats} if graded else {}

    @property
    def worth_it(self) -> bool:
        """Whether there is something for either of them."""
        return 0 < len(self._others) < len(self.every)

    def units(self, *, other: bool) -> Iterator[tuple[int, Unit]]:
        """The units of one process, with their numbers."""
        return ((i, unit) for i, unit in enumerate(self.every) if (i in self._others) == other)

    def grading(self, *, other: bool) -> list[Format]:
        """The formats that one process grades the subject in."""
        return [fmt for fmt, who in self._grading.items() if who == other]


#: In examples of a law, of 15 ms: what it costs until the other process is at work, and a law of few examples, each of
#: them expensive, as the compiler of torch is with its 5 s.
_UNTIL_AT_WORK = 400
_EXPENSIVE = 300


def _cost(unit: Unit) -> int:
    return unit.law.effort * PROFILES["default"][0] if unit.law.limit is None else _EXPENSIVE


def _lighter_half(costs: dict[int, int]) -> set[int]:
    """The numbers of the other process, if each goes to the one that has less to do, the costly ones first."""
    mine, theirs, numbers = 0, _UNTIL_AT_WORK, set[int]()
    for number in sorted(costs, key=lambda i: -costs[i]):
        if theirs < mine:
            theirs += costs[number]
            numbers.add(number)
        else:
            mine += costs[number]
    return numbers


def check_usual(subject: Subject, result: Result | None = None) -> None:
    """Check that nothing has come up that later searches depend on.

    Raises:
        Unusual: if something has.
    """
    if subject.deaths:
        raise Unusual(f"a case ended the process: {subject.deaths[0].killed}")
    if subject.exhausted is not None:
        raise Unusual(subject.exhausted)
    if result is None or result.found is None:
        return
    found = result.found
    if result.law.id in _REPEATED and found.verdict is Verdict.VIOLATED:
        raise Unusual(f"{result.law.id} is broken")
    if broke := found.cut or found.aside or (breakdown(found.outcome) if found.outcome is not None else ""):
        raise Unusual(broke)


class Other:
    """The other process, from here. It starts at once, and loads what it needs while the subject is identified here.

    Args:
        options: of the audit.

    Raises:
        OSError: if no file or no process is left.
        RuntimeError: if no thread is left.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        order = Order.here("half", partial(stand_by, options.limits.memory_bytes))
        self._errands = Errands(order, tries=1)
        self._errands.start()
        self._answer: Any = None

    def begin(self, subject: Subject, dialect: Dialect, *, graded: bool) -> bool:
        """Give it its half; False if it is not to have one.

        Args:
            subject: the subject of this process.
            dialect: what it computes; its answers are not drawn by chance.
            graded: whether the subject is graded.
        """
        deal = Deal(subject.convention, dialect, self._options, graded=graded)
        if not deal.worth_it or subject.deaths or not self._errands.started:
            return False
        # What explains a deviation is functions; it is asked only when findings are recorded, which is done here.
        told = replace(dialect, otherwise=())
        arguments = (subject.target, subject.convention.to_json(), told, self._options, graded)
        piece = pickle.dumps((other_half, arguments, {}))
        self._deal, self._subject, self._dialect = deal, subject, dialect
        self._thread = threading.Thread(target=self._run, args=(piece,), daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread is left
            return False
        return True

    def _run(self, piece: bytes) -> None:
        try:
            self._answer = self._errands.run(piece)
        except Exception as e:  # the one process that judges everything will meet it too, or there is no need to
            self._answer = e

    def share(self, look: Callable[[Result | Format], None]) -> Done:
        """Do the half of this process, and wait for that of the other.

        Args:
            look: called with each result of this process, and with each format before it is graded.

        Raises:
            Unusual: if something has come up, here or there, that later searches depend on.
        """

        def checked(at: Result | Format) -> None:
            check_usual(self._subject, at if isinstance(at, Result) else None)
            if not self._thread.is_alive():
                self._half()
            look(at)

        deal = self._deal
        mine = done(
            deal.units(other=False),
            deal.grading(other=False),
            self._subject,
            self._dialect,
            self._options,
            look=checked,
        )
        check_usual(self._subject)
        self._thread.join()
        theirs = self._half()
        if theirs.writes - self._subject.writes:  # the first call of each process may write, and here the probe made it
            raise Unusual("it wrote to its output in the other process alone")
        mine.add(theirs.done)
        return mine

    def _half(self) -> Half:
        if not isinstance(self._answer, Half):
            raise Unusual("the other process gave up" if self._answer is None else str(self._answer))
        return self._answer

    def close(self) -> None:
        """End it."""
        self._errands.close(grace=_GRACE)


@contextmanager
def standing_by(options: Options, *, wanted: bool = True) -> Iterator[Other | None]:
    """The other process for the time of the block; None where it is not wanted, or cannot be had."""
    other = None
    if wanted:
        with suppress(OSError, RuntimeError):  # no file, no process or no thread is left
            other = Other(options)
    try:
        yield other
    finally:
        if other is not None:
            other.close()


def other_half(
    target: str, convention: dict[str, Any], dialect: Dialect, options: Options, graded: bool
) -> Half | None:
    """What the other process does; None if it met what a single process must judge."""
    known = Convention.from_json(convention)
    deal = Deal(known, dialect, options, graded=graded)
    with suppress(PolyrefError, Unusual), Subject.known(target, known, options.all_limits) as subject:

        def look(at: Result | Format) -> None:
            check_usual(subject, at if isinstance(at, Result) else None)

        found = done(deal.units(other=True), deal.grading(other=True), subject, dialect, options, look=look)
        check_usual(subject)
        return Half(found, frozenset(subject.writes))
    return None

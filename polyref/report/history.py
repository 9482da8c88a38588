"""The document of a history: what became of each grade over many runs, and the runs at which something moved.

It is read out of the database by ``polyref.history.series``; the terminal and the page are drawn from it alone.
"""

from __future__ import annotations

import math
import os
from typing import Any, Literal, TypeAlias

import msgspec

from polyref.report import structs
from polyref.report.files import write_atomically
from polyref.report.structs import Count, Real
from polyref.report.summary import GRADES

SCHEMA: Literal["polyref-history/1"] = "polyref-history/1"
#: A trend has a column for each run, or where there are more runs than this, for a stretch of them.
COLUMNS = 120

Direction: TypeAlias = Literal["worse", "better", "changed"]


class Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One audit in the history; an empty text is what it did not have.

    Attributes:
        id: its number in the history.
        target: what was audited.
        name: what the subject calls itself.
        started: ISO 8601, UTC.
        label: what the user called it.
        polyref: version.
        torch: version.
        framework: version of the subject's framework, where it is not torch.
        python: version.
        device: where it ran.
        machine: the machine and its processor.
        profile: how much was tried, and what else was chosen.
        seed: of every random choice.
        formula: what the subject computed.
        outcome: broken, hold, open or nothing.
        verdict: the outcome in a few words.
    """

    id: int
    target: str
    name: str
    started: str
    label: str
    polyref: str
    torch: str
    framework: str
    python: str
    device: str
    machine: str
    profile: str
    seed: str
    formula: str
    outcome: str
    verdict: str


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What differs between two runs, and from what to what."""

    what: str
    old: str
    new: str


class Course(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One error over the runs.

    Attributes:
        first: at the first run.
        last: at the last run.
        best: the smallest.
        worst: the largest; NaN is larger than infinity.
        best_run: the id of the first run that had it.
        worst_run: likewise.
        trend: the smallest and the largest of each column, in the order of time.
    """

    first: Real
    last: Real
    best: Real
    worst: Real
    best_run: int
    worst_run: int
    trend: list[tuple[Real, Real]]


class Shift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run of a series whose environment is not that of the run before.

    Attributes:
        column: of the trend.
        run: the id.
        changed: what is new.
    """

    column: Count
    run: int
    changed: list[Change]


class Series(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The worst error for one quantity, format, device and regime, run after run.

    Attributes:
        quantity: value or gradient.
        format: the format's name.
        device: where it ran.
        regime: "all", or the name of a range of Pt.
        runs: how many there are.
        since: when the first one started.
        until: when the last one started.
        grade: of the last run.
        ulp: the error in ulps of the format.
        ratio: the error over the tolerance.
        worst_case: the case of the run that was worst over the tolerance.
        shifts: where the environment changed, the first of each column.
    """

    quantity: str
    format: str
    device: str
    regime: str
    runs: Count
    since: str
    until: str
    grade: str
    ulp: Course
    ratio: Course
    worst_case: dict[str, Any] | None
    shifts: list[Shift]


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A grade that is not what it was at the run before; pairs are old and new."""

    quantity: str
    format: str
    device: str
    regime: str
    grade: tuple[str, str]
    ulp: tuple[Real, Real]
    ratio: tuple[Real, Real]

    @property
    def direction(self) -> Direction:
        """Worse if something is and nothing is better."""
        signs = {_sign(*self.ulp), _sign(*self.ratio), _sign(*(_place(g) for g in self.grade))} - {0}
        return "changed" if len(signs) != 1 else "worse" if signs == {1} else "better"


class Flip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A law whose verdict is not what it was at the run before; pairs are old and new."""

    law: str
    format: str
    device: str
    verdict: tuple[str, str]
    ratio: tuple[Real | None, Real | None]

    @property
    def direction(self) -> Direction:
        """Worse if the law is broken now, better if it was and holds."""
        old, new = self.verdict
        return "worse" if new == "violated" else "better" if (old, new) == ("violated", "holds") else "changed"


class Move(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run at which something moved.

    Attributes:
        run: the run.
        before: the run that it is compared with, the last one before it that measured the same.
        changed: what else differs between the two: label, versions, machine, settings.
        steps: the grades that moved.
        flips: the laws whose verdict changed.
    """

    run: Run
    before: Run
    changed: list[Change]
    steps: list[Step]
    flips: list[Flip]


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One subject: how many runs, the first and the last of them, the series, and the moves, newest first."""

    target: str
    runs: Count
    first: Run
    last: Run
    series: list[Series]
    moves: list[Move]


class History(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was asked of a history."""

    schema: Literal["polyref-history/1"] = SCHEMA
    targets: list[Target]


def dumps(history: History) -> bytes:
    """The document as JSON, one line, the same bytes for an equal document."""
    return msgspec.json.encode(structs.plain(history)) + b"\n"


def write(history: History, path: str | os.PathLike[str]) -> None:
    """Write the document as JSON, whole or not at all.

    Raises:
        UsageError: if the file cannot be written.
    """
    write_atomically(path, dumps(history))


def loads(data: bytes, *, name: str = "the document") -> History:
    """The document in ``data``; ``name`` is what to call it in a message.

    Raises:
        UsageError: if it is no document of this schema.
    """
    return structs.loads(data, _DECODER, schema=SCHEMA, kind="history", name=name)


def _place(grade: str) -> float:
    known: tuple[str, ...] = GRADES
    return known.index(grade) if grade in known else len(known)


def _sign(old: float, new: float) -> int:
    """1 where ``new`` is larger, -1 where it is smaller; NaN is larger than infinity."""
    a, b = ((math.isnan(v), 0.0 if math.isnan(v) else v) for v in (old, new))
    return (a < b) - (a > b)


_DECODER = structs.decoder(History)

"""Writing a history: runs are added from documents, listed, and removed."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from polyref.errors import UsageError
from polyref.history import store
from polyref.report import document as doc
from polyref.report import structs, summary
from polyref.report.history import Run
from polyref.report.words import visible

#: As in a document's own sums: one law and format may have several findings, and the gravest is its verdict.
_GRAVEST_FIRST = ("violated", "holds", "inconclusive", "not_applicable")
_RUN = """
SELECT r.id, target, name, started, label, polyref, torch, framework, python, device, machine, profile, seed, formula,
       outcome, verdict
FROM run r JOIN environment e ON e.id = r.environment
"""


class Added(NamedTuple):
    """What became of one document: its run, and whether it is new."""

    path: str
    run: Run
    new: bool


@dataclass(frozen=True)
class _Record:
    """What a history keeps of a document; the columns of ``schema``, without ids."""

    path: str
    digest: str
    run: tuple[str, ...]
    environment: tuple[str, ...]
    grades: list[tuple[tuple[str, ...], str, float | str, float | str, str | None]]
    verdicts: list[tuple[tuple[str, ...], str, float | str | None]]


def add(paths: Iterable[str | os.PathLike[str]], *, db: Path, label: str = "") -> list[Added]:
    """Add the runs of documents to a history, all of them or none; the file is made where there is none.

    A document that is there already, byte for byte, changes nothing.

    Args:
        paths: of documents that ``polyref audit --json`` wrote.
        db: the file of the history.
        label: what to call these runs: a commit, a branch, a version.

    Returns:
        One entry for each path, in their order.

    Raises:
        UsageError: if a document or the history cannot be used.
    """
    # Everything is read before the file is touched: others wait no longer than the rows take.
    text = structs.jsonable(label)
    records = [_record(path, text) for path in paths]
    with store.writing(db, create=True) as connection:
        ids = _Ids(connection)
        found = [_insert(connection, ids, record) for record in records]
        known = {run.id: run for run in _runs(connection)}
        return [Added(record.path, known[id], new) for record, (id, new) in zip(records, found, strict=True)]


def runs(db: Path) -> list[Run]:
    """Every run, newest first.

    Raises:
        UsageError: if the history cannot be read.
    """
    with store.reading(db) as connection:
        return _runs(connection)[::-1]


def remove(ids: Sequence[int], *, db: Path) -> list[Run]:
    """Remove runs, all of them or none.

    Returns:
        The runs that were removed.

    Raises:
        UsageError: for an id that no run has, or if the history cannot be written.
    """
    with store.writing(db) as connection:
        known = {run.id: run for run in _runs(connection)}
        for id in ids:
            if id not in known:
                raise UsageError(f"no run of {visible(str(db))} has the id {id}: polyref history list shows them")
        gone = dict.fromkeys(ids)
        for table, column in (("grade", "run"), ("verdict", "run"), ("run", "id")):
            connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(id,) for id in gone])
        for table, user in (
            ("series", "grade"),
            ("worst_case", "grade"),
            ("law", "verdict"),
            ("environment", "run"),
        ):
            connection.execute(
                f"DELETE FROM {table} WHERE id NOT IN (SELECT {table} FROM {user} WHERE {table} IS NOT NULL)"
            )
        return [known[id] for id in gone]


def of_target(connection: sqlite3.Connection, target: str) -> list[Run]:
    """The runs of one subject in the order of their time."""
    return _runs(connection, "WHERE target = ?", target)


def _runs(connection: sqlite3.Connection, where: str = "", *values: str) -> list[Run]:
    rows = connection.execute(f"{_RUN} {where} ORDER BY started, r.id", values)
    return [msgspec.convert(dict(zip(Run.__struct_fields__, row, strict=True)), Run) for row in rows]


class _Ids:
    """The ids of what many rows share; each is looked up once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.known: dict[tuple[str, tuple[str, ...]], int] = {}

    def of(self, table: str, columns: str, values: tuple[str, ...]) -> int:
        """The id of the row with these values, which is made if it is not there."""
        if (table, values) not in self.known:
            marks = ", ".join("?" * len(values))
            self.connection.execute(f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({marks})", values)
            row = self.connection.execute(f"SELECT id FROM {table} WHERE ({columns}) = ({marks})", values)
            self.known[table, values] = row.fetchone()[0]
        return self.known[table, values]


def _insert(connection: sqlite3.Connection, ids: _Ids, record: _Record) -> tuple[int, bool]:
    """The id of a document's run, and whether it was added now."""
    there = connection.execute("SELECT id FROM run WHERE digest = ?", (record.digest,)).fetchone()
    if there is not None:
        return there[0], False
    environment = ids.of("environment", "polyref, torch, framework, python, device, machine", record.environment)
    run = connection.execute(
        "INSERT INTO run (digest, environment, target, name, started, label, profile, seed, formula, outcome, verdict)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (record.digest, environment, *record.run),
    ).lastrowid
    if run is None:
        raise AssertionError("SQLite gave a new row no id")
    rows = [
        (
            ids.of("series", "target, quantity, format, device, regime", series),
            run,
            *errors,
            None if case is None else ids.of("worst_case", "text", (case,)),
        )
        for series, *errors, case in record.grades
    ]
    connection.executemany("INSERT INTO grade VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.executemany(
        "INSERT INTO verdict VALUES (?, ?, ?, ?)",
        [
            (ids.of("law", "target, property, format, device", law), run, verdict, ratio)
            for law, verdict, ratio in record.verdicts
        ],
    )
    return run, True


def _record(path: str | os.PathLike[str], label: str) -> _Record:
    name = os.fspath(path)
    data = structs.read_bytes(path)
    document = doc.loads(data, name=name)
    subject, environment, settings = document.subject, document.environment, document.settings
    grades: dict[tuple[str, ...], doc.Grade] = {}
    for grade in document.grades:
        key = (subject.target, grade.quantity, grade.format, grade.device, grade.regime)
        if key in grades:
            raise UsageError(f"{visible(name)} is no audit document: it grades {visible(', '.join(key[1:]))} twice")
        grades[key] = grade
    return _Record(
        path=name,
        digest=hashlib.sha256(data).hexdigest(),
        run=(
            *(subject.target, subject.name, _utc(settings.started, name), label),
            *(_choices(settings), str(settings.seed), document.dialect.formula),
            *(summary.outcome(document), summary.short_verdict(document)),
        ),
        environment=(
            *(environment.polyref, environment.torch or "", environment.framework or "", environment.python),
            *(environment.device, ", ".join(filter(None, (environment.machine, environment.processor)))),
        ),
        grades=[
            (
                *(key, g.grade, _stored(g.max_ulp), _stored(g.max_ratio)),
                None if g.case is None else msgspec.json.encode(g.case).decode(),
            )
            for key, g in grades.items()
        ],
        verdicts=_verdicts(document),
    )


def _choices(settings: doc.Settings) -> str:
    """The profile, and what else the user chose that decides what is tried: ``quick, epsilon=1.0``."""
    given = (settings.init | settings.call | settings.forms).items()
    return ", ".join([settings.profile, *(f"{name}={value}" for name, value in given), *settings.laws])


def _verdicts(document: doc.Document) -> list[tuple[tuple[str, ...], str, float | str | None]]:
    """The gravest verdict of each law and format, with the largest ratio that came with it."""
    found: dict[tuple[str, ...], list[doc.Finding]] = {}
    for f in document.findings:
        found.setdefault((document.subject.target, f.property, f.format or "", f.device), []).append(f)
    rows: list[tuple[tuple[str, ...], str, float | str | None]] = []
    for law, findings in found.items():
        verdict = min((f.verdict for f in findings), key=_GRAVEST_FIRST.index)
        ratios = [float(f.ratio) for f in findings if f.verdict == verdict and f.ratio is not None]
        worst = max(ratios, key=lambda r: (r != r, r), default=None)  # noqa: PLR0124 - NaN is the worst
        rows.append((law, verdict, None if worst is None else _stored(worst)))
    return rows


def _stored(value: float) -> float | str:
    """A number as SQLite holds it, see ``schema``."""
    return float(value) if value == value else "nan"  # noqa: PLR0124


def _utc(started: str, name: str) -> str:
    """The time in a form that sorts; one without a zone is in UTC, as documents have it."""
    try:
        time = datetime.fromisoformat(started)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise UsageError(f"{visible(name)} is no audit document: it started {visible(started)!r}, no time") from e
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")

"""Reading a history: the course of each grade over the runs of a subject, and the runs at which something moved.

SQLite sorts, compares and sums; what arrives here are the moves, and a fixed number of columns for each series.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from polyref.choice import chosen
from polyref.errors import NothingMeasured
from polyref.formats import FORMATS
from polyref.history import runs, store
from polyref.report import history as doc
from polyref.report.summary import QUANTITIES
from polyref.report.words import visible

#: The runs of a subject in the order of their time, numbered from 1. What follows refers to these numbers.
_PLACES = """
CREATE TEMP TABLE place AS
SELECT id, environment, row_number() OVER (ORDER BY started, id) AS place FROM run WHERE target = ?
"""
#: Every grade of the chosen series, beside that of the run before; i is its number, from 0.
_POINTS = """
CREATE TEMP TABLE point AS
SELECT series, run, environment, grade, max_ulp, max_ratio, worst_case,
       row_number() OVER w - 1 AS i,
       lag(run) OVER w AS old_run, lag(environment) OVER w AS old_environment,
       lag(grade) OVER w AS old_grade, lag(max_ulp) OVER w AS old_ulp, lag(max_ratio) OVER w AS old_ratio
FROM chosen JOIN grade USING (series) JOIN place ON place.id = run
WINDOW w AS (PARTITION BY series ORDER BY place)
"""
_EXTREMES = """
CREATE TEMP TABLE extreme AS
SELECT series, count(*) AS n, min(max_ulp) AS best_ulp, max(max_ulp) AS worst_ulp,
       min(max_ratio) AS best_ratio, max(max_ratio) AS worst_ratio
FROM point GROUP BY series
"""
#: One row for each series; the place of an extreme is that of the first run that has it.
_COURSES = """
SELECT series, max(n), max(CASE WHEN i = 0 THEN run END), max(CASE WHEN i = n - 1 THEN run END),
       max(CASE WHEN i = n - 1 THEN grade END),
       max(CASE WHEN i = 0 THEN max_ulp END), max(CASE WHEN i = n - 1 THEN max_ulp END), best_ulp, worst_ulp,
       min(CASE WHEN max_ulp = best_ulp THEN i END), min(CASE WHEN max_ulp = worst_ulp THEN i END),
       max(CASE WHEN i = 0 THEN max_ratio END), max(CASE WHEN i = n - 1 THEN max_ratio END), best_ratio, worst_ratio,
       min(CASE WHEN max_ratio = best_ratio THEN i END), min(CASE WHEN max_ratio = worst_ratio THEN i END)
FROM point JOIN extreme USING (series) GROUP BY series
"""
_AT = "SELECT i, run, worst_case FROM point WHERE series = ? AND i IN (?, ?, ?, ?)"
_COLUMN = f"i * min(n, {doc.COLUMNS}) / n"
_TRENDS = f"""
SELECT series, min(max_ulp), max(max_ulp), min(max_ratio), max(max_ratio)
FROM point JOIN extreme USING (series) GROUP BY series, {_COLUMN} ORDER BY series, {_COLUMN}
"""
_SHIFTS = f"""
SELECT series, {_COLUMN} AS column, min(i), run, old_run
FROM point JOIN extreme USING (series) WHERE environment <> old_environment
GROUP BY series, column ORDER BY series, column
"""
_STEPS = """
SELECT series, run, old_run, old_grade, grade, old_ulp, max_ulp, old_ratio, max_ratio
FROM point WHERE grade <> old_grade OR max_ulp <> old_ulp OR max_ratio <> old_ratio
"""
#: Most laws never have another verdict, and that is found without sorting.
_FLIPS = """
WITH moved AS (
    SELECT law FROM watched JOIN verdict USING (law) GROUP BY law HAVING min(verdict) <> max(verdict)
), beside AS (
    SELECT law, run, verdict, ratio, lag(run) OVER w AS old_run, lag(verdict) OVER w AS old_verdict,
           lag(ratio) OVER w AS old_ratio
    FROM moved JOIN verdict USING (law) JOIN place ON place.id = run
    WINDOW w AS (PARTITION BY law ORDER BY place)
)
SELECT property, format, device, run, old_run, old_verdict, verdict, old_ratio, ratio
FROM beside JOIN law ON law.id = law WHERE verdict <> old_verdict ORDER BY law
"""
_SERIES = "SELECT id, quantity, format, device, regime FROM series WHERE target = ?"
#: What is compared of two runs, and which of it is the environment.
_ENVIRONMENT = ("polyref", "torch", "framework", "python", "device", "machine")
_COMPARED = ("label", *_ENVIRONMENT, "profile", "seed", "formula")


def read(
    db: Path,
    *,
    target: str | None = None,
    quantities: Sequence[str] = (),
    formats: Sequence[str] = (),
    regimes: bool = False,
) -> doc.History:
    """What a history says about one subject, or about all of them.

    Args:
        db: the file of the history.
        target: the subject's target; all subjects where it is None.
        quantities: value, gradient; both where none is given.
        formats: names of formats; all of them where none is given.
        regimes: the single regimes of Pt too, not only all of them together.

    Raises:
        UsageError: if the history cannot be read, or what is asked for is not in it.
        NothingMeasured: if it has no run.
    """
    with store.reading(db) as connection:
        targets = _column(connection, "SELECT DISTINCT target FROM run ORDER BY target")
        if not targets:
            raise NothingMeasured(f"{visible(str(db))} has no run: polyref history add RUN.json adds one")
        here = f"in {visible(str(db))}"
        targets = list(chosen([] if target is None else [target], targets, f"target {here}"))
        wanted = chosen(quantities, QUANTITIES, "quantity")
        known = _column(connection, "SELECT format FROM series UNION SELECT format FROM law WHERE format <> ''")
        # Where no format was named, laws that have none are of interest too.
        among = chosen(formats, known, f"format {here}") if formats else None
        return doc.History(targets=[_target(connection, t, wanted, among, regimes) for t in targets])


def _target(
    connection: sqlite3.Connection, target: str, quantities: Sequence[str], formats: Sequence[str] | None, regimes: bool
) -> doc.Target:
    all_runs = runs.of_target(connection, target)
    by_id = {run.id: run for run in all_runs}
    keys = {
        id: (quantity, format, device, regime)
        for id, quantity, format, device, regime in sorted(connection.execute(_SERIES, (target,)), key=_order)
        if quantity in quantities and (formats is None or format in formats) and (regimes or regime == "all")
    }
    laws = [
        (id,)
        for id, format in connection.execute("SELECT id, format FROM law WHERE target = ?", (target,))
        if formats is None or format in formats
    ]
    for table in ("place", "chosen", "watched", "point", "extreme"):
        connection.execute(f"DROP TABLE IF EXISTS temp.{table}")
    connection.execute(_PLACES, (target,))
    connection.execute("CREATE UNIQUE INDEX temp.place_of_run ON place (id, place, environment)")
    for table, column, ids in (("chosen", "series", [(id,) for id in keys]), ("watched", "law", laws)):
        connection.execute(f"CREATE TEMP TABLE {table} ({column} INTEGER PRIMARY KEY)")
        connection.executemany(f"INSERT INTO {table} VALUES (?)", ids)
    connection.execute(_POINTS)
    connection.execute(_EXTREMES)
    return doc.Target(
        target=target,
        runs=len(all_runs),
        first=all_runs[0],
        last=all_runs[-1],
        series=_series(connection, keys, by_id),
        moves=_moves(connection, keys, all_runs),
    )


def _series(
    connection: sqlite3.Connection, keys: dict[int, tuple[str, str, str, str]], by_id: dict[int, doc.Run]
) -> list[doc.Series]:
    trends: dict[int, tuple[list[Any], list[Any]]] = {id: ([], []) for id in keys}
    for id, low_ulp, high_ulp, low_ratio, high_ratio in connection.execute(_TRENDS):
        ulp, ratio = trends[id]
        ulp.append((float(low_ulp), float(high_ulp)))
        ratio.append((float(low_ratio), float(high_ratio)))
    shifts: dict[int, list[doc.Shift]] = {id: [] for id in keys}
    for id, column, _, run, old in connection.execute(_SHIFTS):
        changed = _changes(by_id[old], by_id[run], _ENVIRONMENT)
        shifts[id].append(doc.Shift(column=column, run=run, changed=changed))
    found = {}
    for id, n, first, last, grade, *errors in connection.execute(_COURSES).fetchall():
        quantity, format, device, regime = keys[id]
        at = {i: (run, case) for i, run, case in connection.execute(_AT, (id, *errors[4:6], *errors[10:12]))}
        found[id] = doc.Series(
            quantity=quantity,
            format=format,
            device=device,
            regime=regime,
            runs=n,
            since=by_id[first].started,
            until=by_id[last].started,
            grade=grade,
            ulp=_course(errors[:6], at, trends[id][0]),
            ratio=_course(errors[6:], at, trends[id][1]),
            worst_case=_case(connection, at[errors[11]][1]),
            shifts=shifts[id],
        )
    return [found[id] for id in keys if id in found]


def _course(figures: Sequence[Any], at: dict[int, tuple[int, int | None]], trend: list[Any]) -> doc.Course:
    """Of first, last, best and worst, and the places of the last two."""
    first, last, best, worst = map(float, figures[:4])
    best_run, worst_run = (at[i][0] for i in figures[4:])
    return doc.Course(
        first=first, last=last, best=best, worst=worst, best_run=best_run, worst_run=worst_run, trend=trend
    )


def _moves(
    connection: sqlite3.Connection, keys: dict[int, tuple[str, str, str, str]], all_runs: list[doc.Run]
) -> list[doc.Move]:
    """Newest first; of one run, what is compared with the newest one before it first."""
    order = {run.id: i for i, run in enumerate(all_runs)}
    steps: dict[tuple[int, int], list[tuple[int, doc.Step]]] = {}
    flips: dict[tuple[int, int], list[doc.Flip]] = {}
    places = {id: i for i, id in enumerate(keys)}
    for id, run, old, old_grade, grade, old_ulp, ulp, old_ratio, ratio in connection.execute(_STEPS):
        quantity, format, device, regime = keys[id]
        step = doc.Step(
            quantity=quantity,
            format=format,
            device=device,
            regime=regime,
            grade=(old_grade, grade),
            ulp=(float(old_ulp), float(ulp)),
            ratio=(float(old_ratio), float(ratio)),
        )
        steps.setdefault((order[run], order[old]), []).append((places[id], step))
    for law, format, device, run, old, old_verdict, verdict, old_ratio, ratio in connection.execute(_FLIPS):
        flip = doc.Flip(
            law=law,
            format=format,
            device=device,
            verdict=(old_verdict, verdict),
            ratio=(_ratio(old_ratio), _ratio(ratio)),
        )
        flips.setdefault((order[run], order[old]), []).append(flip)
    return [
        doc.Move(
            run=all_runs[new],
            before=all_runs[old],
            changed=_changes(all_runs[old], all_runs[new], _COMPARED),
            steps=[step for _, step in sorted(steps.get((new, old), []), key=lambda pair: pair[0])],
            flips=flips.get((new, old), []),
        )
        for new, old in sorted({*steps, *flips}, reverse=True)
    ]


def _changes(old: doc.Run, new: doc.Run, fields: Iterable[str]) -> list[doc.Change]:
    return [
        doc.Change(what=name, old=getattr(old, name), new=getattr(new, name))
        for name in fields
        if getattr(old, name) != getattr(new, name)
    ]


def _order(row: tuple[int, str, str, str, str]) -> tuple[object, ...]:
    """Value before gradient, wide formats first, all regimes together first, in the order that they were met."""
    id, quantity, format, device, regime = row
    quantities, formats = list(QUANTITIES), list(FORMATS)
    return (
        quantities.index(quantity) if quantity in quantities else len(quantities),
        device,
        formats.index(format) if format in formats else len(formats),
        regime != "all",
        id,
    )


def _case(connection: sqlite3.Connection, id: int | None) -> dict[str, Any] | None:
    if id is None:
        return None
    text = connection.execute("SELECT text FROM worst_case WHERE id = ?", (id,)).fetchone()[0]
    return msgspec.json.decode(text, type=dict[str, Any])


def _ratio(value: float | str | None) -> float | None:
    return None if value is None else float(value)


def _column(connection: sqlite3.Connection, query: str) -> list[str]:
    return [value for (value,) in connection.execute(query)]

"""Adding, listing and removing runs: what a document says is what the history holds."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from report.example import build, finding

from polyref.errors import UsageError
from polyref.history import runs, series
from polyref.report import document as doc
from polyref.report import structs

from .example import REPLACE, run, write


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "h.sqlite"


def rows(db: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(query).fetchall()


def test_round_trip(db: Path, tmp_path: Path) -> None:
    document = build()
    (added,) = runs.add(write(tmp_path, [document]), db=db, label="abc")
    assert added.new
    (kept,) = runs.runs(db)
    assert kept == added.run
    said = {name: getattr(kept, name) for name in ("target", "name", "label", "started", "torch", "seed", "formula")}
    assert said == {
        "target": document.subject.target,
        "name": document.subject.name,
        "label": "abc",
        "started": "2026-03-01T12:00:00Z",
        "torch": "2.13.0+cpu",
        "seed": "0",
        "formula": document.dialect.formula,
    }
    assert (kept.outcome, kept.verdict) == ("broken", "2 of 6 broken")
    found = rows(
        db,
        "SELECT quantity, format, device, regime, grade, max_ulp, max_ratio, text FROM grade JOIN series"
        " ON series.id = series JOIN worst_case ON worst_case.id = worst_case ORDER BY series",
    )
    assert found == [
        (
            g.quantity,
            g.format,
            g.device,
            g.regime,
            g.grade,
            g.max_ulp,
            g.max_ratio,
            msgspec.json.encode(g.case).decode(),
        )
        for g in document.grades
    ]
    laws = rows(db, "SELECT property, format, verdict, ratio FROM verdict JOIN law ON law.id = law ORDER BY law")
    assert laws == [(f.property, f.format or "", f.verdict, f.ratio) for f in document.findings]


def test_the_same_document_again_changes_nothing(db: Path, tmp_path: Path) -> None:
    paths = write(tmp_path, [run(0), run(1)])
    first = runs.add([paths[0], paths[0], paths[1]], db=db)
    assert [(a.run.id, a.new) for a in first] == [(1, True), (1, False), (2, True)]
    before = rows(db, "SELECT * FROM run")
    again = runs.add(paths, db=db, label="another")
    assert [(a.run.id, a.new) for a in again] == [(1, False), (2, False)]
    assert rows(db, "SELECT * FROM run") == before


def test_one_bad_document_and_none_is_added(db: Path, tmp_path: Path) -> None:
    paths = write(tmp_path, [run(0), run(1)])
    paths[1].write_bytes(paths[1].read_bytes()[:-100])
    with pytest.raises(UsageError, match=r"run-001.json is no whole JSON file"):
        runs.add(paths, db=db)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run-000.json", "run-001.json"]
    runs.add(paths[:1], db=db)
    before = db.read_bytes()
    with pytest.raises(UsageError, match=r"run-001.json"):
        runs.add(paths, db=db)
    assert db.read_bytes() == before


def test_an_error_in_the_middle_of_a_command_undoes_all_of_it(
    db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write(tmp_path, [run(i) for i in range(3)])
    runs.add(paths[:1], db=db)
    before, insert = db.read_bytes(), runs._insert

    def failing(connection: sqlite3.Connection, ids: runs._Ids, record: runs._Record) -> tuple[int, bool]:
        if record.path.endswith("2.json"):
            raise KeyboardInterrupt
        return insert(connection, ids, record)

    monkeypatch.setattr(runs, "_insert", failing)
    with pytest.raises(KeyboardInterrupt):
        runs.add(paths, db=db)
    assert db.read_bytes() == before


def test_nan_and_infinity_survive(db: Path, tmp_path: Path) -> None:
    odd = {"value": (math.inf, math.nan), "gradient": (math.nan, math.inf)}
    document = run(
        0,
        grade=lambda g: {"max_ulp": odd[g.quantity][0], "max_ratio": odd[g.quantity][1]},
        findings=[finding("a", "violated", ratio=math.nan), finding("b", "violated", ratio=math.inf)],
    )
    later = run(1, findings=[finding("a", "holds", ratio=0.5), finding("b", "holds", ratio=None)])
    runs.add(write(tmp_path, [document, later]), db=db)
    (target,) = series.read(db, formats=("binary32",)).targets
    value, gradient = target.series
    assert (value.ulp.first, value.ulp.worst) == (math.inf, math.inf)
    assert math.isnan(value.ratio.first)
    assert math.isnan(value.ratio.worst)
    assert math.isnan(gradient.ulp.worst)
    assert gradient.ratio.worst == math.inf
    assert gradient.ratio.best == gradient.ratio.last == 0.77
    flips = {f.law: f.ratio for f in target.moves[0].flips}
    assert str(flips) == "{'a': (nan, 0.5), 'b': (inf, None)}"


def test_laws_with_several_findings_have_the_gravest_verdict(db: Path, tmp_path: Path) -> None:
    several = [
        finding("a", "holds", ratio=9.0),
        finding("a", "violated", ratio=2.0),
        finding("a", "violated", ratio=math.nan),
        finding("b", "inconclusive", ratio=None),
        finding("b", "not_applicable", ratio=None),
    ]
    runs.add(write(tmp_path, [build(findings=several)]), db=db)
    assert rows(db, "SELECT verdict, ratio FROM verdict ORDER BY law") == [("violated", "nan"), ("inconclusive", None)]


def test_a_grade_given_twice_is_refused(db: Path, tmp_path: Path) -> None:
    grades = build().grades
    with pytest.raises(UsageError, match="grades value, binary32, cpu, all twice"):
        runs.add(write(tmp_path, [build(grades=[*grades, grades[0]])]), db=db)
    assert not db.exists()


@pytest.mark.parametrize(
    ("started", "kept"),
    [
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00+14:00", "2026-02-28T22:00:00Z"),
        ("2026-03-01T12:00:00.999", "2026-03-01T12:00:00Z"),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00Z"),
    ],
)
def test_times_are_kept_in_utc(started: str, kept: str, db: Path, tmp_path: Path) -> None:
    document = build(settings=REPLACE(build().settings, started=started))
    runs.add(write(tmp_path, [document]), db=db)
    assert runs.runs(db)[0].started == kept


@pytest.mark.parametrize("started", ["", "yesterday", "0001-01-01T00:00:00+14:00", "2026-13-01", "\u202e2026"])
def test_what_is_no_time_is_refused(started: str, db: Path, tmp_path: Path) -> None:
    document = build(settings=REPLACE(build().settings, started=started))
    with pytest.raises(UsageError, match=r"run-000.json is no audit document: it started '.*', no time") as caught:
        runs.add(write(tmp_path, [document]), db=db)
    assert "\u202e" not in str(caught.value)


def test_seeds_of_any_size_and_labels_of_any_bytes(db: Path, tmp_path: Path) -> None:
    runs.add(write(tmp_path, [run(0, seed=2**63 - 1)]), db=db, label="a\udcffb\x00c")
    (kept,) = runs.runs(db)
    assert kept.seed == str(2**63 - 1)
    assert kept.label == "a\\udcffb\x00c"


def test_removing_leaves_no_trace(db: Path, tmp_path: Path) -> None:
    paths = write(tmp_path, [run(0), run(1, target="other:Loss", torch="9"), run(2)])
    runs.add(paths, db=db)
    with pytest.raises(UsageError, match="has the id 7"):
        runs.remove([1, 7], db=db)
    assert [r.id for r in runs.runs(db)] == [3, 2, 1]
    assert [r.id for r in runs.remove([2, 2], db=db)] == [2]
    assert [r.id for r in runs.runs(db)] == [3, 1]
    for table in ("series", "law", "run"):
        assert rows(db, f"SELECT DISTINCT target FROM {table}") == [("losses/poly.py:Poly1CrossEntropyLoss",)]
    assert rows(db, "SELECT DISTINCT torch FROM environment") == [("2.13.0+cpu",)]
    assert rows(db, "SELECT DISTINCT run FROM grade UNION SELECT run FROM verdict") == [(1,), (3,)]
    (again,) = runs.add(paths[1:2], db=db)
    assert again.new
    assert again.run.id == 4


def test_documents_are_written_as_they_are_read(tmp_path: Path, db: Path) -> None:
    """The digest is of the bytes: another form of the same document is another one."""
    (path,) = write(tmp_path, [run(0)])
    other = tmp_path / "other.json"
    other.write_bytes(msgspec.json.encode(structs.plain(doc.read(path))))
    assert [a.new for a in runs.add([path, other], db=db)] == [True, True]

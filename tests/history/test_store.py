"""The file of a history: damage of every kind is one line, and what was stored stays as it was."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from polyref.errors import UsageError
from polyref.history import runs, series, store
from polyref.history.schema import APPLICATION, VERSION
from polyref.report import history as doc

from .example import run, write

CONNECT = sqlite3.connect


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return write(tmp_path, [run(i) for i in range(4)])


@pytest.fixture
def db(tmp_path: Path, paths: list[Path]) -> Path:
    """A history of two runs, in a folder of its own."""
    (tmp_path / "kept").mkdir()
    path = tmp_path / "kept" / "h.sqlite"
    runs.add(paths[:2], db=path)
    return path


def commands(db: Path, paths: list[Path]) -> dict[str, Callable[[], object]]:
    return {
        "show": lambda: series.read(db),
        "list": lambda: runs.runs(db),
        "add": lambda: runs.add(paths[2:3], db=db),
        "remove": lambda: runs.remove([1], db=db),
    }


def refused(db: Path, paths: list[Path], *, line: str, only: tuple[str, ...] = ()) -> None:
    """Every command says so in one line and leaves the file, and its folder, as they were."""
    before = {p.name: p.read_bytes() if p.is_file() else None for p in db.parent.iterdir()}
    for name, command in commands(db, paths).items():
        if only and name not in only:
            continue
        with pytest.raises(UsageError, match=line) as caught:
            command()
        assert "\n" not in str(caught.value)
        assert "h.sqlite" in str(caught.value)
        assert caught.value.exit_code == 2
        assert {p.name: p.read_bytes() if p.is_file() else None for p in db.parent.iterdir()} == before


def outcome(command: Callable[[], object]) -> object:
    """What a command returns, or its line."""
    try:
        return command()
    except UsageError as e:
        line = str(e)
    assert "\n" not in line
    return line


def test_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(store.VARIABLE, raising=False)
    assert store.place(None) == Path("polyref-history.sqlite")
    monkeypatch.setenv(store.VARIABLE, "")
    assert store.place(None) == Path("polyref-history.sqlite")
    monkeypatch.setenv(store.VARIABLE, "a/b.sqlite")
    assert store.place(None) == Path("a/b.sqlite")
    assert store.place("c") == Path("c")


def test_names_that_a_uri_would_take_apart(tmp_path: Path, paths: list[Path]) -> None:
    for name in ("a b.sqlite", "a?mode=memory", "a#b", "a%20b", "ü.sqlite", os.fsdecode(b"\xff.sqlite")):
        path = tmp_path / "odd" / name
        path.parent.mkdir(exist_ok=True)
        runs.add(paths[:1], db=path)
        assert len(runs.runs(path)) == 1
        assert [p.name for p in path.parent.iterdir()] == [name]
        path.unlink()


def test_a_link_to_a_history_stays_a_link(tmp_path: Path, db: Path, paths: list[Path]) -> None:
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    link.symlink_to(db)
    dangling.symlink_to(tmp_path / "new.sqlite")
    runs.add(paths[2:3], db=link)
    runs.add(paths[2:3], db=dangling)
    assert link.is_symlink()
    assert len(runs.runs(db)) == 3
    assert len(runs.runs(tmp_path / "new.sqlite")) == 1


def test_cut_short(db: Path, paths: list[Path]) -> None:
    whole = db.read_bytes()
    for length in (1, 15, 16, 99, 100, 1000, 4096, 4097, 8192, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        db.write_bytes(whole[:length])
        refused(db, paths, line="nor any SQLite database|is damaged")


def test_empty(db: Path, paths: list[Path]) -> None:
    db.write_bytes(b"")
    refused(db, paths, line="is empty, so it is no history")


@pytest.mark.parametrize("data", [b"a text\n" * 999, b"\0" * 4096, b"SQLite format 2\0" * 99])
def test_no_database(data: bytes, db: Path, paths: list[Path]) -> None:
    db.write_bytes(data)
    refused(db, paths, line="is no history, nor any SQLite database")


def test_every_bit_of_the_header(db: Path, paths: list[Path]) -> None:
    """Either the line, or, where SQLite does not need the bit, the same answer as before."""
    whole, answer = db.read_bytes(), series.read(db)
    told = 0
    for bit in range(8 * 100):
        turned = bytearray(whole)
        turned[bit // 8] ^= 1 << bit % 8
        db.write_bytes(turned)
        read = outcome(lambda: series.read(db))
        told += isinstance(read, str)
        assert read == answer or isinstance(read, str)
        assert db.read_bytes() == turned
        assert [p.name for p in db.parent.iterdir()] == [db.name]
    assert told > 300


def test_random_bytes_anywhere(db: Path, paths: list[Path]) -> None:
    """Never anything but an answer or the line."""
    whole, rng = db.read_bytes(), random.Random(6)
    told = 0
    for _ in range(150):
        turned = bytearray(whole)
        for _ in range(rng.choice((1, 4, 40))):
            turned[rng.randrange(100, len(turned))] = rng.randrange(256)
        db.write_bytes(turned)
        for name in ("show", "list"):
            told += isinstance(outcome(commands(db, paths)[name]), str)
            assert db.read_bytes() == turned
        if isinstance(outcome(commands(db, paths)["add"]), str):
            assert db.read_bytes() == turned
    assert told > 50


@pytest.mark.parametrize(
    ("pragma", "line"),
    [
        ("application_id = 0", "a database of another application"),
        (f"user_version = {VERSION + 1}", "of version 2, this polyref reads version 1: use a newer polyref"),
        ("user_version = 0", "of version 0, this polyref reads version 1: it is damaged"),
        ("user_version = -1", "use a newer polyref"),
    ],
)
def test_of_another_application_or_version(pragma: str, line: str, db: Path, paths: list[Path]) -> None:
    with closing(CONNECT(db)) as connection:
        connection.execute(f"PRAGMA {pragma}")
    refused(db, paths, line=line)


def test_another_journal(db: Path, paths: list[Path]) -> None:
    with closing(CONNECT(db)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    refused(db, paths, line="is damaged .its journal is not that of a history")


def test_what_another_application_left_unfinished_is_not_touched(db: Path, paths: list[Path]) -> None:
    db.unlink()
    with closing(CONNECT(db)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE theirs (a)")
        refused(db, paths, line="a database of another application")


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE verdict",
        "CREATE TABLE more (a)",
        "ALTER TABLE run ADD COLUMN more TEXT",
        "CREATE TRIGGER t AFTER INSERT ON run BEGIN DELETE FROM grade; END",
    ],
)
def test_other_tables(statement: str, db: Path, paths: list[Path]) -> None:
    with closing(CONNECT(db)) as connection:
        connection.execute(statement)
    refused(db, paths, line="is damaged .its tables are not those of a history")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE grade SET max_ulp = 'much'",
        "UPDATE run SET environment = 99",
        "UPDATE run SET label = x'00ff'",
        "UPDATE run SET label = CAST(x'ff41' AS TEXT)",
        "UPDATE worst_case SET text = '{'",
    ],
)
def test_rows_that_do_not_fit(statement: str, db: Path, paths: list[Path]) -> None:
    with closing(CONNECT(db)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)
        connection.commit()
    with pytest.raises(UsageError, match="is damaged") as caught:
        series.read(db)
    assert "\n" not in str(caught.value)


def test_a_writer_does_not_build_on_damage(db: Path, paths: list[Path]) -> None:
    """What adding a run would not even look at."""
    with closing(CONNECT(db)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE grade SET max_ulp = 'much' WHERE run = 1")
    refused(db, paths, line="is damaged .*CHECK")


def test_missing(tmp_path: Path, paths: list[Path]) -> None:
    db = tmp_path / "nowhere" / "h.sqlite"
    for name in ("show", "list", "remove"):
        with pytest.raises(UsageError, match=r"there is no history at .*: polyref history add RUN.json begins one"):
            commands(db, paths)[name]()
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere, make it"):
        runs.add(paths, db=db)
    assert not db.parent.exists()


def test_a_folder_a_device_and_a_pipe(tmp_path: Path, paths: list[Path]) -> None:
    pipe = tmp_path / "h.pipe"
    os.mkfifo(pipe)
    for db in (tmp_path, Path(os.devnull), pipe):
        for command in commands(db, paths).values():
            with pytest.raises(UsageError, match=r"cannot keep a history in .*: it is no ordinary file"):
                command()
    with pytest.raises(UsageError, match=r"cannot begin a history at|there is no folder"):
        runs.add(paths, db=paths[0] / "h.sqlite")


@contextmanager
def holding(db: Path, begin: str) -> Iterator[None]:
    """Another process that holds a lock: locks are those of processes."""
    code = f"""
        import sqlite3, sys
        connection = sqlite3.connect({str(db)!r}, isolation_level=None)
        connection.execute({begin!r})
        connection.execute("SELECT count(*) FROM run").fetchall()
        print("held", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield
        assert other.stdin is not None
        other.stdin.close()
        assert other.wait() == 0


@pytest.mark.parametrize(
    ("begin", "stopped"),
    [
        ("BEGIN EXCLUSIVE", ("show", "list", "add", "remove")),
        ("BEGIN IMMEDIATE", ("add", "remove")),
        ("BEGIN", ("add", "remove")),
    ],
)
def test_locked(
    begin: str, stopped: tuple[str, ...], db: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PATIENCE", 0.05)
    with holding(db, begin):
        before = db.read_bytes()
        for name, command in commands(db, paths).items():
            if name in stopped:
                with pytest.raises(UsageError, match=r"locked by another process for 0.05 s: try again"):
                    command()
            else:
                command()
        assert db.read_bytes() == before
    assert [r.id for r in runs.runs(db)] == [2, 1]
    commands(db, paths)["add"]()


def _connecting(monkeypatch: pytest.MonkeyPatch, *, mode: str = "rw", pragma: str = "") -> None:
    def connect(database: Any, **options: Any) -> sqlite3.Connection:
        connection = CONNECT(str(database).replace("mode=rw", f"mode={mode}"), **options)
        if pragma:
            connection.execute(pragma)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)


def test_read_only(db: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As SQLite opens a file that is write-protected; permissions would not bind root."""
    _connecting(monkeypatch, mode="ro")
    assert len(runs.runs(db)) == 2
    assert series.read(db).targets[0].runs == 2
    refused(db, paths, line="cannot write .*: it is read-only", only=("add", "remove"))


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_no_permission(db: Path, paths: list[Path]) -> None:
    db.chmod(0o400)
    assert len(runs.runs(db)) == 2
    refused(db, paths, line="cannot write", only=("add", "remove"))


def test_disk_full(db: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    pages = db.stat().st_size // 4096
    _connecting(monkeypatch, pragma=f"PRAGMA max_page_count = {pages}")
    many = write(db.parent.parent, [run(i, summary="x" * i, torch=f"9.{i}" * 500) for i in range(40)])
    before = db.read_bytes()
    with pytest.raises(UsageError, match=r"cannot write .*, no space is left: make room"):
        runs.add(many, db=db)
    assert db.read_bytes() == before
    assert len(runs.runs(db)) == 2


def test_disk_full_at_the_start(tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _connecting(monkeypatch, pragma="PRAGMA max_page_count = 3")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no space is left"):
        runs.add(paths, db=tmp_path / "empty" / "h.sqlite")
    assert not list((tmp_path / "empty").iterdir())


def test_an_error_of_ours_is_not_called_damage(db: Path) -> None:
    with pytest.raises(sqlite3.ProgrammingError), store.reading(db) as connection:
        connection.execute("SELECT ?", ())
    assert APPLICATION.to_bytes(4, "big") == b"Poly"


def test_writers_at_once(tmp_path: Path) -> None:
    """Eight processes begin and fill one history together."""
    paths = write(tmp_path, [run(i, target=f"m:Loss{i % 3}") for i in range(16)])
    db = tmp_path / "h.sqlite"
    argv = [sys.executable, "-m", "polyref", "history", "add", "--db", str(db)]
    writers = [
        subprocess.Popen([*argv, str(paths[i]), str(paths[8 + i])], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for i in range(8)
    ]
    for writer in writers:
        _, said = writer.communicate()
        assert (writer.returncode, said) == (0, b"")
    kept = runs.runs(db)
    assert len(kept) == len({r.started for r in kept}) == 16
    with closing(CONNECT(db)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        n = len(run(0).grades)
        assert connection.execute("SELECT count(*) FROM grade GROUP BY run").fetchall() == [(n,)] * 16
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".json" and p != db]


#: A writer that says when the rows of two runs are in its transaction, and then waits to be killed.
WRITER = """
import sys, time
from pathlib import Path
from polyref.history import runs, store
insert, pragma = runs._insert, {pragma!r}

def announced(connection, ids, record):
    if record.path.endswith("002.json"):
        connection.execute("PRAGMA cache_size = " + pragma)
    done = insert(connection, ids, record)
    if record.path.endswith("003.json"):
        print("written", flush=True)
        time.sleep(600)
    return done

runs._insert = announced
runs.add(sys.argv[2:], db=Path(sys.argv[1]))
"""


@pytest.mark.parametrize("first", ["show", "add"])
@pytest.mark.parametrize("pragma", ["-65536", "1"])
def test_a_writer_that_is_killed_loses_nothing(pragma: str, first: str, db: Path, paths: list[Path]) -> None:
    """With room in memory, and with pages that reached the file already, so that the journal has to undo them."""
    before, answer = db.read_bytes(), series.read(db)
    argv = [sys.executable, "-c", WRITER.format(pragma=pragma), str(db), *map(str, paths[2:])]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "written\n"
            assert db.with_name("h.sqlite-journal").exists()
        finally:
            writer.kill()
    assert (db.read_bytes() != before) == (pragma == "1")
    if first == "show":
        assert series.read(db) == answer
        assert db.read_bytes() == before
    assert [a.new for a in runs.add(paths, db=db)] == [False, False, True, True]
    assert [r.id for r in runs.runs(db)] == [4, 3, 2, 1]
    with closing(CONNECT(db)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert [p.name for p in db.parent.iterdir()] == [db.name]
    assert doc.dumps(series.read(db)).count(b'"moves":[]') == 1

"""Opening the file of a history, and saying in one line why that cannot be done.

Every command is one transaction: a reader sees one state of the file, and of a writer all or nothing stays, whatever
ends it. Writers wait for each other.

The journal is SQLite's own default, a rollback journal. A write-ahead log would let readers and a writer work at once,
which nobody needs who reads for a second; it would put two more files beside the one that people copy and keep as an
artefact, and it loses data on network folders, where the runners of a CI meet. Writers are the only ones who take the
lock early (BEGIN IMMEDIATE), so that two of them never wait for each other's end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from polyref.errors import UsageError
from polyref.history.schema import APPLICATION, TABLES, VERSION
from polyref.report.files import why
from polyref.report.words import visible

DEFAULT: Final = "polyref-history.sqlite"
VARIABLE: Final = "POLYREF_HISTORY"
#: Seconds that a command waits for another one that writes.
PATIENCE = 30.0
#: What was committed is on the disk, and stays there even if the power fails at that moment.
SYNCHRONOUS = "EXTRA"

_MAGIC = b"SQLite format 3\0"
_HEADER = 100
_CUT = "it is cut short"
#: How the header says that the journal is one of rollback, for writing and for reading.
_ROLLBACK = b"\1\1"


def place(given: str | os.PathLike[str] | None) -> Path:
    """The file that a user means: the one given, else the environment's, else the default in the working folder."""
    return Path(given if given is not None else os.environ.get(VARIABLE) or DEFAULT)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees one state of the history, and changes nothing of it.

    Raises:
        UsageError: if there is no history, or it cannot be read; one line that names the file.
    """
    if not os.path.lexists(path):
        raise UsageError(f"there is no history at {_shown(path)}: polyref history add RUN.json begins one")
    with _opened(path, "BEGIN") as connection:
        yield connection


@contextlib.contextmanager
def writing(path: Path, *, create: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection whose changes are kept if the block ends well, and none of them otherwise.

    Args:
        path: the file.
        create: whether to begin a history where there is none.

    Raises:
        UsageError: if it cannot be written; one line that names the file.
    """
    path = Path(os.path.realpath(path))
    if not os.path.lexists(path):
        if not create:
            raise UsageError(f"there is no history at {_shown(path)}: polyref history add RUN.json begins one")
        _begin(path)
    with _opened(path, "BEGIN IMMEDIATE") as connection:
        yield connection
        connection.execute("COMMIT")


@contextlib.contextmanager
def _opened(path: Path, begin: str) -> Iterator[sqlite3.Connection]:
    """A connection in a transaction, to what is certainly a history; what is not committed at the end is undone."""
    _identify(path)
    with _told(path), _fitting(path):
        # mode=rw for readers too: what a writer that was killed left behind has to be undone first.
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)) as connection:
            for pragma in (
                "trusted_schema = OFF",
                "cell_size_check = ON",
                "temp_store = MEMORY",
                "cache_size = -65536",
                f"synchronous = {SYNCHRONOUS}",
            ):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute(begin)
            _check(connection, path)
            yield connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Look at the tables and at every page: that takes a fifth of a second for thousands of runs."""
    # SQLite takes what a last page lacks for zeros.
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if path.stat().st_size < pages * size:
        raise _damaged(path, _CUT)
    tables = connection.execute("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'")
    if {text for (text,) in tables} != set(TABLES):
        raise _damaged(path, "its tables are not those of a history")
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _damaged(path, found)


def _identify(path: Path) -> None:
    """Read whose file it is from its first bytes, so that SQLite never touches, or mends, one of somebody else.

    Closing a file drops the locks that this process has on it, so this is done before SQLite opens it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"cannot keep a history in {_shown(path)}: it is no ordinary file")
        with path.open("rb") as stream:
            head = stream.read(_HEADER)
    except (OSError, ValueError) as e:
        if isinstance(e, UsageError):
            raise
        raise UsageError(f"cannot read {_shown(path)}: {why(e)}") from e
    if not head:
        raise UsageError(f"{_shown(path)} is empty, so it is no history: remove it, or name another with --db")
    if not head.startswith(_MAGIC):
        raise UsageError(f"{_shown(path)} is no history, nor any SQLite database: name another with --db")
    if len(head) < _HEADER:
        raise _damaged(path, _CUT)
    version, application = (int.from_bytes(head[i : i + 4], "big") for i in (60, 68))
    if application != APPLICATION:
        raise UsageError(f"{_shown(path)} is a database of another application: name another with --db")
    if version != VERSION:
        raise UsageError(
            f"{_shown(path)} is a history of version {version}, this polyref reads version {VERSION}:"
            f" {'use a newer polyref' if version > VERSION else 'it is damaged'}"
        )
    if head[18:20] != _ROLLBACK:
        raise _damaged(path, "its journal is not that of a history")


def _begin(path: Path) -> None:
    """Make an empty history under another name and link it: nobody ever sees half of one, or replaces another's."""
    temporary = path.parent / f".{path.name[:100]}.{secrets.token_hex(8)}.tmp"
    try:
        if not path.parent.is_dir():
            raise UsageError(
                f"cannot begin a history at {_shown(path)}: there is no folder {visible(str(path.parent))}, make it"
            )
        with _told(path), contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            for pragma in (
                f"synchronous = {SYNCHRONOUS}",
                f"application_id = {APPLICATION}",
                f"user_version = {VERSION}",
            ):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN")
            for statement in TABLES:
                connection.execute(statement)
            connection.execute("COMMIT")
        with contextlib.suppress(FileExistsError):  # another writer was first, and theirs is as good
            os.link(temporary, path)
    except (OSError, ValueError) as e:
        if isinstance(e, UsageError):
            raise
        raise UsageError(f"cannot begin a history at {_shown(path)}: {why(e)}") from e
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of the database in one line with what to do."""
    try:
        yield
    except sqlite3.DatabaseError as e:
        code = getattr(e, "sqlite_errorcode", None)
        if code is None and not isinstance(e, sqlite3.OperationalError):
            raise  # not the file's fault, but that of whoever used the module
        raise _line(path, e, -1 if code is None else code & 0xFF) from e


@contextlib.contextmanager
def _fitting(path: Path) -> Iterator[None]:
    """Bits that turned in the middle of a page leave a whole database with rows that do not fit together."""
    try:
        yield
    except (LookupError, TypeError, ValueError) as e:
        if isinstance(e, UsageError):
            raise
        raise _damaged(path, "its rows do not fit together") from e


def _line(path: Path, error: sqlite3.DatabaseError, code: int) -> UsageError:
    name = _shown(path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UsageError(f"{name} was locked by another process for {PATIENCE:g} s: try again when that has ended")
    if code == sqlite3.SQLITE_FULL:
        return UsageError(f"cannot write {name}, no space is left: make room, or name another place with --db")
    if code == sqlite3.SQLITE_READONLY:
        return UsageError(f"cannot write {name}: it is read-only, or its folder is; name another with --db")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return UsageError(f"cannot open {name}: it, or its folder, may not be used; name another with --db")
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
        return UsageError(f"cannot read or write {name}: {visible(str(error))}")
    return _damaged(path, str(error))


def _damaged(path: Path, reason: str) -> UsageError:
    reason = " ".join(visible(reason, lines=True).split())
    return UsageError(f"{_shown(path)} is damaged ({reason}): put a copy in its place, or name another with --db")


def _shown(path: Path) -> str:
    return visible(str(path))

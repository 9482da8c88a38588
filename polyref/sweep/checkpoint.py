"""The folder of a sweep that can be stopped and resumed: one file for the job, one for each range that is done.

A file is written whole or not at all, and says which job and range it belongs to and what its bytes amount to. So a
sweep that is killed loses the ranges in flight, one that is resumed counts none twice, and a file that was damaged or
that belongs elsewhere is refused by its name.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TypeVar

import msgspec

from polyref.errors import UsageError
from polyref.report import structs
from polyref.report.files import make_folder, why, write_atomically
from polyref.sweep.hand import Swept
from polyref.sweep.job import Job, Range

_Kind = TypeVar("_Kind", bound=msgspec.Struct)

SCHEMA = "polyref-sweep-checkpoint/2"
MANIFEST = "job.json"


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    digest: str
    job: Job


class _Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: str
    range: Range
    seal: str
    swept: Swept


class Checkpoint:
    """The folder of one job.

    Args:
        folder: where it is; made if it is not there.
        job: the sweep.

    Raises:
        UsageError: if the folder belongs to another job, or a file in it is damaged or cannot be written.
    """

    def __init__(self, folder: Path, job: Job) -> None:
        self.folder, self._job, self._digest = folder, job, job.digest
        make_folder(folder)
        path = folder / MANIFEST
        if path.exists():
            there = _read(path, _Manifest)
            if there.schema != SCHEMA:
                raise UsageError(f"{path} is of schema {there.schema!r}, not {SCHEMA!r}: give another folder")
            if there.digest != self._digest or there.job.digest != self._digest:
                raise UsageError(
                    f"{path} belongs to another sweep ({_difference(there.job, job)}): give another folder"
                )
        else:
            write_atomically(path, msgspec.json.format(msgspec.json.encode(_Manifest(SCHEMA, self._digest, job))))

    def done(self) -> dict[Range, Swept]:
        """The ranges that are done.

        Raises:
            UsageError: for a file that is damaged or belongs to another sweep.
        """
        known = set(self._job.ranges)
        found = {}
        for path in sorted(self.folder.glob("range-*.json")):
            done = _read(path, _Done)
            if done.seal != _seal(done.digest, done.range, done.swept):
                raise UsageError(f"{path} is damaged: delete it, and its range is swept again")
            if done.digest != self._digest or done.range not in known or path.name != _name(done.range):
                raise UsageError(f"{path} belongs to another sweep: delete it, or give another folder")
            found[done.range] = done.swept
        return found

    def keep(self, done: Range, swept: Swept) -> None:
        """Write down a range.

        Raises:
            UsageError: if it cannot be written.
        """
        record = _Done(self._digest, done, _seal(self._digest, done, swept), swept)
        write_atomically(self.folder / _name(done), msgspec.json.encode(structs.plain(record)))

    def remove(self) -> None:
        """Delete what this sweep has written, and the folder if nothing else is in it."""
        for path in [*self.folder.glob("range-*.json"), self.folder / MANIFEST]:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def _name(done: Range) -> str:
    return f"range-{done.start:010x}-{done.stop:010x}.json"


def _seal(digest: str, done: Range, swept: Swept) -> str:
    return hashlib.sha256(msgspec.json.encode(structs.plain((digest, done, swept)), order="sorted")).hexdigest()


def _read(path: Path, kind: type[_Kind]) -> _Kind:
    try:
        return structs.decoder(kind).decode(path.read_bytes())
    except OSError as e:
        raise UsageError(f"cannot read {path}: {why(e)}") from e
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"{path} is damaged ({e}): delete it, and what it held is swept again") from e


def _difference(there: Job, here: Job) -> str:
    """The first thing in which two jobs differ."""
    for field in here.__struct_fields__:
        a, b = getattr(there, field), getattr(here, field)
        if a != b and field != "path":
            return f"{field} {a!r}, not {b!r}"
    return "it was changed"

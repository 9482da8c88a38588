"""Measurements that long tests enter into a report: by several processes, and kept when a run is cut off."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polyref.report.files import write_atomically


@contextmanager
def ledger(path: Path, *, about: str, made: dict[str, Any], part: str) -> Iterator[dict[str, Any]]:
    """The part of a report that measurements are entered into, for one process at a time; written if it changes.

    Args:
        path: of the report.
        about: what it holds.
        made: what it was made with; a report that was made otherwise is begun anew.
        part: the name of the part.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        before = path.read_text() if path.exists() else "{}"
        document: dict[str, Any] = json.loads(before)
        if document.get("made") != made:
            document = {"about": about, "made": made, part: {}}
        yield document[part]
        after = json.dumps(document, indent=1, sort_keys=True) + "\n"
        if after != before:
            write_atomically(path, after.encode())
    finally:
        os.close(folder)

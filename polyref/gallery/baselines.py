"""The project's own baselines: polyref.nn on each backend, and the gallery as it was published.

``python -m polyref.gallery.baselines FOLDER`` makes them anew; the tests hold every one of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from polyref import gate
from polyref.auditor import audit_of, gated
from polyref.formats import BFLOAT16, BINARY32, Format
from polyref.gallery import ENTRIES
from polyref.gallery.run import OURS
from polyref.options import AUDITED
from polyref.report import document as doc
from polyref.report.baseline import Baseline
from polyref.request import request

#: Those of polyref.nn that run on any machine.
BACKENDS = ("eager", "native")
_CHOICE = "POLYREF_NN_BACKEND"


class Gated(NamedTuple):
    """A subject that has a baseline.

    Attributes:
        name: of the file.
        target: as for an audit.
        backend: of polyref.nn, "" for what is not ours.
        formats: that it is held in.
        reason: why it may break laws, "" if it may not.
    """

    name: str
    target: str
    backend: str
    formats: tuple[Format, ...]
    reason: str


def subjects() -> Iterator[Gated]:
    """Everything that has a baseline: the functions of polyref.nn and its focal loss, and the gallery of torch."""
    for name, target in OURS:
        if name in ("nn-function", "nn-focal", "nn-binary"):
            formats = AUDITED if name == "nn-function" else (BINARY32, BFLOAT16)
            yield from (Gated(f"{name}-{backend}", target, backend, formats, "") for backend in BACKENDS)
    for entry in ENTRIES:
        if entry.framework == "torch":
            # It is fixed, and tells of the auditor: one format is enough.
            yield Gated(entry.id, entry.target, "", (BINARY32,), "as it was published" if entry.defects else "")


def audited(subject: Gated, baseline: Baseline | None = None) -> doc.Document:
    """A quick audit of a subject on its backend, held against a baseline.

    It runs in this process, which gives the document that a process of its own does and has loaded everything already.

    Raises:
        PolyrefError: as for an audit.
    """
    asked = request(subject.target, formats=subject.formats, profile="quick", isolated=False)
    options = replace(asked.options, baseline=baseline)
    with _on(subject.backend):
        return gated(audit_of(asked.target, asked.started, options, quiet=True), options)


@contextmanager
def _on(backend: str) -> Iterator[None]:
    """polyref.nn is told the backend by the environment, as in any program."""
    before = os.environ.get(_CHOICE)
    if backend:
        os.environ[_CHOICE] = backend
    try:
        yield
    finally:
        os.environ.pop(_CHOICE, None)
        if before is not None:
            os.environ[_CHOICE] = before


def main(arguments: Sequence[str]) -> int:
    """Make every baseline in a folder anew, from the one that is there."""
    folder = Path(arguments[0])
    for subject in subjects():
        path = folder / f"{subject.name}.json"
        previous = gate.read(path, update=True)
        print(gate.updated(path, audited(subject, previous), previous, reason=subject.reason), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

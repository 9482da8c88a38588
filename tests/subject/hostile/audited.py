"""Auditing one hostile subject, and whether what was said is what must be said."""

from __future__ import annotations

import time
from dataclasses import dataclass

from polyref.auditor import Options, audit
from polyref.errors import PolyrefError, UsageError
from polyref.report.document import Document, dumps
from subject.hostile.table import CLASSES_LAST, PROCESS, Entry


@dataclass(frozen=True)
class Audited:
    """What came of one audit: a document or the line of a refusal, and how long it took."""

    document: Document | None
    refusal: str
    exit_code: int
    seconds: float


def audited(entry: Entry, options: Options) -> Audited:
    """Audit a subject; every error but one that a user can cause is raised."""
    began = time.monotonic()
    try:
        document = audit(entry.target, options, quiet=True)
    except PolyrefError as e:
        return Audited(None, str(e), e.exit_code, time.monotonic() - began)
    return Audited(document, "", document.exit_code, time.monotonic() - began)


def complaints(entry: Entry, found: Audited) -> list[str]:
    """What is not as it must be; nothing for an audit that says what it should."""
    if found.document is None:
        wrong = [] if entry.refused else [f"it was refused: {found.refusal}"]
        if entry.says not in found.refusal:
            wrong.append(f"{entry.says!r} is not in {found.refusal!r}")
        if "\n" in found.refusal or len(found.refusal) > 2000:
            wrong.append(f"{len(found.refusal)} characters in more than one short line")
        return wrong + ([] if found.exit_code == UsageError.exit_code else [f"exit code {found.exit_code}"])
    wrong = ["it was not refused"] if entry.refused else []
    dumps(found.document)  # it can be written and read back
    if entry.law is None:
        # All of them have the classes last, as much of the published code has.
        violated = [f for f in found.document.violated if f.property != CLASSES_LAST]
        wrong += [f"it breaks {f.property}: {f.explanation}" for f in violated]
        said = [*found.document.dialect.notes, *(f.explanation for f in found.document.findings)]
        return wrong if any(entry.says in text for text in said) else [*wrong, f"{entry.says!r} is not in {said}"]
    mine = [f for f in found.document.violated if f.property == entry.law]
    if not any(entry.says in f"{f.explanation} {f.observed}" for f in mine):
        violated = [(f.property, f.explanation) for f in found.document.violated]
        wrong.append(f"{entry.says!r} is not said of {entry.law} in {violated}")
    if entry.law == PROCESS and not all(f.case and f.case_text and PROCESS in f.reproduce for f in mine):
        wrong.append("the case in flight is not named")
    return wrong + ([] if found.exit_code == 1 else [f"exit code {found.exit_code}"])

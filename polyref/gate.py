"""The baseline of an audit as a file: read before it, and written anew after it where that is asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from polyref.errors import NotComparable, NothingMeasured, UsageError
from polyref.report import baseline as base
from polyref.report import document as doc
from polyref.report import moves
from polyref.report.files import check_writable
from polyref.report.words import count, visible


def check(path: Path | None, *, update: bool, reason: str, expires: str | None, targets: int) -> None:
    """Check what was asked for, before anything runs.

    Raises:
        UsageError: if a choice has nothing to be about, or the file cannot be written.
    """
    if path is None and update:
        raise UsageError("--update-baseline has nothing to write to: give --baseline FILE")
    if (reason or expires) and not update:
        raise UsageError("--reason and --expires are written to a baseline: give --update-baseline too")
    if reason and not reason.strip():
        raise UsageError("--reason is blank: say why the laws may be broken")
    if expires and not reason:
        raise UsageError(f"--expires {expires} is the end of nothing: give --reason too")
    if path is not None and targets > 1:
        raise UsageError(f"{targets} targets cannot have one baseline: audit them one at a time")
    if expires is not None and base.day(expires) < datetime.now(UTC).date():
        raise UsageError(f"--expires {expires} is over already: give a day to come")
    if path is not None and update:
        check_writable(path)


def read(path: Path | None, *, update: bool) -> base.Baseline | None:
    """The baseline in a file; None where there is no path, or none yet and it is to be made.

    Raises:
        UsageError: if it cannot be read.
        NotComparable: if it has another schema.
    """
    if path is None or (update and not path.exists()):
        return None
    if not path.exists():
        raise UsageError(f"there is no baseline {visible(str(path))}: make it with --update-baseline")
    try:
        return base.read(path)
    except NotComparable:
        if update:
            return None
        raise


def updated(
    path: Path, found: doc.Document, previous: base.Baseline | None, *, reason: str = "", expires: str | None = None
) -> str:
    """Write what was found to a baseline, and say so in a line.

    What is known of laws that may be broken, and what did not run this time, is kept from the previous one, if that is
    of the same formula.

    Raises:
        NotComparable: if the file is of another subject or device.
        UsageError: if laws are broken without a reason, or the file cannot be written; it is as it was then.
        NothingMeasured: if no law was decided.
    """
    if not any(f.verdict in base.DECIDED for f in found.findings):
        raise NothingMeasured("nothing was measured, so the baseline stays as it is")
    if previous is not None:
        here = visible(str(path))
        if base.place(previous.subject.target) != base.place(found.subject.target):
            raise NotComparable(
                f"{here} is of {visible(previous.subject.target)}: give another file, or remove it first"
            )
        if previous.environment.device != found.environment.device:
            raise NotComparable(
                f"{here} was made on {previous.environment.device}: give another file, or remove it first"
            )
        if previous.computes["formula"] != found.dialect.formula:
            previous = None
    made = base.of(found, previous, reason=reason, expires=expires)
    base.write(made, path)
    known = sum(law.known is not None for law in made.laws)
    parts = [count(len(made.laws), "law"), count(len(made.grades), "grade"), count(len(made.cases), "row")]
    text = f"Wrote {visible(str(path))}: {', '.join(parts)}" + (f", {known} known to be broken" if known else "")
    worse = moves.accepted(found.gate) if found.gate is not None else ""
    return f"{text}; accepted: {worse}" if worse else text

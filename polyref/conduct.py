"""What a subject does to its process: the calls that end it, and what is noticed beside its answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from polyref.options import Options
from polyref.property import A_LOSS
from polyref.report import document as doc
from polyref.report.words import count
from polyref.reproduce import reproduce
from polyref.subject.limits import SLOW_IMPORT
from polyref.subject.manner import PLAIN
from polyref.subject.observation import Observation
from polyref.subject.runner import Audited, Death
from polyref.verdict import Outcome, Verdict, describe

#: The law that a subject breaks with a plain call that ends its process; it may be met before any other is tried.
KEEPS_ITS_PROCESS = "keeps-its-process"
#: How many of the things that an import changed are named.
_FEW = 5


def deaths(
    target: str, met: Sequence[Death], options: Options, alone: Callable[[Death], bool | None] = lambda _: None
) -> list[doc.Finding]:
    """A finding for each way in which plain calls ended their process, with the smallest of the cases in flight.

    Args:
        target: the target.
        met: what ended a process, in order.
        options: of the audit.
        alone: whether the case of a death ends a process that answers no other, None where that cannot be told.
    """
    groups: dict[str, list[Death]] = {}
    for death in met:
        if death.manner == PLAIN:  # in the others it is the law that asked which says what that means
            groups.setdefault(death.killed, []).append(death)
    found = []
    for group in groups.values():
        worst = min(group, key=lambda d: len(d.case.logits) * d.case.classes)
        found.append(_death(target, group, worst, len(met), options, ends_alone=alone(worst)))
    return found


def _death(
    target: str, group: list[Death], worst: Death, total: int, options: Options, *, ends_alone: bool | None
) -> doc.Finding:
    words = f" Its last words: {worst.words}." if worst.words else ""
    of = "" if len(group) == total else f" ({len(group):,} of the {total:,} that did)"
    alone = ""
    if ends_alone is False:
        alone = (
            f" It came after {count(worst.calls, 'call')} in that process; alone the case does not end one, so that "
            "the command below does not show it."
        )
    return doc.Finding(
        property=KEEPS_ITS_PROCESS,
        theme="behaviour",
        verdict="violated",
        statement="A loss returns or raises; it ends, blocks and exhausts no process.",
        formula="f(z, y) is a tensor or an exception, within the limits on time and memory",
        citation="Convention of torch.nn losses",
        explanation=f"{count(len(group), 'call')} ended the process, {worst.killed}{of}.{words}{alone}",
        remedy="Mend what it says; the laws are judged after that.",
        format=worst.case.format.name,
        device="cpu",
        case=worst.case.to_json(),
        case_text=describe(worst.case),
        expected=A_LOSS,
        observed=f"killed: {worst.killed}",
        ratio=math.inf,
        examples=len(group),
        reproduce=reproduce(target, KEEPS_ITS_PROCESS, worst.case, options),
    )


def survival(seen: Observation) -> Outcome:
    """What one observation says about a subject that keeps its process."""
    if seen.killed is None:
        return Outcome(Verdict.HOLDS, 0.0, A_LOSS, "a loss" if seen.ok else str(seen.error))
    return Outcome(Verdict.VIOLATED, math.inf, A_LOSS, f"killed: {seen.killed}", f"The call was killed: {seen.killed}.")


def circumstances(subject: Audited) -> Iterator[str]:
    """Notes on what the subject does to its process and its output, and on a limit that left something untried."""
    if subject.changed:
        few = [*subject.changed[:_FEW], *(["more"] if len(subject.changed) > _FEW else [])]
        yield f"Importing it changed {', '.join(few)}; what polyref measures with is not affected."
    # Frameworks other than torch are imported with the target, and are slow and talkative themselves.
    own = subject.convention.framework == "torch"
    if own and subject.slow_import:
        yield f"Importing it takes longer than {SLOW_IMPORT:g} s."
    if own and "imported" in subject.writes:
        yield "It writes to standard output or error when it is imported."
    if "called" in subject.writes:
        yield "It writes to standard output or error when it is called."
    if subject.exhausted is not None:
        yield f"Not everything was tried: {subject.exhausted}."

"""What the document says as a whole: laws counted once each, the headline, the worst grade of each format.

A finding is about one law in one format; a reader asks about laws. A law is broken if any finding says so, else it
holds if any says so, else it is open: the same rule that gives a document its exit code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from polyref.formats import FORMATS
from polyref.report import moves
from polyref.report.document import Document, Finding, Grade, GradeName, Quantity
from polyref.report.words import count, number

#: Best first.
GRADES: tuple[GradeName, ...] = ("correctly rounded", "faithful", "accurate", "textbook", "degraded", "broken")
QUANTITIES: tuple[Quantity, ...] = ("value", "gradient")
#: The columns of every overview, asked for or not.
COLUMNS = ("binary64", "binary32", "binary16", "bfloat16")

Outcome: TypeAlias = Literal["broken", "hold", "open", "nothing"]


@dataclass(frozen=True)
class Laws:
    """The ids of the laws by what became of them, each id once, in the document's order."""

    broken: tuple[str, ...]
    held: tuple[str, ...]
    undecided: tuple[str, ...]
    not_applicable: tuple[str, ...]

    @property
    def decided(self) -> int:
        """How many laws were found to hold or to be broken."""
        return len(self.broken) + len(self.held)


def laws(document: Document) -> Laws:
    """Each law of the document in one of four groups."""
    seen: set[str] = set()
    groups = []
    for verdict in ("violated", "holds", "inconclusive", "not_applicable"):
        ids = dict.fromkeys(f.property for f in document.findings if f.verdict == verdict)
        groups.append(tuple(i for i in ids if i not in seen))
        seen.update(ids)
    return Laws(*groups)


def undecided(document: Document) -> list[Finding]:
    """What could not be decided, but for laws that another format shows to be broken."""
    known = laws(document).broken
    return [f for f in document.having("inconclusive") if f.property not in known]


@dataclass(frozen=True)
class Broken:
    """One broken law: its finding in the widest format, and those in the others."""

    finding: Finding
    also: tuple[Finding, ...] = ()


def broken(document: Document) -> list[Broken]:
    """The broken laws in the document's order, each once, its formats widest first."""
    return by_law(document.violated)


def by_law(violated: Sequence[Finding]) -> list[Broken]:
    """Violated findings in their order, one for each law, its formats widest first."""
    groups: dict[str, list[Finding]] = {}
    for f in violated:
        groups.setdefault(f.property, []).append(f)
    ordered = [sorted(group, key=lambda f: _width(f.format)) for group in groups.values()]
    return [Broken(first, tuple(rest)) for first, *rest in ordered]


def in_order(document: Document) -> list[Finding]:
    """Every finding: broken laws first, the formats of each together and widest first; then the others as they are."""
    first = [f for law in broken(document) for f in (law.finding, *law.also)]
    return [*first, *(f for f in document.findings if f.verdict != "violated")]


def known(document: Document) -> dict[tuple[str, str | None], str]:
    """Why a law may be broken in a format, by the baseline that the document was held against."""
    if document.gate is None:
        return {}
    return {(m.property, m.format): m.known for m in document.gate.laws if m.known and not m.fails}


def moved(document: Document, *, failing: bool = False) -> list[str]:
    """A line for each law, grade and recorded row that moved since the baseline, the gravest of each first.

    With ``failing`` those that fail the gate only.
    """
    return [f"{m.move}: {what}: {how}" for m, what, how in _told(document) if m.fails or not failing]


def regressions(document: Document) -> list[tuple[str, str]]:
    """(what it is about, a line) for all that fails the gate and is no broken law: those are findings."""
    return [
        (what, f"{m.move}: {what}: {how}")
        for m, what, how in _told(document)
        if m.fails and getattr(m, "new", None) != "violated"
    ]


def _told(document: Document) -> list[tuple[moves.AnyMove, str, str]]:
    gate = document.gate
    if gate is None:
        return []
    found: list[moves.AnyMove] = [*moves.moved(gate.laws), *moves.moved(gate.grades), *moves.moved(gate.cases)]
    return [(m, moves.name(m), moves.text(m)) for m in found]


def also(law: Broken, ratio: Callable[[float | None], str] = number) -> str:
    """``binary32 (7.40e5 times the tolerance), binary16 (89.9)``: the other formats in which the law is broken."""
    several = len({f.device for f in (law.finding, *law.also)}) > 1
    cells = []
    for i, f in enumerate(law.also):
        where = (f.format or "no format") + (f" on {f.device}" if several else "")
        unit = " times the tolerance" if i == 0 else ""
        cells.append(where if f.ratio is None else f"{where} ({ratio(f.ratio)}{unit})")
    return ", ".join(cells)


def circumstances(finding: Finding) -> str:
    """The theme, the format and, where it is not the CPU, the device of a finding."""
    device = "" if finding.device == "cpu" else finding.device
    return ", ".join(part for part in (finding.theme, finding.format, device) if part)


def _width(format: str | None) -> int:
    known = list(FORMATS)
    return known.index(format) if format in known else len(known)


def outcome(document: Document) -> Outcome:
    """The answer in one word; ``open`` is "nothing broken, but not everything decided"."""
    found = laws(document)
    if found.broken:
        return "broken"
    if not found.decided:
        return "nothing"
    return "open" if document.having("inconclusive") else "hold"


def answer(document: Document) -> tuple[Outcome, str]:
    """What decides the exit code: the comparison with a baseline where there was one, else the laws."""
    if document.gate is None:
        return outcome(document), headline(document)
    return moves.outcome(document.gate), moves.headline(document.gate)


def headline(document: Document) -> str:
    """The answer in one sentence, without a full stop."""
    found = laws(document)
    n = found.decided
    if not n:
        return "Nothing was measured"
    if found.broken:
        b = len(found.broken)
        if n == 1:
            return "The one law that was decided is broken"
        return f"{b:,} of {count(n, 'law')} {'is' if b == 1 else 'are'} broken"
    open_laws = len(found.undecided)
    whole = "The one law" if n == 1 else f"All {n:,} laws"
    verb = "holds" if n == 1 else "hold"
    return f"{whole} that could be decided {verb}, {open_laws:,} could not" if open_laws else f"{whole} {verb}"


def short_verdict(document: Document) -> str:
    """The answer for a column of a table."""
    found = laws(document)
    if not found.decided:
        return "nothing measured"
    if found.broken:
        return f"{len(found.broken):,} of {found.decided:,} broken"
    return f"{found.decided:,} hold" + (f", {len(found.undecided):,} open" if found.undecided else "")


def some(ids: tuple[str, ...], most: int = 3) -> str:
    """The first few ids and how many more there are."""
    rest = len(ids) - most
    return ", ".join(ids) if rest <= 1 else f"{', '.join(ids[:most])} and {rest:,} more"


def by_reason(findings: list[Finding]) -> list[tuple[str, list[str]]]:
    """Findings grouped by their explanation: each reason, and its laws."""
    groups: dict[str, dict[str, None]] = {}
    for f in findings:
        groups.setdefault(f.explanation or "no reason given", {})[f.property] = None
    return [(reason, list(ids)) for reason, ids in groups.items()]


def formats_of(document: Document) -> list[str]:
    """The graded formats, widest first; one that this polyref does not know comes last."""
    return sorted(dict.fromkeys(g.format for g in document.grades), key=_width)


def devices_of(document: Document) -> list[str]:
    """The graded devices, in the document's order."""
    return list(dict.fromkeys(g.device for g in document.grades))


def overall(document: Document) -> dict[tuple[str, str, str], Grade]:
    """The grade over all regimes for each (quantity, device, format)."""
    return {(g.quantity, g.device, g.format): g for g in document.grades if g.regime == "all"}


def by_regime(document: Document) -> list[Grade]:
    """The grades of single regimes, in the document's order."""
    return [g for g in document.grades if g.regime != "all"]


def worst_grades(document: Document) -> dict[str, GradeName]:
    """For each format the worst grade over quantities and devices."""
    worst: dict[str, GradeName] = {}
    for g in overall(document).values():
        if g.format not in worst or GRADES.index(g.grade) > GRADES.index(worst[g.format]):
            worst[g.format] = g.grade
    return worst


def place(document: Document) -> str:
    """Where the subject is defined: ``file:line``, or its target."""
    s = document.subject
    if s.file is None:
        return s.target
    return s.file if s.line is None else f"{s.file}:{s.line}"

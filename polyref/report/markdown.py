"""The report as a comment on a pull request: the answer, the grades, and what is broken, on about one screen.

Each broken law is one line that opens. What does not fit into a comment is left out, and the report says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from polyref.report import summary
from polyref.report.document import Document, Finding, Grade
from polyref.report.github import block, code, figure, prose
from polyref.report.words import count

#: GitHub takes 65,536 characters; the rest is for what a workflow puts around the report.
LARGEST = 65_000

#: A longer command is left out: one that is cut is of no use.
_LONGEST_COMMAND = 8_000
#: Such a list is left out too, so that all but the broken laws fits, whatever a document holds.
_LONGEST_LIST = 5_000
_MOST_FORMATS = 8
_MOST_DEVICES = 4
_MOST_ITEMS = 10

_MARKS = {"broken": "✗", "hold": "✓", "open": "✓", "nothing": "?"}


def render(document: Document) -> str:
    """The report as GitHub's Markdown, at most :data:`LARGEST` characters."""
    parts = [_head(document), *_grades(document)]
    end = [*_others(document), _environment(document)]
    laws = [_law(law) for law in summary.broken(document)]
    room = LARGEST - sum(len(part) + 2 for part in [*parts, *end, _left_out(document, len(laws))])
    kept = 0
    while kept < len(laws) and room >= len(laws[kept]) + 2:
        room -= len(laws[kept]) + 2
        kept += 1
    left_out = [_left_out(document, len(laws) - kept)] if kept < len(laws) else []
    return "\n\n".join([*parts, *laws[:kept], *left_out, *end]) + "\n"


def _head(document: Document) -> str:
    """The verdict, what the subject computes, and what it does otherwise than a PolyLoss."""
    subject, dialect = document.subject, document.dialect
    outcome, answer = summary.answer(document)
    answer = answer[0].lower() + answer[1:]
    lines = [
        f"### {_MARKS[outcome]} polyref: {answer if document.gate is None else prose(answer)}\n",
        f"{code(subject.name, 100)} ({prose(summary.place(document), 200)}, {prose(subject.framework, 40)})"
        f" computes {code(dialect.formula, 300)}",
    ]
    if dialect.deviation:
        remedy = f" **Remedy:** {prose(dialect.remedy)}" if dialect.remedy else ""
        lines.append(f"\n**Differs:** {prose(dialect.deviation)}{remedy}")
    if document.gate is not None:
        lines.append(f"\n**Laws:** {summary.headline(document)}.")
        moved = summary.moved(document)
        if moved:
            lines.append(f"\n{_folded(f'{len(moved):,} moved', _list(moved))}")
    return "\n".join(lines)


def _grades(document: Document) -> list[str]:
    """A row for each quantity and device, a column for each format."""
    every, formats, devices = summary.overall(document), summary.formats_of(document), summary.devices_of(document)
    if not every:
        return []
    shown = formats[:_MOST_FORMATS]
    head = ["quantity", *(prose(f, 40) for f in shown)]
    rows = []
    for quantity in summary.QUANTITIES:
        for device in devices[:_MOST_DEVICES]:
            where = f"{quantity}, {prose(device, 40)}" if len(devices) > 1 else quantity
            rows.append([where, *(_grade(every.get((quantity, device, f))) for f in shown)])
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    legend = f"Grades, best first: {', '.join(summary.GRADES)}; each with the worst error of all cases."
    if len(shown) < len(formats) or len(devices) > _MOST_DEVICES:
        legend += " The document has more formats and devices."
    return [f"{table}\n\n<sub>{legend}</sub>"]


def _grade(grade: Grade | None) -> str:
    if grade is None:
        return "–"
    word = f"**{grade.grade}**" if grade.grade in {"degraded", "broken"} else grade.grade
    return f"{word}, {figure(grade.max_ulp)}&nbsp;ulp"


def _law(law: summary.Broken) -> str:
    """A broken law: its line says what the subject does; opened, it has the case, the numbers and the remedy."""
    f = law.finding
    found = (f, *law.also)
    where = [
        *dict.fromkeys(one.format for one in found),
        *dict.fromkeys(one.device for one in found if one.device != "cpu"),
    ]
    title = f"<b>{prose(f.property, 120)}</b>"
    if any(where):
        title += f" ({prose(', '.join(filter(None, where)), 80)})"
    first, stop, rest = f.explanation.partition(". ")
    if first:
        title += f": {prose(first + stop, 250)}"
    lines = [f"{prose(f.statement)} {code(f.formula)}" if f.formula else prose(f.statement), ""]
    if rest or len(first) > 250:
        lines.append(f"- **Subject** {prose(f.explanation)}")
    lines += [f"- **{label}** {text}" for label, text in _facts(law)]
    for one in found:
        lines += ["", *_command(one, several=bool(law.also))]
    return _folded(title, "\n".join(lines), LARGEST)


def _facts(law: summary.Broken) -> list[tuple[str, str]]:
    f = law.finding
    facts = [(label, code(text)) for label, text in _figures(f) if text]
    if f.ratio is not None:
        facts.append(("Error", f"{figure(f.ratio)} times the tolerance"))
    if law.also:
        facts.append(("Also in", prose(summary.also(law, figure))))
    if f.remedy:
        facts.append(("Remedy", prose(f.remedy)))
    return facts


def _figures(finding: Finding) -> Sequence[tuple[str, str]]:
    return ("Case", finding.case_text), ("Expected", finding.expected), ("Observed", finding.observed)


def _command(finding: Finding, *, several: bool) -> list[str]:
    """The command that shows a finding again, in a block that GitHub gives a button for copying."""
    where = f" in {prose(finding.format or 'no format', 40)}" if several else ""
    if not finding.reproduce:
        return []
    if len(finding.reproduce) > _LONGEST_COMMAND:
        return [f"The command that reproduces it{where} is too long for a comment; the document has it."]
    return [f"Reproduce{where}:", "", block(finding.reproduce, "sh")]


def _others(document: Document) -> list[str]:
    """Notes, the laws that hold, those that are open and those that do not apply, each group in one line that opens."""
    held, notes = summary.laws(document).held, document.dialect.notes
    parts = []
    if notes:
        parts.append(_folded(count(len(notes), "note"), _list(notes)))
    if held:
        parts.append(_folded(count(len(held), "law holds", "laws hold"), prose(", ".join(held), _LONGEST_LIST)))
    undecided, away = summary.undecided(document), document.having("not_applicable")
    for title, found in (("could not be decided", undecided), ("not applicable", away)):
        if found:
            ids = dict.fromkeys(f.property for f in found)
            reasons = [f"{', '.join(laws)}: {reason}" for reason, laws in summary.by_reason(found)]
            parts.append(_folded(f"{count(len(ids), 'law')} {title}", _list(reasons)))
    return parts


def _environment(document: Document) -> str:
    e, s = document.environment, document.settings
    parts = [
        f"polyref {e.polyref}",
        *(f"{name} {version}" for name, version in (("torch", e.torch), ("framework", e.framework)) if version),
        f"Python {e.python}, {e.platform} {e.machine}, {e.device}",
        f"{count(s.examples, 'example')} in {figure(s.seconds)} s, profile {s.profile}, seed {s.seed}",
    ]
    return f"<sub>{prose('; '.join(parts))}</sub>"


def _left_out(document: Document, n: int) -> str:
    them = "it is" if n == 1 else "they are"
    return (
        f"**{count(n, 'more broken law')} left out**, because a comment has room for {LARGEST:,} characters: {them} in"
        f" the document and the HTML page of this audit, and {code(f'polyref audit {document.subject.target}', 300)}"
        " shows every one."
    )


def _list(items: Sequence[str]) -> str:
    lines = [f"- {prose(item)}" for item in items[:_MOST_ITEMS]]
    if len(items) > _MOST_ITEMS:
        lines.append(f"- and {len(items) - _MOST_ITEMS:,} more, which are in the document")
    return "\n".join(lines)


def _folded(title: str, body: str, longest: int = _LONGEST_LIST) -> str:
    if len(body) > longest:
        body = "Too long for a comment: the document has it."
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"

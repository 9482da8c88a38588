"""The report for a person at a terminal: the answer first, then what is wrong and how to mend it, then the grades.

It reads without colour and at 80 columns. Everything from a subject passes :func:`polyref.report.words.visible` into
a ``Text``, which rich never parses for markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from polyref.report import compared
from polyref.report.document import Document, Finding
from polyref.report.lines import WIDEST, grid, indented, put, put_line, wrapped
from polyref.report.summary import (
    COLUMNS,
    QUANTITIES,
    Broken,
    also,
    broken,
    by_reason,
    circumstances,
    devices_of,
    formats_of,
    headline,
    laws,
    outcome,
    overall,
    place,
    short_verdict,
    some,
    undecided,
    worst_grades,
)
from polyref.report.words import count, number, visible

if TYPE_CHECKING:  # the verdicts would load the reference, and a report needs none of it
    from polyref.verdict import Outcome

_WIDEST_FORMAT = 12

MARKS = {"broken": "✗", "hold": "✓", "open": "✓", "nothing": "?"}
_STYLES = {"broken": "bold red", "hold": "bold green", "open": "bold green", "nothing": "bold yellow"}
_GRADE_STYLES = {
    "correctly rounded": "green",
    "faithful": "green",
    "accurate": "green",
    "textbook": "cyan",
    "degraded": "yellow",
    "broken": "red",
}
_SHORT = {"correctly rounded": "correct"}


def render(document: Document, console: Console) -> None:
    """Print the whole report."""
    width = min(console.width, WIDEST)
    kind = outcome(document)
    console.print()
    put(console, Text(f"{MARKS[kind]} {headline(document)}", _STYLES[kind]), width)
    put(console, indented(_head(document)), width)
    for i, law in enumerate(broken(document), start=1):
        console.print()
        broken_law(law, console, index=i)
    console.print()
    put(console, _others(document), width)
    if document.grades:
        console.print()
        put(console, _grades(document), width)
    if document.gate is not None:
        compared.render(document.gate, console)
    s = document.settings
    end = f"{count(s.examples, 'example')} in {number(s.seconds)} s, profile {s.profile}, seed {s.seed}"
    console.print()
    put(console, Text(end, "dim"), width)


def summary_table(documents: Sequence[Document], console: Console, failures: Sequence[tuple[str, str]] = ()) -> None:
    """Print an overview: a row of grades for each subject, and under it what it computes and which laws it breaks.

    Args:
        documents: of the subjects.
        console: where.
        failures: targets that came to nothing, and why.
    """
    width = min(console.width, WIDEST)
    known = [f for d in documents for f in formats_of(d)]
    formats = [*COLUMNS, *dict.fromkeys(f for f in known if f not in COLUMNS)]
    titles = [visible(f)[:_WIDEST_FORMAT] for f in formats]
    cell = max(map(cell_len, titles)) + 2
    verdicts = [short_verdict(d) for d in documents]
    last = max([len("laws"), *map(len, verdicts)])
    room = max(width - 2 - cell * len(formats) - last, 12)
    head = " " * 2 + "subject".ljust(room) + "".join(t.ljust(cell) for t in titles) + "laws"
    console.print()
    put_line(console, Text(head, "dim"))
    for document, verdict in zip(documents, verdicts, strict=True):
        kind = outcome(document)
        name = Text(visible(document.subject.target), "bold")  # several subjects may have one name
        row = Text.assemble((MARKS[kind] + " ", _STYLES[kind]))
        if cell_len(name.plain) < room:
            row.append_text(name).append(" " * (room - cell_len(name.plain)))
        else:
            put_line(console, row.append_text(name))
            row = Text(" " * (room + 2))
        grades = worst_grades(document)
        for f in formats:
            word = grades.get(f)
            short = _SHORT.get(word, word) if word else "–"
            row.append(short.ljust(cell), _GRADE_STYLES[word] if word else "dim")
        put_line(console, row.append(verdict, _STYLES[kind]))
        put(console, Padding(wrapped(document.dialect.formula), (0, 0, 0, 2)), width)
        ids = laws(document).broken
        if ids:
            put(console, Padding(Text(visible(f"breaks {some(ids)}"), "dim"), (0, 0, 0, 2)), width)
    for target, why in failures:
        put(console, Text.assemble(("! ", "bold red"), (visible(target), "bold"), ("  not audited", "bold red")), width)
        put(console, Padding(Text(visible(why), "dim"), (0, 0, 0, 2)), width)
    console.print()
    legend = (
        "Grades, best first: correct(ly rounded), faithful, accurate, textbook, degraded, broken; each the worse of"
        " value and gradient over all cases."
    )
    put(console, Text(legend, "dim"), width)


def outcome_of_one(outcome: Outcome, console: Console) -> None:
    """Print what one case says about one law."""
    console.print(f"{outcome.verdict}: error {number(outcome.ratio)} times the tolerance", soft_wrap=True)
    rows = [("Expected", outcome.expected), ("Observed", outcome.observed), ("Subject", outcome.explanation)]
    put(console, grid([(label, wrapped(text)) for label, text in rows if text]), WIDEST)


def _head(document: Document) -> Group:
    subject = document.subject
    source = f"{place(document)}, {subject.framework}"
    rows = [
        ("Subject", wrapped(subject.name, "bold").append(visible(f"  {source}"), "not bold dim")),
        ("Computes", wrapped(document.dialect.formula, "bold")),
        ("Called", wrapped(document.convention.text)),
    ]
    if document.dialect.deviation:
        rows += [("Differs", wrapped(document.dialect.deviation)), ("Remedy", wrapped(document.dialect.remedy))]
    rows += [("Note" if i == 0 else "", wrapped(note)) for i, note in enumerate(document.dialect.notes)]
    return Group(grid(rows))


def broken_law(law: Broken, console: Console, *, index: int | None = None) -> None:
    """Print what a broken law asks, what the subject does, the smallest case, the remedy and how to see it again."""
    finding, width = law.finding, min(console.width, WIDEST)
    mark = "✗ " if index is None else f"{index} ✗ "
    title = Text.assemble((mark, "bold red"), (visible(finding.property), "bold"))
    title.append(f"  {visible(circumstances(finding))}", "dim")
    put(console, title, width)
    statement = wrapped(finding.statement)
    statement.append(visible(f"\n{finding.formula}", lines=True), "dim")
    rows = [("Law", statement), ("Subject", wrapped(finding.explanation))]
    if finding.case_text:
        rows.append(("Case", wrapped(finding.case_text)))
    if finding.expected:
        rows.append(("Expected", wrapped(finding.expected)))
    if finding.observed:
        rows.append(("Observed", wrapped(finding.observed)))
    if finding.ratio is not None:
        rows.append(("Error", Text(f"{number(finding.ratio)} times the tolerance")))
    if law.also:
        rows.append(("Also in", wrapped(also(law))))
    if finding.remedy:
        rows.append(("Remedy", wrapped(finding.remedy)))
    put(console, indented(grid(rows)), width)
    if finding.reproduce:
        put_line(console, Text.assemble(("  Reproduce  ", "dim"), visible(finding.reproduce, whole=True)))


def _others(document: Document) -> Group:
    """The laws that hold in one list, and the open ones with their reasons."""
    parts: list[RenderableType] = []
    held = laws(document).held
    if held:
        parts.append(_listed("✓", "green", f"{count(len(held), 'law holds', 'laws hold')}:", ", ".join(held)))
    open_ones, away = undecided(document), document.having("not_applicable")
    if open_ones:
        parts.append(_listed("?", "yellow", "Could not be decided:", _with_reasons(open_ones)))
    if away:
        parts.append(_listed("–", "dim", "Not applicable:", _with_reasons(away)))
    return Group(*parts)


def _with_reasons(findings: list[Finding]) -> str:
    return "; ".join(f"{', '.join(ids)} ({reason})" for reason, ids in by_reason(findings))


def _listed(mark: str, style: str, title: str, text: str) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style=style, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(mark, Text(visible(title) + " ").append(visible(text), "dim"))
    return grid


def _grades(document: Document) -> Table:
    grades = overall(document)
    devices = devices_of(document)
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("Quantity", no_wrap=True)
    table.add_column("Format", no_wrap=True)
    if len(devices) > 1:
        table.add_column("Device", no_wrap=True)
    table.add_column("Grade", no_wrap=True)
    # Together with a column for the device, one for the examples does not fit into 80 columns.
    last = [] if len(devices) > 1 else ["Examples"]
    for name in ("Worst ulp", "Error/tolerance", *last):
        table.add_column(name, justify="right", no_wrap=True)
    for quantity in QUANTITIES:
        for device in devices:
            for format in formats_of(document):
                grade = grades.get((quantity, device, format))
                if grade is None:
                    continue
                where = [Text(visible(device))] if len(devices) > 1 else []
                table.add_row(
                    Text(quantity),
                    Text(visible(format)),
                    *where,
                    Text(grade.grade, _GRADE_STYLES[grade.grade]),
                    Text(number(grade.max_ulp)),
                    Text(number(grade.max_ratio)),
                    *(Text(f"{grade.examples:,}") for _ in last),
                )
    return table

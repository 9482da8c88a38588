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
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from polyref.report.document import Document, Finding
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
    worst_grades,
)
from polyref.report.words import count, number, visible

if TYPE_CHECKING:  # the verdicts would load the reference, and a report needs none of it
    from polyref.verdict import Outcome

#: Lines longer than this are hard to read, however wide the window.
WIDEST = 120

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
    _print(console, Text(f"{MARKS[kind]} {headline(document)}", _STYLES[kind]), width)
    _print(console, _indented(_head(document)), width)
    for i, law in enumerate(broken(document), start=1):
        console.print()
        _broken(i, law, console, width)
    console.print()
    _print(console, _others(document), width)
    if document.grades:
        console.print()
        _print(console, _grades(document), width)
    s = document.settings
    end = f"{count(s.examples, 'example')} in {number(s.seconds)} s, profile {s.profile}, seed {s.seed}"
    console.print()
    _print(console, Text(end, "dim"), width)


def summary_table(documents: Sequence[Document], console: Console) -> None:
    """Print an overview: a row of grades for each subject, and under it what it computes and which laws it breaks."""
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
    _line(console, Text(head, "dim"))
    for document, verdict in zip(documents, verdicts, strict=True):
        kind = outcome(document)
        name = Text(visible(document.subject.target), "bold")  # several subjects may have one name
        row = Text.assemble((MARKS[kind] + " ", _STYLES[kind]))
        if cell_len(name.plain) < room:
            row.append_text(name).append(" " * (room - cell_len(name.plain)))
        else:
            _line(console, row.append_text(name))
            row = Text(" " * (room + 2))
        grades = worst_grades(document)
        for f in formats:
            word = grades.get(f)
            short = _SHORT.get(word, word) if word else "–"
            row.append(short.ljust(cell), _GRADE_STYLES[word] if word else "dim")
        _line(console, row.append(verdict, _STYLES[kind]))
        _print(console, Padding(_wrapped(document.dialect.formula), (0, 0, 0, 2)), width)
        ids = laws(document).broken
        if ids:
            _print(console, Padding(Text(visible(f"breaks {some(ids)}"), "dim"), (0, 0, 0, 2)), width)
    console.print()
    legend = (
        "Grades, best first: correct(ly rounded), faithful, accurate, textbook, degraded, broken; each the worse of"
        " value and gradient over all cases."
    )
    _print(console, Text(legend, "dim"), width)


def outcome_of_one(outcome: Outcome, console: Console) -> None:
    """Print what one case says about one law."""
    console.print(f"{outcome.verdict}: error {number(outcome.ratio)} times the tolerance", soft_wrap=True)
    rows = [("Expected", outcome.expected), ("Observed", outcome.observed), ("Subject", outcome.explanation)]
    _print(console, _grid([(label, _wrapped(text)) for label, text in rows if text]), WIDEST)


def _print(console: Console, what: RenderableType, width: int) -> None:
    """Print without the blanks that fill the ends of a table's lines: a report is copied into other texts."""
    options = console.options.update(width=width, highlight=False, markup=False)
    for line in console.render_lines(what, options, pad=False):
        while line and not line[-1].text.strip():
            line.pop()
        if line:
            line[-1] = Segment(line[-1].text.rstrip(), *line[-1][1:])
        console.print(Segments([*line, Segment.line()]), end="")


def _line(console: Console, text: Text) -> None:
    """One line that is never broken by us, so that it can be copied whole."""
    console.print(text, soft_wrap=True, highlight=False, markup=False, emoji=False)


def _wrapped(text: str, style: str = "") -> Text:
    return Text(visible(text, lines=True), style, overflow="fold")


def _indented(what: RenderableType) -> Padding:
    return Padding(what, (0, 0, 0, 2))


def _grid(rows: Sequence[tuple[str, Text]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, width=9)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(label, text)
    return grid


def _head(document: Document) -> Group:
    subject = document.subject
    source = f"{place(document)}, {subject.framework}"
    rows = [
        ("Subject", _wrapped(subject.name, "bold").append(visible(f"  {source}"), "not bold dim")),
        ("Computes", _wrapped(document.dialect.formula, "bold")),
        ("Called", _wrapped(document.convention.text)),
    ]
    rows += [("Note" if i == 0 else "", _wrapped(note)) for i, note in enumerate(document.dialect.notes)]
    return Group(_grid(rows))


def _broken(i: int, broken_law: Broken, console: Console, width: int) -> None:
    finding = broken_law.finding
    title = Text.assemble((f"{i} ✗ ", "bold red"), (visible(finding.property), "bold"))
    title.append(f"  {visible(circumstances(finding))}", "dim")
    _print(console, title, width)
    law = _wrapped(finding.statement)
    law.append(visible(f"\n{finding.formula}", lines=True), "dim")
    rows = [("Law", law), ("Subject", _wrapped(finding.explanation))]
    if finding.case_text:
        rows.append(("Case", _wrapped(finding.case_text)))
    if finding.expected:
        rows.append(("Expected", _wrapped(finding.expected)))
    if finding.observed:
        rows.append(("Observed", _wrapped(finding.observed)))
    if finding.ratio is not None:
        rows.append(("Error", Text(f"{number(finding.ratio)} times the tolerance")))
    if broken_law.also:
        rows.append(("Also in", _wrapped(also(broken_law))))
    if finding.remedy:
        rows.append(("Remedy", _wrapped(finding.remedy)))
    _print(console, _indented(_grid(rows)), width)
    if finding.reproduce:
        _line(console, Text.assemble(("  Reproduce  ", "dim"), visible(finding.reproduce, whole=True)))


def _others(document: Document) -> Group:
    """The laws that hold in one list, and the open ones with their reasons."""
    parts: list[RenderableType] = []
    held = laws(document).held
    if held:
        parts.append(_listed("✓", "green", f"{count(len(held), 'law holds', 'laws hold')}:", ", ".join(held)))
    undecided, away = document.having("inconclusive"), document.having("not_applicable")
    if undecided:
        parts.append(_listed("?", "yellow", "Could not be decided:", _with_reasons(undecided)))
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

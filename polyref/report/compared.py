"""A comparison for a person at a terminal: the answer, how the environments differ, and what moved."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyref.report import moves
from polyref.report.comparison import CaseMove, Comparison, GradeMove, LawMove, Side
from polyref.report.lines import WIDEST, grid, indented, put, wrapped
from polyref.report.words import visible

#: Rows that are listed; the document has all of them.
_MOST = 12

_MARKS = {"hold": "✓", "broken": "✗", "nothing": "?"}
_STYLES = {"✓": "bold green", "✗": "bold red", "?": "bold yellow"}


def render(c: Comparison, console: Console) -> None:
    """Print the comparison."""
    width = min(console.width, WIDEST)
    mark = _MARKS[moves.outcome(c)]
    console.print()
    put(console, Text(f"{mark} {visible(moves.headline(c))}", _STYLES[mark]), width)
    head = [
        ("Baseline" if c.gate else "Old", wrapped(_side(c.old))),
        ("Now" if c.gate else "New", wrapped(_side(c.new))),
    ]
    head += [("Subject" if i == 0 else "", wrapped(line)) for i, line in enumerate(c.changed)]
    head += [("Changed" if i == 0 else "", wrapped(line)) for i, line in enumerate(c.environment)]
    head += [("Note", wrapped(line)) for line in c.notes]
    put(console, indented(grid(head)), width)
    if c.exit_code in (3, 5):
        return
    parts: list[tuple[str, Sequence[LawMove | GradeMove | CaseMove]]] = [
        (moves.tally(c.laws, "law"), moves.moved(c.laws)),
        (moves.tally(c.grades, "grade"), moves.moved(c.grades)),
        (moves.tally(c.cases, "recorded row"), moves.moved(c.cases)),
    ]
    for tally, listed in parts:
        console.print()
        put(console, indented(Text(tally, "dim")), width)
        if listed:
            put(console, indented(_table(listed[:_MOST])), width)
        if len(listed) > _MOST:
            put(console, indented(Text(f"and {len(listed) - _MOST:,} more that moved", "dim")), width)


def _side(side: Side) -> str:
    versions = ", ".join(filter(None, (side.started, f"polyref {side.polyref}", side.torch and f"torch {side.torch}")))
    return f"{side.target} ({versions}, {side.machine})"


def _table(listed: Sequence[LawMove | GradeMove | CaseMove]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=2, min_width=38)
    table.add_column(overflow="fold", ratio=3)
    for m in listed:
        style = "bold red" if m.fails else "green" if m.move in ("fixed", "better") else "dim"
        table.add_row(Text(("✗ " if m.fails else "  ") + m.move, style), wrapped(moves.name(m)), wrapped(moves.text(m)))
    return table

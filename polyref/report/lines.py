"""Printing lines: no blanks at their ends, nothing that is taken for markup, nothing cut that is to be copied."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from polyref.report.words import visible

#: Lines longer than this are hard to read, however wide the window.
WIDEST = 120


def put(console: Console, what: RenderableType, width: int) -> None:
    """Print without the blanks that fill the ends of a table's lines: a report is copied into other texts."""
    options = console.options.update(width=width, highlight=False, markup=False)
    for line in console.render_lines(what, options, pad=False):
        while line and not line[-1].text.strip():
            line.pop()
        if line:
            line[-1] = Segment(line[-1].text.rstrip(), *line[-1][1:])
        console.print(Segments([*line, Segment.line()]), end="")


def put_line(console: Console, text: Text) -> None:
    """One line that is never broken by us, so that it can be copied whole."""
    console.print(text, soft_wrap=True, highlight=False, markup=False, emoji=False)


def wrapped(text: str, style: str = "") -> Text:
    """Text that is broken where the line ends, with everything in it made visible."""
    return Text(visible(text, lines=True), style, overflow="fold")


def indented(what: RenderableType) -> Padding:
    """Two columns further in."""
    return Padding(what, (0, 0, 0, 2))


def grid(rows: Sequence[tuple[str, Text]], *, label: int = 9) -> Table:
    """A label and a text for each row."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True, width=label)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, text)
    return table

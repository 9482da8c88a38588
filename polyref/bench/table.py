"""The figures of a run for a person at a terminal: a table a section, a row a group, a column a ratio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: More columns than this do not fit beside each other.
_COLUMNS = 4


def show(data: dict[str, Any], console: Console) -> None:
    """Print a document as :func:`polyref.bench.record.document` makes it."""
    machine = data["machine"]
    head = f"{machine['cpu']}, {machine['threads']} thread of {machine['cores']} cores, {machine['instructions']}"
    load = data["load_average_at_start"]
    console.print(Text(f"{head}; load at start {load[0] if load else 'unknown'}; {data['date']}"))
    waiting = max((group["waiting"] for group in data["groups"]), default=1.0)
    console.print(Text(f"Wall time was up to {figure(waiting)} times the CPU time that the figures are made of."))
    console.print(Text("Time of the first over that of the second: median of the rounds, quartiles under it."))
    for section, members in groupby(data["groups"], key=lambda group: str(group["section"])):
        groups = list(members)
        for first in range(0, len(groups[0]["ratios"]), _COLUMNS):
            console.print()
            console.print(_ratios(section, groups, slice(first, first + _COLUMNS)))
        if any("rows_a_second" in t for t in groups[0]["times"].values()):
            console.print()
            console.print(_rates(section, groups))
        if "peak_memory_over_logits" in groups[0]:
            console.print()
            console.print(_memory(groups))
        if legend := ", ".join(dict.fromkeys(group["legend"] for group in groups if group["legend"])):
            console.print(Text(legend))
    if data["quick"]:
        console.print(Text("\nA quick run: few rounds on little data. State no figure from it."))


def figure(value: float) -> str:
    """Three digits where they mean something, and never an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _ratios(section: str, groups: Sequence[dict[str, Any]], part: slice) -> Table:
    table = _table(section, (f"{r['of']} /\n{r['to']}" for r in groups[0]["ratios"][part]))
    for group in groups:
        cells = (f"{figure(r['median'])}\n{figure(r['low'])}–{figure(r['high'])}" for r in group["ratios"][part])
        table.add_row(group["title"], *cells)
    return table


def _rates(section: str, groups: Sequence[dict[str, Any]]) -> Table:
    table = _table(f"{section}: rows a second in this run", groups[0]["times"])
    for group in groups:
        table.add_row(group["title"], *(f"{t['rows_a_second']:,.0f}" for t in group["times"].values()))
    return table


def _memory(groups: Sequence[dict[str, Any]]) -> Table:
    table = _table("peak extra memory in units of the logits", groups[0]["peak_memory_over_logits"])
    for group in groups:
        table.add_row(group["title"], *(figure(v) for v in group["peak_memory_over_logits"].values()))
    return table


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="")
    table.add_column("")
    for column in columns:
        table.add_column(Text(column), justify="right", no_wrap=True)
    return table

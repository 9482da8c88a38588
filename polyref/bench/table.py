"""The figures of a run for a person at a terminal of 100 columns: a row is a group, a column a contender or a ratio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyref.bench.goals import COPY, OURS, THREADS
from polyref.bench.record import missed

#: A column with its quartiles, the titles of the rows, and the longest line of a heading.
_COLUMN, _TITLE, _HEADING = 13, 16, 12

#: Cores that other programs may keep busy before the figures say more of them than of the contenders.
_QUIET = 0.2

Group = dict[str, Any]


def show(data: dict[str, Any], console: Console) -> None:
    """Print a document as :func:`polyref.bench.record.document` makes it."""
    _head(data, console)
    for section, members in groupby(data["groups"], key=lambda group: str(group["section"])):
        groups = list(members)
        columns = max((console.width - _TITLE) // _COLUMN, 1)
        tables = _losses(section, groups, columns) if "logits_bytes" in groups[0] else _engines(section, groups)
        for table in tables:
            console.print()
            console.print(table)
        if legend := ", ".join(dict.fromkeys(group["legend"] for group in groups if group["legend"])):
            console.print(Text(legend))
        for line in _left_out(groups):
            console.print(Text(line))
    for device, reason in data["left_out"].items():
        console.print(Text(f"\nLeft out: {device}: {reason}"))
    _verdict(data, console)
    if data["quick"]:
        console.print(Text("\nA quick run: few rounds on little data. State no figure from it."))


def figure(value: float) -> str:
    """Three digits or so, and never an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """With its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{figure(seconds / size)} {unit}"
    return f"{figure(seconds / 1e-6)} µs"


def busy(groups: Iterable[Group]) -> str:
    """What other programs did meanwhile, in words; where they took a core, threads waited for one another."""
    others = max((group["others"] for group in groups if group["others"] is not None), default=None)
    if others is None:
        return "the system does not say what other programs did"
    text = f"other programs kept up to {figure(others)} cores busy"
    return text if others < _QUIET else f"{text}: state no figure, run again on a quiet machine"


def _head(data: dict[str, Any], console: Console) -> None:
    machine, load = data["machine"], data["load_average_at_start"]
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("python", "torch", "triton"))
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['instructions']}; {machine['system']}",
        f"threads of the losses: {machine['threads']}; {versions}; {data['date']}",
        f"{machine['allocator']}; huge pages: {machine['huge_pages']}",
    ]
    device = machine["cuda"]
    if isinstance(device, dict):
        lines.append(f"{device['name']}, driver {device['driver']}, CUDA {device['runtime']}")
    lines.append(f"load at start {load[0] if load else 'unknown'}; {busy(data['groups'])}")
    lines.append("Ratios are medians of the rounds; the small figures under them are quartiles.")
    for line in lines:
        console.print(Text(line))


def _losses(section: str, groups: Sequence[Group], columns: int) -> Iterable[Table]:
    """Time over that of torch's loss, over a copy, and of others over the fastest of ours; then memory."""
    names = list(dict.fromkeys(name for group in groups for name in group["times"]))
    theirs = groups[0]["ratios"][0]["to"]
    parts = [names[i : i + columns] for i in range(0, len(names), columns)]
    for part in parts:
        yield _times(f"{section}: time / {theirs}", groups, part, to=theirs, quartiles=True)
    for part in parts:
        yield _times(f"{section}: time / {COPY}", groups, part, to=COPY, quartiles=False)
    yield _others_over(section, names[0], groups)
    for part in parts:
        yield _memory(f"{section}: peak memory / logits", groups, part)


def _times(title: str, groups: Sequence[Group], names: Sequence[str], *, to: str, quartiles: bool) -> Table:
    """The column of the contender that the ratios refer to has its time."""
    table = _table(title, map(_heading, names))
    for group in groups:
        ratios = {r["of"]: r for r in group["ratios"] if r["to"] == to}
        goals = {g["of"]: g for g in group["goals"] if g["quantity"] == "time" and g["to"] == to}
        cells = []
        for name in names:
            if name == to:
                cells.append(Text(duration(group["times"][name]["seconds_a_call"]["median"])))
            else:
                cells.append(_cell(ratios.get(name), goals.get(name), quartiles=quartiles))
        table.add_row(group["title"], *cells)
    return table


def _others_over(section: str, first: str, groups: Sequence[Group]) -> Table:
    """What other people's forms take where the fastest of ours takes 1: the same ratios, turned over."""
    ratios = [{r["to"]: r["median"] for r in group["ratios"] if r["of"] == first} for group in groups]
    names = [n for n in ratios[0] if not n.startswith(OURS) and not n.endswith(COPY)]
    table = _table(f"{section}: time / {first}", map(_heading, names))
    for group, found in zip(groups, ratios, strict=True):
        table.add_row(group["title"], *(figure(1 / found[n]) if n in found else "–" for n in names))
    return table


def _memory(title: str, groups: Sequence[Group], names: Sequence[str]) -> Table:
    table = _table(title, map(_heading, names))
    for group in groups:
        goals = {g["of"]: g for g in group["goals"] if g["quantity"] == "memory"}
        found = group["peak_memory_over_logits"]
        cells = [_cell({"median": found[n]} if n in found else None, goals.get(n), quartiles=False) for n in names]
        table.add_row(group["title"], *cells)
    return table


def _cell(spread: dict[str, float] | None, goal: dict[str, Any] | None, *, quartiles: bool) -> Text:
    """The median, its quartiles if they are wanted, and the goal."""
    lines = [Text("–" if spread is None else figure(spread["median"]))]
    if spread is not None and quartiles:
        lines.append(Text(f"{figure(spread['low'])}–{figure(spread['high'])}", style="dim"))
    if goal is not None:
        word, style = ("met", "green") if goal["met"] else ("miss", "bold red")
        lines.append(Text(f"{word} {goal['limit']:.2f}", style=style))
    return Text("\n").join(lines)


def _engines(section: str, groups: Sequence[Group]) -> Iterable[Table]:
    ratios = _table(section, (f"{r['of']} /\n{r['to']}" for r in groups[0]["ratios"]))
    for group in groups:
        ratios.add_row(group["title"], *(_cell(r, None, quartiles=True) for r in group["ratios"]))
    yield ratios
    rates = _table(f"{section}: rows a second in this run", groups[0]["times"])
    for group in groups:
        rates.add_row(group["title"], *(f"{t['rows_a_second']:,.0f}" for t in group["times"].values()))
    yield rates


def _left_out(groups: Sequence[Group]) -> list[str]:
    """One line a contender and reason."""
    return list(dict.fromkeys(f"Left out: {n}: {why}" for group in groups for n, why in group["left_out"].items()))


def _verdict(data: dict[str, Any], console: Console) -> None:
    wanted = [goal for group in data["groups"] for goal in group["goals"]]
    if not wanted:
        return
    stated = "" if data["machine"]["threads"] == THREADS else f" (those on the CPU are stated for {THREADS} threads)"
    console.print(Text(f"\nGoals{stated}: {sum(goal['met'] for goal in wanted)} of {len(wanted)} met."))
    for line in missed(data):
        console.print(Text(f"missed: {line}"))


def _table(title: str, columns: Iterable[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(Text(column), justify="right", overflow="fold", min_width=9)
    return table


def _heading(name: str) -> str:
    """A name with a line for each word, and more for a long one with underscores."""
    lines: list[str] = []
    for word in name.split(" "):
        lines.append("")
        for piece in word.replace("_", "_ ").split(" "):
            if lines[-1] and len(lines[-1] + piece) > _HEADING:
                lines.append("")
            lines[-1] += piece
    return "\n".join(lines)

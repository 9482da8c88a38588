"""A history for a person at a terminal: where each grade stands, how it came there, and what moved, newest first."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyref.report.history import Change, Course, Direction, Flip, History, Run, Series, Step, Target
from polyref.report.lines import WIDEST, indented, put, wrapped
from polyref.report.words import count, number, visible

#: Runs at which something moved, and lines of one of them: more are counted. The page and the document have more.
MOST_MOVES = 10
MOST_LINES = 12

STYLES: dict[Direction, tuple[str, str]] = {
    "worse": ("✗", "bold red"),
    "better": ("✓", "bold green"),
    "changed": ("~", "bold yellow"),
}
MARKS = {"broken": ("✗", "red"), "hold": ("✓", "green"), "open": ("✓", "green"), "nothing": ("?", "yellow")}
_BARS = "▁▂▃▄▅▆▇█"
_BEYOND = "!"


def render(history: History, console: Console) -> None:
    """Print what became of every subject."""
    width = min(console.width, WIDEST)
    for target in history.targets:
        console.print()
        put(console, wrapped(target.target, "bold"), width)
        put(console, indented(Text(span(target), "dim")), width)
        if target.series:
            console.print()
            put(console, indented(_table(target.series, width - 2)), width)
        else:
            put(console, indented(Text("No grade of these runs was asked for, or none was measured.")), width)
        _moves(target, console, width)
    if any(not math.isfinite(v) for t in history.targets for s in t.series for pair in s.ratio.trend for v in pair):
        console.print()
        put(console, Text(f"{_BEYOND} in a trend is an error that is infinite or NaN.", "dim"), width)


def list_runs(runs: Sequence[Run], console: Console) -> None:
    """Print a line or two for each run."""
    width = min(console.width, WIDEST)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("Run", justify="right", no_wrap=True)
    for name in ("Started", "Label", "Target", "Verdict"):
        table.add_column(name, no_wrap=name == "Started", overflow="fold")
    for run in runs:
        mark, style = MARKS.get(run.outcome, ("?", "yellow"))
        verdict = Text.assemble((f"{mark} ", style), visible(run.verdict))
        table.add_row(str(run.id), when(run.started), visible(run.label), visible(run.target), verdict)
    put(console, table, width)


def added(documents: Sequence[tuple[str, Run, bool]], history: str, console: Console) -> None:
    """Print which documents were added as which runs, and which were there already."""
    width = min(console.width, WIDEST)
    for path, run, new in documents:
        line = Text.assemble((f"run {run.id}", "bold"), f"  {when(run.started)}  {visible(run.target)}: ")
        line.append(visible(run.verdict))
        put(console, line if new else wrapped(f"{path} is there already, as run {run.id}: not added again"), width)
    n = sum(new for _, _, new in documents)
    put(console, wrapped(f"{count(n, 'run')} added to {history}" if n else f"{history} is as it was", "dim"), width)


def removed(runs: Sequence[Run], history: str, console: Console) -> None:
    """Print which runs are gone."""
    width = min(console.width, WIDEST)
    for run in runs:
        put(console, wrapped(f"removed run {run.id}  {when(run.started)}  {run.target}"), width)
    put(console, wrapped(f"{count(len(runs), 'run')} removed from {history}", "dim"), width)


def span(target: Target) -> str:
    """``5,000 runs, 2026-03-01 to 2026-11-26``, and the versions of the first and of the last."""
    first, last = target.first, target.last
    days = dict.fromkeys((first.started[:10], last.started[:10]))
    parts = [f"{count(target.runs, 'run')}, {' to '.join(days)}"]
    for name, versions in (("polyref", (first.polyref, last.polyref)), ("torch", (first.torch, last.torch))):
        known = dict.fromkeys(v for v in versions if v)
        if known:
            parts.append(f"{name} {' to '.join(known)}")
    return visible("; ".join(parts))


def when(started: str) -> str:
    """A time to the minute."""
    return visible(started[:16].replace("T", " "))


def called(run: Run) -> str:
    """``run 12 (nightly)``."""
    return f"run {run.id}" + (f" ({visible(run.label)})" if run.label else "")


def place(series: Series | Step) -> str:
    """The quantity and format, and what else tells it apart."""
    parts = [series.quantity, series.format]
    parts += [series.device] if series.device != "cpu" else []
    parts += [series.regime] if series.regime != "all" else []
    return visible(", ".join(parts))


def said(step: Step | Flip, *, superscript: bool = False) -> str:
    """What moved, from what to what; numbers that 3 digits do not tell apart have as many as they need."""
    if isinstance(step, Flip):
        ratio = _pair(*step.ratio, superscript)
        unit = "" if None in step.ratio or step.ratio[0] == step.ratio[1] else f", {ratio} × tolerance"
        return visible(" → ".join(v.replace("_", " ") for v in step.verdict)) + unit
    parts = [f"{_pair(*step.ulp, superscript)} ulp", f"{_pair(*step.ratio, superscript)} × tolerance"]
    if step.grade[0] != step.grade[1]:
        parts.append(visible(" → ".join(step.grade)))
    return ", ".join(parts)


def changes(changed: Sequence[Change]) -> str:
    """What else differs between two runs, and from what to what."""
    if not changed:
        return "nothing else on record: the subject's own code, or chance"
    return "; ".join(visible(f"{c.what} {c.old or 'none'} → {c.new or 'none'}") for c in changed)


def law_of(flip: Flip) -> str:
    """The law, the format and, where it is not the CPU, the device."""
    device = "" if flip.device == "cpu" else flip.device
    return visible(", ".join(p for p in (flip.law, flip.format, device) if p))


def spark(course: Course, cells: int) -> str:
    """The worst of each stretch as bars, on a logarithmic scale from the smallest to the largest."""
    n = len(course.trend)
    cells = min(cells, n)
    stretches = [course.trend[i * n // cells : (i + 1) * n // cells] for i in range(cells)]
    values = [max((float(high) for _, high in stretch), key=_badness) for stretch in stretches]
    logs = [math.log10(v) for v in values if math.isfinite(v) and v > 0]
    low, high = min(logs, default=0.0), max(logs, default=0.0)
    # A change of a tenth of a percent is not a mountain.
    top = max(high - low, 0.3)

    def bar(value: float) -> str:
        if not math.isfinite(value):
            return _BEYOND
        return _BARS[0 if value <= 0 else round((math.log10(value) - low) / top * (len(_BARS) - 1))]

    return "".join(bar(v) for v in values)


def _badness(value: float) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(value) else (False, value)


def _pair(old: float | None, new: float | None, superscript: bool) -> str:
    a, b = number(old, superscript=superscript), number(new, superscript=superscript)
    if a == b and old is not None and new is not None and not (old == new or (math.isnan(old) and math.isnan(new))):
        a, b = repr(float(old)), repr(float(new))
    return a if a == b else f"{a} → {b}"


def _table(series: Sequence[Series], width: int) -> Table:
    """Two lines for each series: ulps, and under them the same over the tolerance."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("Worst error", overflow="fold")
    table.add_column("in", no_wrap=True)
    names = ("first", "last", "best", "worst")
    figures = [(s, [[number(getattr(c, name)) for name in names] for c in (s.ulp, s.ratio)]) for s in series]
    widest = max(5, *(len(text) for _, rows in figures for row in rows for text in row))
    label = min(26, max(max(len(place(s)), len(s.grade)) for s in series))
    cells = max(8, width - label - 2 - 7 - 4 * (widest + 2) - 2)
    table.add_column("Trend", no_wrap=True)
    for name in ("First", "Last", "Best", "Worst"):
        table.add_column(name, justify="right", no_wrap=True)
    for s, (ulp, ratio) in figures:
        table.add_row(Text(place(s)), Text("ulp", "dim"), Text(spark(s.ulp, cells), "cyan"), *ulp)
        table.add_row(Text(visible(s.grade), "dim"), Text("× tol", "dim"), Text(spark(s.ratio, cells), "cyan"), *ratio)
    return table


def _moves(target: Target, console: Console, width: int) -> None:
    console.print()
    if not target.moves:
        put(console, indented(Text("Nothing moved." if target.runs > 1 else "One run: nothing to compare.")), width)
        return
    put(console, indented(Text(f"Something moved at {count(len(target.moves), 'run')}, newest first")), width)
    for move in target.moves[:MOST_MOVES]:
        console.print()
        title = Text.assemble(
            (when(move.run.started), "bold"), f"  {called(move.run)}", (f", after {called(move.before)}", "dim")
        )
        put(console, indented(title), width)
        put(console, indented(indented(Text.assemble(("changed: ", "dim"), changes(move.changed)))), width)
        lines: list[tuple[Direction, str, str]] = [(s.direction, place(s), said(s)) for s in move.steps]
        lines += [(f.direction, law_of(f), said(f)) for f in move.flips]
        for direction, what, text in lines[:MOST_LINES]:
            mark, style = STYLES[direction]
            line = Text.assemble((f"{mark} {direction}", style), f"  {what}: {text}")
            put(console, indented(indented(line)), width)
        if len(lines) > MOST_LINES:
            put(console, indented(indented(Text(f"and {len(lines) - MOST_LINES:,} more", "dim"))), width)
    rest = len(target.moves) - MOST_MOVES
    if rest > 0:
        console.print()
        put(console, indented(Text(f"and {count(rest, 'earlier run')}: --json FILE has them all", "dim")), width)

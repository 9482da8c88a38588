"""A self-test for a person at a terminal: the answer, what failed, and how much of the work each law does."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyref.report import selftest_summary as summary
from polyref.report.lines import WIDEST, grid, indented, put, put_line, wrapped
from polyref.report.selftest import SelfTest
from polyref.report.words import count, number, visible

_MARKS = {0: ("✓", "bold green"), 1: ("✗", "bold red"), 3: ("?", "bold yellow")}
_LABEL = 12


def render(d: SelfTest, console: Console) -> None:
    """Print the summary."""
    width = min(console.width, WIDEST)
    mark, style = _MARKS[d.exit_code]
    console.print()
    put(console, Text(f"{mark} {summary.headline(d)}", style), width)
    if d.failures:
        console.print()
    for failure in d.failures:
        put(console, grid([(failure.kind, wrapped(failure.text))], label=_LABEL), width)
        if failure.case:
            put_line(console, Text(" " * (_LABEL + 2) + visible(failure.case, whole=True), "dim"))
    if d.mutants:
        console.print()
        put(console, _counts(d), width)
    console.print()
    put(console, indented(grid(list(_facts(d)), label=_LABEL)), width)
    s = d.settings
    end = f"{s.examples} examples, seed {s.seed}, {count(s.jobs, 'process', 'processes')}, {number(s.seconds)} s"
    console.print()
    put(console, Text(end, "dim"), width)


def _counts(d: SelfTest) -> Table:
    """How many mutants are due in each format, and how many of these are killed."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("Format", no_wrap=True)
    for name in ("Mutants", "Due", "Killed", "Killed of those due"):
        table.add_column(name, justify="right", no_wrap=True)
    for f in d.settings.formats:
        dead = {p.subject for p in d.kills if summary.killed(p.trials.get(f))}
        due = [m.name for m in d.mutants if f in m.expected]
        table.add_row(f, str(len(d.mutants)), str(len(due)), str(len(dead)), str(sum(name in dead for name in due)))
    return table


def _facts(d: SelfTest) -> Iterable[tuple[str, Text]]:
    found = summary.trials(d)
    words = ("killed", "survived", "inconclusive", "timed_out", "not_applicable", "not_tried")
    yield "Trials", Text(", ".join(f"{found[w]:,} {w.replace('_', ' ')}" for w in words if found[w]))
    if d.variants:
        accused = {f.subject for f in d.failures if f.kind in ("accused", "unusable")}
        kept = [v.name for v in d.variants if v.name not in accused]
        yield "Harmless", wrapped(f"{len(kept)} of {len(d.variants)} not accused by any law")
    cost = summary.cost(d)
    if cost.fewest is not None and cost.largest is not None:
        yield (
            "Examples",
            wrapped(
                f"to kill a semantic mutant in binary64, medians: {number(cost.fewest)} by the law that needs the "
                f"fewest (most: {cost.largest[0]}, {cost.largest[1]}); {number(cost.audit)} in an audit, until "
                f"the first law objects; {number(cost.kill)} over all kills"
            ),
        )
    alone = summary.alone(d)
    if alone:
        yield "By one law", wrapped(", ".join(f"{name} ({law})" for name, law in alone.items()))
    spare = summary.redundant(d)
    if spare and d.mutants and len(d.laws) > 1:
        yield (
            "Never alone",
            wrapped(f"{count(len(spare), 'law')} whose kills are all killed by others too: {', '.join(spare)}"),
        )
    yield "Slowest", wrapped(", ".join(f"{law} {number(seconds)} s" for law, seconds in summary.slowest(d)))

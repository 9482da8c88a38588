"""A sweep for a person at a terminal: the answer, the grades by regime, the worst cases, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from polyref.regimes import REGIMES
from polyref.report.lines import WIDEST, grid, indented, put, wrapped
from polyref.report.sweep import Case, Loss, Sweep, Swept
from polyref.report.words import count, number, visible

_MARKS = {0: ("✓", "bold green"), 1: ("✗", "bold red"), 3: ("?", "bold yellow")}
_LABEL = 12
_SHORT = {"correctly rounded": "correct"}


def render(d: Sweep, console: Console) -> None:
    """Print what was found."""
    width = min(console.width, WIDEST)
    mark, style = _MARKS[d.exit_code]
    console.print()
    put(console, Text(f"{mark} {_headline(d)}", style), width)
    facts = [
        ("Called", wrapped(d.call)),
        (
            "Inputs",
            wrapped(f"{d.judged:,} {d.kind} of {d.format}, {_which(d)}; the target is the first class"),
        ),
    ]
    facts += [("Not judged", wrapped(f"{f.start} up to {f.stop}: it {f.reason}")) for f in d.failures]
    put(console, indented(grid(facts, label=_LABEL)), width)
    for loss in d.losses:
        for swept in loss.swept:
            console.print()
            put(console, Text(f"{swept.quantity.capitalize()}, {_spec(loss)}", "bold"), width)
            if swept.grades:
                put(console, indented(_grades(swept)), width)
            put(console, indented(grid(list(_worst(swept)), label=_LABEL)), width)
    console.print()
    put(console, Text(_cost(d), "dim"), width)


def _which(d: Sweep) -> str:
    part = f"{d.start} up to {d.stop}"
    return f"{part} of the sample of seed {d.seed}" if d.sample else part


def _headline(d: Sweep) -> str:
    if not d.judged:
        return f"{visible(d.target)}: nothing was judged"
    if d.wrong:
        return f"{visible(d.target)}: {d.wrong:,} results are beyond the textbook tolerance or break a law"
    if d.failures:
        return f"{visible(d.target)}: {count(len(d.failures), 'range')} could not be judged"
    grades = {g.grade for loss in d.losses for s in loss.swept for g in s.grades}
    every = "correctly rounded" if grades == {"correctly rounded"} else "within the textbook tolerance"
    return f"{visible(d.target)}: every result is {every}"


def _spec(loss: Loss) -> str:
    epsilon = ", ".join(f"{e:g}" for e in loss.epsilon)
    return f"epsilon {epsilon or 'none'}" + (f", gamma {loss.gamma:g}" if loss.gamma else "")


def _grades(swept: Swept) -> Table:
    """A row for each regime of Pt, a column for each grade that occurs."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("Pt", no_wrap=True)
    for g in swept.grades:
        table.add_column(_SHORT.get(g.grade, g.grade), justify="right", no_wrap=True)
    for i, (regime, _) in enumerate(REGIMES):
        if any(g.by_regime[i] for g in swept.grades):
            table.add_row(regime, *(f"{g.by_regime[i]:,}" if g.by_regime[i] else "" for g in swept.grades))
    table.add_row("all", *(f"{g.inputs:,}" for g in swept.grades), style="bold")
    return table


def _worst(swept: Swept) -> Iterator[tuple[str, Text]]:
    for label, cases, most, unit in (
        ("Worst ulp", swept.worst_ulps, swept.ulps_at_most, "ulp"),
        ("Worst ratio", swept.worst_ratios, swept.ratios_at_most, "of the tolerance"),
    ):
        if not cases:
            continue
        yield label, wrapped(f"{number(cases[0].size)} {unit} at {_place(cases[0])}; none is above {number(most)}")
        others = ", ".join(f"{number(c.size)} at {c.place}" for c in cases[1:])
        if others:
            yield "", wrapped(f"then {others}")
    kept = sum(law.kept for law in swept.special)
    if kept and not any(law.broken for law in swept.special):
        yield "No numbers", wrapped(f"{kept:,} with NaN or an infinity among the logits, all as their laws have it")
    for law in swept.special:
        if law.broken:
            first = f"{law.broken:,} of {law.kept + law.broken:,} break it, the first at {law.first_broken}"
            yield "Law broken", wrapped(f"{law.law}: {first}")
    yield "Decided", wrapped(f"{swept.by_filter:,} by the filter, {swept.by_balls:,} by the balls")


def _place(case: Case) -> str:
    logits = ", ".join(f"{float.fromhex(z):g}" for z in case.logits)
    observed = ", ".join(f"{float.fromhex(v):g}" for v in case.observed)
    return f"{case.place} = ({logits}), which gave {observed}"


def _cost(d: Sweep) -> str:
    if not d.judged:
        return f"{number(d.seconds)} s"
    if not d.rate:
        return f"All of it from a checkpoint; {number(d.seconds)} s"
    share = f"; the subject took {number(d.subject_seconds)} s of work, judging it {number(d.judge_seconds)} s"
    rate = f"{d.rate:,.0f} inputs a second, {count(d.workers, 'worker')}"
    return f"{number(d.seconds)} s, {rate}{share}"


class _Rate(ProgressColumn):
    """Places a second."""

    def render(self, task: Task) -> Text:
        """The rate, once there is one."""
        speed = task.speed
        return Text("" if speed is None else f"{speed / 1e6:.1f} million/s", "dim")


class Watch:
    """A line of progress; does nothing where nobody watches."""

    def __init__(self, bar: Progress | None, total: int) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("", total=total)

    def advance(self, places: int) -> None:
        """So many more places are done."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, places)


@contextmanager
def watch(title: str, total: int, console: Console) -> Iterator[Watch]:
    """Show the rate and the time that is left while the block runs."""
    if not console.is_terminal:
        yield Watch(None, total)
        return
    bar = Progress(
        TextColumn(visible(title), markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:.1f} %"),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        yield Watch(bar, total)

"""A check of golden vectors for a person at a terminal: the answer, the grades, the worst failure and its cause."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyref.report.lines import WIDEST, grid, indented, put, wrapped
from polyref.report.vectors import Check, Failure, Suspect, Tally
from polyref.report.words import count, number

#: Ids that are listed, and failures; the document has all of them.
_MOST_IDS, _MOST_FAILURES = 8, 5
#: A defect that looks less like the failures than this is none that the vectors know.
_ALIKE = 0.5


def render(check: Check, console: Console) -> None:
    """Print the check."""
    width = min(console.width, WIDEST)
    console.print()
    mark, style = {0: ("✓", "bold green"), 1: ("✗", "bold red")}.get(check.exit_code, ("?", "bold yellow"))
    put(console, Text(f"{mark} {headline(check)}", style), width)
    head = [("Vectors", wrapped(check.file)), ("Answers", wrapped(check.results))]
    for label, ids in (
        ("Missing", check.missing),
        ("Twice", check.duplicate),
        ("Unknown", check.unknown),
        ("Not done", check.declined),
    ):
        if ids:
            head.append((label, wrapped(_listed(ids))))
    put(console, indented(grid(head)), width)
    if not check.answered:
        return
    console.print()
    put(console, indented(_table(check.grades)), width)
    if check.failures:
        _failures(check, console, width)


def headline(check: Check) -> str:
    """The answer in one line."""
    vectors = f"{count(check.vectors, 'vector')} of {check.format}"
    if not check.answered:
        return f"nothing was measured: none of the {vectors} has an answer with a number in it"
    answered = f"{check.answered:,} of {vectors} answered"
    parts = [f"{check.failed:,} beyond the tolerance" if check.failed else "all of them within the tolerance"]
    parts += [f"{len(check.missing):,} missing"] if check.missing else []
    return f"{answered}, {', '.join(parts)}"


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MOST_IDS:,} more" if len(ids) > _MOST_IDS else ""
    return ", ".join(ids[:_MOST_IDS]) + more


def _table(grades: Sequence[Tally]) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", pad_edge=False)
    for name in ("Quantity", "Regime", "Grade"):
        table.add_column(name, no_wrap=True)
    for name in ("Worst ulp", "Error/tolerance", "Beyond"):
        table.add_column(name, justify="right", no_wrap=True)
    for t in grades:
        style = "red" if t.beyond else ""
        beyond = f"{t.beyond:,} of {t.vectors:,}"
        row = (t.quantity, t.regime, t.grade, number(t.max_ulp), number(t.max_ratio), beyond)
        table.add_row(*(Text(cell, style) for cell in row))
    return table


def _failures(check: Check, console: Console, width: int) -> None:
    first, *others = check.failures
    console.print()
    put(console, indented(grid(_worst(first))), width)
    rows = [("Others" if i == 0 else "", wrapped(_brief(f))) for i, f in enumerate(others[: _MOST_FAILURES - 1])]
    if len(others) >= _MOST_FAILURES:
        rows.append(("", wrapped(f"and {len(others) - _MOST_FAILURES + 1:,} more: --json FILE has them all", "dim")))
    # The suspects are in order: those that none is likelier than, where they are likely at all.
    likely = [s for s in check.suspects if s.likeness >= max(_ALIKE, check.suspects[0].likeness)]
    shown = likely or check.suspects[:1]
    label = "Points at" if likely else "Nearest"
    rows += [(label if i == 0 else "", wrapped(_suspected(s))) for i, s in enumerate(shown)]
    if not likely:
        rows.append(("", wrapped("No defect that these vectors were tried on looks like the failures.", "dim")))
    put(console, indented(grid(rows)), width)


def _worst(f: Failure) -> list[tuple[str, Text]]:
    observed = f"{f.observed} ({f.observed_hex})" if f.observed_hex else f.observed
    return [
        ("Worst", wrapped(f"{f.place} of {f.id}: {f.about}")),
        ("Case", wrapped(f.case)),
        ("Expected", wrapped(f"{f.expected} ({f.expected_hex})")),
        ("Observed", wrapped(observed)),
        ("Error", wrapped(f"{number(f.ulp)} ulp, {number(f.ratio)} times the tolerance")),
        ("Catches", wrapped("; ".join(f.catches))),
    ]


def _brief(f: Failure) -> str:
    return f"{f.place} of {f.id}: {f.observed} in the place of {f.expected}, {number(f.ratio)} times the tolerance"


def _suspected(s: Suspect) -> str:
    spoilt = f"all {s.shows:,}" if s.failed == s.shows else f"{s.failed:,} of the {s.shows:,}"
    others = f"{s.others:,} others" if s.others else "no others"
    return f"{s.name}: {s.defect} (fails on {spoilt} results that it spoils, and on {others})"

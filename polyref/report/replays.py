"""What became of findings, for a person at a terminal: the old numbers and the new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rich.console import Console
from rich.text import Text

from polyref.report.document import Finding
from polyref.report.lines import WIDEST, grid, indented, put, wrapped
from polyref.report.summary import circumstances
from polyref.report.words import count, number, visible

#: fixed: the case holds now. still there: the same numbers. changed: other numbers, or another verdict.
Became: TypeAlias = Literal["fixed", "still there", "changed"]

_STYLES: dict[Became, tuple[str, str]] = {
    "fixed": ("✓", "bold green"),
    "still there": ("✗", "bold red"),
    "changed": ("✗", "bold yellow"),
}


@dataclass(frozen=True)
class Replay:
    """A violated finding, and what its case shows now.

    Attributes:
        finding: the finding.
        became: what became of it.
        observed: what the subject returns now, as text.
        ratio: error over tolerance now, None where the case cannot be tried any more.
        why: what else is to be said, a sentence.
    """

    finding: Finding
    became: Became
    observed: str
    ratio: float | None
    why: str = ""


def exit_code(replays: Sequence[Replay]) -> int:
    """0 if all findings are fixed, else 1."""
    return 0 if all(r.became == "fixed" for r in replays) else 1


def render(replays: Sequence[Replay], console: Console) -> None:
    """Print what became of each finding, then how many became what."""
    width = min(console.width, WIDEST)
    for r in replays:
        mark, style = _STYLES[r.became]
        title = Text.assemble((f"{mark} {r.became}  ", style), (visible(r.finding.property), "bold"))
        title.append(f"  {visible(circumstances(r.finding))}", "dim")
        put(console, title, width)
        rows = [
            ("Expected", r.finding.expected),
            ("Was", _numbers(r.finding.observed, r.finding.ratio)),
            ("Is", ". ".join(filter(None, (_numbers(r.observed, r.ratio), r.why)))),
        ]
        put(console, indented(grid([(label, wrapped(text)) for label, text in rows if text])), width)
        console.print()
    became = Counter(r.became for r in replays)
    parts = ", ".join(f"{became[word]:,} {word}" for word in _STYLES if became[word])
    put(console, Text(f"{count(len(replays), 'violated finding')}: {parts}"), width)


def _numbers(observed: str, ratio: float | None) -> str:
    if ratio is None:
        return observed
    error = f"error {number(ratio)} times the tolerance"
    return f"{observed}; {error}" if observed else error

"""The self-test as one HTML file: the kill matrix, a row for each mutant and a column for each law, and lists.

A cell has four quarters, one for each format. No script, nothing from the network, every text escaped.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from jinja2 import Environment

from polyref.report import page
from polyref.report import selftest_summary as summary
from polyref.report.files import write_atomically
from polyref.report.selftest import SCHEMA, Pair, SelfTest, Trial
from polyref.report.words import count, number

#: (the most examples, the class of the colour, the word in the legend), for a kill.
BINS = (
    (1, "k1", "1"),
    (3, "k2", "2–3"),
    (8, "k3", "4–8"),
    (25, "k4", "9–25"),
    (None, "k5", "more than 25"),
)
_OTHERS = {"survived": "qs", "inconclusive": "qi", "timed_out": "qt"}


@dataclass(frozen=True)
class Cell:
    """One law against one subject: the classes of its quarters, none where the law does not apply, and the tooltip."""

    quarters: tuple[str, ...]
    own: bool
    title: str


@dataclass(frozen=True)
class Row:
    """One subject: its name, a text for the tooltip of the name, whether something failed, its cells."""

    name: str
    about: str
    failed: bool
    cells: tuple[Cell, ...]


def render(d: SelfTest) -> str:
    """The self-test as a whole HTML page."""
    return _environment().get_template("selftest.html.j2").render(d=d, **_context(d))


def write(d: SelfTest, path: str | os.PathLike[str]) -> None:
    """Write the page, whole or not at all.

    Raises:
        UsageError: if the file cannot be written.
    """
    write_atomically(path, render(d).encode())


def _context(d: SelfTest) -> dict[str, Any]:
    failed, pairs = {f.subject for f in d.failures}, summary.pairs(d)
    tried = {p.subject for p in d.variant_trials}
    groups = [
        (theme, [_row(d, pairs, m.name, f"{m.defect} ({m.kind})", m.name in failed) for m in found])
        for theme, found in summary.by_theme(d).items()
    ]
    rows = [_row(d, pairs, v.name, v.oddity, v.name in failed) for v in d.variants if v.name in tried]
    if rows:
        groups.append(("harmless", rows))
    return {
        "schema": SCHEMA,
        **page.head("report.css", "selftest.css"),
        "outcome": {0: "hold", 1: "broken", 3: "nothing"}[d.exit_code],
        "headline": summary.headline(d),
        "themes": [(theme, len(list(laws))) for theme, laws in groupby(d.laws, lambda law: law.theme)],
        "groups": groups,
        "starts": {i for i, law in enumerate(d.laws) if i == 0 or law.theme != d.laws[i - 1].theme},
        "bins": BINS,
        "trials": summary.trials(d),
        "due": sum(len(m.expected) for m in d.mutants),
        "cost": summary.cost(d),
        "alone": summary.alone(d),
        "killers": summary.killers(d),
        "spare": summary.redundant(d),
        "slowest": summary.slowest(d),
        "law_kills": _law_kills(d),
        "order": ", ".join(d.settings.formats),
    }


def _law_kills(d: SelfTest) -> list[dict[str, Any]]:
    """For each law how many mutants it kills, and how many of them no other law kills."""
    alone = list(summary.alone(d).values())
    dead = summary.killers(d)
    return [
        {"law": law, "kills": sum(law.id in laws for laws in dead.values()), "alone": alone.count(law.id)}
        for law in d.laws
    ]


def _row(d: SelfTest, pairs: dict[tuple[str, str], Pair], name: str, about: str, failed: bool) -> Row:
    cells = tuple(_cell(pairs[law.id, name], d.settings.formats, name in law.mutants) for law in d.laws)
    return Row(name, about, failed, cells)


def _cell(pair: Pair, formats: list[str], own: bool) -> Cell:
    lines = [f"{pair.law} · {pair.subject}"]
    if not pair.trials:
        return Cell((), own, f"{lines[0]}\n{f'not applicable: {pair.reason}' if pair.reason else 'not tried'}")
    quarters = []
    for f in formats:
        trial = pair.trials.get(f)
        quarters.append(_class(trial))
        lines.append(f"{f}: {'not tried' if trial is None else _said(trial)}")
    return Cell(tuple(quarters), own, "\n".join(lines))


def _class(trial: Trial | None) -> str:
    if trial is None:
        return "qn"
    if trial.verdict != "killed":
        return _OTHERS[trial.verdict]
    return next(name for most, name, _ in BINS if most is None or trial.examples <= most)


def _said(trial: Trial) -> str:
    tried = count(trial.examples, "example")
    if trial.verdict == "killed":
        return f"killed after {tried}, error {number(trial.ratio, superscript=True)} × tolerance, {trial.observed}"
    if trial.verdict == "survived":
        return f"survived {tried}, error up to {number(trial.ratio, superscript=True)} × tolerance"
    return f"{trial.verdict.replace('_', ' ')} after {tried}"


@cache
def _environment() -> Environment:
    return page.environment()

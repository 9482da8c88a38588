"""A comparison as one HTML file: the answer, how the two differ, and what moved. No script, every text escaped."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment

from polyref.report import moves, page
from polyref.report.comparison import Comparison, GradeMove
from polyref.report.files import write_atomically
from polyref.report.words import number

#: Recorded rows that are listed.
_MOST = 200


def render(c: Comparison) -> str:
    """The comparison as a whole HTML page."""
    distributions = [(g, _bars(g)) for g in c.grades if g.old_histogram and g.new_histogram]
    template = _environment().get_template("comparison.html.j2")
    return template.render(c=c, m=shown(c), distributions=distributions, **page.head("report.css", "comparison.css"))


def shown(c: Comparison) -> dict[str, Any]:
    """What a page lists of a comparison."""
    cases = moves.moved(c.cases)
    return {
        "outcome": moves.outcome(c),
        "headline": moves.headline(c),
        "laws": moves.moved(c.laws),
        "grades": moves.moved(c.grades),
        "cases": cases[:_MOST],
        "more": max(0, len(cases) - _MOST),
    }


def write(c: Comparison, path: str | os.PathLike[str]) -> None:
    """Write the page, whole or not at all.

    Raises:
        UsageError: if the file cannot be written.
    """
    write_atomically(path, render(c).encode())


def _bars(grade: GradeMove) -> list[dict[str, Any]]:
    """The two distributions side by side: the bound, and the share of rows in percent before and now."""
    old, new = dict(grade.old_histogram), dict(grade.new_histogram)
    before, now = _shares(grade.old_histogram), _shares(grade.new_histogram)
    return [
        {
            "bound": f"up to {number(bound)}" if math.isfinite(bound) else "beyond",
            "old": before.get(bound, 0.0),
            "new": now.get(bound, 0.0),
            "rows": (old.get(bound, 0), new.get(bound, 0)),
        }
        for bound in sorted(old.keys() | new.keys())
    ]


def _shares(histogram: Sequence[tuple[float, int]]) -> dict[float, float]:
    total = sum(n for _, n in histogram) or 1
    return {bound: 100 * n / total for bound, n in histogram}


@cache
def _environment() -> Environment:
    environment = page.environment()
    environment.globals["moves"] = moves
    return environment

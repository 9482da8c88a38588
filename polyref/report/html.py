"""The report as one HTML file: no script, nothing from the network, every string of a subject escaped."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias
from urllib.parse import quote

from jinja2 import Environment

from polyref.report import page, summary
from polyref.report.chart import Chart, chart
from polyref.report.document import SCHEMA, Document, Finding, Grade
from polyref.report.files import write_atomically
from polyref.report.words import number

#: A document, the path of its page and the path of its JSON if there is one, both relative to the index.
Entry: TypeAlias = tuple[Document, str, str | None]


def render(document: Document) -> str:
    """The report of one audit as a whole HTML page."""
    return _environment().get_template("audit.html.j2").render(d=document, **_context(document))


def write(document: Document, path: str | os.PathLike[str]) -> None:
    """Write the page, whole or not at all.

    Raises:
        UsageError: if the file cannot be written.
    """
    write_atomically(path, render(document).encode())


def render_index(entries: Sequence[Entry], failures: Sequence[tuple[str, str]] = ()) -> str:
    """A page with a row for each audit that links its page and its JSON document, and for each that came to nothing.

    The links are relative paths as the file system knows them; they are quoted here.
    """
    formats = list(dict.fromkeys([*summary.COLUMNS, *(f for d, _, _ in entries for f in summary.formats_of(d))]))
    rows = [
        {
            "d": d,
            "outcome": summary.outcome(d),
            "verdict": summary.short_verdict(d),
            "broken": summary.laws(d).broken,
            "grades": summary.worst_grades(d),
            "html": quote(os.fsencode(html)),
            "json": None if data is None else quote(os.fsencode(data)),
        }
        for d, html, data in entries
    ]
    broken = sum(row["outcome"] == "broken" for row in rows)
    template = _environment().get_template("index.html.j2")
    n = len(rows) + len(failures)
    return template.render(rows=rows, failures=failures, formats=formats, n=n, broken=broken, **_head())


def write_index(
    entries: Sequence[Entry], path: str | os.PathLike[str], failures: Sequence[tuple[str, str]] = ()
) -> None:
    """Write the index page, whole or not at all; ``failures`` are targets that came to nothing, and why.

    Raises:
        UsageError: if the file cannot be written.
    """
    write_atomically(path, render_index(entries, failures).encode())


def _context(document: Document) -> dict[str, Any]:
    formats, devices = summary.formats_of(document), summary.devices_of(document)
    undecided, away = summary.undecided(document), document.having("not_applicable")
    return {
        "schema": SCHEMA,
        **_head(),
        "outcome": summary.outcome(document),
        "headline": summary.headline(document),
        "laws": summary.laws(document),
        "place": summary.place(document),
        "broken": summary.broken(document),
        "formats": formats,
        "devices": devices,
        "quantities": summary.QUANTITIES,
        "overall": summary.overall(document),
        "regimes": summary.by_regime(document),
        "charts": _charts(document, formats, devices),
        "held": _held(document),
        "open": [
            (title, summary.by_reason(group))
            for title, group in (("Not decided", undecided), ("Not applicable", away))
            if group
        ],
        "distributions": [g for g in summary.overall(document).values() if g.histogram],
    }


def _charts(document: Document, formats: list[str], devices: list[str]) -> list[Chart]:
    drawn = []
    every = summary.by_regime(document)
    for quantity in summary.QUANTITIES:
        for device in devices:
            grades = [g for g in every if (g.quantity, g.device) == (quantity, device)]
            title = quantity.capitalize() + (f" on {device}" if len(devices) > 1 else "")
            drawn.append(chart(title, grades, formats, scale=every))
    return [c for c in drawn if c is not None]


def _held(document: Document) -> list[dict[str, Any]]:
    """The laws that hold, each once: its first finding, the formats, the worst ratio and the number of cases."""
    held = set(summary.laws(document).held)
    groups: dict[str, list[Finding]] = {}
    for f in document.having("holds"):
        if f.property in held:
            groups.setdefault(f.property, []).append(f)
    return [
        {
            "law": found[0],
            "formats": list(dict.fromkeys(f.format for f in found if f.format)),
            "ratio": max((f.ratio for f in found if f.ratio is not None), default=None),
            "examples": sum(f.examples for f in found),
        }
        for found in groups.values()
    ]


def _shares(grade: Grade) -> list[tuple[str, int, float]]:
    """The histogram's rows: the bound, the number of cases and their share in percent."""
    total = sum(n for _, n in grade.histogram) or 1
    rows = []
    for bound, n in grade.histogram:
        rows.append((f"up to {number(bound)}" if math.isfinite(bound) else "beyond", n, 100 * n / total))
    return rows


def _head() -> dict[str, Any]:
    sheet = page.style("report.css")
    return {"style": sheet, "csp": page.policy(sheet)}


@cache
def _environment() -> Environment:
    environment = page.environment()
    environment.filters["shares"] = _shares
    environment.globals["some"] = summary.some
    environment.globals["circumstances"] = summary.circumstances
    environment.filters["also"] = lambda law: summary.also(law, lambda ratio: number(ratio, superscript=True))
    return environment

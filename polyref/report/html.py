"""The report as one HTML file: no script but our own, nothing from the network, every string of a subject escaped."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias
from urllib.parse import quote

from jinja2 import Environment

from polyref.report import compared_html, moves, page, summary
from polyref.report.chart import Chart, chart, outline
from polyref.report.document import SCHEMA, Document, Finding, Grade
from polyref.report.files import write_atomically
from polyref.report.scatter import Scatters, scatters
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
    head, n = page.head("report.css"), len(rows) + len(failures)
    return template.render(rows=rows, failures=failures, formats=formats, n=n, broken=broken, **head)


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
    drawn = scatters(document, formats, summary.QUANTITIES)
    return {
        "schema": SCHEMA,
        **_head(document, drawn),
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
        "scatters": drawn,
        "strips": _strips(document, formats, devices),
        "held": _held(document),
        "open": [
            (title, summary.by_reason(group))
            for title, group in (("Not decided", undecided), ("Not applicable", away))
            if group
        ],
        "distributions": _distributions(document, formats, devices),
        "gate": None if document.gate is None else compared_html.shown(document.gate),
    }


def _strips(document: Document, formats: list[str], devices: list[str]) -> list[Chart]:
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


@dataclass(frozen=True)
class Distribution:
    """The errors of one quantity: a row for each bound in ulps, in it for each format a count and its percentage."""

    title: str
    formats: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, float], ...]], ...]


def _distributions(document: Document, formats: list[str], devices: list[str]) -> list[Distribution]:
    every = summary.overall(document)
    made = []
    for quantity in summary.QUANTITIES:
        for device in devices:
            shown = [g for f in formats if (g := every.get((quantity, device, f))) is not None and g.histogram]
            if not shown:
                continue
            bounds = sorted({bound for g in shown for bound, _ in g.histogram})
            title = quantity.capitalize() + (f" on {device}" if len(devices) > 1 else "")
            rows = [(_bound(bounds, i), tuple(_share(g, bound) for g in shown)) for i, bound in enumerate(bounds)]
            made.append(Distribution(title, tuple(g.format for g in shown), tuple(rows)))
    return made


def _bound(bounds: list[float], i: int) -> str:
    if math.isfinite(bounds[i]):
        return f"≤ {bounds[i]:.6g}"
    return f"> {bounds[i - 1]:.6g}" if i else "any"


def _share(grade: Grade, bound: float) -> tuple[int, float]:
    """How many cases there are up to this bound and above the one before, and their percentage."""
    n = sum(n for b, n in grade.histogram if b == bound)
    return n, 100 * n / (sum(n for _, n in grade.histogram) or 1)


def _head(document: Document, drawn: Scatters | None) -> dict[str, Any]:
    """Style and scripts: what draws is in a page only where something is drawn, what copies where a command is."""
    sheets, scripts = ["report.css"], []
    if drawn is not None:
        sheets.append("vendor/uplot/uPlot.min.css")
        scripts += [page.script("vendor/uplot/uPlot.iife.min.js"), page.script("words.js", "painting.js", "charts.js")]
    if document.gate is not None:
        sheets.append("comparison.css")
    if any(f.reproduce for f in document.violated):
        scripts.append(page.script("copy.js"))
    return page.head(*sheets, scripts=scripts)


@cache
def _environment() -> Environment:
    environment = page.environment()
    environment.globals["outline_of"] = lambda k: outline(k, 0, 0)
    environment.globals["moves"] = moves
    environment.globals["some"] = summary.some
    environment.globals["circumstances"] = summary.circumstances
    environment.filters["also"] = lambda law: summary.also(law, lambda ratio: number(ratio, superscript=True))
    return environment

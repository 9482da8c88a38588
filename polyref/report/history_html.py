"""A history as one HTML file: charts, the same numbers in a table, and what moved. No script, nothing from outside."""

from __future__ import annotations

import os
from functools import cache

from jinja2 import Environment

from polyref.report import history_terminal as words
from polyref.report import page
from polyref.report.files import write_atomically
from polyref.report.history import SCHEMA, History
from polyref.report.history_chart import chart

#: Runs of one subject at which something moved, and lines of one of them: more are counted, and in the document.
MOST_MOVES = 50
MOST_LINES = 40


def render(history: History) -> str:
    """The history as a whole HTML page."""
    sheet = page.style("report.css", "history.css")
    moved = sum(len(target.moves) for target in history.targets)
    template = _environment().get_template("history.html.j2")
    return template.render(
        schema=SCHEMA,
        style=sheet,
        csp=page.policy(sheet),
        targets=history.targets,
        moved=moved,
        most_moves=MOST_MOVES,
        most_lines=MOST_LINES,
    )


def write(history: History, path: str | os.PathLike[str]) -> None:
    """Write the page, whole or not at all.

    Raises:
        UsageError: if the file cannot be written.
    """
    write_atomically(path, render(history).encode())


@cache
def _environment() -> Environment:
    environment = page.environment()
    environment.globals.update(
        chart=chart,
        span=words.span,
        when=words.when,
        called=words.called,
        place=words.place,
        law=words.law_of,
        changes=words.changes,
        said=lambda moved: words.said(moved, superscript=True),
    )
    return environment

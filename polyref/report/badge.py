"""The verdict as a small picture in SVG, for the README of whoever audits."""

from __future__ import annotations

from functools import cache
from typing import Final

from jinja2 import Environment

from polyref.report import page, summary
from polyref.report.document import Document
from polyref.report.words import count

LABEL: Final = "polyref"

#: Backgrounds that white text can be read on, on a light page and on a dark one.
COLOURS: Final = {"hold": "#1a7f37", "open": "#1a7f37", "broken": "#c62828", "nothing": "#8a5a00"}

#: Widths of Verdana's characters in thousandths of its size. Another typeface is fitted into the same width.
_WIDTHS: Final = dict.fromkeys("0123456789", 636) | {
    " ": 352, ",": 364, "a": 601, "b": 623, "c": 521, "d": 623, "e": 596, "f": 352, "g": 623, "h": 633, "i": 274,
    "k": 592, "l": 274, "m": 973, "n": 633, "o": 607, "p": 623, "r": 427, "s": 521, "t": 394, "u": 633, "w": 818,
    "y": 592,
}  # fmt: skip
_AGAINST_A_BASELINE: Final = {
    0: "nothing got worse",
    1: "a law is broken",
    3: "nothing measured",
    4: "got worse",
    5: "not comparable",
}
_SIZE: Final = 11
_MARGIN: Final = 6


def render(document: Document) -> str:
    """The badge as SVG."""
    text = message(document)
    left, right = (_width(part) + 2 * _MARGIN for part in (LABEL, text))
    return (
        _environment()
        .get_template("badge.svg.j2")
        .render(
            label=LABEL,
            message=text,
            left=left,
            right=right,
            margin=_MARGIN,
            size=_SIZE,
            colour=COLOURS[summary.answer(document)[0]],
        )
    )


def message(document: Document) -> str:
    """The answer in a few words: ``3 of 25 laws broken``."""
    if document.gate is not None:
        return _AGAINST_A_BASELINE[document.exit_code]
    found = summary.laws(document)
    if not found.decided:
        return "nothing measured"
    if found.broken:
        return f"{len(found.broken):,} of {count(found.decided, 'law')} broken"
    undecided = f", {len(found.undecided):,} open" if found.undecided else ""
    return count(len(found.held), "law holds", "laws hold") + undecided


def _width(text: str) -> int:
    return round(sum(_WIDTHS[c] for c in text) * _SIZE / 1000)


@cache
def _environment() -> Environment:
    return page.environment()

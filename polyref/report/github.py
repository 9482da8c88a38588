"""Text in GitHub's Markdown that stays text: no HTML, no link, no mention, no reference, whatever a subject wrote.

GitHub reads a comment twice. Its Markdown is parsed, and then mentions, issue numbers, addresses and emoji are looked
for in the text that came of it, so an escape that the parser takes away protects from the first reading only. Against
the first, characters with a meaning are written as entities, which hold inside of HTML and of table cells too; against
the second, a zero-width space goes into what would be found. Code is looked at by neither.
"""

from __future__ import annotations

import re

from polyref.report.words import number, visible

#: Characters with a meaning to Markdown or HTML, and whatever may begin a heading or a list. An underscore inside of a
#: word has no meaning.
_SYNTAX = re.compile(r"[&<>`*\[\]|\\~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[^A-Za-z]")
#: The place where an invisible space goes: a mention, a reference, an address, an emoji.
_FOUND = re.compile(
    r"(?<=@)|(?<=#)(?=\d)|(?<=\bgh-)(?=\d)|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=:)(?=[\w+-]+:)", re.IGNORECASE
)
_APART = "\u200b"


def prose(text: str, most: int = 600) -> str:
    """``text`` in one line, to be put anywhere, table cells and HTML included; at most ``most`` characters of it."""
    apart = _FOUND.sub(_APART, shortened(text, most))
    return _SYNTAX.sub(lambda m: f"&#{ord(m.group())};", apart).replace(_APART, "&#8203;")


def code(text: str, most: int = 600) -> str:
    """``text`` as a code span in one line; not for table cells."""
    shown = shortened(text, most)
    fence = _fence(shown, 1)
    # A blank on both sides is taken away by the parser.
    pad = " " if not shown or shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def block(text: str, language: str = "") -> str:
    """``text``, whole, as a fenced block of one line."""
    shown = visible(text, whole=True)
    fence = _fence(shown, 3)
    return f"{fence}{language}\n{shown}\n{fence}"


def figure(value: float | None) -> str:
    """A number, with a power of ten as a person writes it."""
    return number(value, superscript=True)


def shortened(text: str, most: int) -> str:
    """``text`` in one line, everything in it visible, and no more than about ``most`` characters."""
    shown = visible(re.sub(r"[ \t\r\n]+", " ", text[: 4 * most])).strip()
    return shown if len(shown) <= most and len(text) <= 4 * most else f"{shown[:most]}…"


def _fence(text: str, least: int) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * max(longest + 1, least)

"""Numbers for people, and the gate that a subject's strings pass."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyref.report.words import LONGEST, count, number, visible


@pytest.mark.parametrize(
    ("value", "plain", "superscript"),
    [
        (None, "–", "–"),
        (0.0, "0", "0"),
        (-0.0, "0", "0"),
        (0.38, "0.380", "0.380"),
        (1.03, "1.03", "1.03"),
        (999.4, "999", "999"),
        (999.6, "1000", "1000"),
        (2e14, "2.00e14", "2.00×10¹⁴"),
        (-1.5e-7, "-1.50e-7", "-1.50×10⁻⁷"),
        (5e-324, "4.94e-324", "4.94×10⁻³²⁴"),
        (math.inf, "∞", "∞"),
        (-math.inf, "-∞", "-∞"),
        (math.nan, "NaN", "NaN"),
    ],
)
def test_number(value: float | None, plain: str, superscript: str) -> None:
    assert number(value) == plain
    assert number(value, superscript=True) == superscript


def test_count() -> None:
    assert [count(n, "law") for n in (0, 1, 12345)] == ["0 laws", "1 law", "12,345 laws"]
    assert count(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ε (1 − Pt)² é 漢", "ε (1 − Pt)² é 漢"),
        ("a\x00\x1b\x7f", "a⟨U+0000⟩⟨U+001B⟩⟨U+007F⟩"),
        ("a\x85b", "a⟨U+0085⟩b"),
        ("\u202e\u2066\u200b\ufeff\u2028", "⟨U+202E⟩⟨U+2066⟩⟨U+200B⟩⟨U+FEFF⟩⟨U+2028⟩"),
        ("\udc80", "⟨U+DC80⟩"),
        ("a\tb\nc", "a⟨U+0009⟩b⟨U+000A⟩c"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_visible_keeps_lines_on_request() -> None:
    assert visible("a\tb\nc\r", lines=True) == "a    b\nc⟨U+000D⟩"


def test_visible_cuts_what_is_very_long() -> None:
    assert visible("x" * (LONGEST + 1234)) == "x" * LONGEST + " … (1,234 more characters)"
    assert visible("x" * LONGEST) == "x" * LONGEST
    assert len(visible("x" * (2 * LONGEST), whole=True)) == 2 * LONGEST


@given(st.text())
def test_nothing_invisible_is_left(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert visible(shown, whole=True) == shown

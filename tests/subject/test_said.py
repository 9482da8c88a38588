"""What a stranger's exception says, in one short line."""

from __future__ import annotations

import pytest

from polyref.subject.said import first_line, one_line
from subject.hostile.raising import Deadly, Mute


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError(), "ValueError"),
        (ValueError("\n\n  first\nsecond"), "ValueError: first"),
        (ValueError("m" * 10_000_000), f"ValueError: {'m' * 300}…"),
        (SyntaxError("odd", ("f.py", 1, 1, "x")), "SyntaxError: odd"),
        (SyntaxError(), "SyntaxError: None"),
        (Mute(), "Mute: its message cannot be read: __str__ raised RuntimeError"),
        (Deadly(), "Deadly: its message cannot be read: __str__ raised SystemExit"),
    ],
)
def test_an_exception_is_one_short_line(error, line):
    assert one_line(error) == line


def test_no_line_is_no_text():
    assert first_line(" \n\t\n") == ""

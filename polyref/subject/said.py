"""What a stranger's exception or warning says, in one short line, whatever its class does when it is asked."""

from __future__ import annotations

from typing import Any

_LONGEST = 300
#: No further is a text searched for its first line: messages of megabytes occur, with tensors printed in them.
_SEARCHED = 10_000


def text_of(thing: Any) -> str:
    """``str(thing)``, or what became of the attempt: ``__str__`` is a stranger's code too."""
    try:
        return str(thing)[:_SEARCHED]
    except BaseException as e:
        return f"its message cannot be read: __str__ raised {type(e).__name__}"


def first_line(text: str) -> str:
    """The first line with something on it, cut where it is long."""
    line = next((line.strip() for line in text[:_SEARCHED].splitlines() if line.strip()), "")
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def one_line(error: BaseException) -> str:
    """The exception's type and the first line of its message."""
    text = first_line(text_of(error.msg if isinstance(error, SyntaxError) else error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

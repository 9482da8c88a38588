"""What reports are printed on: standard output, whatever reads it and whatever characters it knows."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from rich.console import Console

#: What a terminal without Unicode gets in the place of our own marks.
ASCII: Final = {
    "✗": "x",
    "✓": "+",
    "–": "-",
    "−": "-",
    "…": "...",
    "→": "->",
    "±": "+/-",
    "×": "x",
    "∞": "inf",
    "·": "-",
    "⟨": "<",
    "⟩": ">",
    **dict(zip("▁▂▃▄▅▆▇█", "_.-~=+*#", strict=True)),
}


class Screen(Console):
    """A console that never takes text for markup, and lets a command end as it would when its reader leaves early."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def on_broken_pipe(self) -> None:
        """A reader such as head had enough: the rest is dropped, and the exit code stays that of the findings."""
        self.quiet = True
        drop_output()


def plain(draw: Callable[[Console], None], *, width: int = 100) -> str:
    """What ``draw`` prints, as text without colours and without blank lines around it."""
    stream = io.StringIO()
    draw(Screen(file=stream, width=width, color_system=None, force_terminal=False, force_jupyter=False))
    return stream.getvalue().strip("\n")


def drop_output() -> None:
    """Send what is still to come on standard output nowhere, so that the interpreter can flush it in peace."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def survive_any_encoding() -> None:
    """Let both standard streams replace what their encoding lacks, by the nearest of our marks or by an escape."""
    codecs.register_error("polyref", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="polyref")


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError) and error.object[error.start] in ASCII:
        return ASCII[error.object[error.start]], error.start + 1
    return codecs.backslashreplace_errors(error)

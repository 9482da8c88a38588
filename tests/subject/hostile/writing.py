"""Losses that write where they should not, or close what is not theirs."""

from __future__ import annotations

import contextlib
import os

from subject.hostile.base import behaving_until

_FIRST, _LAST = 3, 1024


def _everywhere(data):
    for fd in range(_FIRST, _LAST):
        with contextlib.suppress(OSError):
            os.write(fd, data)


megabytes = behaving_until(lambda: print("x" * 4_000_000))
everywhere = behaving_until(lambda: _everywhere(b"this is no message\n"))
numbers_everywhere = behaving_until(lambda: _everywhere(b"1\n"))
answers_everywhere = behaving_until(lambda: _everywhere(b'{"event":"seen","observation":{}}\n'))
closed = behaving_until(lambda: os.closerange(0, _LAST))

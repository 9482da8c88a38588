"""A loss that does something dreadful for some class counts, in a process of its own only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time

import torch

from subject.zoo import plain

print("imported")


def _eat():
    return torch.empty(1 << 32)


def _scribble():
    for fd in range(512, 520):
        with contextlib.suppress(OSError):
            os.write(fd, b"this is no message\n")


def _leave_a_child():
    if os.fork() == 0:
        time.sleep(600)
    os._exit(5)


DEEDS = {
    5: lambda: time.sleep(600),
    6: os.abort,
    7: lambda: os._exit(3),
    8: lambda: sys.exit(4),
    9: _eat,
    11: lambda: ctypes.string_at(0),
    12: lambda: os.closerange(3, 4096),
    13: _scribble,
    14: _leave_a_child,
}


def by_class_count(logits, labels):
    """Behaves for few classes."""
    classes = logits.shape[-1]
    print("classes:", classes)
    print("to standard error", file=sys.stderr)
    if classes == 15:  # closes what it did not open, where most would
        os.closerange(3, 256)
    DEEDS.get(classes, lambda: None)()
    return plain(logits, labels)


def always_aborts(logits, labels):
    os.abort()

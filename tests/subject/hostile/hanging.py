"""Losses that take time or memory without end."""

from __future__ import annotations

import time

import torch

from subject.hostile.base import behaving_until, poly


def _forever():
    while True:
        pass


_LEAK = []


def _leak():
    _LEAK.append(torch.ones(1 << 26))


call = behaving_until(_forever)
slow = behaving_until(lambda: time.sleep(0.5))
allocation = behaving_until(lambda: torch.empty(100 << 30, dtype=torch.uint8))
python_allocation = behaving_until(lambda: bytearray(100 << 30))
leak = behaving_until(_leak)


class Constructor:
    """Never made."""

    def __init__(self):
        _forever()

    def __call__(self, logits, labels):
        return poly(logits, labels)

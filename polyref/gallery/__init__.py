"""Published PolyLoss code, rewritten to behave like the original bit by bit, with where it is from and what is wrong.

The list is data: importing it loads no torch. The modules named by the targets load it.
"""

from __future__ import annotations

from polyref.errors import UsageError
from polyref.gallery.entry import Defect as Defect
from polyref.gallery.entry import Entry as Entry
from polyref.gallery.of_others import OF_OTHERS
from polyref.gallery.of_torch import OF_TORCH

ENTRIES: tuple[Entry, ...] = (*OF_TORCH, *OF_OTHERS)


def entry(name: str) -> Entry:
    """The entry of that id.

    Raises:
        UsageError: if there is none.
    """
    for candidate in ENTRIES:
        if candidate.id == name:
            return candidate
    raise UsageError(f"no gallery entry {name!r}: choose one of {', '.join(e.id for e in ENTRIES)}")

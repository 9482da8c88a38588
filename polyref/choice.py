"""Names that a user chooses from those that are known."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from polyref.errors import UsageError


def chosen(names: Iterable[str], known: Collection[str], what: str) -> tuple[str, ...]:
    """The names asked for in the order of those that are known; all of them where none is asked for.

    Raises:
        UsageError: for one that is not known, with the nearest that are.
    """
    asked = set(names)
    for name in sorted(asked):
        if name not in known:
            raise UsageError(f"no {what} is called {name!r}: choose {' or '.join(nearest(name, known))}")
    return tuple(n for n in known if not asked or n in asked)


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three names of those that are known, the nearest ones."""
    known = list(known)
    return difflib.get_close_matches(name, known, n=3, cutoff=0.0)

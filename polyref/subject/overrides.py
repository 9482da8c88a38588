"""``--init k=v`` and ``--call k=v``: from texts to values."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from polyref.errors import UsageError


def parse_overrides(items: Iterable[str], what: str = "--init") -> dict[str, Any]:
    """A dict from texts of the form ``name=value``.

    A value that is a Python literal (a number, a quoted text, True, None, a list) is taken as one, any other as text.

    Args:
        items: the texts.
        what: the option, for the message.

    Raises:
        UsageError: if a text has another form, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"{what} {item!r} is no override: give name=value")
        if name in found:
            raise UsageError(f"{what} {name} is given twice: give it once")
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = text
    return found

"""``--init k=v`` and ``--call k=v``: from texts to values, and what values there may be."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any

from polyref.errors import UsageError
from polyref.subject.convention import frozen_value


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


def portable(overrides: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The overrides as a convention holds them: values that travel to another process and can be written down.

    Raises:
        UsageError: for a value of another kind.
    """
    for name, value in overrides.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            raise UsageError(
                f"{what} {name}={value!r}: give a number, a text, True, False, None or a list of them"
            ) from None
    return {name: frozen_value(value) for name, value in overrides.items()}

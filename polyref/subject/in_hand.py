"""Objects in hand: what a caller in Python has defined, perhaps in a notebook where no file holds it."""

from __future__ import annotations

import inspect
import os
import sys
from typing import Any

from polyref.errors import UsageError
from polyref.subject.lookup import attribute


def caption(subject: Any) -> str:
    """What an object is called where a target is due: one that can be imported again by its target.

    Raises:
        UsageError: if it cannot be called.
    """
    if not callable(subject):
        raise UsageError(
            f"an object of type {type(subject).__name__} cannot be called: give a class, a function, an instance or "
            "the text of a target"
        )
    target = target_of(subject)
    if target is not None:
        return target
    if inspect.isclass(subject) or inspect.isroutine(subject):
        return str(attribute(subject, "__name__", type(subject).__name__))
    return f"{type(subject).__name__}(…)"


def target_of(subject: Any) -> str | None:
    """The target that names a class or a function in any process, None if there is none.

    There is none for an instance, for what was defined inside a function or in no file, and for what a running script
    defines: to import that would be to run the script again.
    """
    if not (inspect.isclass(subject) or inspect.isfunction(subject)) or subject.__module__ == "__main__":
        return None
    module = sys.modules.get(subject.__module__)
    file = attribute(module, "__file__")
    if file is None or not os.path.isfile(file):
        return None
    found: Any = module
    for part in subject.__qualname__.split("."):
        found = attribute(found, part)
    if found is not subject:
        return None
    if "." in subject.__module__:
        return f"{subject.__module__}:{subject.__qualname__}"
    # A module outside of any package may be one that only this process can import by its name, a test module for one.
    relative = os.path.relpath(file)
    return f"{file if relative.startswith('..') else relative}:{subject.__qualname__}"

"""Looking things up in strangers' objects, whose ``__getattr__`` may raise anything: what raises is not there."""

from __future__ import annotations

import inspect
from typing import Any


def attribute(held_by: Any, name: str, default: Any = None) -> Any:
    """The attribute of an object, or the default where there is none or looking it up raises."""
    try:
        return getattr(held_by, name, default)
    except Exception:  # a stranger's __getattr__ or property may raise anything
        return default


def has(held_by: Any, name: str) -> bool:
    """Whether an object has an attribute that can be looked up."""
    missing = object()
    return attribute(held_by, name, missing) is not missing


def unwrapped(function: Any) -> Any:
    """What a decorator wrapped, as :func:`inspect.unwrap`; the object itself where that cannot be told."""
    try:
        return inspect.unwrap(function)
    except Exception:  # a stranger's __wrapped__ may raise anything, or lead back to itself
        return function

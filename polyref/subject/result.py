"""What a subject returned: where its numbers lie, and in words what is no loss."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

import torch

from polyref.subject.lookup import attribute

# Bound before any subject is imported, as in :mod:`polyref.subject.call`.
_tensor, _as_tensor = torch.tensor, torch.as_tensor


def tensor_at(raw: Any, path: int | str | None) -> torch.Tensor | None:
    """The numbers at ``path`` of a result as a tensor: a tensor, a numpy array or a Python number; None otherwise."""
    raw = _at(raw, path)
    if isinstance(raw, torch.Tensor):
        return raw
    if isinstance(raw, bool):
        return None
    if isinstance(raw, (int, float)):
        return _tensor(float(raw), dtype=torch.float64)
    if type(raw).__module__ == "numpy":
        try:
            return _as_tensor(raw)
        except (TypeError, ValueError, RuntimeError):
            return None
    return None


def is_number(raw: Any, path: int | str | None) -> bool:
    """Whether a Python number is at ``path`` of a result."""
    return isinstance(_at(raw, path), (int, float))


def _at(raw: Any, path: int | str | None) -> Any:
    if path is None:
        return raw
    try:
        return getattr(raw, path[1:]) if isinstance(path, str) and path.startswith(".") else raw[path]
    except Exception:  # a stranger's __getattr__ and __getitem__ raise what they like
        return None


def find_tensor(raw: Any) -> int | str | None:
    """Where the loss is in a tuple, list, dict or dataclass: under ``loss``, else the first entry with numbers in it.

    Raises:
        LookupError: if there is none.
    """
    keys: list[Any]
    if isinstance(raw, Mapping):
        keys = [k for k in ("loss", *raw) if isinstance(k, str) and k in raw]
    elif isinstance(raw, (tuple, list)):
        named = attribute(raw, "_fields", ())
        keys = sorted(range(len(raw)), key=lambda i: tuple(named)[i : i + 1] != ("loss",))
    elif dataclasses.is_dataclass(raw) and not isinstance(raw, type):
        names = [f.name for f in dataclasses.fields(raw)]
        keys = [f".{name}" for name in sorted(names, key=lambda n: n != "loss")]
    else:
        raise LookupError
    for key in keys:
        if tensor_at(raw, key) is not None:
            return key  # type: ignore[no-any-return]
    raise LookupError


def described(raw: Any) -> str:
    """A result that is no loss, in a few words."""
    if raw is None:
        return "None"
    if inspect.isroutine(raw):
        return "a function"
    name = type(raw).__name__ or "object"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def exit_status(error: SystemExit) -> int:
    """The exit status that a ``SystemExit`` would give its process."""
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1

"""Frameworks that a subject may be written in: each is loaded when a subject needs it, and never before."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from polyref.errors import UsageError

if TYPE_CHECKING:
    from polyref.subject.frameworks.base import Framework

#: Names in the order in which they are tried, and the class that adapts each.
NAMES = ("torch", "tensorflow", "jax", "numpy")
_ADAPTERS = {"torch": "Torch", "tensorflow": "TensorFlow", "jax": "Jax", "numpy": "NumPy"}


def check_name(name: str) -> None:
    """Check that there is a framework of that name, and that it is installed; nothing is imported.

    Raises:
        UsageError: if not.
    """
    if name not in _ADAPTERS:
        raise UsageError(f"framework {name!r} is not known: choose one of {', '.join(NAMES)}")
    if find_spec(name) is None:
        raise UsageError(f"framework {name} is not installed: {install_hint(name)}")


def install_hint(package: str) -> str | None:
    """The command that installs a framework, None for any other package."""
    if package not in _ADAPTERS:
        return None
    return f"pip install 'polyref[{package}]'" if package in ("jax", "tensorflow") else f"pip install {package}"


@cache
def framework(name: str) -> Framework:
    """The adapter of a framework, which is imported here.

    Raises:
        UsageError: if there is none of that name, or it is not installed.
    """
    check_name(name)
    adapter: type[Framework] = getattr(import_module(f"{__name__}.{name}_"), _ADAPTERS[name])
    return adapter()

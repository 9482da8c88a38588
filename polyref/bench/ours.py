"""The losses of this package as contenders: one for each backend that works on the device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from polyref.bench.contender import Contender
from polyref.bench.goals import OURS
from polyref.nn import backends
from polyref.nn._backend import VARIABLE

#: The backends that are measured on each kind of device, fastest first.
_ON = {"cpu": ("native", "eager"), "cuda": ("triton", "eager")}


@contextmanager
def backend(name: str) -> Iterator[None]:
    """A backend chosen by the environment, as a user would choose it."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def contenders(device: str, run: Callable[[], object]) -> tuple[list[Contender], dict[str, str]]:
    """The work done by each backend, and those that cannot do it here with the reason."""
    reasons = backends()
    usable = [name for name in _ON[device] if not reasons[name]]
    found = [Contender(OURS + name, run, within=partial(backend, name)) for name in usable]
    return found, {OURS + name: reasons[name] for name in _ON[device] if reasons[name]}


def fastest(device: str) -> str:
    """The backend that users get if they choose none."""
    reasons = backends()
    return next(name for name in _ON[device] if not reasons[name])

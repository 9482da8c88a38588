"""What a subject may use of the machine, and what a user may choose of that."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Any

from polyref.errors import UsageError

#: Seconds; torch is in the process already, and what a loss needs beside it takes well under one.
SLOW_IMPORT = 2.0


@dataclass(frozen=True)
class Limits:
    """What a subject may use.

    Attributes:
        seconds_per_case: for one case, or one trial of the probe.
        load_seconds: to import the target, and to start the process and import torch where that is not done already.
        memory_bytes: of data, torch's own 0.2 GiB included.
        total_seconds: for everything, from when the subject is opened.
        restarts: new processes in the place of ended ones.

    Raises:
        UsageError: if one of them is not above 0.
    """

    seconds_per_case: float = 10.0
    load_seconds: float = 60.0
    memory_bytes: int = 4 << 30
    total_seconds: float = math.inf
    restarts: int = 5

    def __post_init__(self) -> None:
        for name in ("seconds_per_case", "load_seconds", "memory_bytes", "total_seconds", "restarts"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)!r}: give a number above 0")


DEFAULT_LIMITS = Limits()
#: More seconds, GiB or processes than anybody means.
_ENDLESS = 10**6


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_bounded(name: str, value: float | None) -> None:
    """Check a limit that a user has chosen, under the name that it was given by.

    Raises:
        UsageError: if it is not above 0, or has no end.
    """
    if value is not None and not 0 < value < _ENDLESS:
        raise UsageError(f"{name} {value:g} is not allowed: give a number above 0, and below {_ENDLESS}")


def check_count(name: str, count: int) -> None:
    """Check how many processes are to work at once, under the name that it was given by.

    Raises:
        UsageError: if that is below 1.
    """
    if count < 1:
        raise UsageError(f"{name} {count} is not allowed: give at least 1")


def limits_of(
    *, timeout: float | None = None, memory: float | None = None, restarts: int | None = None, prefix: str = ""
) -> Limits:
    """The limits that a user has chosen, the default ones where nothing was.

    Args:
        timeout: seconds a case.
        memory: GiB of data.
        restarts: new processes.
        prefix: what these names have before them where the user wrote them.

    Raises:
        UsageError: for a number that is not allowed.
    """
    for name, value in (("timeout", timeout), ("memory", memory), ("restarts", restarts)):
        check_bounded(f"{prefix}{name}", value)
    seconds, size = timeout, None if memory is None else int(memory * 2**30)
    chosen: dict[str, Any] = {"seconds_per_case": seconds, "memory_bytes": size, "restarts": restarts}
    return replace(DEFAULT_LIMITS, **{name: v for name, v in chosen.items() if v is not None})

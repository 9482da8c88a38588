"""A child process that sweeps ranges, seen from its parent: what becomes of a range, whatever the subject does."""

from __future__ import annotations

from typing import Any

import msgspec

from polyref.errors import UsageError
from polyref.subject import wire
from polyref.subject.child import Child, ChildGone
from polyref.subject.said import first_line
from polyref.subject.slot import Slot
from polyref.sweep.job import Job, Range

#: What a child may take to start: to import torch and the target, and to make the tables of radii.
_TO_START = 120.0


class Swept(msgspec.Struct, frozen=True):
    """A range that was judged.

    Attributes:
        tallies: for each spec, by quantity, as :class:`polyref.sweep.tally.Tally` in plain types.
        subject_seconds: what the subject took.
        judge_seconds: what judging it took.
    """

    tallies: list[dict[str, Any]]
    subject_seconds: float
    judge_seconds: float


class Failed(msgspec.Struct, frozen=True):
    """A range that was not judged, and why."""

    reason: str


class Hand:
    """Sweeps ranges of one job in a child process, which is started anew after a range that ended it.

    Args:
        job: the sweep.
        seconds: what one range may take.
        memory_bytes: what the child may use.

    Raises:
        UsageError: from :meth:`sweep`, if the target cannot be loaded.
    """

    def __init__(self, job: Job, *, seconds: float, memory_bytes: int) -> None:
        self._opening = wire.encode({"open": msgspec.to_builtins(job)})
        self._seconds = seconds
        self._slot = Slot(self, module="polyref.sweep.worker", memory_bytes=memory_bytes)

    def sweep(self, wanted: Range) -> Swept | Failed:
        """What became of a range.

        Raises:
            UsageError: if the target cannot be loaded.
        """
        try:
            child = self._running()
            child.send(wire.encode({"range": msgspec.to_builtins(wanted)}))
            reply = child.message(self._seconds, "swept", "raised")
        except ChildGone as e:
            self._slot.drop()
            took = f"took more than {self._seconds:g} s" if e.reason == "timeout" else f"ended its process ({e.reason})"
            return Failed(took)
        if reply["event"] == "raised":
            return Failed(f"raised {first_line(str(reply['error']))}")
        return Swept(reply["tallies"], reply["seconds"]["subject"], reply["seconds"]["judge"])

    def _running(self) -> Child:
        child = self._slot.child
        if child is not None:
            return child
        child = self._slot.start()
        child.send(self._opening)
        reply = child.message(_TO_START, "opened", "refused")
        if reply["event"] == "refused":
            raise UsageError(reply["message"])
        return child

    def close(self) -> None:
        """End the child."""
        self._slot.close()

"""A child process that sweeps ranges, seen from its parent: what becomes of a range, whatever the subject does."""

from __future__ import annotations

import msgspec

from polyref.errors import UsageError
from polyref.report import structs
from polyref.subject import wire
from polyref.subject.child import Child, ChildGone
from polyref.subject.said import first_line
from polyref.subject.slot import slot
from polyref.sweep.job import Job, Range
from polyref.sweep.tally import Tally

#: What a child runs.
WORKER = "polyref.sweep.worker"
#: What a child may take to start: to import torch and the target, and to make the tables of radii.
_TO_START = 120.0


class Swept(msgspec.Struct, frozen=True):
    """A range that was judged.

    Attributes:
        tallies: for each spec, by quantity.
        subject_seconds: what the subject took.
        judge_seconds: what judging it took.
    """

    tallies: list[dict[str, Tally]]
    subject_seconds: float
    judge_seconds: float


class Failed(msgspec.Struct, frozen=True):
    """A range that was not judged.

    Attributes:
        reason: why.
        final: whether that was the subject's answer, which another process would give too.
    """

    reason: str
    final: bool = False


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
        self._slot = slot(module=WORKER, memory_bytes=memory_bytes)
        self._opened = False
        self._unstarted = 0

    def sweep(self, wanted: Range) -> Swept | Failed:
        """What became of a range.

        Raises:
            UsageError: if the target cannot be loaded.
        """
        try:
            child = self._running()
        except ChildGone as e:
            return self._not_started(e.reason)
        self._unstarted = 0
        try:
            child.send(wire.encode({"range": msgspec.to_builtins(wanted)}))
            reply = child.message(self._seconds, "swept", "failed by subject")
        except ChildGone as e:
            self._slot.drop()
            return Failed(_how_it_ended(e.reason, self._seconds))
        if reply["event"] == "swept":
            found = {"tallies": reply["tallies"], **reply["seconds"]}
            return structs.converted(found, Swept)
        reason = first_line(str(reply["reason"]))
        if reason.startswith("raised MemoryError"):
            self._slot.drop()  # what it holds may be the memory that is missing
            return Failed(reason)
        return Failed(reason, final=True)

    def _not_started(self, reason: str) -> Failed:
        self._slot.drop()
        self._unstarted += 1
        how = _how_it_ended(reason, _TO_START)
        if self._unstarted > 1:
            raise UsageError(f"the target cannot be loaded to be swept: it {how} twice while it was loaded")
        return Failed(how)

    def _running(self) -> Child:
        child = self._slot.child
        if child is not None and self._opened:
            return child
        self._opened = False
        child = child or self._slot.start()
        child.send(self._opening)
        reply = child.message(_TO_START, "opened", "refused")
        if reply["event"] == "refused":
            raise UsageError(reply["message"])
        self._opened = True
        return child

    def close(self) -> None:
        """End the child."""
        self._slot.close()


def _how_it_ended(reason: str, seconds: float) -> str:
    return f"took more than {seconds:g} s" if reason == "timeout" else f"ended its process ({reason})"

"""Ranges swept by the workers of a Dask cluster.

A task is one range, and its result the JSON of its tallies. Each worker keeps a child process for the sweep, so that a
subject cannot take the worker down.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from polyref import cluster
from polyref.errors import UsageError
from polyref.report import structs
from polyref.subject.load import parse_target
from polyref.sweep.hand import Failed, Hand, Swept
from polyref.sweep.job import Job, Range
from polyref.sweep.local import tried

#: Tasks known to the scheduler at once, a thread of the cluster: enough to keep it busy, few enough to leave quickly.
_AHEAD = 4
_LOOK = 0.2


def sweep_range(job: bytes, start: int, stop: int, seconds: float, memory_bytes: int) -> bytes:
    """Run in a worker of the cluster: what became of a range, as JSON.

    Raises:
        UsageError: if the target cannot be loaded there.
    """

    def hand() -> Hand:
        return Hand(msgspec.json.decode(job, type=Job), seconds=seconds, memory_bytes=memory_bytes)

    with cluster.kept((job, seconds, memory_bytes), hand) as mine:
        outcome = tried(mine, Range(start, stop))
    return msgspec.json.encode({type(outcome).__name__.lower(): structs.plain(outcome)})


class Cluster:
    """A Dask cluster.

    Args:
        job: the sweep.
        address: of the scheduler, ``tcp://HOST:PORT``.
        seconds: what one range may take.
        memory_bytes: what a child process may use.

    Raises:
        UsageError: if ``distributed`` is not installed, nobody answers there, or there are no workers.
    """

    def __init__(self, job: Job, address: str, *, seconds: float, memory_bytes: int) -> None:
        # The workers were started in other folders.
        self._job = msgspec.json.encode(msgspec.structs.replace(job, target=_anywhere(job.target)))
        self._limits = seconds, memory_bytes
        self._cluster = cluster.Cluster(address)

    @property
    def workers(self) -> int:
        """How many threads work for it now."""
        return self._cluster.threads

    def results(self, ranges: Sequence[Range]) -> Iterator[tuple[Range, Swept | Failed]]:
        """Each range and what became of it, in the order in which they are done.

        Raises:
            UsageError: if the target cannot be loaded there, or the scheduler is gone.
        """
        left = iter(ranges)
        done: queue.SimpleQueue[tuple[Range, Future[bytes]]] = queue.SimpleQueue()

        def ask() -> None:
            wanted = next(left, None)
            if wanted is not None:
                name = f"places {wanted.start:#x} to {wanted.stop:#x}"
                future = self._cluster.task(name, sweep_range, self._job, wanted.start, wanted.stop, *self._limits)
                future.add_done_callback(lambda f: done.put((wanted, f)))

        for _ in range(_AHEAD * self.workers):
            ask()
        for _ in ranges:
            # A wait without an end would not let an interruption through.
            while True:
                try:
                    wanted, future = done.get(timeout=_LOOK)
                    break
                except queue.Empty:
                    continue
            try:
                outcome = _outcome(future.result())
            except cluster.WorkerLost as e:
                outcome = Failed(str(e))
            yield wanted, outcome
            ask()

    def close(self) -> None:
        """Leave the cluster; ranges that have not begun are forgotten there."""
        self._cluster.shutdown(cancel_futures=True)


def _anywhere(target: str) -> str:
    """A target that can be found from any folder."""
    try:
        found = parse_target(target)
    except UsageError:  # whoever loads it says so
        return target
    return f"{Path(found.module).resolve()}:{found.attribute}" if found.is_file else target


def _outcome(result: bytes) -> Swept | Failed:
    kinds: dict[str, Callable[[Any], Swept | Failed]] = {
        "swept": lambda data: structs.converted(data, Swept),
        "failed": lambda data: structs.converted(data, Failed),
    }
    ((kind, data),) = msgspec.json.decode(result).items()
    return kinds[kind](data)

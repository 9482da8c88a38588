"""Ranges swept by the workers of a Dask cluster; the extra ``cluster`` brings what that needs.

A task is one range. The scheduler gives it to another worker when its own dies, and results come back as the JSON of
their tallies. Each worker keeps a child process for the sweep, so that a subject cannot take the worker down.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from polyref.errors import UsageError
from polyref.sweep.hand import Failed, Hand, Swept
from polyref.sweep.job import Job, Range
from polyref.sweep.local import tried

#: Tasks known to the scheduler at once, a thread of the cluster: enough to keep it busy, few enough to leave quickly.
_AHEAD = 4
_PATIENCE = 20


def sweep_range(job: bytes, start: int, stop: int, seconds: float, memory_bytes: int) -> bytes:
    """Run in a worker of the cluster: what became of a range, as JSON."""
    key = (job, threading.get_ident())
    with _lock:
        if key not in _hands:
            for other in [k for k in _hands if k[0] != job]:
                _hands.pop(other).close()
            _hands[key] = Hand(msgspec.json.decode(job, type=Job), seconds=seconds, memory_bytes=memory_bytes)
        hand = _hands[key]
    try:
        outcome = tried(hand, Range(start, stop))
    except UsageError as e:
        return msgspec.json.encode({"refused": str(e)})
    return msgspec.json.encode({type(outcome).__name__.lower(): outcome})


_hands: dict[tuple[bytes, int], Hand] = {}
_lock = threading.Lock()


class Cluster:
    """A Dask cluster.

    Args:
        job: the sweep.
        address: of the scheduler, ``tcp://HOST:PORT``.
        seconds: what one range may take.
        memory_bytes: what a child process may use.

    Raises:
        UsageError: if ``distributed`` is not installed, or nobody answers there.
    """

    def __init__(self, job: Job, address: str, *, seconds: float, memory_bytes: int) -> None:
        self.address = address
        self._job = msgspec.json.encode(job)
        self._digest, self._seconds, self._memory = job.digest, seconds, memory_bytes
        self._client = connected(address)

    @property
    def workers(self) -> int:
        """How many threads work for it now."""
        return sum(self._client.nthreads().values())

    def results(self, ranges: Sequence[Range]) -> Iterator[tuple[Range, Swept | Failed]]:
        """Each range and what became of it, in the order in which they are done.

        Raises:
            UsageError: if the target cannot be loaded there, or the scheduler is gone.
        """
        try:
            yield from self._results(ranges)
        except (OSError, TimeoutError) as e:  # distributed's CommClosedError is an OSError
            raise UsageError(f"the scheduler {self.address} is gone ({e}): start it again, and go on") from e

    def _results(self, ranges: Sequence[Range]) -> Iterator[tuple[Range, Swept | Failed]]:
        from distributed import as_completed  # noqa: PLC0415

        left = iter(ranges)
        pending: Any = as_completed(loop=self._client.loop)  # type: ignore[no-untyped-call]
        asked: dict[str, Range] = {}

        def ask() -> None:
            wanted = next(left, None)
            if wanted is not None:
                future = self._client.submit(
                    sweep_range,
                    *(self._job, wanted.start, wanted.stop, self._seconds, self._memory),
                    key=f"polyref-{self._digest}-{wanted.start:x}-{wanted.stop:x}",
                    pure=False,
                )
                asked[future.key] = wanted
                pending.add(future)

        for _ in range(_AHEAD * max(self.workers, 1)):
            ask()
        for future in pending:
            yield asked.pop(future.key), _outcome(future)
            future.release()
            ask()

    def close(self) -> None:
        """Leave the cluster; tasks that nobody waits for are forgotten there."""
        self._client.close(timeout=_PATIENCE)


def _outcome(future: Any) -> Swept | Failed:
    error = future.exception()
    if error is not None:
        return Failed(f"its worker died ({type(error).__name__})")
    found = msgspec.json.decode(future.result())
    if "refused" in found:
        raise UsageError(found["refused"])
    kinds: dict[str, Callable[[Any], Swept | Failed]] = {
        "swept": lambda data: msgspec.convert(data, Swept),
        "failed": lambda data: msgspec.convert(data, Failed),
    }
    ((kind, data),) = found.items()
    return kinds[kind](data)


def connected(address: str) -> Any:
    """A client of the scheduler at an address.

    Raises:
        UsageError: if ``distributed`` is not installed, or nobody answers there.
    """
    try:
        from distributed import Client  # noqa: PLC0415
    except ImportError:
        raise UsageError("--scheduler needs the package distributed: pip install 'polyref[cluster]'") from None
    try:
        return Client(address, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as e:
        raise UsageError(
            f"no scheduler answers at {address!r} ({type(e).__name__}): give the tcp://HOST:PORT of one that runs"
        ) from e

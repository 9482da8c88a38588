"""Ranges swept by processes of this machine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from polyref.sweep.hand import Failed, Hand, Swept
from polyref.sweep.job import Job, Range

#: A range that ended its process gets another one this often; an exception of the subject is its answer.
_TRIES = 2
_LOOK = 0.2


class Executor(Protocol):
    """What sweeps ranges, here or elsewhere."""

    def results(self, ranges: Sequence[Range]) -> Iterator[tuple[Range, Swept | Failed]]:
        """Each range and what became of it, in the order in which they are done.

        Raises:
            UsageError: if the target cannot be loaded there, or whoever sweeps is gone.
        """

    def close(self) -> None:
        """End what is still running."""


class LocalPool:
    """Child processes of this one, a thread of this one for each.

    Args:
        job: the sweep.
        workers: how many.
        seconds: what one range may take.
        memory_bytes: what one process may use.
    """

    def __init__(self, job: Job, *, workers: int, seconds: float, memory_bytes: int) -> None:
        self._hands = [Hand(job, seconds=seconds, memory_bytes=memory_bytes) for _ in range(workers)]
        self._closed = threading.Event()

    def results(self, ranges: Sequence[Range]) -> Iterator[tuple[Range, Swept | Failed]]:
        """Each range and what became of it, in the order in which they are done.

        Raises:
            UsageError: if the target cannot be loaded.
        """
        todo: queue.SimpleQueue[Range] = queue.SimpleQueue()
        for wanted in ranges:
            todo.put(wanted)
        done: queue.SimpleQueue[tuple[Range, Swept | Failed] | BaseException] = queue.SimpleQueue()
        threads = [threading.Thread(target=self._work, args=(hand, todo, done), daemon=True) for hand in self._hands]
        for thread in threads:
            thread.start()
        for _ in ranges:
            # A wait without an end would not let an interruption through.
            while True:
                try:
                    found = done.get(timeout=_LOOK)
                    break
                except queue.Empty:
                    continue
            if isinstance(found, BaseException):
                raise found
            yield found

    def _work(
        self,
        hand: Hand,
        todo: queue.SimpleQueue[Range],
        done: queue.SimpleQueue[tuple[Range, Swept | Failed] | BaseException],
    ) -> None:
        try:
            while not self._closed.is_set():
                wanted = todo.get_nowait()
                done.put((wanted, tried(hand, wanted)))
        except queue.Empty:
            pass
        except BaseException as e:
            done.put(e)

    def close(self) -> None:
        """End the processes; what they were at is lost."""
        self._closed.set()
        for hand in self._hands:
            hand.close()


def tried(hand: Hand, wanted: Range) -> Swept | Failed:
    """What became of a range, with another try where its process ended.

    Raises:
        UsageError: if the target cannot be loaded.
    """
    for _ in range(_TRIES):
        outcome = hand.sweep(wanted)
        if isinstance(outcome, Swept) or outcome.final:
            break
    return outcome

"""Who does the work: processes, of this machine or of a cluster, or this process alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from types import TracebackType
from typing import Any, TypeVar

from polyref.cluster import Cluster
from polyref.errand import ProcessEnded
from polyref.errors import PolyrefError
from polyref.report.progress import Meter
from polyref.selftest import work

_T = TypeVar("_T")


class WorkerDied(PolyrefError):
    """A process of the self-test ended without an answer; exit code 2."""


class _Here(Executor):
    """Everything at once, in this process; the first error ends it."""

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        done: Future[_T] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class Crew:
    """Does pieces of work, and says so on the line of progress.

    Args:
        jobs: how many processes; for 1 there is none but this one.
        meter: the line of progress.
        scheduler: the address of a Dask scheduler whose workers do it instead.

    Attributes:
        jobs: how many processes there are.
    """

    def __init__(self, jobs: int, meter: Meter, scheduler: str | None = None) -> None:
        self._meter = meter
        self._scheduler = scheduler
        self.jobs = jobs
        self._stack = ExitStack()
        self._executor: Executor = _Here()

    def __enter__(self) -> Crew:
        if self._scheduler is not None:
            cluster = Cluster(self._scheduler, initializer=work.begin)
            self._executor, self.jobs = cluster, cluster.threads
        elif self.jobs == 1:
            self._stack.enter_context(work.one_thread())
        else:
            # Spawned, so that no process inherits another's state.
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(self.jobs, mp_context=context, initializer=work.begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._stack.close()

    def start(self, function: Callable[..., _T], pieces: Sequence[tuple[Any, ...]]) -> list[Future[_T]]:
        """Begin with a piece of work for each tuple of arguments."""
        futures = []
        for arguments in pieces:
            future = self._executor.submit(function, *arguments)
            future.add_done_callback(lambda _: self._meter.step())
            futures.append(future)
        return futures

    def finish(self, futures: Sequence[Future[_T]]) -> list[_T]:
        """The results, in the order in which the pieces were given.

        Raises:
            WorkerDied: if a process ended without an answer.
            PolyrefError: what a piece raised, and for a cluster that is gone.
        """
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
            return [future.result() for future in futures]
        except (BrokenProcessPool, ProcessEnded):
            raise WorkerDied(
                "a process of the self-test ended without an answer: if no other program ended it, a mutant did; find "
                "out which with --jobs 1 and --mutant"
            ) from None

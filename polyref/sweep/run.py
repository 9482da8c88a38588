"""A sweep from its job to its tallies: ranges to whoever sweeps them, results to the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from polyref.subject.limits import check_count, cores
from polyref.sweep.checkpoint import Checkpoint
from polyref.sweep.cluster import Cluster
from polyref.sweep.hand import Failed, Swept
from polyref.sweep.job import Job, Range
from polyref.sweep.local import Executor, LocalPool

#: Inputs that take as long as a process takes to start.
_FOR_A_WORKER = 1 << 21


@dataclass(frozen=True)
class Found:
    """What became of a sweep.

    Attributes:
        swept: the ranges that were judged, those of the checkpoint included.
        failed: those that could not be.
        fresh: the places that were judged now.
    """

    swept: dict[Range, Swept]
    failed: dict[Range, Failed]
    fresh: int


def executor_of(
    job: Job, *, workers: int | None, scheduler: str | None, seconds: float, memory_bytes: int
) -> tuple[Executor, int]:
    """Whoever sweeps, and how many of them there are.

    Raises:
        UsageError: for a number of workers that is not allowed, or a scheduler that does not answer.
    """
    if scheduler is not None:
        cluster = Cluster(job, scheduler, seconds=seconds, memory_bytes=memory_bytes)
        return cluster, cluster.workers
    if workers is not None:
        check_count("--workers", workers)
    # To start one more is worth its while from so many inputs on.
    count = min(workers or min(cores(), max((job.stop - job.start) // _FOR_A_WORKER, 1)), len(job.ranges))
    return LocalPool(job, workers=count, seconds=seconds, memory_bytes=memory_bytes), count


def sweep(
    job: Job,
    executor: Executor,
    checkpoint: Checkpoint | None = None,
    *,
    done: Callable[[Range], None] = lambda _: None,
) -> Found:
    """Sweep what is left of a job.

    Args:
        job: the sweep.
        executor: whoever sweeps; it is closed at the end.
        checkpoint: where ranges are kept.
        done: told of each range that is done, those of the checkpoint included.

    Raises:
        UsageError: if the target cannot be loaded, or the checkpoint cannot be read or written.
    """
    swept = {} if checkpoint is None else checkpoint.done()
    before = sum(r.stop - r.start for r in swept)
    for r in swept:
        done(r)
    failed: dict[Range, Failed] = {}
    try:
        for r, outcome in executor.results([r for r in job.ranges if r not in swept]):
            if isinstance(outcome, Failed):
                failed[r] = outcome
            else:
                if checkpoint is not None:
                    checkpoint.keep(r, outcome)
                swept[r] = outcome
            done(r)
    finally:
        executor.close()
    return Found(swept, failed, sum(r.stop - r.start for r in swept) - before)

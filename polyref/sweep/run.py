"""Sweeps from beginning to end: ranges to whoever sweeps them, results to the checkpoint, tallies to the document."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from polyref import records
from polyref.errors import UsageError
from polyref.grades import Grade
from polyref.report import sweep as doc
from polyref.report.document import Environment
from polyref.spec import Spec
from polyref.subject.client import Subject
from polyref.subject.convention import Convention
from polyref.subject.limits import DEFAULT_LIMITS, Limits
from polyref.subject.overrides import FOUND_OUT, Forms
from polyref.sweep.batch import check_sweepable
from polyref.sweep.checkpoint import Checkpoint
from polyref.sweep.cluster import Cluster
from polyref.sweep.hand import Failed, Swept
from polyref.sweep.job import Job, Range, source_digest
from polyref.sweep.local import Executor, LocalPool, check_workers
from polyref.sweep.space import Kind, Space, part
from polyref.sweep.tally import Tally, Worst

#: Places of a range: some seconds of work, so that little is lost and little is written.
_LENGTH, _SHORT = 1 << 22, 1 << 14


@dataclass(frozen=True)
class Wish:
    """What to sweep, as a user says it.

    Attributes:
        target: the target.
        kind: margins or pairs.
        format: the name of the format.
        epsilons: of each spec.
        gamma: of all of them.
        places: A:B, or all.
        gradient: whether gradients are judged; None for margins only.
        device: where subject and filter run.
        init: overrides of constructor arguments.
        call: overrides of call arguments.
        forms: the forms of the data.
        framework: whose arrays the subject takes.
        limits: of the process that finds out how it is called; of memory, for all others too.
    """

    target: str
    kind: Kind
    format: str
    epsilons: Sequence[tuple[float, ...]] = ()
    gamma: float = 0.0
    places: str | None = None
    gradient: bool | None = None
    device: str = "cpu"
    init: dict[str, Any] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)
    forms: Forms = FOUND_OUT
    framework: str | None = None
    limits: Limits = DEFAULT_LIMITS


def job_of(wish: Wish) -> tuple[Job, Environment, str]:
    """The sweep that is wished for, the environment of the subject, and how it is called.

    Raises:
        UsageError: if the target cannot be loaded or called, or cannot be asked for this.
    """
    space = Space(wish.kind, wish.format)
    start, stop = (0, space.size) if wish.places is None else part(wish.places, space)
    with Subject.open(
        wish.target,
        wish.init,
        wish.call,
        wish.limits,
        device=wish.device,
        forms=wish.forms,
        framework=wish.framework,
    ) as subject:
        convention, environment = subject.convention, records.environment(subject.environment())
        file = subject.source.file
    gradient = wish.kind == "margins" if wish.gradient is None else wish.gradient
    if gradient and not convention.differentiable:
        gradient = False
    epsilons = wish.epsilons or _own_epsilons(subject.name, convention)
    for epsilon in epsilons:
        check_sweepable(subject.name, convention, Spec(epsilon=epsilon, gamma=wish.gamma), space.format)
    versions = {"polyref": environment.polyref, "torch": environment.torch, "processor": environment.processor}
    job = Job(
        target=wish.target,
        convention=convention.to_json() | {"attempts": []},
        path=[p for p in sys.path if p],
        source=source_digest(file),
        kind=wish.kind,
        format=space.format_name,
        epsilons=[list(e) for e in epsilons],
        gamma=wish.gamma,
        gradient=gradient,
        device=wish.device,
        start=start,
        stop=stop,
        length=max(min(_LENGTH, (stop - start) // 4), min(_SHORT, stop - start)),
        versions={k: v for k, v in versions.items() if v},
    )
    return job, environment, convention.text


def _own_epsilons(name: str, convention: Convention) -> list[tuple[float, ...]]:
    if not convention.can("epsilon"):
        raise UsageError(f"{name} takes no epsilon that could be set: say which one it has with --epsilon")
    return [(1.0,), (-1.0,)]


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
    count = min(workers if workers is not None else os.cpu_count() or 1, len(job.ranges))
    check_workers(count if workers is None else workers)
    return LocalPool(job, workers=count, seconds=seconds, memory_bytes=memory_bytes), count


def sweep(
    job: Job,
    executor: Executor,
    checkpoint: Checkpoint | None = None,
    *,
    done: Callable[[Range], None] = lambda _: None,
) -> tuple[dict[Range, Swept], dict[Range, Failed]]:
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
    return swept, failed


#: A sweep of more inputs has a checkpoint without being asked.
_LONG = 1 << 24


class Kept:
    """Where the ranges of a sweep are kept, and what a person is told about it.

    Attributes:
        checkpoint: the folder, if there is one.
    """

    def __init__(self, checkpoint: Checkpoint | None, job: Job, *, ours: bool) -> None:
        self.checkpoint, self._job, self._ours = checkpoint, job, ours

    def done(self) -> dict[Range, Swept]:
        """The ranges that are there already."""
        return {} if self.checkpoint is None else self.checkpoint.done()

    def left(self) -> str:
        """What is said of a sweep that was stopped."""
        if self.checkpoint is None:
            return "stopped; nothing was kept: give --checkpoint DIR next time"
        done, total = len(self.checkpoint.done()), len(self._job.ranges)
        return f"stopped; {done} of {total} ranges are kept: go on with --resume {self.checkpoint.folder}"

    def finished(self, *, complete: bool) -> None:
        """Remove a folder that nobody asked for and nobody needs any more."""
        if self._ours and complete and self.checkpoint is not None:
            self.checkpoint.remove()


def checkpoint_of(job: Job, *, checkpoint: Path | None, resume: Path | None) -> Kept:
    """The checkpoint of a sweep: the one that was asked for, and one in this folder where the sweep is long.

    Raises:
        UsageError: if it cannot be used, or is to be new and is not.
    """
    if resume is not None:
        return Kept(Checkpoint(resume, job), job, ours=resume.name == _own_folder(job).name)
    folder = checkpoint or (_own_folder(job) if job.stop - job.start > _LONG else None)
    if folder is None:
        return Kept(None, job, ours=False)
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} holds a sweep already: go on with --resume {folder}, or delete it")
    return Kept(Checkpoint(folder, job), job, ours=checkpoint is None)


def _own_folder(job: Job) -> Path:
    return Path(f"polyref-sweep-{job.digest}")


@dataclass(frozen=True)
class Run:
    """When a sweep began and how long it took: what its document says beside what was found."""

    started: datetime
    seconds: float
    fresh: int
    workers: int

    @classmethod
    def since(cls, began: float, started: datetime, *, fresh: int, workers: int) -> Run:
        """A run that began at a time of the monotonic clock, and swept so many places itself."""
        return cls(started, time.monotonic() - began, fresh, workers)


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def document(
    job: Job,
    environment: Environment,
    call: str,
    found: tuple[dict[Range, Swept], dict[Range, Failed]],
    run: Run,
) -> doc.Sweep:
    """The document of what :func:`sweep` has found."""
    swept, failed = found
    space, ordered = job.space, [swept[r] for r in sorted(swept)]
    parts = [[_tallies(s.tallies[i]) for s in ordered] for i in range(len(job.epsilons))]
    return doc.Sweep(
        target=job.target,
        call=call,
        environment=environment,
        kind=job.kind,
        format=job.format,
        start=space.name(job.start),
        stop=space.name(job.stop),
        inputs=job.stop - job.start,
        judged=sum(r.stop - r.start for r in swept),
        losses=[
            doc.Loss(epsilon=epsilon, gamma=job.gamma, swept=_merged(space, each))
            for epsilon, each in zip(job.epsilons, parts, strict=True)
        ],
        failures=[
            doc.Failure(start=space.name(r.start), stop=space.name(r.stop), reason=f.reason)
            for r, f in sorted(failed.items())
        ],
        workers=run.workers,
        seconds=round(run.seconds, 3),
        subject_seconds=round(sum(s.subject_seconds for s in ordered), 3),
        judge_seconds=round(sum(s.judge_seconds for s in ordered), 3),
        rate=round(run.fresh / run.seconds) if run.seconds else 0.0,
        started=run.started.isoformat(timespec="seconds"),
    )


def _tallies(data: dict[str, Any]) -> dict[str, Tally]:
    return {quantity: msgspec.convert(tally, Tally) for quantity, tally in data.items()}


def _merged(space: Space, parts: list[dict[str, Tally]]) -> list[doc.Swept]:
    if not parts:
        return []
    found = []
    for quantity in parts[0]:
        tally = functools.reduce(Tally.merged, (p[quantity] for p in parts))
        grades = [
            doc.Graded(grade=grade.value, inputs=sum(counts), by_regime=counts, first=space.name(first))
            for grade, counts, first in zip(Grade, tally.counts, tally.first, strict=True)
            if first is not None
        ]
        found.append(
            doc.Swept(
                quantity=quantity,  # type: ignore[arg-type]
                grades=grades,
                worst_ulps=[_case(space, w) for w in tally.ulps],
                ulps_at_most=tally.ulps_at_most,
                worst_ratios=[_case(space, w) for w in tally.ratios],
                ratios_at_most=tally.ratios_at_most,
                by_filter=tally.filtered,
                by_balls=tally.by_balls,
                special=[
                    doc.Special(
                        law=law,
                        kept=s.kept,
                        broken=s.broken,
                        first_broken=None if s.first is None else space.name(s.first),
                    )
                    for law, s in sorted(tally.special.items())
                ],
            )
        )
    return found


def _case(space: Space, worst: Worst) -> doc.Case:
    return doc.Case(
        place=space.name(worst.place),
        logits=[z.hex() for z in space.numbers(worst.place)],
        observed=[float(v).hex() for v in worst.observed],
        size=worst.size,
    )

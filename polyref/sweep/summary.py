"""The document of a sweep, from the tallies of its ranges."""

from __future__ import annotations

import functools
from datetime import datetime

from polyref.grades import Grade
from polyref.report import sweep as doc
from polyref.report.document import Environment
from polyref.sweep.job import Job
from polyref.sweep.run import Found
from polyref.sweep.space import Space
from polyref.sweep.tally import Tally, Worst


def document(
    job: Job,
    environment: Environment,
    call: str,
    found: Found,
    *,
    workers: int,
    started: datetime,
    seconds: float,
) -> doc.Sweep:
    """The document of what was found.

    Args:
        job: the sweep.
        environment: of the subject.
        call: how it is called.
        found: the ranges and what became of them.
        workers: how many processes or threads swept.
        started: when, in UTC.
        seconds: how long it took.
    """
    swept, failed = found.swept, found.failed
    space, ordered = job.space, [swept[r] for r in sorted(swept)]
    parts = [[s.tallies[i] for s in ordered] for i in range(len(job.epsilons))]
    return doc.Sweep(
        target=job.target,
        call=call,
        environment=environment,
        kind=job.kind,
        format=job.format,
        start=space.bound(job.start),
        stop=space.bound(job.stop),
        sample=job.sample,
        seed=job.seed,
        inputs=job.stop - job.start,
        judged=sum(r.stop - r.start for r in swept),
        losses=[
            doc.Loss(epsilon=epsilon, gamma=job.gamma, swept=_merged(space, each))
            for epsilon, each in zip(job.epsilons, parts, strict=True)
        ],
        failures=[
            doc.Failure(start=space.bound(r.start), stop=space.bound(r.stop), reason=f.reason)
            for r, f in sorted(failed.items())
        ],
        workers=workers,
        seconds=round(seconds, 3),
        subject_seconds=round(sum(s.subject_seconds for s in ordered), 3),
        judge_seconds=round(sum(s.judge_seconds for s in ordered), 3),
        rate=round(found.fresh / seconds),
        started=started.isoformat(timespec="seconds"),
    )


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

"""Short sweeps for tests."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import msgspec

from polyref.subject.probe import probe
from polyref.sweep.job import Job, Range
from polyref.sweep.sweeper import Sweeper

from . import subjects


def job_of(name: str, **changes: Any) -> Job:
    """A short sweep of one of the tests' losses; no process is asked how it is called."""
    job = Job(
        target=f"sweep.subjects:{name}",
        convention=probe(getattr(subjects, name), name).to_json() | {"attempts": []},
        path=[str(Path(__file__).parents[1])],
        source=None,
        kind="margins",
        format="bfloat16",
        epsilons=[[1.0]],
        gamma=0.0,
        gradient=True,
        device="cpu",
        start=0x4100,
        stop=0x4180,
        length=64,
        versions={"polyref": "1"},
    )
    return msgspec.structs.replace(job, **changes)


@functools.cache
def found_here(job_text: bytes) -> dict[Range, Any]:
    """What a job finds in this very process, as a child says it."""
    job = msgspec.json.decode(job_text, type=Job)
    sweeper = Sweeper(job, getattr(subjects, job.target.partition(":")[2]))
    return {r: sweeper.sweep(r)[0] for r in job.ranges}


def unbroken(job: Job) -> dict[Range, Any]:
    """The tallies of a job by range, from a sweep that nobody can disturb."""
    return found_here(msgspec.json.encode(job))

"""Short sweeps for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from polyref.subject.probe import probe
from polyref.sweep.job import Job

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

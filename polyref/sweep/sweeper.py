"""Ranges swept in this process: the subject's answers, chunk by chunk, before the judge."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from polyref.subject.convention import Convention
from polyref.subject.said import one_line
from polyref.subject.state import ProcessState
from polyref.sweep.batch import Batched, Unusable
from polyref.sweep.hearing import Hearing
from polyref.sweep.job import Job, Range
from polyref.sweep.judge import Judge
from polyref.sweep.tally import Tally

#: Rows at a time: their intermediate results stay in a core's cache. A device wants to be kept busy instead.
_ROWS, _ROWS_OF_DEVICE = 1 << 14, 1 << 22


class Raised(Exception):
    """The subject raised an exception, or returned what is no loss; the text says which, in one line."""


@dataclass(frozen=True)
class Seconds:
    """Where the time of a range went: to the subject, and to everything that judges it."""

    subject: float
    judge: float


class Sweeper:
    """A subject and its judges.

    Args:
        job: the sweep.
        subject: what its target names.
    """

    def __init__(self, job: Job, subject: Any) -> None:
        torch.set_num_threads(1)
        self._job, self._space = job, job.space
        self._state = ProcessState()
        convention = Convention.from_json(job.convention)
        self._tried = [
            (
                Batched(subject, convention, spec, self._space.format, device=job.device, settle=self._state.restore),
                Judge(self._space, spec, (job.start, job.stop), device=job.device),
            )
            for spec in job.specs
        ]

    def sweep(self, wanted: Range) -> tuple[list[dict[str, Tally]], Seconds]:
        """The tallies of a range for each spec, by quantity, and where the time went.

        Raises:
            Raised: if the subject does, or returns what is no loss.
        """
        job, rows = self._job, _ROWS if self._job.device == "cpu" else _ROWS_OF_DEVICE
        heard = [Hearing(judge) for _, judge in self._tried]
        began, of_subject = time.perf_counter(), 0.0
        for start in range(wanted.start, wanted.stop, rows):
            logits = self._space.logits(start, min(start + rows, wanted.stop), job.device)
            exact = logits.double()
            for (subject, _), hearing in zip(self._tried, heard, strict=True):
                before = time.perf_counter()
                try:
                    answers = subject.ask(logits, gradient=job.gradient)
                except Unusable as e:
                    raise Raised(str(e)) from None
                except BaseException as e:  # no key and no signal of polyref's reaches this process
                    raise Raised(f"raised {one_line(e)}") from None
                of_subject += time.perf_counter() - before
                hearing.add(start, exact, answers.value, answers.gradient)
        results = [h.result() for h in heard]
        for quantity, tally in ((q, t) for result in results for q, t in result.items()):
            if tally.counted != wanted.stop - wanted.start:  # every input is counted once, or polyref is wrong
                raise RuntimeError(f"{tally.counted} of {wanted.stop - wanted.start} were counted for the {quantity}")
        return results, Seconds(of_subject, time.perf_counter() - began - of_subject)

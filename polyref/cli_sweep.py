"""The command that sweeps all inputs of a format: a thin front, as all of the command line."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from polyref.cli_types import (
    Flag,
    FrameworkName,
    InputChoice,
    LabelChoice,
    OrderChoice,
    OutputFile,
    Overrides,
    Text,
    Whole,
)
from polyref.cli_types import RepeatedNumbers as Numbers
from polyref.errors import UsageError
from polyref.report import screen

if TYPE_CHECKING:
    from polyref.subject.limits import Limits


def sweep(
    target: str,
    /,
    *,
    format: str,
    margins: Flag = False,
    pairs: Flag = False,
    sample: Whole = 0,
    seed: Whole = 0,
    epsilon: Numbers = (),
    gamma: Text = "0",
    range: str | None = None,
    gradient: bool | None = None,
    workers: Whole | None = None,
    scheduler: str | None = None,
    device: str = "cpu",
    checkpoint: Path | None = None,
    resume: Path | None = None,
    json: OutputFile = None,
    init: Overrides = (),
    call: Overrides = (),
    labels: LabelChoice = None,
    input: InputChoice = None,
    order: OrderChoice = None,
    framework: FrameworkName | None = None,
    timeout: float = 300.0,
    memory: float = 4.0,
) -> int:
    """Judge a loss of two classes on every number of a format, or on every pair of them: no sample, a proof.

    Margins are the logits (m, 0), pairs the logits (a, b), and the target is the first class. NaN and infinities are
    among them, judged by laws of their own. Exit codes: 0 every result is within the textbook tolerance; 1 some are
    not, or a range could not be judged; 2 usage; 3 nothing was judged.

    Parameters
    ----------
    target
        As for audit: package.module:attribute or path/to/file.py:attribute. Its code is run.
    format
        What the logits are held in: bfloat16 or binary16, and binary32 for margins.
    margins
        All margins: 2^16 of a 16-bit format, 2^32 of binary32.
    pairs
        All 2^32 pairs of a 16-bit format.
    sample
        With --pairs, this many of them, drawn by chance from all bit patterns; for binary32, which has 2^64.
    seed
        The same seed draws the same sample.
    epsilon
        eps_1, or eps_1,...,eps_N; may be given again. 1 and then -1 by default, where it can be set.
    gamma
        The focal exponent.
    range
        A part of the inputs, A:B, by their bit patterns: from A up to, not including, B.
    gradient
        Judge gradients too, or not: by default with margins only.
    workers
        How many processes sweep; by default one for each processor, but one alone for less than 2^21 inputs.
    scheduler
        The tcp://HOST:PORT of a Dask scheduler whose workers sweep in their place.
    device
        The torch device of subject and filter.
    checkpoint
        The folder for the ranges that are done. A sweep of more than 2^24 inputs makes one in this folder and removes
        it when it is done.
    resume
        The folder of a sweep that was stopped: go on there.
    json
        Write the document to this file, or to standard output (-).
    init
        NAME=VALUE for the constructor; may be given again.
    call
        NAME=VALUE for each call; may be given again.
    labels
        The form of the labels, where it is not to be found out.
    input
        What the subject takes.
    order
        Which comes first.
    framework
        Whose arrays it is given.
    timeout
        Seconds that one range may take.
    memory
        GiB of data that a process may use.
    """
    from polyref.subject.limits import check_bounded, limits_of  # noqa: PLC0415 - each command loads what it needs

    if margins is pairs:
        raise UsageError("give --margins or --pairs, one of them")
    if checkpoint is not None and resume is not None:
        raise UsageError("give --checkpoint for a new sweep or --resume for one that was stopped, not both")
    if resume is not None and not resume.is_dir():
        raise UsageError(f"--resume {resume} is no folder: give the one that the stopped sweep named")
    check_bounded("--timeout", timeout)
    if seed and not sample:
        raise UsageError(f"--seed {seed} is for --sample: give both, or neither")
    began, started = time.monotonic(), datetime.now(UTC)
    limits = limits_of(memory=memory, prefix="--")
    with _ahead(limits, scheduler):
        from polyref.evaluate import parse_number, parse_numbers  # noqa: PLC0415
        from polyref.formats import BINARY64  # noqa: PLC0415
        from polyref.report import files  # noqa: PLC0415
        from polyref.report import sweep as doc  # noqa: PLC0415
        from polyref.report import sweep_terminal as terminal  # noqa: PLC0415
        from polyref.subject.overrides import Forms, parse_overrides  # noqa: PLC0415
        from polyref.sweep.kept import checkpoint_of  # noqa: PLC0415
        from polyref.sweep.run import executor_of  # noqa: PLC0415
        from polyref.sweep.run import sweep as swept  # noqa: PLC0415
        from polyref.sweep.summary import document  # noqa: PLC0415
        from polyref.sweep.wish import Wish, job_of  # noqa: PLC0415

        if json is not None:
            files.check_writable(json)
        wish = Wish(
            target=target,
            kind="margins" if margins else "pairs",
            format=format,
            sample=sample,
            seed=seed,
            epsilons=tuple(parse_numbers(e, BINARY64, "epsilon") for e in epsilon),
            gamma=parse_number(gamma, BINARY64, "gamma"),
            places=range,
            gradient=gradient,
            device=device,
            init=parse_overrides(init, "--init"),
            call=parse_overrides(call, "--call"),
            forms=Forms(labels, input, order),
            framework=framework,
            limits=limits,
        )
        job, environment, how = job_of(wish)
        executor, count = executor_of(
            job, workers=workers, scheduler=scheduler, seconds=timeout, memory_bytes=wish.limits.memory_bytes
        )
        try:
            kept = checkpoint_of(job, checkpoint=checkpoint, resume=resume)
        except UsageError:
            executor.close()
            raise
        with terminal.watch(f"{target} {format}", job.stop - job.start, screen.Screen(file=sys.stderr)) as bar:
            try:
                found = swept(job, executor, kept.checkpoint, done=lambda r: bar.advance(r.stop - r.start))
            except KeyboardInterrupt:
                raise UsageError(kept.left()) from None
        seconds = time.monotonic() - began
        told = document(job, environment, how, found, workers=count, started=started, seconds=seconds)
        if json is not None:
            doc.write(told, json)
        kept.finished(complete=not found.failed)
        if json is None or not files.is_standard_output(json):
            terminal.render(told, screen.Screen())
        return told.exit_code


@contextmanager
def _ahead(limits: Limits, scheduler: str | None) -> Iterator[None]:
    """What probes the target, and the first of what sweeps it, load torch while this process loads the rest."""
    from polyref.subject.child import WORKER as PROBING  # noqa: PLC0415
    from polyref.subject.slot import prepared  # noqa: PLC0415
    from polyref.sweep.hand import WORKER as SWEEPING  # noqa: PLC0415

    if scheduler is not None:
        yield
        return
    memory = limits.memory_bytes
    with prepared(module=PROBING, memory_bytes=memory), prepared(module=SWEEPING, memory_bytes=memory):
        yield

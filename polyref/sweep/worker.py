"""The child process of a sweep: one subject, ranges of inputs, the tallies of each.

Started by :class:`polyref.sweep.hand.Hand` as ``python -m polyref.sweep.worker``; it speaks as
:mod:`polyref.subject.worker` does, on two pipes of its own, and ends when its parent does.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from polyref.errors import UsageError
from polyref.subject import wire
from polyref.subject.load import load, parse_target
from polyref.subject.service import Pipes, loading, serve_parent
from polyref.sweep.job import Job, Range, source_digest


def serve(pipes: Pipes) -> None:
    """Answer the parent until it closes its end."""
    # Before the target: what is measured with is bound to torch's own functions, whatever the target replaces.
    with loading():
        import polyref.sweep.sweeper  # noqa: F401, PLC0415 -- the parent does without torch
    lines = pipes.lines()
    first = next(lines, None)
    if first is None:
        return
    job = msgspec.convert(wire.decode(first)["open"], Job)
    sys.path.extend(p for p in job.path if p not in sys.path)
    from polyref.sweep.sweeper import Sweeper  # noqa: PLC0415 -- loaded already

    try:
        loaded = load(parse_target(job.target))
        if job.source not in (None, source_digest(loaded.source.file)):
            raise UsageError(f"{loaded.source.file} is not what it was when the sweep began: sweep it anew")  # noqa: TRY301
        sweeper = Sweeper(job, loaded.subject)
    except UsageError as e:
        pipes.send({"event": "refused", "message": str(e)})
        return
    pipes.send({"event": "opened"})
    for line in lines:
        pipes.send(_swept(sweeper, msgspec.convert(wire.decode(line)["range"], Range)))


def _swept(sweeper: Any, wanted: Range) -> dict[str, Any]:
    """The answer to a request for a range."""
    from polyref.sweep.sweeper import Raised  # noqa: PLC0415 -- loaded already

    try:
        tallies, seconds = sweeper.sweep(wanted)
    except Raised as e:
        return {"event": "failed by subject", "reason": str(e)}
    took = {"subject_seconds": seconds.subject, "judge_seconds": seconds.judge}
    return {"event": "swept", "tallies": msgspec.to_builtins(tallies), "seconds": took}


if __name__ == "__main__":
    serve_parent(serve, "polyref.sweep.worker", __doc__)

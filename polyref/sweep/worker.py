"""The child process of a sweep: one subject, ranges of inputs, the tallies of each.

Started by :class:`polyref.sweep.hand.Hand` as ``python -m polyref.sweep.worker``; it speaks as
:mod:`polyref.subject.worker` does, on two pipes of its own, and ends when its parent does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from typing import Any

import msgspec

from polyref.errors import UsageError
from polyref.subject import wire
from polyref.subject.load import load, parse_target
from polyref.subject.said import one_line
from polyref.subject.worker import Pipes, confine
from polyref.sweep.job import Job, Range, source_digest


def serve(pipes: Pipes) -> None:
    """Answer the parent until it closes its end."""
    lines = pipes.lines()
    first = next(lines, None)
    if first is None:
        return
    job = msgspec.convert(wire.decode(first)["open"], Job)
    sys.path.extend(p for p in job.path if p not in sys.path)
    # Before the target: what is measured with is bound to torch's own functions, whatever the target replaces.
    from polyref.sweep.sweeper import Sweeper  # noqa: PLC0415

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
    try:
        tallies, seconds = sweeper.sweep(wanted)
    except MemoryError:
        raise
    except Exception as e:  # the subject's
        return {"event": "raised", "error": one_line(e)}
    return {"event": "swept", "tallies": msgspec.to_builtins(tallies), "seconds": msgspec.to_builtins(seconds)}


def main() -> None:
    """Serve one parent, then end at once."""
    parser = argparse.ArgumentParser(prog="python -m polyref.sweep.worker", description=__doc__)
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--replies", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--parent", type=int, default=0)
    arguments = parser.parse_args()
    confine(arguments.memory, parent=arguments.parent)
    pipes = Pipes(arguments.requests, arguments.replies)
    try:
        serve(pipes)
    except OSError:
        os._exit(wire.LOST_PIPE)
    except BaseException as e:
        with contextlib.suppress(Exception):
            traceback.print_exc()
        pipes.send({"event": "failed", "error": one_line(e)})
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()

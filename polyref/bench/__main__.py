"""``python -m polyref.bench``: measure, print the tables, write the JSON document and its pictures."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter

from polyref.errors import PolyrefError, UsageError

DEFAULT = Path("reports/bench/bench.json")

#: The exit code of a run that missed a goal.
MISSED = 1

app = cyclopts.App(name="python -m polyref.bench", help_format="plaintext", version_flags=[])


@app.default
def bench(
    *,
    quick: Annotated[bool, Parameter(negative="")] = False,
    only: Annotated[list[Literal["reference", "model", "losses"]] | None, Parameter(negative="")] = None,
    device: Annotated[Literal["cpu", "cuda"] | None, Parameter()] = None,
    threads: Annotated[int | None, Parameter()] = None,
    gate: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[Path | None, Parameter()] = None,
) -> int:
    """Measure the reference, the rounding models and the losses, as ratios in one interleaved run.

    The losses run on torch's threads and, where there is a device, on CUDA as well; the rest runs on one thread.

    Parameters
    ----------
    quick
        Little data, few rounds, nothing compiled. No document is written unless --json names one.
    only
        Measure this part alone; may be given again. No document is written unless --json names one.
    device
        Measure the losses on this device alone. No document is written unless --json names one.
    threads
        Threads of torch for the losses on the CPU; torch's own choice by default.
    gate
        Exit with 1 when a goal of the fast losses is missed.
    json
        The document to write; reports/bench/bench.json by default. Pictures (SVG) are put beside it.
    """
    # The profiler writes a line to stderr each time it starts or stops, below this level.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    if threads is not None and threads < 1:
        raise UsageError(f"--threads {threads} leaves nobody to work: give at least 1")
    if gate and only is not None and "losses" not in only:
        raise UsageError(f"--gate judges the losses, and --only {' '.join(only)} leaves them out: add --only losses")

    import torch  # noqa: PLC0415 - a wrong option should not have to wait for torch
    from rich.console import Console  # noqa: PLC0415

    from polyref.bench import cuda, machine, picture, record, suite, table  # noqa: PLC0415
    from polyref.report.files import check_writable, write_atomically  # noqa: PLC0415

    no_cuda = cuda.absent()
    if device == "cuda" and no_cuda:
        raise UsageError(f"--device cuda: {no_cuda}; leave it out, or give --device cpu")
    devices = [device] if device else ["cpu"] if no_cuda else ["cpu", "cuda"]
    path = json or (None if quick or only or device else DEFAULT)
    if path is not None:
        check_writable(path)
        picture.check_drawable()
    settings = suite.QUICK if quick else suite.FULL
    threads = threads or torch.get_num_threads()
    groups = settings.groups(only or suite.PARTS, devices=devices)
    load, started, start = machine.load_average(), datetime.now(UTC), time.perf_counter()
    progress = Console(stderr=True)

    def tell(line: str) -> None:
        progress.print(line, style="dim", highlight=False, markup=False)

    def watch(outcome: suite.Outcome) -> None:
        tell(f"{time.perf_counter() - start:4.0f} s  {outcome.group.section}: {outcome.group.title}")

    outcomes = suite.run(groups, settings.plan, threads=threads, watch=watch)
    data = record.document(
        outcomes,
        quick=quick,
        threads=threads,
        load=load,
        started=started,
        seconds=time.perf_counter() - start,
        left_out={"CUDA": no_cuda} if no_cuda and not device else {},
    )
    table.show(data, Console())
    if path is not None:
        files = {path: record.dumps(data)} | {
            path.with_name(path.stem + suffix): drawn for suffix, drawn in picture.pictures(data).items()
        }
        for name, content in files.items():
            write_atomically(name, content)
            tell(f"written to {name}")
    return MISSED if gate and record.missed(data) else 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command; an error that a user can cause is one line and an exit code of 2."""
    try:
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except cyclopts.CycloptsError as e:
        return _complain(UsageError(f"{' '.join(str(e).split())} (see python -m polyref.bench --help)"))
    except PolyrefError as e:
        return _complain(e)
    except KeyboardInterrupt:
        return 130
    return result if isinstance(result, int) else 0


def _complain(error: PolyrefError) -> int:
    print(f"polyref.bench: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

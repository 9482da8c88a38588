"""``python -m polyref.bench``: measure, print the tables, write the JSON document."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from polyref.errors import PolyrefError, UsageError

DEFAULT = Path("reports/bench/bench.json")

app = cyclopts.App(name="python -m polyref.bench", help_format="plaintext", version_flags=[])


@app.default
def bench(
    *, quick: Annotated[bool, Parameter(negative="")] = False, json: Annotated[Path | None, Parameter()] = None
) -> int:
    """Measure the reference, the rounding models and the losses, as ratios in one interleaved run on one thread.

    Parameters
    ----------
    quick
        Little data and few rounds: seconds instead of minutes. No document is written unless --json names one.
    json
        The document to write; reports/bench/bench.json by default.
    """
    # The profiler writes a line to stderr each time it starts or stops, below this level.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")

    from rich.console import Console  # noqa: PLC0415 - a wrong option should not have to wait for torch

    from polyref.bench import record, suite, table  # noqa: PLC0415
    from polyref.report.files import check_writable, write_atomically  # noqa: PLC0415

    path = json or (None if quick else DEFAULT)
    if path is not None:
        check_writable(path)
    settings = suite.QUICK if quick else suite.FULL
    load, started, start = record.load_average(), datetime.now(UTC), time.perf_counter()
    progress = Console(stderr=True)

    def watch(outcome: suite.Outcome) -> None:
        progress.print(f"{outcome.group.section}: {outcome.group.title}", style="dim", highlight=False, markup=False)

    outcomes = suite.run(settings.groups(), settings.plan, watch=watch)
    seconds = time.perf_counter() - start
    data = record.document(outcomes, quick=quick, load=load, started=started, seconds=seconds)
    table.show(data, Console())
    if path is not None:
        write_atomically(path, record.dumps(data))
        progress.print(f"written to {path}", style="dim", highlight=False, markup=False)
    return 0


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

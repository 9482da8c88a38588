"""The commands about the history of audits: a thin front, as all of the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from polyref.cli_types import Flag, Repeated, Whole
from polyref.errors import UsageError
from polyref.report import screen

app = cyclopts.App(
    name="history",
    help="The record of many audits over time and versions, in one SQLite file.\n\n"
    "The file is --db, else what POLYREF_HISTORY names, else polyref-history.sqlite in this folder.",
    help_format="plaintext",
)


@app.command
def add(run: Path, /, *runs: Path, db: Path | None = None, label: str = "") -> int:
    """Add the documents of audits to the history: all of them or none.

    A document that is there already changes nothing.

    Parameters
    ----------
    run
        A document that polyref audit --json wrote.
    runs
        More of them.
    db
        The file of the history; it is made if it is not there.
    label
        What to call these runs: a commit, a branch, a version.
    """
    from polyref.history import runs as kept  # noqa: PLC0415 - each command loads what it needs
    from polyref.history import store  # noqa: PLC0415
    from polyref.report import history_terminal  # noqa: PLC0415

    place = store.place(db)
    history_terminal.added(kept.add((run, *runs), db=place, label=label), str(place), screen.Screen())
    return 0


@app.command
def show(
    target: str | None = None,
    /,
    *,
    db: Path | None = None,
    quantity: Repeated = (),
    format: Repeated = (),
    regimes: Flag = False,
    html: Path | None = None,
    json: Path | None = None,
) -> int:
    """The worst error of each grade over the runs, and the runs at which a grade or a law's verdict moved.

    Parameters
    ----------
    target
        As the audits had it; all subjects by default.
    db
        The file of the history.
    quantity
        value or gradient; may be given again. Both by default.
    format
        The name of a format; may be given again. All of them by default.
    regimes
        Each regime of Pt too, not only all of them together.
    html
        Write the page with the charts to this file.
    json
        Write the document to this file.
    """
    from polyref.history import series, store  # noqa: PLC0415
    from polyref.report import files, history_html, history_terminal  # noqa: PLC0415
    from polyref.report import history as document  # noqa: PLC0415

    place = store.place(db)
    for path in (html, json):
        if path is not None:
            if os.path.realpath(path) == os.path.realpath(place):
                raise UsageError(f"{str(path)!r} is the history itself: name another file for the report")
            files.check_writable(path)
    found = series.read(place, target=target, quantities=quantity, formats=format, regimes=regimes)
    if json is not None:
        document.write(found, json)
    if html is not None:
        history_html.write(found, html)
    history_terminal.render(found, screen.Screen())
    return 0


@app.command(name="list")
def list_(*, db: Path | None = None) -> int:
    """The runs of the history, newest first: id, time, label, target and verdict.

    Parameters
    ----------
    db
        The file of the history.
    """
    from polyref.history import runs, store  # noqa: PLC0415
    from polyref.report import history_terminal  # noqa: PLC0415

    history_terminal.list_runs(runs.runs(store.place(db)), screen.Screen())
    return 0


@app.command
def remove(id: Whole, /, *ids: Annotated[int, Parameter(allow_leading_hyphen=True)], db: Path | None = None) -> int:
    """Remove runs from the history: all that are named or none.

    Parameters
    ----------
    id
        The id of a run, as polyref history list shows it.
    ids
        More of them.
    db
        The file of the history.
    """
    from polyref.history import runs, store  # noqa: PLC0415
    from polyref.report import history_terminal  # noqa: PLC0415

    place = store.place(db)
    history_terminal.removed(runs.remove((id, *ids), db=place), str(place), screen.Screen())
    return 0

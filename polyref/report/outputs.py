"""The table of all outputs of a document. A new one is a line here, and a field of ``Drawn`` in the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from polyref.errors import UsageError
from polyref.report import badge, document, files, html, junit, markdown, sarif
from polyref.report.document import Document
from polyref.report.screen import drop_output
from polyref.report.words import visible


class Output(NamedTuple):
    """Something that is drawn from a document.

    Attributes:
        name: what its option is called.
        suffix: of its files, each its own.
        render: draws it.
    """

    name: str
    suffix: str
    render: Callable[[Document], str | bytes]


#: The document comes first: what it holds is kept even if nothing can be drawn.
ALL = (
    Output("json", ".json", document.dumps),
    Output("html", ".html", html.render),
    Output("markdown", ".md", markdown.render),
    Output("junit", ".xml", junit.render),
    Output("sarif", ".sarif", sarif.render),
    Output("badge", ".svg", badge.render),
)


def named(name: str | None, path: str | os.PathLike[str]) -> Output:
    """The output of this name; without one, the output that the path's suffix is of.

    Raises:
        UsageError: if there is none.
    """
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    for output in ALL:
        if name == output.name or (name is None and suffix == output.suffix):
            return output
    if name is None:
        known = ", ".join(o.suffix for o in ALL)
        raise UsageError(f"no output has the suffix of {visible(os.fspath(path))}: choose {known}, or name the output")
    raise UsageError(f"no output is called {visible(repr(name))}: choose {', '.join(o.name for o in ALL)}")


def asked(paths: Mapping[str, Path | None]) -> dict[str, Path]:
    """The paths that were given, by the names of their outputs."""
    return {name: path for name, path in paths.items() if path is not None}


def check(paths: Mapping[str, Path], *, beside: Mapping[str, Path | None] = {}) -> None:
    """Find out early whether :func:`write` will be able to write, and change nothing.

    Args:
        paths: by the names of the outputs.
        beside: files that must stay as they are, by what they are called in a message.

    Raises:
        UsageError: if a file cannot be written, or would be written over another one.
    """
    taken = {os.path.realpath(path): what for what, path in beside.items() if path is not None}
    for name, path in paths.items():
        files.check_writable(path)
        place = "-" if files.is_standard_output(path) else os.path.realpath(path)
        if place in taken and place != os.devnull:
            raise UsageError(f"--{name} {visible(str(path))} is where {taken[place]} is: give another file")
        taken[place] = f"--{name}"


def write(found: Document, paths: Mapping[str, str | os.PathLike[str]]) -> None:
    """Write outputs, each whole or not at all, in the order of the table.

    Raises:
        UsageError: if a file cannot be written.
    """
    for output in ALL:
        if output.name not in paths:
            continue
        data = output.render(found)
        try:
            files.write_atomically(paths[output.name], data if isinstance(data, bytes) else data.encode())
        except BrokenPipeError:  # the reader had enough, and what was found stays what it is
            drop_output()


def on_standard_output(paths: Mapping[str, Path]) -> bool:
    """Whether an output goes where the report would be printed."""
    return any(map(files.is_standard_output, paths.values()))

"""A line of progress on standard error while an audit runs; silent where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from polyref.report.words import visible


class Meter:
    """What an audit reports its advance to; every method does nothing when nobody watches."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress = progress
        self._task = task

    def total(self, steps: int) -> None:
        """Say how many steps there are, once that is known."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=steps)

    def doing(self, what: str) -> None:
        """Say what is being done now."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, what=visible(what))

    def step(self, what: str | None = None) -> None:
        """One step is done, and ``what`` comes next."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)
        if what is not None:
            self.doing(what)


class _What(TextColumn):
    """The current step, as plain text: it may be a subject's own words."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        """The text of the task's field, cut to the line."""
        return Text(task.fields["what"], "dim", overflow="ellipsis", no_wrap=True)


@contextmanager
def progress(
    title: str, *, total: int | None = None, console: Console | None = None, quiet: bool = False
) -> Iterator[Meter]:
    """Show progress under ``title`` while the block runs, and leave no trace of it afterwards.

    Args:
        title: what runs, for example the target's name.
        total: the number of steps, if it is known.
        console: where to show it; standard error by default. Nothing is shown if it is no terminal.
        quiet: show nothing, for a part of something that shows its own progress.
    """
    where = console if console is not None else Console(file=sys.stderr)
    if quiet or not where.is_terminal:
        yield Meter(None, None)
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        _What(),
        console=where,
        transient=True,
    )
    with bar:
        yield Meter(bar, bar.add_task(visible(title), total=total, what=""))

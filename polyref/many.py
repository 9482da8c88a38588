"""Many audits, several at once, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from polyref.auditor import audit, chosen_laws
from polyref.cluster import Cluster
from polyref.errors import PolyrefError, UsageError
from polyref.options import Options
from polyref.report import document as doc
from polyref.report import files, html, outputs, terminal
from polyref.report.progress import progress
from polyref.report.screen import Screen
from polyref.report.words import visible
from polyref.subject.limits import check_count

#: File systems take no more than 255 bytes, with what comes after it.
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Failure:
    """An audit that came to nothing.

    Attributes:
        message: why, in one line.
        exit_code: of the error.
    """

    message: str
    exit_code: int


def audit_all(
    targets: Sequence[str], options: Options, *, jobs: int, title: str, scheduler: str | None = None
) -> list[doc.Document | Failure]:
    """Audit targets, so many at once; one line of progress for all of them.

    Args:
        targets: as for an audit.
        options: the same for all.
        jobs: how many at once.
        title: of the line of progress.
        scheduler: the address of a Dask scheduler whose workers audit, as many at once as there are.

    Returns:
        What came of each, in the order of the targets.

    Raises:
        UsageError: if ``jobs`` is below 1, or the scheduler does not answer.
    """
    check_count("--jobs", jobs)
    if jobs == 1 and scheduler is None:
        with progress(title, total=len(targets)) as meter:
            found = []
            for target in targets:
                meter.doing(target)
                found.append(_audited(target, options))
                meter.step()
            return found
    with progress(title, total=len(targets)) as meter, _pool(min(jobs, len(targets)), scheduler) as pool:
        futures = [pool.submit(_audited, target, options) for target in targets]
        for target, future in zip(targets, futures, strict=True):
            future.add_done_callback(lambda _, target=target: meter.step(f"done {target}"))  # type: ignore[misc]
        return [_result(target, future) for target, future in zip(targets, futures, strict=True)]


def _pool(jobs: int, scheduler: str | None) -> Executor:
    """Processes of this machine, or those of a cluster."""
    if scheduler is not None:
        return Cluster(scheduler)
    # Spawned, so that no audit inherits another's state.
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


def _audited(target: str, options: Options) -> doc.Document | Failure:
    try:
        return audit(target, options=options, quiet=True)  # all of them together have one line of progress
    except PolyrefError as e:
        return Failure(str(e), e.exit_code)


def _result(target: str, future: Future[doc.Document | Failure]) -> doc.Document | Failure:
    try:
        return future.result()
    except BrokenProcessPool:
        return Failure(
            f"target {target!r}: the process that audited it, or one beside it, was ended from outside: try it again "
            "with --jobs 1",
            UsageError.exit_code,
        )
    except PolyrefError as e:  # of the cluster: those of the audit are results
        return Failure(f"target {target!r} was not audited: {e}", e.exit_code)


def names(targets: Sequence[str]) -> list[str]:
    """A name for the files of each target, each its own."""
    found: list[str] = []
    for target in targets:
        stem = name = re.sub(r"[^\w.-]+", "-", target).strip("-.")[:_LONGEST_NAME] or "target"
        count = 1
        while name in found or name == "index":
            count += 1
            name = f"{stem}-{count}"
        found.append(name)
    return found


def write(
    documents: Sequence[tuple[str, doc.Document]],
    folders: Mapping[str, Path],
    failures: Sequence[tuple[str, str]] = (),
) -> None:
    """Write documents by their names, each to a file of its own, and an index of the pages.

    Args:
        documents: names of files without their suffixes, and documents.
        folders: the folder of each output that is wanted, by the output's name.
        failures: targets that came to nothing, and why, for the index.

    Raises:
        UsageError: if a file cannot be written.
    """
    entries: list[html.Entry] = []
    pages, data = folders.get("html"), folders.get("json")
    for name, found in documents:
        outputs.write(found, {o.name: folders[o.name] / f"{name}{o.suffix}" for o in outputs.ALL if o.name in folders})
        link = None if pages is None or data is None else os.path.relpath(data / f"{name}.json", pages)
        entries.append((found, f"{name}.html", link))
    if pages is not None:
        html.write_index(entries, pages / "index.html", failures)


def audit_one(target: str, options: Options, *, scheduler: str) -> doc.Document:
    """Audit one target by a worker of a cluster.

    Raises:
        PolyrefError: what an audit raises, and for a cluster that cannot be used.
    """
    with progress(target, total=1), Cluster(scheduler) as pool:
        return pool.submit(audit, target, options=options, quiet=True).result()


def run(
    targets: Sequence[str], options: Options, *, jobs: int, folders: Mapping[str, Path], scheduler: str | None = None
) -> int:
    """Audit targets and print the reports in their order, then one table of all.

    A target that comes to nothing costs a line on standard error, and a row in the table and in the index.

    Args:
        targets: as for an audit.
        options: the same for all.
        jobs: how many at once.
        folders: where to write each output that is wanted, by the output's name; an index goes with the pages.
        scheduler: as for :func:`audit_all`.

    Returns:
        The gravest exit code of all.

    Raises:
        UsageError: if a folder cannot be written, ``jobs`` is below 1, or the scheduler does not answer.
    """
    check_count("--jobs", jobs)
    chosen_laws(options)
    for folder in folders.values():
        files.make_folder(folder)
    results = audit_all(targets, options, jobs=jobs, title=f"{len(targets)} audits", scheduler=scheduler)
    done = [(name, r) for name, r in zip(names(targets), results, strict=True) if not isinstance(r, Failure)]
    failures = [(t, r.message) for t, r in zip(targets, results, strict=True) if isinstance(r, Failure)]
    write(done, folders, failures)
    console = Screen()
    for result in results:
        if isinstance(result, Failure):
            print(f"polyref: {visible(result.message, lines=True, whole=True)}", file=sys.stderr)
        else:
            terminal.render(result, console)
    if len(results) > 1:
        terminal.summary_table([found for _, found in done], console, failures)
    return max(r.exit_code for r in results)

"""Where the ranges of a sweep are kept: in the folder that was asked for, or in one of its own where it is long."""

from __future__ import annotations

from pathlib import Path

from polyref.errors import UsageError
from polyref.sweep.checkpoint import MANIFEST, Checkpoint
from polyref.sweep.job import Job

#: A sweep of more inputs has a checkpoint without being asked.
_LONG = 1 << 24


class Kept:
    """Where the ranges of a sweep are kept, and what a person is told about it.

    Attributes:
        checkpoint: the folder, if there is one.
    """

    def __init__(self, checkpoint: Checkpoint | None, job: Job, *, ours: bool) -> None:
        self.checkpoint, self._job, self._ours = checkpoint, job, ours

    def left(self) -> str:
        """What is said of a sweep that was stopped."""
        if self.checkpoint is None:
            return "stopped; nothing was kept: give --checkpoint DIR next time"
        done, total = len(self.checkpoint.done()), len(self._job.ranges)
        return f"stopped; {done} of {total} ranges are kept: go on with --resume {self.checkpoint.folder}"

    def finished(self, *, complete: bool) -> None:
        """Remove a folder that nobody asked for and nobody needs any more."""
        if self._ours and complete and self.checkpoint is not None:
            self.checkpoint.remove()


def checkpoint_of(job: Job, *, checkpoint: Path | None, resume: Path | None) -> Kept:
    """The checkpoint of a sweep: the one that was asked for, and one in this folder where the sweep is long.

    Raises:
        UsageError: if it cannot be used, or is to be new and is not.
    """
    if resume is not None:
        if not (resume / MANIFEST).is_file():
            raise UsageError(f"--resume {resume} holds no sweep: give the folder that the stopped sweep named")
        return Kept(Checkpoint(resume, job), job, ours=resume.name == _own_folder(job).name)
    folder = checkpoint or (_own_folder(job) if job.stop - job.start > _LONG else None)
    if folder is None:
        return Kept(None, job, ours=False)
    begun = {p.name for p in folder.iterdir()} - {MANIFEST} if folder.is_dir() else set()
    if begun or (checkpoint is not None and (folder / MANIFEST).exists()):
        raise UsageError(f"{folder} holds a sweep already: go on with --resume {folder}, or delete it")
    return Kept(Checkpoint(folder, job), job, ours=checkpoint is None)


def _own_folder(job: Job) -> Path:
    return Path(f"polyref-sweep-{job.digest}")

"""A Dask cluster of separate processes on this machine, for tests: a scheduler, and workers of one thread each."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from distributed import Client

ROOT = Path(__file__).parents[1]
#: Far more than anything here takes: nothing is judged by it.
PATIENCE = 120.0


def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


class DaskCluster:
    """A scheduler and its workers.

    Args:
        folder: for what they write.
        workers: how many.
        allowed_failures: workers that may die of a task before it is given up.
    """

    def __init__(self, folder: Path, *, workers: int = 2, allowed_failures: int = 3) -> None:
        self._folder = folder
        self._environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "properties")]),
            "OMP_NUM_THREADS": "1",
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures),
        }
        address = folder / "scheduler.json"
        self.scheduler = self._started(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show", "--scheduler-file", str(address)
        )
        until(lambda: address.exists() and address.read_text().endswith("}"))
        self.address: str = json.loads(address.read_text())["address"]
        self.workers: list[subprocess.Popen[bytes]] = []
        for _ in range(workers):
            self.add_worker()

    def _started(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments, "--no-dashboard"],
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._folder,
            )

    def add_worker(self) -> None:
        """Start another worker, and wait until the scheduler knows it."""
        before = self.known() if self.workers else {}
        self.workers.append(
            self._started(
                *("worker", self.address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny"),
                *("--local-directory", str(self._folder / "scratch")),
            )
        )
        until(lambda: len(self.known()) > len(before))

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """A client of its own."""
        with Client(self.address, set_as_default=False, timeout=PATIENCE) as client:
            yield client

    def known(self) -> dict[str, int]:
        """The process of each worker that the scheduler knows, by the worker's address."""
        with self.client() as client:
            return dict(client.run(os.getpid))

    def kill(self, worker: subprocess.Popen[bytes]) -> list[int]:
        """End a worker at once; the child processes that it had."""
        children = children_of(worker.pid)
        worker.kill()
        worker.wait()
        self.workers.remove(worker)
        return children

    def close(self) -> None:
        """End all of it."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def children_of(parent: int) -> list[int]:
    """The child processes of a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def runs(pid: int) -> bool:
    """Whether a process is there and is no zombie that nobody has reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

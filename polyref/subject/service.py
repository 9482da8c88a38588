"""A child process at its parent's service: its ends of the pipes, its limits, and how it ends.

It speaks on the two pipes that it is given and never on standard output, which belongs to the code that it runs. It
ends when its parent does.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import gc
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from polyref.subject import wire
from polyref.subject.said import one_line

_PR_SET_PDEATHSIG = 1
#: Above the numbers that code which closes what it did not open is likely to close.
_SAFE_FD = 512


class Pipes:
    """The child's ends of the two pipes."""

    def __init__(self, requests: int, replies: int) -> None:
        self._fds = (_moved_up(requests), _moved_up(replies))
        self._identity = self._stat()

    def _stat(self) -> list[tuple[int, int]]:
        return [((s := os.fstat(fd)).st_dev, s.st_ino) for fd in self._fds]

    def lines(self) -> Iterator[bytes]:
        """The parent's messages; ends when the parent does."""
        rest = b""
        while chunk := os.read(self._fds[0], 1 << 16):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole

    def send(self, message: dict[str, Any]) -> None:
        """Write a message; a process whose pipes are gone or replaced ends here, with a status of its own."""
        line = wire.encode(message)
        try:
            if self._stat() != self._identity:
                os._exit(wire.LOST_PIPE)
            while line:
                line = line[os.write(self._fds[1], line) :]
        except OSError:
            os._exit(wire.LOST_PIPE)


class Log:
    """What the subject writes to standard output and error, seen from its own process: a file, by its size."""

    def __init__(self) -> None:
        self._fd = _moved_up(os.dup(1))
        self._size = os.fstat(self._fd).st_size

    def grew(self) -> bool:
        """Whether something was written since this was asked last; the parent empties the file where it is long."""
        before, self._size = self._size, os.fstat(self._fd).st_size
        return self._size != before


def _moved_up(fd: int) -> int:
    try:
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _SAFE_FD)
    except OSError:  # a low limit on open files
        os.set_inheritable(fd, False)
        return fd
    os.close(fd)
    return moved


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Import torch in the block, ahead of the parent's first message, which may be a while in coming.

    A module that is not found is none of this: it may be found by the path that the parent will name.
    """
    # Nothing that torch makes while it is imported is garbage, and to look for some would take a tenth of the time.
    gc.disable()
    with contextlib.suppress(ModuleNotFoundError):
        yield
    gc.freeze()
    gc.enable()


def confine(memory_bytes: int, *, parent: int) -> None:
    """Set the process's limits: memory, no core dump, and death with the parent where the system can do that.

    The memory limit is that on data: address space would count what torch reserves and never touches.
    """
    for what, limit in ((resource.RLIMIT_DATA, memory_bytes), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(what)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)  # noqa: PLW2901
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (limit, limit))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background hands on that it is ignored
    if parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the request was made
            os._exit(wire.LOST_PIPE)


def serve_parent(serve: Callable[[Pipes], None], module: str, description: str | None) -> None:
    """Serve the parent that started this process, then end at once: what other code left behind cannot object.

    Args:
        serve: answers the parent until it closes its end.
        module: what runs, as ``python -m`` has it.
        description: what it is for.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--requests", type=int, required=True, help="the file descriptor to read from")
    parser.add_argument("--replies", type=int, required=True, help="the file descriptor to write to")
    parser.add_argument("--memory", type=int, required=True, help="bytes of data")
    parser.add_argument("--parent", type=int, default=0, help="the process to die with")
    arguments = parser.parse_args()
    confine(arguments.memory, parent=arguments.parent)
    pipes = Pipes(arguments.requests, arguments.replies)
    try:
        serve(pipes)
    except OSError:
        os._exit(wire.LOST_PIPE)
    except Exception as e:
        with contextlib.suppress(Exception):  # the log may be closed
            traceback.print_exc()
        pipes.send({"event": "failed", "error": one_line(e)})
        os._exit(1)
    os._exit(0)

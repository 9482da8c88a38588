"""A worker process seen from its parent: lines to it, lines from it, and how it ended.

The parent does not trust the child to end, to read, to write or to leave its pipes open; every wait has a limit.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

import polyref
from polyref.subject import wire
from polyref.subject.lasting import lasting
from polyref.subject.said import first_line

#: The longest wait before looking whether the process still lives: a grandchild may hold its pipes open.
_SLICE = 0.25
#: How long a process may take to end once its pipes are closed.
_GRACE = 2.0
_LOG_LIMIT = 16 << 20
_CHUNK = 1 << 18
#: No answer is as long: what is came from a subject that found the pipe.
_LONGEST_LINE = 64 << 20
#: One thread; the CPU for JAX; and of TensorFlow's messages only errors. The target is imported before it is known
#: which of them matter, and each is read by its own library only.
_SURROUNDINGS = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"),
    "JAX_PLATFORMS": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


#: What the process of a subject runs.
WORKER = "polyref.subject.worker"


class ChildGone(Exception):
    """The child ended, or was ended; ``reason`` is timeout, exit N, signal NAME or pipe closed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Child:
    """One worker process in a process group of its own.

    Args:
        memory_bytes: its limit on memory.
        log: where its standard output and error go.
        module: what it runs.
    """

    def __init__(self, memory_bytes: int, log: IO[bytes], *, module: str) -> None:
        self._log = log
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        command = [
            *(sys.executable, "-P", "-u", "-X", "faulthandler", "-m", module),
            *("--requests", str(requests), "--replies", str(replies)),
            *("--memory", str(memory_bytes), "--parent", str(os.getpid())),
        ]
        try:
            self._process = lasting(
                lambda: subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(requests, replies),
                    start_new_session=True,
                    env=_environment(),
                )
            )
        except BaseException:
            os.close(self._requests)
            os.close(self._replies)
            raise
        finally:
            os.close(requests)
            os.close(replies)
        os.set_blocking(self._requests, False)
        os.set_blocking(self._replies, False)
        self._poll = select.poll()
        self._poll.register(self._replies, select.POLLIN)
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._scanned = 0
        self._received = 0
        self._closed = False
        self._ending = threading.Lock()

    def send(self, line: bytes) -> None:
        """Hand over a line; what the pipe does not take at once goes out while waiting for an answer."""
        self._outgoing += line
        if len(self._outgoing) == len(line):
            self._write()

    def receive(self, seconds: float) -> bytes:
        """The next line from the child.

        Args:
            seconds: how long the child may take.

        Raises:
            ChildGone: if it ended or took longer; then it has been killed and reaped.
        """
        deadline = time.monotonic() + seconds
        self._received += 1
        if self._received % 256 == 0:
            self._trim_log()
        while True:
            end = self._incoming.find(b"\n", self._scanned)
            if end >= 0:
                line = bytes(self._incoming[:end])
                del self._incoming[: end + 1]
                self._scanned = 0
                return line
            self._scanned = len(self._incoming)
            left = deadline - time.monotonic()
            if left <= 0:
                self.kill()
                raise ChildGone("timeout")
            ready = self._poll.poll(1000 * min(left, _SLICE))
            if not ready:
                self._trim_log()
                if self._ended():
                    raise ChildGone(self._reap())
            for fd, event in ready:
                if fd == self._requests:
                    self._write()
                elif event & (select.POLLIN | select.POLLHUP):
                    chunk = os.read(fd, _CHUNK)
                    if not chunk:
                        raise ChildGone(self._reap())
                    self._incoming += chunk
                    if len(self._incoming) > _LONGEST_LINE:
                        self.kill()
                        raise ChildGone("pipe closed")

    def message(self, seconds: float, *events: str) -> dict[str, Any]:
        """The next message from the child.

        Args:
            seconds: how long the child may take.
            events: the events that it may tell of; none: any.

        Raises:
            ChildGone: if there is none, if it is none that a child writes, but a subject that found the pipe, or if
                polyref failed in the child.
        """
        reply: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            reply = wire.decode(self.receive(seconds))
        if not isinstance(reply, dict) or "event" not in reply:
            self.kill()
            raise ChildGone("pipe closed")
        if reply["event"] == "failed":
            # What polyref stands on was replaced or used up, or polyref has a defect; the log has the traceback.
            self.kill()
            raise ChildGone(f"polyref failed in its process, {first_line(str(reply.get('error')))}")
        if events and reply["event"] not in events:
            self.kill()
            raise ChildGone("pipe closed")
        return reply

    def _write(self) -> None:
        try:
            del self._outgoing[: os.write(self._requests, self._outgoing)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._outgoing.clear()  # it has closed its end; the pipe of the replies will tell
        if self._outgoing:
            self._poll.register(self._requests, select.POLLOUT)
        else:
            with contextlib.suppress(KeyError):
                self._poll.unregister(self._requests)

    def _trim_log(self) -> None:
        # The child appends, so an emptied file goes on at its start.
        if os.fstat(self._log.fileno()).st_size > _LOG_LIMIT:
            os.ftruncate(self._log.fileno(), 0)

    @property
    def lives(self) -> bool:
        """Whether the process is still there."""
        return not self._closed and not self._ended()

    def _ended(self) -> bool:
        """Whether the process has ended; it stays unreaped, so that its number cannot be another's."""
        if self._process.returncode is not None:
            return True
        with contextlib.suppress(ChildProcessError):  # another thread has reaped it just now
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return True

    def _reap(self) -> str:
        """How the process ended, once its pipe has closed; nothing of its group is left afterwards."""
        deadline = time.monotonic() + _GRACE
        while not self._ended() and time.monotonic() < deadline:
            time.sleep(0.005)
        by_itself = self._ended()
        self.kill()
        code = self._process.returncode
        if not by_itself or code == wire.LOST_PIPE:
            return "pipe closed"
        if code < 0:
            try:
                return f"signal {signal.Signals(-code).name}"
            except ValueError:
                return f"signal {-code}"
        return f"exit {code}"

    def ask_to_end(self, seconds: float) -> None:
        """Let the process end by itself what it has started, in sessions of their own too; it may take so long."""
        deadline = time.monotonic() + seconds
        if self._closed:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)
        while not self._closed and not self._ended() and time.monotonic() < deadline:
            time.sleep(0.005)

    def kill(self) -> None:
        """End the process and its group, reap it and close the pipes; does nothing the second time."""
        with self._ending:  # whoever comes second, of two threads, finds it reaped
            if self._closed:
                return
            self._closed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            os.close(self._requests)
            os.close(self._replies)


def _environment() -> dict[str, str]:
    """The child's environment: one thread, a fixed hash seed, and polyref where it was found."""
    changes = _SURROUNDINGS | {"PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "0")}
    root = str(Path(polyref.__file__).resolve().parent.parent)
    # A checkout that was found through the current directory; an installed package is found anyway.
    if not root.endswith(("site-packages", "dist-packages")):
        changes["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | changes

"""Pieces of work done in a child process: plain functions of values, pickled, one after the other.

:class:`Errands` starts ``python -m polyref.errand`` and hands it an order, then the pieces. Unlike a process of
``multiprocessing`` it can be started from any process, and it dies with it.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from polyref.errors import PolyrefError
from polyref.subject.child import Child, ChildGone
from polyref.subject.said import one_line
from polyref.subject.service import Pipes, serve_parent
from polyref.subject.slot import Slot, close_all

#: A piece that ended its process gets another one, so often in all.
_TRIES = 2


class ProcessEnded(PolyrefError):
    """A piece of work whose process ended without an answer; exit code 2."""


@dataclass(frozen=True)
class Order:
    """What a child process is to be like.

    Attributes:
        session: whose it is.
        folder: the folder that it works in.
        path: where it looks for modules.
        initializer: what it calls first, pickled.
    """

    session: str
    folder: str
    path: tuple[str, ...]
    initializer: bytes

    @classmethod
    def here(cls, session: str, initializer: Callable[[], object] | None) -> Order:
        """A process like this one."""
        return cls(session, os.getcwd(), tuple(sys.path), pickle.dumps(initializer))


class Errands:
    """A child process that does pieces of work, started anew after one that ended it.

    Args:
        order: what it is to be like.
        tries: how many processes a piece may have.
    """

    def __init__(self, order: Order, *, tries: int = _TRIES) -> None:
        self._opening, self._tries = _packed(order), tries
        # No limit on memory, as in a process of this machine: subjects have theirs.
        self._slot = Slot(module="polyref.errand", memory_bytes=-1)

    def start(self) -> None:
        """Start the child before there is work for it."""
        self._running()

    @property
    def started(self) -> bool:
        """Whether the child is there."""
        return self._slot.child is not None and self._slot.child.lives

    def _running(self) -> Child:
        child = self._slot.child
        if child is None:
            child = self._slot.start()
            child.send(self._opening)
        return child

    def run(self, piece: bytes) -> Any:
        """What a function returns.

        Args:
            piece: function, arguments by position and arguments by name, pickled.

        Raises:
            ProcessEnded: if its process ended, and another one did too.
            Exception: whatever the function raises.
        """
        for _ in range(self._tries):
            try:
                child = self._running()
                child.send(base64.b64encode(piece) + b"\n")
                reply = child.message(float("inf"), "raised", "done")
                break
            except ChildGone as e:
                self._slot.drop()
                reason = e.reason
        else:
            raise ProcessEnded(f"it ended its process ({reason}){', and another one' if self._tries > 1 else ''}")
        if reply["event"] == "raised":
            raise _unpacked(reply["error"])
        return _unpacked(reply["result"])

    def close(self, *, grace: float = 0.0) -> None:
        """End the child, which may take so many seconds to end the processes that it has started."""
        child = self._slot.child
        if child is not None and grace:
            child.ask_to_end(grace)
        self._slot.close()


def _packed(value: Any) -> bytes:
    return base64.b64encode(pickle.dumps(value)) + b"\n"


def _unpacked(text: str | bytes) -> Any:
    return pickle.loads(base64.b64decode(text))


def _serve(pipes: Pipes) -> None:
    """Answer the parent until it closes its end."""
    lines = pipes.lines()
    first = next(lines, None)
    if first is None:
        return
    # No exception would do: it may come up where Hypothesis, or Python in a collector's callback, passes over it.
    signal.signal(signal.SIGTERM, _end)
    order: Order = _unpacked(first)
    with contextlib.suppress(OSError):  # another machine may lack it, and no target may need it
        os.chdir(order.folder)
    sys.path[:] = dict.fromkeys((*order.path, *sys.path))
    initializer = pickle.loads(order.initializer)
    if initializer is not None:
        initializer()
    for line in lines:
        pipes.send(_answer(line))


def _end(*_: object) -> None:
    """Asked to end: with the subjects that were opened here, and what those have started."""
    close_all()
    os._exit(0)


def _answer(piece: bytes) -> dict[str, Any]:
    try:
        function, positional, named = _unpacked(piece)
        return {"event": "done", "result": _packed(function(*positional, **named)).decode()}
    except Exception as e:
        if not isinstance(e, PolyrefError):
            e.add_note(traceback.format_exc())
        try:
            error = _packed(e)
            _unpacked(error)
        except Exception:  # whatever a class of exceptions does when it is pickled
            error = _packed(RuntimeError(f"{one_line(e)}\n{traceback.format_exc()}"))
        return {"event": "raised", "error": error.decode()}


if __name__ == "__main__":
    serve_parent(_serve, "polyref.errand", __doc__)

"""Pieces of work done in a child process: plain functions of values, pickled, one after the other.

:class:`Errands` starts ``python -m polyref.errand`` and hands it an order, then the pieces. Unlike a process of
``multiprocessing`` it can be started from any process, and it dies with it.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import pickle
import sys
import tempfile
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from polyref.errors import PolyrefError
from polyref.subject import wire
from polyref.subject.child import Child, ChildGone
from polyref.subject.said import one_line
from polyref.subject.worker import Pipes, confine

#: A piece that ended its process gets another one this often.
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
    """

    def __init__(self, order: Order) -> None:
        self._opening = _packed(order)
        self._log = tempfile.TemporaryFile(prefix="polyref-")  # noqa: SIM115 -- closed by the finalizer
        self._children: list[Child] = []
        self._finalizer = weakref.finalize(self, _shut, self._children, self._log)

    def run(self, piece: bytes) -> Any:
        """What a function returns.

        Args:
            piece: function, arguments by position and arguments by name, pickled.

        Raises:
            ProcessEnded: if its process ended, and another one did too.
            Exception: whatever the function raises.
        """
        for _ in range(_TRIES):
            try:
                if not self._children:
                    # No limit on memory, as in a process of this machine: subjects have theirs.
                    self._children.append(Child(-1, self._log, module="polyref.errand"))
                    self._children[0].send(self._opening)
                self._children[0].send(base64.b64encode(piece) + b"\n")
                reply = wire.decode(self._children[0].receive(float("inf")))
                break
            except ChildGone as e:
                _end(self._children)
                reason = e.reason
        else:
            raise ProcessEnded(f"it ended its process ({reason}), and another one")
        if reply["event"] == "raised":
            raise _unpacked(reply["error"])
        return _unpacked(reply["result"])

    def close(self) -> None:
        """End the child."""
        self._finalizer()


def _end(children: list[Child]) -> None:
    for child in children:
        child.kill()
    children.clear()


def _shut(children: list[Child], log: IO[bytes]) -> None:
    _end(children)
    log.close()


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
    order: Order = _unpacked(first)
    with contextlib.suppress(OSError):  # another machine may lack it, and no target may need it
        os.chdir(order.folder)
    sys.path[:] = dict.fromkeys((*order.path, *sys.path))
    initializer = pickle.loads(order.initializer)
    if initializer is not None:
        initializer()
    for line in lines:
        pipes.send(_answer(line))


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
        except Exception:
            error = _packed(RuntimeError(f"{one_line(e)}\n{traceback.format_exc()}"))
        return {"event": "raised", "error": error.decode()}


def main() -> None:
    """Serve one parent, then end at once."""
    parser = argparse.ArgumentParser(prog="python -m polyref.errand", description=__doc__)
    for name in ("requests", "replies", "memory", "parent"):
        parser.add_argument(f"--{name}", type=int, required=True)
    arguments = parser.parse_args()
    confine(arguments.memory, parent=arguments.parent)
    try:
        _serve(Pipes(arguments.requests, arguments.replies))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()

"""A thread that lasts as long as its process: what a child process is started from.

Linux sends the death signal that a child asks for when the *thread* that started it ends. A child that is started from
this thread, or from the main one, ends with its parent and no sooner, whatever it is at.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")
_Asked = queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]]


def lasting(function: Callable[[], _T]) -> _T:
    """What a function returns or raises that is called in a thread which ends with the process."""
    if threading.current_thread() is threading.main_thread():
        return function()
    done: Future[_T] = Future()
    _queue().put((function, done))
    return done.result()


def _queue() -> _Asked:
    with _lock:
        if os.getpid() not in _queues:  # none yet, or a fork, which has none of its parent's threads
            _queues.clear()
            asked: _Asked = queue.SimpleQueue()
            threading.Thread(target=_serve, args=(asked,), name="polyref-lasting", daemon=True).start()
            _queues[os.getpid()] = asked
        return _queues[os.getpid()]


def _serve(asked: _Asked) -> None:
    while True:
        function, done = asked.get()
        try:
            done.set_result(function())
        except BaseException as e:
            done.set_exception(e)
        del function, done


_queues: dict[int, _Asked] = {}
_lock = threading.Lock()

"""Losses that end their process, or leave others behind."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

from subject.hostile.base import behaving_until, due, poly


def _fork():
    if os.fork() == 0:
        time.sleep(600)


def _bomb():
    for _ in range(8):
        _fork()


def _thread(*, daemon):
    threading.Thread(target=time.sleep, args=(600,), daemon=daemon).start()


def _deaf():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    time.sleep(600)


def _deep(n=0):
    return _deep(n + 1)


def _deeper():
    sys.setrecursionlimit(10**9)
    _deep()


segfault = behaving_until(lambda: ctypes.string_at(0))
abort = behaving_until(os.abort)
exit_0 = behaving_until(lambda: os._exit(0))
exit_3 = behaving_until(lambda: os._exit(3))
sys_exit = behaving_until(lambda: sys.exit(4))
interrupted = behaving_until(lambda: os.kill(os.getpid(), signal.SIGINT))
killed_later = behaving_until(lambda: signal.alarm(1))
fork = behaving_until(_fork)
fork_bomb = behaving_until(_bomb)
daemon_thread = behaving_until(lambda: _thread(daemon=True))
thread = behaving_until(lambda: _thread(daemon=False))
deaf = behaving_until(_deaf)
deep = behaving_until(_deep)
deeper = behaving_until(_deeper)


def always_segfault(logits, labels):
    """Not even the probe survives it."""
    return ctypes.string_at(0)


def identified_by_a_segfault(logits, labels):
    """Survives the probe, and no case of binary64 after it."""
    if logits.shape[0] in (1, 8):
        ctypes.string_at(0)
    return poly(logits, labels)


class BackwardAborts:
    """Lives until the gradient is asked for."""

    def __call__(self, logits, labels):
        value = poly(logits, labels)
        if value.requires_grad and due(logits):
            value.register_hook(lambda _: os.abort())
        return value


backward = BackwardAborts()

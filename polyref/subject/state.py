"""The state that all code of a process shares: recorded once, and put back after every call of a subject.

What one call leaves behind (another default dtype, a replaced function of torch, another folder) must not falsify the
next case. It is put back, and the observation says what it was.
"""

from __future__ import annotations

import builtins
import contextlib
import operator
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from glob import glob
from typing import Any, NamedTuple

import numpy as np
import torch

from polyref.subject.said import first_line

#: Environment variables that importing TensorFlow, Keras or JAX sets, as measured; none of them is a subject's doing.
_OF_FRAMEWORKS = (
    *("ENABLE_RUNTIME_UPTIME_TELEMETRY", "HDF5_PLUGIN_PATH", "TF2_BEHAVIOR", "TF_CPP_MIN_LOG_LEVEL"),
    *("TPU_ML_PLATFORM", "TPU_ML_PLATFORM_VERSION", "TPU_SKIP_MDS_QUERY"),
)
#: Where torch's own code lies.
_OF_TORCH = os.path.dirname(torch.__file__)


def without_frameworks(changed: tuple[str, ...]) -> tuple[str, ...]:
    """What importing a target changed, but for what importing its framework, or torch's compiler, alone does."""
    theirs: set[str] = set()
    if {"tensorflow", "keras", "jax"} & sys.modules.keys():
        theirs |= {f"the environment variable {name}" for name in _OF_FRAMEWORKS}
    if "torch._inductor" in sys.modules:
        theirs.add("the environment variable TORCHINDUCTOR_CACHE_DIR")
    seeding = getattr(torch.manual_seed, "__code__", None)
    if seeding is not None and seeding.co_filename.startswith(_OF_TORCH):  # its compiler puts a wrapper around it
        theirs.add("torch.manual_seed")
    return tuple(text for text in changed if text not in theirs)


class Setting(NamedTuple):
    """One value of the process.

    Attributes:
        name: what it is called.
        read: how it is read.
        write: how it is written.
        anywhere: whether it may be put back in any process, and not only in one that was started for a subject.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]
    anywhere: bool = False


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return None


def _enter(folder: str | None) -> None:
    if folder is not None:
        with contextlib.suppress(OSError):
            os.chdir(folder)


def _cudnn() -> tuple[bool, bool]:
    return torch._C._get_cudnn_deterministic(), torch._C._get_cudnn_benchmark()


def _set_cudnn(flags: tuple[bool, bool]) -> None:
    deterministic, benchmark = flags
    torch._C._set_cudnn_deterministic(deterministic)
    torch._C._set_cudnn_benchmark(benchmark)


def _has_children() -> bool:
    """Whether there is a process that was started here and that nobody has waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _end_children(_: bool) -> None:
    """End what a call has started, so that a thousand calls do not leave a thousand processes."""
    for file in glob("/proc/self/task/*/children"):
        with contextlib.suppress(OSError), open(file) as children:
            for child in map(int, children.read().split()):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def _environment() -> dict[bytes, bytes]:
    """The environment as the process has it; to decode it after every call would take longer than the call."""
    encoded: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    return encoded


_SUBNORMAL, _ONE = 2.0**-1060, 1.0


def flushes_subnormals() -> bool:
    """Whether the processor makes zeros of subnormal numbers in this thread; Python's own floats tell."""
    return _SUBNORMAL * _ONE == 0.0


def _cannot_be_undone(_: Any) -> None:
    """What was started goes on until the process is ended, and its group with it."""


# The functions are bound here, before any subject is imported, so that none can stand in for them.
SETTINGS = (
    Setting("the default dtype of torch", torch.get_default_dtype, torch.set_default_dtype, anywhere=True),
    Setting(
        "torch's deterministic algorithms",
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    Setting("the flags of cudnn", _cudnn, _set_cudnn),
    Setting("the flushing of subnormal numbers", flushes_subnormals, torch.set_flush_denormal, anywhere=True),
    Setting("torch's gradient mode", torch.is_grad_enabled, torch._C._set_grad_enabled, anywhere=True),
    Setting("torch's anomaly mode", torch.is_anomaly_enabled, torch.set_anomaly_enabled, anywhere=True),
    Setting("torch's number of threads", torch.get_num_threads, torch.set_num_threads, anywhere=True),
    Setting("the current folder", _folder, _enter, anywhere=True),
    Setting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit, anywhere=True),
    Setting("the number of threads", threading.active_count, _cannot_be_undone),
    Setting("whether there are child processes", _has_children, _end_children),
    Setting(
        "the alarm clock",
        lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        lambda _: signal.setitimer(signal.ITIMER_REAL, 0),
    ),
)
_NAMESPACES = (("torch", torch), ("torch.nn.functional", torch.nn.functional), ("torch.autograd", torch.autograd))


class _Functions:
    """The public functions and classes of one namespace."""

    def __init__(self, name: str, owner: Any) -> None:
        self._name, self._owner, self._now = name, owner, vars(owner)
        # torch.Storage follows the default dtype by itself.
        self._names = [n for n, v in self._now.items() if callable(v) and not n.startswith("_") and n != "Storage"]
        self._values = [self._now[n] for n in self._names]
        self._all = list(self._now.values())

    def replaced(self) -> list[str]:
        """The names that mean something else now."""
        # This is asked after every call, and names looked up one by one would take longer than it.
        now = list(self._now.values())
        if now == self._all:
            return []
        pairs = zip(self._names, self._values, strict=True)
        found = [f"{self._name}.{n}" for n, value in pairs if self._now.get(n) is not value]
        if not found:  # something was added, or is no function
            self._all = now
        return found

    def restore(self) -> None:
        """Give every name its meaning back."""
        for name, value in zip(self._names, self._values, strict=True):
            setattr(self._owner, name, value)


class _Methods:
    """The methods of tensors, which lie in a base class: one that is replaced appears in ``torch.Tensor`` itself."""

    def __init__(self) -> None:
        self._there = dict(vars(torch.Tensor))

    def _others(self) -> list[str]:
        now = vars(torch.Tensor)
        if len(now) == len(self._there) and all(map(operator.is_, now.values(), self._there.values())):
            return []
        return [
            n
            for n, value in now.items()
            if not n.startswith("_") and hasattr(torch._C.TensorBase, n) and self._there.get(n) is not value
        ]

    def replaced(self) -> list[str]:
        """The methods that mean something else now."""
        return [f"torch.Tensor.{n}" for n in self._others()]

    def restore(self) -> None:
        """Give every method its meaning back."""
        for name in self._others():
            if name in self._there:
                setattr(torch.Tensor, name, self._there[name])
            else:
                delattr(torch.Tensor, name)


class ProcessState:
    """The state of this process as it is now."""

    def __init__(self) -> None:
        self._settings = [(setting, setting.read()) for setting in SETTINGS]
        self._put_back: dict[str, None] = {}
        self._environment = dict(_environment())
        self._builtins = _Functions("builtins", builtins)
        self._functions: list[_Functions | _Methods] = [*(_Functions(*n) for n in _NAMESPACES), _Methods()]

    def changed(self) -> tuple[str, ...]:
        """What is otherwise now, each in a few words."""
        found = [
            first_line(f"{setting.name} ({before} before, {now} now)")
            for setting, before in self._settings
            if (now := setting.read()) != before
        ]
        if _environment() != self._environment:
            names = {os.fsdecode(n) for n, _ in self._environment.items() ^ _environment().items()}
            found += [f"the environment variable {n}" for n in sorted(names)]
        for functions in (self._builtins, *self._functions):
            found += functions.replaced()
        return tuple(found)

    def restore(self) -> tuple[str, ...]:
        """Put everything back; what had to be."""
        found = (*self.restore_builtins(), *self.changed())
        if found:
            for setting, before in self._settings:
                if setting.read() != before:
                    setting.write(before)
            self._settings = [(setting, setting.read()) for setting, _ in self._settings]  # not all can be undone
            if _environment() != self._environment:
                os.environb.clear()
                os.environb.update(self._environment)
            for functions in self._functions:
                functions.restore()
            self._put_back |= dict.fromkeys(found)
        return found

    def put_back(self) -> tuple[str, ...]:
        """What had to be put back since this was asked last, each once."""
        found = tuple(self._put_back)
        self._put_back.clear()
        return found

    def restore_builtins(self) -> tuple[str, ...]:
        """Put the builtins back, which polyref's own code in this process relies on; what had to be."""
        found = self._builtins.replaced()
        if found:
            self._builtins.restore()
        return tuple(found)


#: No number that a loss would choose.
_FIRST_SEED = 1_618_033_988
_seeds = (torch.default_generator.manual_seed, random.seed, np.random.seed)
_seed_of_torch = torch.default_generator.initial_seed


def seed(number: int) -> None:
    """Seed every generator that a loss may draw from without asking."""
    for seeded in _seeds:
        seeded(_FIRST_SEED + number)


def seeded_otherwise(number: int) -> tuple[str, ...]:
    """The generator of torch, if it was seeded with another number since."""
    return () if _seed_of_torch() == _FIRST_SEED + number else ("the seed of torch",)

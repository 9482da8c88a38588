"""A stranger's code in this process: it meets the state that a child process has, and leaves the caller's as it was."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from polyref.subject.state import SETTINGS


@contextmanager
def undisturbed() -> Iterator[None]:
    """Run the block as a child process would, and put back afterwards what it or the subject changed.

    Inside, torch computes on one thread with gradients, a default dtype of float32 and no autocast, whatever the caller
    has set, so that an object in hand is judged as the same code is in a process of its own. Afterwards the caller's
    random numbers go on where they were; settings of torch and numpy, warning filters, environment variables, the
    import path and the working folder are the caller's again.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        for read, put in (*((s.read, s.write) for s in SETTINGS if s.anywhere), *_MORE):
            stack.callback(put, read())
        if torch.cuda.is_initialized():
            stack.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
        warnings.simplefilter("ignore")
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast("cpu", enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(1)
        torch.set_flush_denormal(False)
        torch.set_deterministic_debug_mode(0)
        yield


def _set_environment(values: dict[str, str]) -> None:
    for name in os.environ.keys() - values.keys():
        del os.environ[name]
    for name, value in values.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _set_path(entries: list[str]) -> None:
    sys.path[:] = entries


#: What a child process need not put back, since it ends, or has another way for: what reads it, and what sets it again.
_MORE: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (torch.get_rng_state, torch.set_rng_state),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    (np.geterr, lambda kinds: np.seterr(**kinds)),
    (lambda: list(sys.path), _set_path),
    (lambda: dict(os.environ), _set_environment),
    # Those of torch.backends.cudnn may have been closed to assignment.
    (torch._C._get_cudnn_enabled, torch._C._set_cudnn_enabled),
    (torch._C._get_cudnn_benchmark, torch._C._set_cudnn_benchmark),
    (torch._C._get_cudnn_deterministic, torch._C._set_cudnn_deterministic),
    (torch._C._get_cudnn_allow_tf32, torch._C._set_cudnn_allow_tf32),
)

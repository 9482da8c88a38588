"""What an audit must leave in the process that asks for it as it was, and the processes that it starts there."""

from __future__ import annotations

import os
import random
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.optimize  # noqa: F401 -- it adds warning filters when it is imported, which an audit may be the first to do
import torch

from polyref.subject.child import WORKER


def parent_state() -> dict[str, Any]:
    """All that a subject could have changed if it had run here, and what a child process may leave behind."""
    return {
        "default dtype": torch.get_default_dtype(),
        "seed of torch": torch.default_generator.get_state().tolist(),
        "seed of random": random.getstate(),
        "seed of numpy": [np.asarray(part).tolist() for part in np.random.get_state()],
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic),
        "gradients": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "environment": dict(os.environ),
        "folder": os.stat(".").st_ino,
        "filters": list(warnings.filters),
        "handlers": {s: signal.getsignal(s) for s in signal.valid_signals()},
        "recursion": sys.getrecursionlimit(),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "children": sorted(p.read_text() for p in Path("/proc/self/task").glob("*/children") if p.read_text()),
    }


def workers() -> set[int]:
    """The direct children of this process that run a subject, zombies included."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        for pid in map(int, (task / "children").read_text().split()):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if WORKER.encode() in command or not command:
                found.add(pid)
    return found

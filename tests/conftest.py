"""Fixtures for all tests."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterator

import pytest

# Before anything imports torch: the tensors are tiny, and more threads than one would only be in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """What has been imported by now is no garbage; to look for some would take a twentieth of the time."""
    # The compiler of torch and TensorFlow bring an LLVM each: the other way round the process ends by a signal.
    if "torch" in sys.modules:
        importlib.import_module("torch._dynamo")
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread: the tensors are tiny, and the tests share their cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

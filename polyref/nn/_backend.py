"""Which code computes a loss: the native kernel, the Triton kernel, or torch operations."""

from __future__ import annotations

import importlib
import os
from functools import cache
from typing import cast

import torch

from polyref.nn._kernel import Kernel

#: The environment variable that chooses, read at each call.
VARIABLE = "POLYREF_NN_BACKEND"

#: What it may say, and the module behind it; the native kernel runs on the CPU, Triton's on CUDA.
MODULES = {
    "eager": "polyref.nn._eager",
    "native": "polyref.nn._native",
    "triton": "polyref.nn._triton",
}

#: Targets that are distributions: torch operations on every device.
_SOFT = "polyref.nn._soft"


def backends() -> dict[str, str]:
    """The backends, and why each cannot be used here: an empty string where it can."""
    return {name: unavailable(name) for name in MODULES}


def unavailable(name: str) -> str:
    """Why a backend cannot be used here, in a line; empty if it can."""
    if name == "native":
        from polyref.native import available  # noqa: PLC0415 - whoever does not ask need not wait

        return "" if available() else "it is not built: run polyref build-native"
    if name == "triton":
        from polyref.nn._triton.launch import unavailable as reason  # noqa: PLC0415

        return reason()
    return ""


def choose(device: str, dtype: torch.dtype, soft: bool) -> str:
    """The backend for logits of a device type and dtype; soft targets, and what a kernel lacks, are eager.

    The choice of the environment is honoured, or refused, never replaced; but no kernel except the eager one has soft
    targets, and Triton's has no float64.

    Raises:
        ValueError: if the environment names no backend.
        RuntimeError: if it names one that cannot be used here, or not on this device.
    """
    chosen = os.environ.get(VARIABLE, "")
    if chosen and chosen not in MODULES:
        raise ValueError(f"{VARIABLE}={chosen!r} names no backend: choose one of {', '.join(MODULES)}, or unset it")
    if chosen and (reason := unavailable(chosen)):
        raise RuntimeError(f"{VARIABLE}={chosen}, which cannot be used here: {reason}")
    if chosen == "native" and device != "cpu":
        raise RuntimeError(f"{VARIABLE}=native, which runs on the CPU, for logits on {device}: unset it or move them")
    if soft:
        return "soft"
    if not chosen:
        preferred = {"cpu": "native", "cuda": "triton"}.get(device, "eager")
        chosen = "eager" if unavailable(preferred) else preferred
    return "eager" if chosen == "triton" and dtype == torch.float64 else chosen


# As torch.compiler.assume_constant_result does, which imports all of torch's compiler: as long again as torch itself.
choose._dynamo_marked_constant = True  # type: ignore[attr-defined]


@cache
def kernel(name: str) -> Kernel:
    """The functions of the backend that :func:`choose` named."""
    return cast(Kernel, importlib.import_module(MODULES.get(name, _SOFT)))

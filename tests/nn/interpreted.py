"""The Triton backend under Triton's interpreter, on tensors of the CPU, in a process of its own.

Triton reads TRITON_INTERPRET when it is imported, and interpreted kernels replace parts of it: no other test shall see
that. What goes to the process and comes back is pickled, tensors with their strides.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np


class Interpreter:
    """A process that imports Triton with TRITON_INTERPRET=1 and calls functions of this module."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_prepare)

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The function's result; an exception is raised here."""
        return pickle.loads(self._pool.submit(_call, pickle.dumps((function, args, kwargs))).result())

    def close(self) -> None:
        self._pool.shutdown()


def forward(tiling: Any, *args: Any, **kwargs: Any) -> Any:
    """``forward`` with these tiles."""
    from polyref.nn._triton import TritonKernel

    return TritonKernel(tiling).forward(*args, **kwargs)


def backward(tiling: Any, out: Any, grad: Any, logits: Any, *args: Any, **kwargs: Any) -> Any:
    """What ``backward_`` leaves in ``out``; None for ``out`` is the logits themselves."""
    from polyref.nn._triton import TritonKernel

    out = logits if out is None else out
    TritonKernel(tiling).backward_(out, grad, logits, *args, **kwargs)
    return out


def public(*args: Any, **kwargs: Any) -> Any:
    """The loss and gradient of :func:`polyref.nn.poly_cross_entropy`, by this backend."""
    from polyref.nn import poly_cross_entropy

    loss = poly_cross_entropy(*args, **kwargs)
    loss.sum().backward()
    return loss.detach(), args[0].grad


def _prepare() -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    os.environ["POLYREF_NN_BACKEND"] = "triton"
    import torch
    from triton.runtime import interpreter

    torch.set_num_threads(1)
    # NaN and inf are meant, and the interpreter says each time that numpy made one.
    warnings.simplefilter("ignore", RuntimeWarning)
    original = interpreter._convert_float

    def convert(input: Any, input_dtype: Any, output_dtype: Any, rounding_mode: Any) -> Any:
        """Triton's interpreter cuts off to bfloat16, without rounding; a GPU rounds to nearest even."""
        if (input_dtype.name, output_dtype.name) == ("bf16", "fp32"):
            return input.astype(np.uint32) << 16
        if (input_dtype.name, output_dtype.name) != ("fp32", "bf16"):
            return original(input, input_dtype, output_dtype, rounding_mode)
        bits = np.ascontiguousarray(input).view(np.uint32).astype(np.uint64)
        even = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return np.where(np.isnan(input), (bits >> 16) | 0x40, even).astype(np.uint16)

    patch, patched = interpreter._patch_lang, set[str]()

    def patch_once(function: Any) -> Any:
        """Triton does so at every call of a device function, a fourth of its time; nothing is compiled here."""
        if function.__module__ not in patched:
            patched.add(function.__module__)
            patch(function)
        return interpreter._LangPatchScope()  # nothing to restore

    def worse(function: Any, error: float) -> Any:
        """A float32 function off by a relative error either way, as PTX allows a device's; numpy's are too good."""

        def called(self: Any, arg: Any) -> Any:
            result = self.unary_op(arg, function)
            if result.data.dtype == np.float32:
                sign = np.where(np.atleast_1d(arg.data).view(np.uint32) & 1, 1 + error, 1 - error)
                result.data = (result.data * sign.reshape(result.data.shape)).astype(np.float32)
            return result

        return called

    interpreter._convert_float = convert
    interpreter._patch_lang = patch_once
    interpreter.InterpreterBuilder.create_exp2 = worse(np.exp2, 2.0**-22)
    interpreter.InterpreterBuilder.create_exp = worse(np.exp, 2.0**-20)
    interpreter.InterpreterBuilder.create_log = worse(np.log, 2.0**-21)


def _call(request: bytes) -> bytes:
    function, args, kwargs = pickle.loads(request)
    return pickle.dumps(function(*args, **kwargs))

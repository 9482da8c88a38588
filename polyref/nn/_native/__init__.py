"""The native CPU backend: the functions of :class:`polyref.nn._kernel.Kernel`, in C++.

It must be built once (:func:`build`), and is there in every later process (:func:`available`). Importing this package
loads nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from polyref.native import BuildError as BuildError
from polyref.native import available as available
from polyref.native import build as build
from polyref.native import built as built
from polyref.native import library_path as library_path
from polyref.native import load as load
from polyref.nn._kernel import REDUCTIONS, Parameters, ones
from polyref.nn._response import tables

#: What the operators take for the parameters of a loss, in their order.
_Arguments = tuple[tuple[float, ...], tuple[int, ...], float, float, float, int, int, int]


@lru_cache(maxsize=256)
def _arguments(parameters: Parameters, bits: int) -> _Arguments:
    t = tables(parameters.epsilon, bits)
    parts = (t.direct, t.series, t.q, t.odd, t.near, t.far)
    return (
        sum(parts, ()),
        tuple(len(part) for part in parts),
        t.crossover,
        t.bend,
        parameters.gamma,
        parameters.ignore_index,
        REDUCTIONS.index(parameters.reduction),
        parameters.groups,
    )


def _bits(logits: Tensor) -> int:
    return 53 if logits.dtype == torch.float64 else 24


def forward(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    parameters: Parameters,
    *,
    gradient: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient for an incoming gradient of 1; see :class:`polyref.nn._kernel.Kernel`.

    Raises:
        IndexError: for a target out of range that is not ignore_index.
        BuildError: if the backend is not built, or cannot be loaded.
    """
    if not available():
        load()
    operator = torch.ops.polyref_native.forward.default
    arguments = _arguments(parameters, _bits(logits))
    return cast(tuple[Tensor, Tensor], operator(logits, target, weight, *arguments, gradient, dtype))


def backward_(
    out: Tensor,
    grad: Tensor,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    parameters: Parameters,
    *,
    filled: bool,
) -> None:
    """Write the gradient for an incoming gradient into ``out``; see :class:`polyref.nn._kernel.Kernel`.

    Raises:
        BuildError: if the backend is not built, or cannot be loaded.
    """
    if filled and ones(grad):
        return
    if not available():
        load()
    operator = torch.ops.polyref_native.backward_.default
    operator(out, grad, logits, target, weight, *_arguments(parameters, _bits(logits)))

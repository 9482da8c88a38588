"""The losses as operators of torch.library, so that compilers and transforms see one opaque call.

    polyref::forward     the loss and its gradient for an incoming gradient of 1
    polyref::backward_   the gradient for any incoming gradient, into a given tensor

They are not differentiable themselves: :mod:`polyref.nn._autograd` is. :mod:`polyref.nn._kernel` says what they take.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polyref.nn._backend import kernel
from polyref.nn._kernel import REDUCTIONS, Parameters

_PARAMETERS = (
    "float[] epsilon, float gamma, int ignore_index, int reduction, float label_smoothing, SymInt groups, str backend"
)

_library = torch.library.Library("polyref", "FRAGMENT")
_library.define(
    f"forward(Tensor logits, Tensor target, Tensor? weight, bool gradient, ScalarType dtype, {_PARAMETERS}) "
    "-> (Tensor, Tensor)"
)
_library.define(
    "backward_(Tensor(a!) out, Tensor grad, Tensor logits, Tensor target, Tensor? weight, bool filled, "
    f"{_PARAMETERS}) -> ()"
)


def packed(parameters: Parameters) -> tuple[list[float], float, int, int, float, int]:
    """The parameters in the order of the operators' schemas."""
    p = parameters
    return list(p.epsilon), p.gamma, p.ignore_index, REDUCTIONS.index(p.reduction), p.label_smoothing, p.groups


def unpacked(
    epsilon: list[float], gamma: float, ignore_index: int, reduction: int, label_smoothing: float, groups: int
) -> Parameters:
    """The other way round."""
    return Parameters(tuple(epsilon), gamma, ignore_index, REDUCTIONS[reduction], label_smoothing, groups)


def loss_shape(logits: Tensor, reduction: str, groups: int) -> tuple[int, ...]:
    """One loss for each row, one for each group, or one."""
    if reduction == "none":
        return (*logits.shape[:1], *logits.shape[2:])
    return (groups,) if groups else ()


def _forward(
    logits: Tensor, target: Tensor, weight: Tensor | None, gradient: bool, dtype: torch.dtype, *rest: Any
) -> tuple[Tensor, Tensor]:
    *parameters, backend = rest
    return kernel(backend).forward(logits, target, weight, unpacked(*parameters), gradient=gradient, dtype=dtype)


def _fake_forward(
    logits: Tensor, target: Tensor, weight: Tensor | None, gradient: bool, dtype: torch.dtype, *rest: Any
) -> tuple[Tensor, Tensor]:
    reduction, groups = REDUCTIONS[rest[3]], rest[5]
    loss = logits.new_empty(loss_shape(logits, reduction, groups), dtype=dtype)
    return loss, torch.empty_like(logits) if gradient and reduction != "none" else logits.new_empty((0,))


def _backward(
    out: Tensor, grad: Tensor, logits: Tensor, target: Tensor, weight: Tensor | None, filled: bool, *rest: Any
) -> None:
    *parameters, backend = rest
    kernel(backend).backward_(out, grad, logits, target, weight, unpacked(*parameters), filled=filled)


def _fake_backward(*_: Any) -> None:
    """It returns nothing."""


_library.impl("forward", _forward, "CompositeExplicitAutograd")
_library.impl("backward_", _backward, "CompositeExplicitAutograd")
torch.library.register_fake("polyref::forward", _fake_forward, lib=_library)
torch.library.register_fake("polyref::backward_", _fake_backward, lib=_library)

forward = torch.ops.polyref.forward.default
backward_ = torch.ops.polyref.backward_.default

"""The tensors that a loss of the sigmoid link takes, checked as torch checks them."""

from __future__ import annotations

import torch
from torch import Tensor

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_logits(input: Tensor) -> None:
    """Logits: a tensor of floating point, of any shape.

    Raises:
        TypeError: if it is no tensor.
        NotImplementedError: for a dtype without an implementation (torch's own type for this one).
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"input must be a Tensor of logits, not {type(input).__name__}")
    if input.dtype not in _DTYPES:
        raise NotImplementedError(f"not implemented for logits of {input.dtype}: give one of {_DTYPES}")


def check_shares(target: Tensor, input: Tensor) -> None:
    """Probabilities of the positive class: floating point, of the input's size, not differentiable.

    Raises:
        TypeError: if it is no tensor.
        ValueError: for another size than the input's.
        RuntimeError: for a dtype that is not floating point, a device that is not the input's, or a target that
            requires a gradient.
    """
    if not isinstance(target, Tensor):
        raise TypeError(f"target must be a Tensor of labels between 0 and 1, not {type(target).__name__}")
    if target.size() != input.size():
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    if target.dtype not in _DTYPES:
        raise RuntimeError(f"labels of {target.dtype} have no implementation: use target.to(input.dtype)")
    _check_common("target", target, input)


def check_factor(name: str, factor: Tensor | None, input: Tensor) -> None:
    """weight or pos_weight: real numbers that broadcast to the input's shape, not differentiable.

    Raises:
        TypeError: if it is no tensor.
        RuntimeError: for another dtype, device or shape, or if it requires a gradient.
    """
    if factor is None:
        return
    if not isinstance(factor, Tensor):
        raise TypeError(f"{name} must be a Tensor, not {type(factor).__name__}: use torch.tensor({factor!r})")
    if factor.is_complex() or (name == "pos_weight" and factor.dtype == torch.bool):
        raise RuntimeError(f"{name} of {factor.dtype} has no implementation: use {name}.to(input.dtype)")
    behind = input.shape[input.dim() - factor.dim() :] if factor.dim() <= input.dim() else None
    if behind is None or any(own not in (1, size) for own, size in zip(factor.shape, behind, strict=True)):
        raise RuntimeError(
            f"{name} of shape {list(factor.shape)} does not broadcast to the input's shape {list(input.shape)}: "
            "its dimensions, the last ones first, must be 1 or the input's"
        )
    _check_common(name, factor, input)


def _check_common(name: str, tensor: Tensor, input: Tensor) -> None:
    if tensor.device != input.device and (name == "target" or tensor.dim() > 0):
        raise RuntimeError(
            f"expected all tensors to be on the same device, but {name} is on {tensor.device} and input on "
            f"{input.device}: use {name}.to(input.device)"
        )
    if tensor.requires_grad:
        raise RuntimeError(f"the loss is not differentiable with respect to {name}: pass {name}.detach()")

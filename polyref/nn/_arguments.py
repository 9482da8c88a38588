"""The arguments of the losses, checked as torch checks them: its error types, the value given, and the fix."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from numbers import Real

import torch
from torch import Tensor

from polyref.nn._kernel import Parameters

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_REDUCTIONS = ("none", "mean", "sum")
_LARGEST = sys.float_info.max


def checked_epsilon(epsilon: object) -> tuple[float, ...]:
    """eps_1, ..., eps_N as a tuple of floats; a number is eps_1.

    Raises:
        TypeError: for anything else than a number or a sequence of numbers.
        ValueError: for a number that is not finite, or so large that its multiples are not.
    """
    items: object = (epsilon,) if isinstance(epsilon, Real) else epsilon
    if not isinstance(items, Sequence) or not all(isinstance(e, Real) for e in items):
        raise TypeError(f"epsilon must be a number or a sequence of numbers eps_1, ..., eps_N, got {epsilon!r}")
    result = tuple(float(e) for e in items)
    for j, e in enumerate(result, start=1):
        if not abs(2 * len(result) * e) <= _LARGEST:  # a comparison, which torch.compile traces, unlike isfinite
            raise ValueError(f"epsilon_{j} must be a finite number whose multiples are finite, got {e!r}")
    return result


def checked_gamma(gamma: object) -> float:
    """The focal exponent as a float.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is negative or not finite.
    """
    if not isinstance(gamma, Real):
        raise TypeError(f"gamma must be a number, got {gamma!r}")
    result = float(gamma)
    if not 0 <= result <= _LARGEST:
        raise ValueError(f"gamma must be finite and at least 0, got {gamma!r}")
    return result


def checked_reduction(reduction: str) -> str:
    """The reduction.

    Raises:
        ValueError: if it is not 'none', 'mean' or 'sum'.
    """
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction!r} is not a valid value for reduction: give 'none', 'mean' or 'sum'")
    return reduction


def checked_ignore_index(ignore_index: object) -> int:
    """The index that is ignored.

    Raises:
        TypeError: if it is no whole number.
    """
    if not isinstance(ignore_index, int):
        raise TypeError(f"ignore_index must be an int, got {ignore_index!r}")
    return ignore_index


def checked_smoothing(label_smoothing: object) -> float:
    """The label smoothing as a float.

    Raises:
        TypeError: if it is no number.
        RuntimeError: if it is outside [0, 1] (torch's own type for this one).
    """
    if not isinstance(label_smoothing, Real):
        raise TypeError(f"label_smoothing must be a number, got {label_smoothing!r}")
    if not 0 <= float(label_smoothing) <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    return float(label_smoothing)


def checked_parameters(
    epsilon: object, gamma: object, ignore_index: object, reduction: str, label_smoothing: object
) -> Parameters:
    """All of these; what was checked once is not checked again.

    Raises:
        TypeError, ValueError, RuntimeError: as the functions above.
    """
    arguments = (epsilon, gamma, ignore_index, reduction, label_smoothing)
    if not torch.compiler.is_compiling():
        # A list of epsilons is not hashable; anything else that is wrong is so below as well.
        with suppress(TypeError):
            return _known_parameters(*arguments)
    return _parameters(*arguments)


def _parameters(
    epsilon: object, gamma: object, ignore_index: object, reduction: str, label_smoothing: object
) -> Parameters:
    return Parameters(
        checked_epsilon(epsilon),
        checked_gamma(gamma),
        checked_ignore_index(ignore_index),
        checked_reduction(reduction),
        checked_smoothing(label_smoothing),
    )


# typed, because 1.0 is no ignore_index although it equals 1; what raises is not kept.
_known_parameters = lru_cache(maxsize=64, typed=True)(_parameters)


def check_weight(weight: Tensor | None, input: Tensor, *, autocast: bool = False) -> None:
    """Class weights: one a class, of the input's dtype (any under autocast), on its device, not differentiable.

    Raises:
        TypeError: if it is no tensor.
        RuntimeError: for anything else.
    """
    if weight is None:
        return
    if not isinstance(weight, Tensor):
        raise TypeError(f"weight must be a Tensor of class weights, not {type(weight).__name__}")
    classes = input.shape[0 if input.dim() == 1 else 1]
    if weight.shape != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes "
            f"but got weight tensor of shape: {list(weight.shape)}"
        )
    if not weight.is_floating_point() or (weight.dtype != input.dtype and not autocast):
        raise RuntimeError(f"expected weight of the input's dtype {input.dtype} but found {weight.dtype}: convert it")
    if weight.device != input.device:
        raise RuntimeError(f"expected weight on the input's device {input.device} but found {weight.device}: move it")
    if weight.requires_grad:
        raise RuntimeError("the loss is not differentiable with respect to weight: pass weight.detach()")


def check_input(input: Tensor) -> None:
    """Logits: floating point, with a class dimension that is not empty.

    Raises:
        TypeError: if it is no tensor.
        NotImplementedError: for a dtype without an implementation (torch's own type for this one).
        ValueError: for a scalar, or for no classes.
    """
    if not isinstance(input, Tensor):
        raise TypeError(f"input must be a Tensor of logits, not {type(input).__name__}")
    if input.dtype not in _DTYPES:
        raise NotImplementedError(f"not implemented for logits of {input.dtype}: give one of {_DTYPES}")
    if input.dim() == 0:
        raise ValueError("input is a scalar: give logits of shape (C,) or (N, C)")
    if input.shape[0 if input.dim() == 1 else 1] == 0:
        raise ValueError(f"input of shape {list(input.shape)} has no classes: give at least one")


def check_target(target: Tensor, input: Tensor, ignore_index: int) -> Tensor:
    """The target: class indices as int64, in the shape of the input without its class dimension, or probabilities.

    Raises:
        TypeError: if it is no tensor.
        ValueError: for a number of targets that does not fit the batch.
        RuntimeError: for another dtype, shape or device, or where probabilities come with ignore_index. Indices out of
            range are left to the kernels, which see them anyway.
    """
    if not isinstance(target, Tensor):
        raise TypeError(f"target must be a Tensor of class indices or probabilities, not {type(target).__name__}")
    if target.device != input.device:
        raise RuntimeError(f"expected target on the input's device {input.device} but found {target.device}: move it")
    if target.shape == input.shape:
        return _check_probabilities(target, ignore_index)
    if target.dtype not in (torch.int64, torch.uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {target.dtype}: use target.long()")
    if input.dim() == 1:
        if target.dim() > 1 or target.numel() != 1:
            raise ValueError(f"For 1D input, the target must have size 1, but got target size: {list(target.shape)}")
        target = target.reshape(())
    else:
        expected = input.shape[:1] + input.shape[2:]
        if target.dim() == 0 or target.shape[0] != input.shape[0]:
            got = target.shape[0] if target.dim() else "none, a scalar"
            raise ValueError(f"Expected input batch_size ({input.shape[0]}) to match target batch_size ({got}).")
        if target.shape != expected:
            raise RuntimeError(f"Expected target size {list(expected)}, got {list(target.shape)}")
    return target.long()


def _check_probabilities(target: Tensor, ignore_index: int) -> Tensor:
    if not target.is_floating_point():
        raise RuntimeError(
            f"Expected floating point type for target with class probabilities, got {target.dtype}: "
            "class indices have no class dimension"
        )
    if ignore_index >= 0:
        raise RuntimeError(f"ignore_index is not supported for floating point target, got {ignore_index}: leave it out")
    return target


def check_inplace(input: Tensor) -> None:
    """Logits that their gradient may overwrite.

    Raises:
        RuntimeError: for a leaf that requires a gradient (a parameter would be lost), for logits that are not laid out
            as the kernels need them (the gradient would be written to a copy), and under functorch's transforms.
    """
    if input.requires_grad and input.is_leaf:
        raise RuntimeError("inplace_backward=True would overwrite a leaf that requires grad: leave it out")
    if not input.is_contiguous():
        raise RuntimeError(f"inplace_backward=True needs contiguous logits, got strides {input.stride()}: leave it out")
    if torch._C._are_functorch_transforms_active():
        raise RuntimeError("inplace_backward=True does not work under torch.func transforms: leave it out")

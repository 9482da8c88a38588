"""What the operators return, for tensors without data: torch.compile and torch.library.opcheck ask for it."""

from __future__ import annotations

import torch
from torch import Tensor

from polyref.nn._kernel import REDUCTIONS


def _forward(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    coefficients: list[float],
    lengths: list[int],
    crossover: float,
    bend: float,
    gamma: float,
    ignore_index: int,
    reduction: int,
    groups: int,
    gradient: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    if REDUCTIONS[reduction] == "none":
        return logits.new_empty(target.shape, dtype=dtype), logits.new_empty(0)
    loss = logits.new_empty((groups,) if groups else (), dtype=dtype)
    return loss, logits.new_empty(logits.shape if gradient else 0)


def _backward(
    out: Tensor,
    grad: Tensor,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    coefficients: list[float],
    lengths: list[int],
    crossover: float,
    bend: float,
    gamma: float,
    ignore_index: int,
    reduction: int,
    groups: int,
) -> None:
    return None


def register() -> None:
    """Tell torch; the operators must exist."""
    torch.library.register_fake("polyref_native::forward", _forward)
    torch.library.register_fake("polyref_native::backward_", _backward)

"""What a backend provides: two functions on rows of logits, and the parameters they take.

A backend is a module with the functions ``forward`` and ``backward_`` of the protocol :class:`Kernel`. It sees plain
tensors: no autograd, no transforms, arguments already checked but for the values of the target, which only a pass over
the data can check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

#: The reductions, in the order of torch's own numbers for them.
REDUCTIONS = ("none", "mean", "sum")


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a loss, checked.

    Attributes:
        epsilon: eps_1, ..., eps_N; empty is cross-entropy.
        gamma: the focal exponent, at least 0.
        ignore_index: rows with this target contribute nothing to value, gradient or denominator, NaN logits or not.
        reduction: 'none', 'mean' (sum w l / sum w over the rows that are not ignored; for class probabilities sum l /
            number of rows) or 'sum'.
        label_smoothing: in [0, 1]; the target becomes (1 - s) q + s/C. Only the eager backend has it.
        groups: 0 for one loss, a scalar. G > 0 for G independent batches stacked along the first dimension, each with
            N/G of its rows, reduced by itself: the loss then has shape (G,). Without meaning for 'none'.
    """

    epsilon: tuple[float, ...]
    gamma: float = 0.0
    ignore_index: int = -100
    reduction: str = "mean"
    label_smoothing: float = 0.0
    groups: int = 0


def ones(grad: Tensor) -> bool:
    """Whether an incoming gradient is 1 everywhere; for one on the CPU, where looking costs nothing."""
    return grad.item() == 1 if grad.numel() == 1 else bool((grad == 1).all())


class Kernel(Protocol):
    """The functions of a backend.

    Logits have the shape (N, C) or (N, C, D) and are contiguous; float16, bfloat16, float32 or float64; N and D may be
    0, C may not. The target is int64, (N,) or (N, D), contiguous. The weight has the shape (C,) and any floating dtype,
    or is None. All are on one device.
    """

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        parameters: Parameters,
        *,
        gradient: bool,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """The loss, and its gradient for an incoming gradient of 1.

        Args:
            logits, target, weight: as above.
            parameters: of the loss.
            gradient: whether the gradient is wanted.
            dtype: of the loss: that of the logits, or float32 for logits of 16 bits.

        Returns:
            The loss, of shape (N,) or (N, D) for 'none', else () or (groups,); rounded once. And the gradient, new,
            contiguous and of the logits' shape and dtype, rounded once; of shape (0,) where it is not wanted, and for
            'none'.

        Raises:
            IndexError: for a target out of range that is not ignore_index, on the CPU.
        """
        ...

    def backward_(
        self,
        out: Tensor,
        grad: Tensor,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        parameters: Parameters,
        *,
        filled: bool,
    ) -> None:
        """Write the gradient for an incoming gradient into ``out``.

        Args:
            out: contiguous, of the logits' shape and dtype. It may be the logits themselves, the same storage.
            grad: of the loss's shape and dtype, with any strides (an expanded scalar has strides of 0).
            logits, target, weight, parameters: as given to :meth:`forward`.
            filled: ``out`` is the gradient that ``forward`` returned: where every element of ``grad`` is 1 nothing is
                left to do. Else it is computed anew from the logits, so that it is rounded once.
        """
        ...

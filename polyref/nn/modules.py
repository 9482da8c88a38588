"""The Poly-N losses as modules."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import Module

from polyref.nn._arguments import (
    checked_epsilon,
    checked_gamma,
    checked_ignore_index,
    checked_reduction,
    checked_smoothing,
)
from polyref.nn.binary_module import PolyBCEWithLogitsLoss as PolyBCEWithLogitsLoss
from polyref.nn.functional import poly_cross_entropy


class PolyCrossEntropyLoss(Module):
    """The Poly-N loss of logits; ``PolyCrossEntropyLoss(0.0)`` is ``torch.nn.CrossEntropyLoss()``.

    The mathematics (Leng et al., ICLR 2022, arXiv 2204.12511), shapes, errors and accuracy are those of
    :func:`polyref.nn.functional.poly_cross_entropy`. The class weights are a buffer: they follow the module's dtype and
    device and are in its state_dict.

    Args:
        epsilon: eps_1, or a sequence eps_1, ..., eps_N.
        gamma: the focal exponent, at least 0.
        weight: C class weights, which multiply the whole loss.
        ignore_index: the index target whose rows contribute nothing.
        reduction: 'none', 'mean' or 'sum'.
        label_smoothing: in [0, 1].
        inplace_backward: whether the backward pass writes the gradient into the logits.

    Raises:
        ValueError, RuntimeError, TypeError: for parameters out of range, here and not at the first call.
    """

    weight: Tensor | None

    def __init__(  # noqa: PLR0917 - positional like torch's own losses
        self,
        epsilon: float | Sequence[float] = 1.0,
        gamma: float = 0.0,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        inplace_backward: bool = False,
    ) -> None:
        super().__init__()
        self.epsilon = checked_epsilon(epsilon)
        self.gamma = checked_gamma(gamma)
        self.ignore_index = checked_ignore_index(ignore_index)
        self.reduction = checked_reduction(reduction)
        self.label_smoothing = checked_smoothing(label_smoothing)
        self.inplace_backward = inplace_backward
        self.register_buffer("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of logits (C,) or (N, C, ...) for class indices or probabilities."""
        return poly_cross_entropy(
            input,
            target,
            self.epsilon,
            gamma=self.gamma,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
            inplace_backward=self.inplace_backward,
        )

    def extra_repr(self) -> str:
        """The parameters, those at torch's defaults left out."""
        parts = [f"epsilon={self.epsilon[0] if len(self.epsilon) == 1 else self.epsilon}"]
        if self.gamma:
            parts.append(f"gamma={self.gamma}")
        if self.weight is not None:
            parts.append(f"weight={len(self.weight)} classes")
        if self.ignore_index != -100:
            parts.append(f"ignore_index={self.ignore_index}")
        parts.append(f"reduction={self.reduction!r}")
        if self.label_smoothing:
            parts.append(f"label_smoothing={self.label_smoothing}")
        if self.inplace_backward:
            parts.append("inplace_backward=True")
        return ", ".join(parts)


class PolyFocalLoss(PolyCrossEntropyLoss):
    """The focal Poly-N loss of logits, x^gamma in front of every term; as :class:`PolyCrossEntropyLoss` but for gamma.

    With epsilon 0 it is the focal loss of Lin et al. (ICCV 2017, arXiv 1708.02002) for softmax probabilities, and with
    the class weights as its alpha. For the sigmoid's see :class:`PolyBCEWithLogitsLoss`.

    Args:
        epsilon: eps_1, or a sequence eps_1, ..., eps_N.
        gamma: the focal exponent, at least 0.
        weight, ignore_index, reduction, label_smoothing, inplace_backward: as for :class:`PolyCrossEntropyLoss`.
    """

    def __init__(  # noqa: PLR0917 - positional like torch's own losses
        self,
        epsilon: float | Sequence[float] = 1.0,
        gamma: float = 2.0,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        inplace_backward: bool = False,
    ) -> None:
        super().__init__(epsilon, gamma, weight, ignore_index, reduction, label_smoothing, inplace_backward)

"""The Poly-N loss of the sigmoid link as a module."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import Module

from polyref.nn._arguments import checked_epsilon, checked_gamma, checked_reduction
from polyref.nn.binary import poly_binary_cross_entropy_with_logits


class PolyBCEWithLogitsLoss(Module):
    """The Poly-N loss of independent logits; ``PolyBCEWithLogitsLoss(0.0)`` is ``torch.nn.BCEWithLogitsLoss()``.

    The mathematics (Leng et al., ICLR 2022, arXiv 2204.12511), shapes, errors and accuracy are those of
    :func:`polyref.nn.binary.poly_binary_cross_entropy_with_logits`. Both weights are buffers: they follow the module's
    dtype and device and are in its state_dict, under the names that they have in torch's module.

    Args:
        epsilon: eps_1, or a sequence eps_1, ..., eps_N.
        gamma: the focal exponent, at least 0.
        weight: multiplies the whole loss of an element; broadcasts to the input's shape.
        pos_weight: multiplies the loss of the positive class; broadcasts to the input's shape.
        reduction: 'none', 'mean' or 'sum'.

    Raises:
        ValueError, TypeError: for parameters out of range, here and not at the first call.
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        epsilon: float | Sequence[float] = 1.0,
        gamma: float = 0.0,
        weight: Tensor | None = None,
        pos_weight: Tensor | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.epsilon = checked_epsilon(epsilon)
        self.gamma = checked_gamma(gamma)
        self.reduction = checked_reduction(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of logits of any shape for labels of the same shape."""
        return poly_binary_cross_entropy_with_logits(
            input,
            target,
            self.epsilon,
            gamma=self.gamma,
            weight=self.weight,
            pos_weight=self.pos_weight,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The parameters, those at torch's defaults left out."""
        parts = [f"epsilon={self.epsilon[0] if len(self.epsilon) == 1 else self.epsilon}"]
        if self.gamma:
            parts.append(f"gamma={self.gamma}")
        for name in ("weight", "pos_weight"):
            factor = getattr(self, name)
            if factor is not None:
                parts.append(f"{name}={'x'.join(map(str, factor.shape)) or 'scalar'}")
        parts.append(f"reduction={self.reduction!r}")
        return ", ".join(parts)

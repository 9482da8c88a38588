"""Poly-1 cross-entropy that picks the target by gather, and rescales the probabilities by the class weights.

It behaves like the variant of "[Notes] PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions"
(2022), from pytorch-lightning-spells, whose author adds the rescaling so that epsilon = -1 would remove the first
term under class weights.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from polyref.gallery.onehot import reduced


class Poly1CrossEntropyLoss(nn.Module):
    """w CE + epsilon (1 - Pt w / mu) for logits (N, C) and labels (N,), mu the mean of the weight vector.

    Args:
        epsilon: the coefficient of the added term.
        reduction: none, mean (over the batch, whatever the weights) or sum.
        weight: (C,), or None; then mu and w are 1.
    """

    def __init__(self, epsilon: float = 1.0, reduction: str = "none", weight: Tensor | None = None) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.reduction = reduction
        self.weight = weight

    def forward(self, logits: Tensor, labels: Tensor, **_: Any) -> Tensor:
        """The loss, (N,) or a scalar; other keyword arguments are taken and ignored."""
        scores = logits.softmax(-1)
        if self.weight is not None:
            self.weight = self.weight.to(labels.device)
            scores = scores * self.weight[None, :] / self.weight.mean()
        rescaled = scores.gather(-1, labels[:, None]).squeeze(-1)
        entropy = F.cross_entropy(logits, labels, weight=self.weight, reduction="none")
        return reduced(entropy + self.epsilon * (1 - rescaled), self.reduction)

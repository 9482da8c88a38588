"""Poly-1 losses that pick the target by multiplying with a one-hot vector.

They behave like the two losses of the repository abhuse/polyloss-pytorch, whose cross-entropy form is quoted in
"[Notes] PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions" (2022).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The losses, their mean or their sum; any other word leaves them as they are."""
    if reduction == "mean":
        return losses.mean()
    return losses.sum() if reduction == "sum" else losses


class Poly1CrossEntropyLoss(nn.Module):
    """w CE + epsilon (1 - Pt) for logits (N, C) and labels (N,); the class weight w is on the cross-entropy alone.

    Args:
        num_classes: C.
        epsilon: the coefficient of the added term.
        reduction: none, mean (over the batch, whatever the weights) or sum.
        weight: (C,), or None.
    """

    def __init__(
        self, num_classes: int, epsilon: float = 1.0, reduction: str = "none", weight: Tensor | None = None
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.epsilon = epsilon
        self.reduction = reduction
        self.weight = weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, (N,) or a scalar."""
        chosen = F.one_hot(labels, self.num_classes).to(logits)
        target_probability = (logits.softmax(-1) * chosen).sum(-1)
        entropy = F.cross_entropy(logits, labels, weight=self.weight, reduction="none")
        return reduced(entropy + self.epsilon * (1 - target_probability), self.reduction)


class Poly1FocalLoss(nn.Module):
    """The sigmoid form: alpha_t w BCE x^gamma + epsilon x^(gamma + 1) for every element, x = 1 - Pt.

    alpha_t is alpha for the target class and 1 - alpha for the others, and it stands on the focal part alone, as the
    weight does. A negative alpha leaves it out.

    Args:
        num_classes: C.
        epsilon: the coefficient of the added term.
        alpha: the balance between target and other classes.
        gamma: the focal exponent.
        reduction: none, mean (over the elements) or sum.
        weight: (C,), or None.
    """

    def __init__(  # noqa: PLR0917 -- the published signature
        self,
        num_classes: int,
        epsilon: float = 1.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
        reduction: str = "none",
        weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.epsilon = epsilon
        self.alpha = alpha
        self.gamma = gamma
        self.reduction = reduction
        self.weight = weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, (N, C) or a scalar."""
        positive = F.one_hot(labels, self.num_classes).to(logits)
        negative = 1 - positive
        p = torch.sigmoid(logits)
        distance = 1 - (positive * p + negative * (1 - p))
        focal = distance**self.gamma * F.binary_cross_entropy_with_logits(
            logits, positive, weight=self.weight, reduction="none"
        )
        if self.alpha >= 0:
            focal = (self.alpha * positive + (1 - self.alpha) * negative) * focal
        return reduced(focal + self.epsilon * distance ** (self.gamma + 1), self.reduction)

"""The PyTorch functions of a CSDN article on PolyLoss, defects included.

They behave like the torch half of the document in which each tensor is wrapped into a tensor once more:
``torch.tensor(t)`` copies t without its history (and warns), so whatever is computed from the copy has no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def poly1_cross_entropy_torch(logits: Tensor, labels: Tensor, class_number: int = 3, epsilon: float = 1.0) -> Tensor:
    """CE + epsilon (1 - Pt) of logits (N, C) and labels (N,), as (N,); the CE part passes no gradient on."""
    chosen = F.one_hot(labels, class_number).float()
    # No axis is named, as in the article: torch warns and takes the last one of a matrix.
    target_probability = (chosen * F.softmax(logits)).sum(-1)
    copied_logits, copied_labels = torch.tensor(logits), torch.tensor(labels)
    return F.cross_entropy(copied_logits, copied_labels, reduction="none") + epsilon * (1 - target_probability)


class FocalLoss(nn.Module):
    """-alpha_y (1 - Pt)^gamma log Pt of logits (N, C) and labels (N,), as (N,); good for one call.

    The table of alphas, one a class, is replaced by the alphas of the first batch, one a sample.

    Args:
        alpha: of class 0; every other class has 1 - alpha.
        gamma: the focal exponent.
        num_classes: C.
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2, num_classes: int = 3) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = torch.zeros(num_classes)
        self.alpha[:1] += alpha
        self.alpha[1:] += 1 - alpha

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss, (N,)."""
        log_probability = F.log_softmax(logits.view(-1, logits.size(-1)), dim=1)
        column = labels.view(-1, 1)
        target_probability = log_probability.exp().gather(1, column)
        log_target = log_probability.gather(1, column)
        self.alpha = self.alpha.to(logits.device).gather(0, labels.view(-1))
        per_sample = -((1 - target_probability) ** self.gamma * log_target)
        return (self.alpha * per_sample.t())[0]


def poly1_focal_loss_torch(  # noqa: PLR0917 -- the published signature
    logits: Tensor,
    labels: Tensor,
    alpha: float = 0.25,
    gamma: float = 2,
    num_classes: int = 3,
    epsilon: float = 1.0,
) -> Tensor:
    """The softmax focal loss plus the mean over classes of epsilon (1 - Pt)^3 with Pt of the sigmoid, as (N,)."""
    focal: Tensor = FocalLoss(alpha, gamma, num_classes)(logits, labels)
    chosen = torch.tensor(F.one_hot(labels, num_classes), dtype=torch.float32)
    p = torch.sigmoid(logits)
    agreement = chosen * p + (1 - chosen) * (1 - p)
    return focal + (epsilon * (1 - agreement) ** 3).mean(-1)

"""A Poly-1 listing that was cut when it was printed: everything is computed, and nothing is returned.

It behaves like the first listing of "[Notes] PolyLoss: A Polynomial Expansion Perspective of Classification Loss
Functions" (2022), whose forward ends in a bare ``return``.
"""

from __future__ import annotations

from torch import Tensor, nn

from polyref.gallery.onehot import Poly1CrossEntropyLoss as Complete


class Poly1CrossEntropyLoss(nn.Module):
    """The one-hot form up to its last line, which is missing.

    Args:
        num_classes: C.
        epsilon: the coefficient of the added term.
        reduction: none, mean or sum.
        weight: (C,), or None.
    """

    def __init__(
        self, num_classes: int, epsilon: float = 1.0, reduction: str = "none", weight: Tensor | None = None
    ) -> None:
        super().__init__()
        self.complete = Complete(num_classes, epsilon, reduction, weight)

    def forward(self, logits: Tensor, labels: Tensor) -> None:
        """Nothing."""
        self.complete(logits, labels)

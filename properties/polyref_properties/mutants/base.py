"""The right implementation that the mutants are made from, in steps that each of them replaces one of.

rows        positions (N, ...) become rows (M, C)
per_sample  index labels: the unweighted loss of each row, of entropy, pt, polynomial and focal
expected    soft labels: the expectation of the losses of all classes
weighted    the class weight on the whole loss
reduced     one loss, or one for each position
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REDUCTIONS = ("none", "mean", "sum")


class Textbook(nn.Module):
    """w [x^gamma CE + sum_j eps_j x^(gamma+j)] as a textbook would have it; no mutant.

    Args:
        epsilon: eps_1, or a sequence eps_1, ..., eps_N.
        gamma: the focal exponent.
        weight: C class weights.
        ignore_index: the label of rows that count for nothing.
        reduction: 'none', 'mean' (torch's weighted mean) or 'sum'.
        label_smoothing: in [0, 1].
    """

    weight: Tensor | None

    def __init__(  # noqa: PLR0917 - positional like torch's own losses
        self,
        epsilon: float | Sequence[float] = 1.0,
        gamma: float = 0.0,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "none",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.check_reduction(reduction)
        self.epsilon = (epsilon,) if isinstance(epsilon, int | float) else tuple(epsilon)
        self.gamma, self.ignore_index = gamma, ignore_index
        self.reduction, self.label_smoothing = reduction, label_smoothing
        self.keep(weight)

    def check_reduction(self, reduction: str) -> None:
        """An unknown name is an error."""
        if reduction not in REDUCTIONS:
            raise ValueError(f"{reduction!r} is no reduction")

    def keep(self, weight: Tensor | None) -> None:
        """The weights follow the module."""
        self.register_buffer("weight", weight)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits (C,), (N, C) or (N, C, d1, ...), for indices or probabilities."""
        z, y = self.rows(logits, labels)
        kept = self.kept(y)
        if not y.is_floating_point():
            y = y.where(kept, 0)
        losses = self.losses(z, y)
        losses = losses.where(kept, 0)
        reduced = self.reduced(losses, y, kept)
        return (
            reduced.reshape(logits.shape[:1] + logits.shape[2:] if logits.dim() > 1 else ())
            if (self.reduction == "none")
            else reduced
        )

    # --- the steps -------------------------------------------------------------------------------------------------

    def rows(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (M, C), and labels (M,) or (M, C)."""
        if logits.dim() == 1:
            return logits[None], labels[None]
        if logits.dim() > 2:
            soft = labels.dim() == logits.dim()
            labels = labels.movedim(1, -1).flatten(0, -2) if soft else labels.flatten()
            return logits.movedim(1, -1).flatten(0, -2), labels
        return logits, labels

    def kept(self, y: Tensor) -> Tensor:
        """Which rows count."""
        return (
            torch.ones(len(y), dtype=torch.bool, device=y.device) if y.is_floating_point() else y != self.ignore_index
        )

    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        """The weighted losses of the rows."""
        if y.is_floating_point() or self.label_smoothing:
            return self.expected(z, self.smoothed(z, y))
        return self.weighted(self.per_sample(z, y), y)

    def smoothed(self, z: Tensor, y: Tensor) -> Tensor:
        """The target distributions (M, C)."""
        q = y if y.is_floating_point() else F.one_hot(y, z.shape[-1]).to(z.dtype)
        s = self.label_smoothing
        return (1 - s) * q + s / z.shape[-1] if s else q

    def expected(self, z: Tensor, q: Tensor) -> Tensor:
        """sum_k q_k w_k l_k."""
        every = torch.stack([self.per_sample(z, torch.full_like(q[:, 0], k).long()) for k in range(z.shape[-1])], -1)
        shares = q if self.weight is None else q * self.weight
        return (shares * every.where(shares != 0, 0)).sum(-1)

    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        """The unweighted loss of each row for an index label."""
        return self.combined(self.entropy(z, y), self.complement(z, y))

    def combined(self, ce: Tensor, x: Tensor) -> Tensor:
        """x^gamma CE + sum_j eps_j x^(gamma+j)."""
        return self.focal(ce, x) + self.polynomial(x)

    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        """The cross-entropy of each row."""
        return F.cross_entropy(z, y, reduction="none")

    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        """The softmax probability of the target."""
        return z.softmax(-1).gather(-1, y[:, None])[:, 0]

    def complement(self, z: Tensor, y: Tensor) -> Tensor:
        """x = 1 - Pt."""
        return 1 - self.pt(z, y)

    def focal(self, ce: Tensor, x: Tensor) -> Tensor:
        """The logarithmic part."""
        return self.power(x) * ce if self.gamma else ce

    def power(self, x: Tensor) -> Tensor:
        """x^gamma, whose slope at 0 is not asked for where it is infinite: infinity times zero is NaN."""
        if self.gamma >= 1:
            return x**self.gamma
        return x.where(x != 0, 1) ** self.gamma * (x != 0)

    def polynomial(self, x: Tensor) -> Tensor:
        """The polynomial part."""
        terms = [eps * x ** (self.gamma + j) if self.gamma + j != 1 else eps * x for j, eps in self.terms()]
        return sum(terms, torch.zeros_like(x))

    def terms(self) -> list[tuple[int, float]]:
        """(j, eps_j)."""
        return list(enumerate(self.epsilon, start=1))

    def weighted(self, losses: Tensor, y: Tensor) -> Tensor:
        """The class weight on the whole loss."""
        weight = self.weight
        return losses if weight is None else losses * weight.index_select(0, y)

    def denominator(self, y: Tensor, kept: Tensor) -> Tensor:
        """What the mean divides by."""
        weight = self.weight
        if weight is None or y.is_floating_point():
            return kept.sum()
        return weight.index_select(0, y).where(kept, 0).sum()

    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        """One loss, or those of the rows."""
        if self.reduction == "sum":
            return losses.sum()
        if self.reduction == "mean":
            return losses.sum() / self.denominator(y, kept)
        return losses

"""Mutants of the gradient: right values, with a part cut off from the logits."""

from __future__ import annotations

from torch import Tensor

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook


class PolynomialDetached(Textbook):
    def polynomial(self, x: Tensor) -> Tensor:
        return super().polynomial(x).detach()


class CrossEntropyDetached(Textbook):
    def focal(self, ce: Tensor, x: Tensor) -> Tensor:
        return super().focal(ce, x).detach()


class NormaliserDetached(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return z.logsumexp(-1).detach() - z.gather(-1, y[:, None])[:, 0]


class MeanHalfDetached(Textbook):
    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        mean = super().reduced(losses, y, kept)
        return mean if self.reduction != "mean" else mean - mean / 2 + (mean / 2).detach()


MUTANTS = (
    Mutant("polynomial-detached", "the polynomial has no gradient", PolynomialDetached),
    Mutant("cross-entropy-detached", "the cross-entropy has no gradient", CrossEntropyDetached),
    Mutant("normaliser-detached", "log-sum-exp has no gradient", NormaliserDetached),
    Mutant("mean-half-detached", "reduction mean has half of its gradient", MeanHalfDetached),
)

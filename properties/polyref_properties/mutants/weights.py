"""Mutants of the class weights."""

from __future__ import annotations

from torch import Tensor

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook


class WeightOnCrossEntropyOnly(Textbook):
    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        x = self.complement(z, y)
        return super().weighted(self.focal(self.entropy(z, y), x), y) + self.polynomial(x)

    def weighted(self, losses: Tensor, y: Tensor) -> Tensor:
        return losses


class WeightOnPolynomialOnly(Textbook):
    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        x = self.complement(z, y)
        return self.focal(self.entropy(z, y), x) + super().weighted(self.polynomial(x), y)

    def weighted(self, losses: Tensor, y: Tensor) -> Tensor:
        return losses


class ProbabilitiesRescaled(Textbook):
    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        pt, x = self.pt(z, y), self.complement(z, y)
        rescaled = pt if self.weight is None else pt * self.weight[y] / self.weight.mean()
        return super().weighted(self.focal(self.entropy(z, y), x), y) + self.polynomial(1 - rescaled)

    def weighted(self, losses: Tensor, y: Tensor) -> Tensor:
        return losses


class WeightNormalised(Textbook):
    def keep(self, weight: Tensor | None) -> None:
        super().keep(None if weight is None else weight / weight.sum())


MUTANTS = (
    Mutant("weight-on-cross-entropy-only", "w CE + eps x", WeightOnCrossEntropyOnly),
    Mutant("weight-on-polynomial-only", "CE + w eps x", WeightOnPolynomialOnly),
    Mutant("probabilities-rescaled", "Pt times w / mean(w)", ProbabilitiesRescaled),
    Mutant("weight-normalised", "weights divided by their sum", WeightNormalised),
)

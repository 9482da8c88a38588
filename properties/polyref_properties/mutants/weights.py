"""Mutants of the class weights."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

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


class WeightOfMeanOne(Textbook):
    def keep(self, weight: Tensor | None) -> None:
        super().keep(None if weight is None else weight / weight.mean())


class WeightWithoutEffect(Textbook):
    def keep(self, weight: Tensor | None) -> None:
        super().keep(None)


class WeightSquared(Textbook):
    def keep(self, weight: Tensor | None) -> None:
        super().keep(None if weight is None else weight**2)


class WeightFloored(Textbook):
    def keep(self, weight: Tensor | None) -> None:
        super().keep(None if weight is None else weight.clamp(min=1e-3))


class WeightOfThePredictedClass(Textbook):
    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        if y.is_floating_point() or self.label_smoothing:
            return super().losses(z, y)
        return self.weighted(self.per_sample(z, y), z.argmax(-1))


class WeightTwiceInTheMean(Textbook):
    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        twice = self.reduction == "mean" and not y.is_floating_point()
        return super().reduced(self.weighted(losses, y) if twice else losses, y, kept)


class PolynomialMeanOverSamples(Textbook):
    """sum w CE / sum w + sum w eps x / N."""

    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        x = self.complement(z, y)
        times = 1 if self.weight is None or self.reduction != "mean" else self.weight[y].mean()
        return self.focal(self.entropy(z, y), x) + times * self.polynomial(x)


class WeightLeftBehind(Textbook):
    """A plain attribute, used by an operation that wants one dtype of all that it is given."""

    def keep(self, weight: Tensor | None) -> None:
        self.weight = weight

    def weighted(self, losses: Tensor, y: Tensor) -> Tensor:
        if self.weight is None:
            return losses
        return losses * F.linear(F.one_hot(y, len(self.weight)).to(losses), self.weight)


MUTANTS = (
    Mutant("weight-on-cross-entropy-only", "w CE + eps x", WeightOnCrossEntropyOnly),
    Mutant("weight-on-polynomial-only", "CE + w eps x", WeightOnPolynomialOnly),
    Mutant("probabilities-rescaled", "Pt times w / mean(w)", ProbabilitiesRescaled),
    Mutant("weight-normalised", "weights divided by their sum", WeightNormalised),
    Mutant("weight-of-mean-one", "weights divided by their mean", WeightOfMeanOne),
    Mutant("weight-without-effect", "weights are taken and not used", WeightWithoutEffect),
    Mutant("weight-squared", "w^2 [CE + eps x]", WeightSquared),
    Mutant("weight-floored", "weights are at least 1e-3", WeightFloored),
    Mutant("weight-of-the-predicted-class", "the weight of the largest logit's class", WeightOfThePredictedClass),
    Mutant("weight-twice-in-the-mean", "sum w^2 l / sum w", WeightTwiceInTheMean),
    Mutant("polynomial-mean-over-samples", "sum w CE / sum w + sum w eps x / N", PolynomialMeanOverSamples),
    Mutant("weight-left-behind", "weights stay in the dtype that they came in", WeightLeftBehind, "behaviour"),
)

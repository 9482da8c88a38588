"""Mutants of the formula: another polynomial, another epsilon, another probability."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook


class SquaredTerm(Textbook):
    def polynomial(self, x: Tensor) -> Tensor:
        return super().polynomial(x) if len(self.epsilon) != 1 or self.gamma else self.epsilon[0] * x**2


class SignFlipped(Textbook):
    def polynomial(self, x: Tensor) -> Tensor:
        return -super().polynomial(x)


class EpsilonIgnored(Textbook):
    def terms(self) -> list[tuple[int, float]]:
        return [(1, 1.0), *super().terms()[1:]]


class EpsilonAsExponent(Textbook):
    def polynomial(self, x: Tensor) -> Tensor:
        return x ** (self.gamma + 1 + abs(self.epsilon[0]))


class EpsilonSquared(Textbook):
    def terms(self) -> list[tuple[int, float]]:
        return [(j, e * e) for j, e in super().terms()]


class PolynomialWithoutEpsilon(Textbook):
    def terms(self) -> list[tuple[int, float]]:
        return [(j, e + 1e-3) for j, e in super().terms()]


class SigmoidProbability(Textbook):
    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        return z.sigmoid().gather(-1, y[:, None])[:, 0]


class SoftmaxTwice(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return super().entropy(z.softmax(-1), y)


class Negated(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return -super().forward(logits, labels)


# --- another probability ------------------------------------------------------------------------------------------


class LogProbabilityAsPt(Textbook):
    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        return z.log_softmax(-1).gather(-1, y[:, None])[:, 0]


class PredictedProbability(Textbook):
    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        return z.softmax(-1).amax(-1)


class BatchMeanProbability(Textbook):
    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        pt = super().pt(z, y)
        return pt.mean().expand_as(pt)


class ClassMeanProbability(Textbook):
    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        return z.softmax(-1).mean(-1)


class TemperatureTwo(Textbook):
    def complement(self, z: Tensor, y: Tensor) -> Tensor:
        return super().complement(z / 2, y)


# --- another cross-entropy ----------------------------------------------------------------------------------------


class TruncatedSeries(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        x = self.complement(z, y)
        return sum((x**j / j for j in range(2, 11)), x)


class EntropyInBits(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return super().entropy(z, y) / math.log(2)


class EntropyOfThePrediction(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return -(z.softmax(-1) * z.log_softmax(-1)).sum(-1)


# --- other coefficients -------------------------------------------------------------------------------------------


class OnlyTheLastTerm(Textbook):
    def terms(self) -> list[tuple[int, float]]:
        return super().terms()[-1:]


class OnlyTheFirstTerm(Textbook):
    def terms(self) -> list[tuple[int, float]]:
        return super().terms()[:1]


class TermsFromZero(Textbook):
    def terms(self) -> list[tuple[int, float]]:
        return [(j - 1, e) for j, e in super().terms()]


class EpsilonOverNextJ(Textbook):
    def terms(self) -> list[tuple[int, float]]:
        return [(j, e / (j + 1)) for j, e in super().terms()]


class EpsilonTimesJ(Textbook):
    def terms(self) -> list[tuple[int, float]]:
        return [(j, e * j) for j, e in super().terms()]


class TenBitCoefficient(Textbook):
    def terms(self) -> list[tuple[int, float]]:
        return [(j, e * (1 + 2.0**-10)) for j, e in super().terms()]


class TwentyBitCoefficient(Textbook):
    def terms(self) -> list[tuple[int, float]]:
        return [(j, e * (1 + 2.0**-20)) for j, e in super().terms()]


# --- other powers -------------------------------------------------------------------------------------------------


class PolynomialOfPt(Textbook):
    def polynomial(self, x: Tensor) -> Tensor:
        return super().polynomial(1 - x)


class PowersOfPt(Textbook):
    def polynomial(self, x: Tensor) -> Tensor:
        terms = [eps * (1 - (1 - x) ** (self.gamma + j)) for j, eps in self.terms()]
        return sum(terms, torch.zeros_like(x))


class EpsilonAlone(Textbook):
    def polynomial(self, x: Tensor) -> Tensor:
        return torch.full_like(x, sum(self.epsilon))


class ExponentFixed(Textbook):
    exponent = 2

    def polynomial(self, x: Tensor) -> Tensor:
        return sum((eps * x**self.exponent for _, eps in self.terms()), torch.zeros_like(x))


class ExponentThree(ExponentFixed):
    exponent = 3


class ExponentGamma(Textbook):
    def polynomial(self, x: Tensor) -> Tensor:
        return sum((eps * x**self.gamma for _, eps in self.terms()), torch.zeros_like(x))


# --- another focal factor -----------------------------------------------------------------------------------------


class PolynomialNotFocal(Textbook):
    def polynomial(self, x: Tensor) -> Tensor:
        return sum((eps * x**j for j, eps in self.terms()), torch.zeros_like(x))


class EntropyNotFocal(Textbook):
    def focal(self, ce: Tensor, x: Tensor) -> Tensor:
        return ce


class GammaPlusOne(Textbook):
    def combined(self, ce: Tensor, x: Tensor) -> Tensor:
        return x * super().combined(ce, x)


class FocalFactorOfPt(Textbook):
    def focal(self, ce: Tensor, x: Tensor) -> Tensor:
        return super().focal(ce, 1 - x)


class FocalFactorOfSigmoid(Textbook):
    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        factor = 1 - z.gather(-1, y[:, None])[:, 0].sigmoid()
        return self.focal(self.entropy(z, y), factor) + self.polynomial(self.complement(z, y))


MUTANTS = (
    Mutant("squared-term", "eps (1 - Pt)^2", SquaredTerm),
    Mutant("sign-flipped", "- eps (1 - Pt)", SignFlipped),
    Mutant("epsilon-ignored", "epsilon_1 is always 1", EpsilonIgnored),
    Mutant("epsilon-as-exponent", "(1 - Pt)^(1 + eps)", EpsilonAsExponent),
    Mutant("epsilon-squared", "eps^2 (1 - Pt)", EpsilonSquared),
    Mutant("polynomial-without-epsilon", "an extra 1e-3 (1 - Pt) whatever epsilon is", PolynomialWithoutEpsilon),
    Mutant("sigmoid-probability", "Pt from sigmoid", SigmoidProbability),
    Mutant("softmax-twice", "cross-entropy of probabilities", SoftmaxTwice),
    Mutant("negated", "the negative of the loss", Negated),
    Mutant("log-probability-as-pt", "the logarithm of Pt in the place of Pt", LogProbabilityAsPt),
    Mutant("predicted-probability", "the largest probability in the place of the target's", PredictedProbability),
    Mutant("batch-mean-probability", "the batch's mean Pt in the place of each sample's", BatchMeanProbability),
    Mutant("class-mean-probability", "Pt averaged over the classes", ClassMeanProbability),
    Mutant("temperature-two", "the polynomial's softmax at temperature 2", TemperatureTwo),
    Mutant("truncated-series", "ten terms of the series in the place of -log Pt", TruncatedSeries),
    Mutant("entropy-in-bits", "the logarithm to base 2", EntropyInBits),
    Mutant("entropy-of-the-prediction", "-sum p log p in the place of the cross-entropy", EntropyOfThePrediction),
    Mutant("only-the-last-term", "eps_N x^N alone", OnlyTheLastTerm),
    Mutant("only-the-first-term", "eps_1 x alone", OnlyTheFirstTerm),
    Mutant("terms-from-zero", "eps_j x^(j - 1)", TermsFromZero),
    Mutant("epsilon-over-next-j", "eps_j / (j + 1)", EpsilonOverNextJ),
    Mutant("epsilon-times-j", "j eps_j", EpsilonTimesJ),
    Mutant("ten-bit-coefficient", "eps_j (1 + 2^-10)", TenBitCoefficient),
    Mutant("twenty-bit-coefficient", "eps_j (1 + 2^-20)", TwentyBitCoefficient),
    Mutant("polynomial-of-pt", "eps Pt in the place of eps x", PolynomialOfPt),
    Mutant("powers-of-pt", "eps_j (1 - Pt^(gamma+j))", PowersOfPt),
    Mutant("epsilon-alone", "eps in the place of eps x", EpsilonAlone),
    Mutant("exponent-two", "eps_j x^2 whatever gamma and j are", ExponentFixed),
    Mutant("exponent-three", "eps_j x^3 whatever gamma and j are", ExponentThree),
    Mutant("exponent-gamma", "eps_j x^gamma", ExponentGamma),
    Mutant("polynomial-not-focal", "eps_j x^j without x^gamma", PolynomialNotFocal),
    Mutant("entropy-not-focal", "the cross-entropy without x^gamma", EntropyNotFocal),
    Mutant("gamma-plus-one", "x^(gamma+1) in the place of x^gamma", GammaPlusOne),
    Mutant("focal-factor-of-pt", "Pt^gamma in the place of x^gamma", FocalFactorOfPt),
    Mutant("focal-factor-of-sigmoid", "the focal factor of the sigmoid of the target's logit", FocalFactorOfSigmoid),
)

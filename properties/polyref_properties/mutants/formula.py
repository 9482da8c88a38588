"""Mutants of the formula: another polynomial, another epsilon, another probability."""

from __future__ import annotations

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
)

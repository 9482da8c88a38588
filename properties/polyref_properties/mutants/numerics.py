"""Mutants of the arithmetic: the right formula, evaluated so that digits are lost."""

from __future__ import annotations

from torch import Tensor

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook


class LogOfSoftmax(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return -self.pt(z, y).log()


class ProbabilityClamped(LogOfSoftmax):
    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        return super().pt(z, y).clamp(1e-7, 1 - 1e-7)


class ExpWithoutMax(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return z.exp().sum(-1).log() - z.gather(-1, y[:, None])[:, 0]

    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        e = z.exp()
        return e.gather(-1, y[:, None])[:, 0] / e.sum(-1)


MUTANTS = (
    Mutant("log-of-softmax", "log(softmax) in the place of log_softmax", LogOfSoftmax, "numerical"),
    Mutant("probability-clamped", "Pt clamped to [1e-7, 1 - 1e-7]", ProbabilityClamped, "numerical"),
    Mutant("exp-without-max", "log-sum-exp without subtracting the maximum", ExpWithoutMax, "numerical"),
)

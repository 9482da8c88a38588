"""Mutants of the reduction."""

from __future__ import annotations

from torch import Tensor

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook


class BatchMeanPlusSamples(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        ce = super().entropy(z, y)
        return ce.mean().expand_as(ce)


class SumIsMean(Textbook):
    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        return losses.mean() if self.reduction == "sum" else super().reduced(losses, y, kept)


MUTANTS = (
    Mutant("batch-mean-plus-samples", "the batch's mean cross-entropy plus each sample's term", BatchMeanPlusSamples),
    Mutant("sum-is-mean", "reduction sum returns the mean", SumIsMean),
)

"""Mutants of the batch: the reduction, and rows that see each other."""

from __future__ import annotations

from torch import Tensor

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook


class BatchMeanPlusSamples(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        ce = super().entropy(z, y)
        return ce.mean().expand_as(ce)


class FirstRowForAll(Textbook):
    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        return super().pt(z, y)[:1].expand(len(y))


class ProbabilitiesOverTheBatch(Textbook):
    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        pt = super().pt(z, y)
        return pt / pt.sum() if len(pt) > 1 else pt


class BatchReversed(Textbook):
    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        return losses.flip(0) if self.reduction == "none" else super().reduced(losses, y, kept)


class NoneIsMean(Textbook):
    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        return losses.mean().expand_as(losses) if self.reduction == "none" else super().reduced(losses, y, kept)


class SumIsMean(Textbook):
    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        return losses.mean() if self.reduction == "sum" else super().reduced(losses, y, kept)


class SumTimesN(Textbook):
    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        return losses.sum() * len(losses) if self.reduction == "sum" else super().reduced(losses, y, kept)


class SumFromMean(Textbook):
    """Right but for no rows, whose mean is no number."""

    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        return losses.mean() * len(losses) if self.reduction == "sum" else super().reduced(losses, y, kept)


class MeanIsSum(Textbook):
    def denominator(self, y: Tensor, kept: Tensor) -> Tensor:
        return kept.any()


class MeanIsTheLargest(Textbook):
    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        return losses.max() if self.reduction == "mean" else super().reduced(losses, y, kept)


class MeanOverClassesToo(Textbook):
    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        losses = super().losses(z, y)
        return losses / z.shape[-1] if self.reduction == "mean" else losses


class IgnoredRowsInTheDenominator(Textbook):
    def denominator(self, y: Tensor, kept: Tensor) -> Tensor:
        return super().denominator(y, kept | True)


class UnknownReductionIsMean(Textbook):
    def check_reduction(self, reduction: str) -> None: ...

    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        return super().reduced(losses, y, kept) if self.reduction in ("none", "sum") else losses.mean()


class UnknownReductionIsNone(Textbook):
    def check_reduction(self, reduction: str) -> None: ...


class EmptyBatchIsAZero(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().forward(logits, labels) if len(logits) else logits.new_zeros(1)


MUTANTS = (
    Mutant("batch-mean-plus-samples", "the batch's mean cross-entropy plus each sample's term", BatchMeanPlusSamples),
    Mutant("first-row-for-all", "Pt of the first row in every row", FirstRowForAll),
    Mutant("probabilities-over-the-batch", "Pt divided by the batch's sum of Pt", ProbabilitiesOverTheBatch),
    Mutant("batch-reversed", "reduction none returns the last row first", BatchReversed),
    Mutant("none-is-mean", "reduction none returns the mean in every row", NoneIsMean),
    Mutant("sum-is-mean", "reduction sum returns the mean", SumIsMean),
    Mutant("sum-times-n", "reduction sum returns N times the sum", SumTimesN),
    Mutant("sum-from-mean", "reduction sum is N times the mean", SumFromMean, "behaviour"),
    Mutant("mean-is-sum", "reduction mean returns the sum", MeanIsSum),
    Mutant("mean-is-the-largest", "reduction mean returns the largest loss", MeanIsTheLargest),
    Mutant("mean-over-classes-too", "reduction mean divides by C as well", MeanOverClassesToo),
    Mutant("ignored-rows-in-the-denominator", "the mean divides by ignored rows too", IgnoredRowsInTheDenominator),
    Mutant("unknown-reduction-is-mean", "any other word is the mean", UnknownReductionIsMean, "behaviour"),
    Mutant("unknown-reduction-is-none", "any other word is none", UnknownReductionIsNone, "behaviour"),
    Mutant("empty-batch-is-a-zero", "no rows give one loss, 0", EmptyBatchIsAZero, "behaviour"),
)

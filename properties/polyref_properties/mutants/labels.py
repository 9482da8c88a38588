"""Mutants of the labels: indices, soft labels, smoothing, ignored rows, and which class is which."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook


def entropy_alone(loss: Textbook, smoothing: float = 0.0) -> Textbook:
    """The logarithmic part of a loss as a loss."""
    return Textbook((), loss.gamma, loss.weight, label_smoothing=smoothing)


# --- smoothing ----------------------------------------------------------------------------------------------------


class SmoothingSlippedIn(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(z, y, reduction="none", label_smoothing=0.05)


class SmoothingInCrossEntropyOnly(Textbook):
    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        if y.is_floating_point():
            return super().losses(z, y)
        polynomial = self.weighted(self.polynomial(self.complement(z, y)), y)
        return entropy_alone(self, self.label_smoothing).losses(z, y) + polynomial


class SmoothingInPolynomialOnly(Textbook):
    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        smoothed = entropy_alone(self, self.label_smoothing).losses(z, y)
        return super().losses(z, y) - smoothed + entropy_alone(self).losses(z, y)


class SmoothingOverOtherClasses(Textbook):
    def smoothed(self, z: Tensor, y: Tensor) -> Tensor:
        if y.is_floating_point():
            return super().smoothed(z, y)
        one_hot, s = F.one_hot(y, z.shape[-1]).to(z.dtype), self.label_smoothing
        return (1 - s) * one_hot + s * (1 - one_hot) / max(z.shape[-1] - 1, 1)


class SmoothingOfIndicesOnly(Textbook):
    def smoothed(self, z: Tensor, y: Tensor) -> Tensor:
        return y if y.is_floating_point() else super().smoothed(z, y)


# --- soft labels --------------------------------------------------------------------------------------------------


class SoftLabelsMadeIndices(Textbook):
    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        return super().losses(z, y.argmax(-1) if y.is_floating_point() else y)


class SoftProduct(Textbook):
    """x = 1 - prod_k p_k^q_k."""

    def expected(self, z: Tensor, q: Tensor) -> Tensor:
        logs = (q * z.log_softmax(-1)).where(q != 0, 0).sum(-1)
        shares = q if self.weight is None else q * self.weight
        return entropy_alone(self).expected(z, q) + shares.sum(-1) * self.polynomial(1 - logs.exp())


class SoftSquares(Textbook):
    """x = 1 - sum_k q_k^2 p_k."""

    def expected(self, z: Tensor, q: Tensor) -> Tensor:
        shares = q if self.weight is None else q * self.weight
        x = 1 - (q**2 * z.softmax(-1)).sum(-1)
        return entropy_alone(self).expected(z, q) + shares.sum(-1) * self.polynomial(x)


class SoftLabelsTakenForLogits(Textbook):
    def smoothed(self, z: Tensor, y: Tensor) -> Tensor:
        return super().smoothed(z, y.softmax(-1) if y.is_floating_point() else y)


class SoftLabelsUnweighted(Textbook):
    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        if not y.is_floating_point():
            return super().losses(z, y)
        return Textbook(self.epsilon, self.gamma, label_smoothing=self.label_smoothing).losses(z, y)


class SoftWeightOfTheLikeliest(Textbook):
    def expected(self, z: Tensor, q: Tensor) -> Tensor:
        return self.weighted(Textbook(self.epsilon, self.gamma).expected(z, q), q.argmax(-1))


class SoftLabelsTransposed(Textbook):
    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        return super().losses(z, y.T if y.is_floating_point() and z.shape[0] == z.shape[1] else y)


# --- indices ------------------------------------------------------------------------------------------------------


class IndexAsNumber(Textbook):
    """Multiplied by the label in the place of its one-hot row."""

    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        return super().pt(z, y) * y


class LabelsShifted(Textbook):
    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        return super().losses(z, y if y.is_floating_point() else (y + 1) % z.shape[-1])


class Relabelled(Textbook):
    """Gives index labels another number before anything is done with them; ``new`` says which."""

    def rows(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        z, y = super().rows(logits, labels)
        return z, y if y.is_floating_point() else y.where(y == self.ignore_index, self.new(y, z.shape[-1]))

    def new(self, y: Tensor, classes: int) -> Tensor:
        return y


class LabelClamped(Relabelled):
    def new(self, y: Tensor, classes: int) -> Tensor:
        return y.clamp(0, classes - 1)


class LabelWrapped(Relabelled):
    def new(self, y: Tensor, classes: int) -> Tensor:
        return y % classes


class LabelFromTheEnd(Relabelled):
    def new(self, y: Tensor, classes: int) -> Tensor:
        return torch.where(y < 0, y + classes, y)


class LabelOutOfRangeIgnored(Relabelled):
    def new(self, y: Tensor, classes: int) -> Tensor:
        return y.where((y >= 0) & (y < classes), self.ignore_index)


# --- ignored rows -------------------------------------------------------------------------------------------------


class IgnoredLabelWraps(Textbook):
    def rows(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        z, y = super().rows(logits, labels)
        return z, y if y.is_floating_point() else y.where(y != self.ignore_index, y % z.shape[-1])


class IgnoredRowsWithAGradient(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        result = super().forward(logits, labels)
        if labels.is_floating_point() or logits.dim() != 2:
            return result
        trace = logits[labels == self.ignore_index].sum()
        return result + (trace - trace.detach())


class IgnoreIndexIsMinusHundred(Textbook):
    def kept(self, y: Tensor) -> Tensor:
        return super().kept(y) if y.is_floating_point() else y != -100


# --- which class is which -----------------------------------------------------------------------------------------


class ClassesOverTheBatch(Textbook):
    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        return super().pt(z, y) if z.shape[0] != z.shape[1] else z.softmax(0).gather(-1, y[:, None])[:, 0]


class ClassesSorted(Textbook):
    def rows(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        z, y = super().rows(logits, labels)
        return z.sort(-1).values, y


class LogitsFloored(Textbook):
    """No logit is further than 20 below the largest."""

    def rows(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        z, y = super().rows(logits, labels)
        return z.maximum(z.detach().amax(-1, keepdim=True) - 20), y


class OneHotTimesLogarithm(Textbook):
    """0 times the logarithm of 0 is NaN."""

    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return -(F.one_hot(y, z.shape[-1]) * z.log_softmax(-1)).sum(-1)


class SecondLogitAlone(Textbook):
    """Two classes are taken for one sigmoid, of the second logit."""

    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        if z.shape[-1] != 2:
            return super().pt(z, y)
        second = z[:, 1].sigmoid()
        return torch.where(y == 1, second, 1 - second)


MUTANTS = (
    Mutant("smoothing-slipped-in", "label smoothing 0.05 in the cross-entropy", SmoothingSlippedIn),
    Mutant("smoothing-in-cross-entropy-only", "the polynomial is not smoothed", SmoothingInCrossEntropyOnly),
    Mutant("smoothing-in-polynomial-only", "the cross-entropy is not smoothed", SmoothingInPolynomialOnly),
    Mutant("smoothing-over-other-classes", "s / (C - 1) for each other class", SmoothingOverOtherClasses),
    Mutant("smoothing-of-indices-only", "soft labels are not smoothed", SmoothingOfIndicesOnly),
    Mutant("soft-labels-made-indices", "soft labels are their argmax", SoftLabelsMadeIndices),
    Mutant("soft-product", "1 - prod p^q", SoftProduct),
    Mutant("soft-squares", "1 - sum q^2 p", SoftSquares),
    Mutant("soft-labels-taken-for-logits", "softmax of the soft labels", SoftLabelsTakenForLogits),
    Mutant("soft-labels-unweighted", "soft labels see no class weights", SoftLabelsUnweighted),
    Mutant("soft-weight-of-the-likeliest", "the weight of the likeliest class on all shares", SoftWeightOfTheLikeliest),
    Mutant("soft-labels-transposed", "with N = C soft labels are read as (C, N)", SoftLabelsTransposed),
    Mutant("index-as-number", "Pt times the class's number", IndexAsNumber),
    Mutant("labels-shifted", "each class is taken for the next", LabelsShifted),
    Mutant("label-clamped", "a label out of range is the nearest class", LabelClamped),
    Mutant("label-wrapped", "a label out of range is taken modulo C", LabelWrapped),
    Mutant("label-from-the-end", "label -1 is the last class", LabelFromTheEnd),
    Mutant("label-out-of-range-ignored", "a row with a label out of range is left out", LabelOutOfRangeIgnored),
    Mutant("ignored-label-wraps", "ignored labels are taken modulo C", IgnoredLabelWraps),
    Mutant("ignored-rows-with-a-gradient", "ignored rows have a gradient", IgnoredRowsWithAGradient),
    Mutant("ignore-index-is-minus-hundred", "ignore_index is always -100", IgnoreIndexIsMinusHundred),
    Mutant("classes-over-the-batch", "with N = C the softmax runs over the batch", ClassesOverTheBatch),
    Mutant("classes-sorted", "logits in ascending order", ClassesSorted),
    Mutant("logits-floored", "no logit is further than 20 below the largest", LogitsFloored),
    Mutant("one-hot-times-logarithm", "one-hot row times log-softmax", OneHotTimesLogarithm, "numerical"),
    Mutant("second-logit-alone", "two classes as the sigmoid of the second logit", SecondLogitAlone),
)

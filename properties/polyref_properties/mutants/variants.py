"""Right implementations that look unusual: no law may accuse one.

Some are called in their own way, some compute by other algorithms that are as good, some have only what their author
needed. Those without a convention here are probed and identified as a stranger's code would be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyref.nn.functional import poly_cross_entropy
from polyref.spec import Reduction
from polyref_properties.mutants import CLAIMED, CONVENTION, Variant
from polyref_properties.mutants.base import Textbook


def _chosen(z: Tensor, y: Tensor) -> Tensor:
    return z.softmax(1).gather(1, y[:, None])[:, 0]


def mean_of_each_part(logits: Tensor, labels: Tensor, epsilon: float = 1.0) -> Tensor:
    """The mean cross-entropy plus the mean of the polynomial."""
    return F.cross_entropy(logits, labels) + (epsilon * (1 - _chosen(logits, labels))).mean()


def labels_first(y_true: Tensor, y_pred: Tensor, epsilon: float = 1.0) -> Tensor:
    """Keras's order of arguments."""
    return F.cross_entropy(y_pred, y_true, reduction="none") + epsilon * (1 - _chosen(y_pred, y_true))


def one_hot_only(logits: Tensor, one_hot: Tensor, epsilon: float = 1.0) -> Tensor:
    """Takes one-hot labels alone."""
    if one_hot.shape != logits.shape:
        raise ValueError("labels must be one-hot")
    # Not one_hot * log_softmax, which is 0 * -inf for a class that is impossible.
    entropy = F.cross_entropy(logits, one_hot.argmax(1), reduction="none")
    return entropy + epsilon * (1 - (one_hot * logits.softmax(1)).sum(1))


class MeanOverSamples(Textbook):
    """Divides by the number of rows, weights or not."""

    def denominator(self, y: Tensor, kept: Tensor) -> Tensor:
        return kept.sum()


class LogSoftmaxOnce(Textbook):
    """Everything from one log_softmax."""

    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return -z.log_softmax(-1).gather(-1, y[:, None])[:, 0]

    def complement(self, z: Tensor, y: Tensor) -> Tensor:
        return -torch.expm1(-self.entropy(z, y))


class FromCrossEntropy(Textbook):
    """Pt is exp(-CE)."""

    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        return (-self.entropy(z, y)).exp()


class LogSumExp(Textbook):
    """The cross-entropy as log-sum-exp minus the target's logit, the row's maximum taken off first."""

    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        z = z - z.amax(-1, keepdim=True).detach()
        return z.exp().sum(-1).log() - z.gather(-1, y[:, None])[:, 0]


class DotProduct(Textbook):
    """Pt is the dot product of the softmax with a one-hot row."""

    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        return torch.einsum("nc,nc->n", z.softmax(-1), F.one_hot(y, z.shape[-1]).to(z.dtype))


class WiderInside(Textbook):
    """Sixteen bits are computed in binary32 and rounded once."""

    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        wide = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
        return super().per_sample(wide, y).to(z.dtype)


class Weightless(nn.Module):
    """A module without class weights or reductions, whose epsilon has another name."""

    def __init__(self, poly_eps: float = 2.0) -> None:
        super().__init__()
        self.poly_eps = poly_eps
        self.calls = 0

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        self.calls += 1  # counted, and never used
        log_p = input.log_softmax(1)
        return F.nll_loss(log_p, target, reduction="none") + self.poly_eps * (1 - _chosen(input, target))


def factory(epsilon: float = 1.0) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the loss as a closure."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="none") + epsilon * (1 - _chosen(logits, labels))

    return loss


def column(logits: Tensor, labels: Tensor, epsilon: float = 1.0) -> Tensor:
    """One loss a row, as a column."""
    return (F.cross_entropy(logits, labels, reduction="none") + epsilon * (1 - _chosen(logits, labels)))[:, None]


def in_a_dict(logits: Tensor, labels: Tensor, epsilon: float = 1.0) -> dict[str, Tensor]:
    """The loss beside its parts."""
    ce, poly = F.cross_entropy(logits, labels, reduction="none"), epsilon * (1 - _chosen(logits, labels))
    return {"ce": ce, "poly": poly, "loss": ce + poly}


def sum_only(logits: Tensor, labels: Tensor, epsilon: float = 1.0) -> Tensor:
    """There is no other reduction."""
    return (F.cross_entropy(logits, labels, reduction="none") + epsilon * (1 - _chosen(logits, labels))).sum()


def classes_required(
    logits: Tensor, labels: Tensor, num_classes: int, epsilon: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Has to be told the number of classes."""
    pt = (F.one_hot(labels, num_classes) * logits.softmax(1).movedim(1, -1)).sum(-1)
    losses = F.cross_entropy(logits, labels, reduction="none") + epsilon * (1 - pt)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction!r} is no reduction")
    return losses.mean() if reduction == "mean" else losses.sum() if reduction == "sum" else losses


def poly_list(logits: Tensor, labels: Tensor, epsilons: Sequence[float] = (1.0, 0.5)) -> Tensor:
    """Poly-N of a list, by Horner's rule."""
    x = 1 - _chosen(logits, labels)
    total = torch.zeros_like(x)
    for eps in reversed(list(epsilons)):
        total = (total + eps) * x
    return F.cross_entropy(logits, labels, reduction="none") + total


def _plain(logits: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    return F.cross_entropy(logits, labels, reduction="none") + epsilon * (1 - _chosen(logits, labels))


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(_plain, backend="aot_eager", dynamic=True)


def compiled(logits: Tensor, labels: Tensor, epsilon: float = 1.0) -> Tensor:
    """The textbook's formula under torch.compile, for all formats, with and without a gradient."""
    if labels.is_floating_point():
        raise TypeError("labels must be indices")
    with torch._dynamo.config.patch(recompile_limit=256):
        return _compiled()(logits, labels, epsilon)


_called_like_mutants = partial(Variant, convention=CONVENTION, claims=CLAIMED)

VARIANTS = (
    _called_like_mutants("textbook", "nothing", Textbook),
    _called_like_mutants(
        "mean-over-samples",
        "its mean divides by the number of rows",
        MeanOverSamples,
        claims=replace(CLAIMED, mean=Reduction.MEAN_OVER_SAMPLES),
    ),
    _called_like_mutants("log-softmax-once", "x = -expm1(log Pt)", LogSoftmaxOnce),
    _called_like_mutants("from-cross-entropy", "Pt = exp(-CE)", FromCrossEntropy),
    _called_like_mutants("log-sum-exp", "log-sum-exp written out", LogSumExp),
    _called_like_mutants("dot-product", "einsum with a one-hot row", DotProduct),
    _called_like_mutants("wider-inside", "sixteen bits computed in binary32", WiderInside),
    Variant("polyref-nn", "cancels nowhere", poly_cross_entropy),
    Variant("mean-of-each-part", "mean CE plus mean of the polynomial, and only a mean", mean_of_each_part),
    Variant("labels-first", "(y_true, y_pred)", labels_first),
    Variant("one-hot-only", "takes one-hot labels only", one_hot_only),
    Variant("renamed-epsilon", "epsilon is poly_eps, and calls are counted", Weightless),
    Variant("factory", "a function that returns the loss", factory),
    Variant("column", "returns (N, 1)", column),
    Variant("in-a-dict", "returns a dict", in_a_dict),
    Variant("sum-only", "has no other reduction", sum_only),
    Variant("classes-required", "num_classes is required", classes_required),
    Variant("poly-list", "a list of epsilons, by Horner's rule", poly_list),
    Variant("compiled", "under torch.compile", compiled),
)

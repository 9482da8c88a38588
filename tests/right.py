"""Right implementations of w [CE + eps (1 - Pt)], each by another textbook's way, and what goes beyond Poly-1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from polyref_properties.mutants import textbook


def reduced(losses: Tensor, labels: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        return losses.mean() if weight is None else losses.sum() / weight[labels].sum()
    if reduction != "none":
        raise ValueError(f"{reduction!r} is no reduction")
    return losses


def weighted(losses: Tensor, labels: Tensor, weight: Tensor | None) -> Tensor:
    return losses if weight is None else losses * weight[labels]


def pt(logits, labels):
    return logits.softmax(1).gather(1, labels[:, None])[:, 0]


def entropy(logits, labels):
    if labels.is_floating_point():
        raise TypeError("labels must be indices")  # the cross-entropy takes probabilities, Pt here does not
    return F.cross_entropy(logits, labels, reduction="none")


def x(z, y):
    """1 - Pt."""
    return 1 - pt(z, y)


def made(formula):
    """A loss with an epsilon from a formula of (logits, labels, epsilon)."""

    def loss(logits, labels, epsilon=1.0):
        return formula(logits, labels, epsilon)

    return loss


def log_softmax_once(logits, labels, epsilon=1.0, weight=None, reduction="none"):
    log_pt = logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
    return reduced(weighted(-log_pt - epsilon * torch.expm1(log_pt), labels, weight), labels, weight, reduction)


def from_cross_entropy(logits, labels, epsilon=1.0, weight=None, reduction="none"):
    ce = entropy(logits, labels)
    return reduced(weighted(ce + epsilon * (1 - torch.exp(-ce)), labels, weight), labels, weight, reduction)


def weights_factored_out(logits, labels, epsilon=1.0, weight=None, reduction="none"):
    ce = F.cross_entropy(logits, labels, weight=weight, reduction="none")
    x = 1 - (logits.softmax(1).movedim(1, -1) * F.one_hot(labels, logits.shape[1])).sum(-1)
    polynomial = epsilon * x if weight is None else weight[labels] * epsilon * x
    return reduced(ce + polynomial, labels, weight, reduction)


def single_precision_inside(logits, labels, epsilon=1.0, weight=None, reduction="none"):
    if logits.dtype not in (torch.float16, torch.bfloat16):
        return textbook(logits, labels, epsilon, weight, reduction)
    wide = None if weight is None else weight.float()
    return textbook(logits.float(), labels, epsilon, wide, reduction).to(logits.dtype)


def focal(logits, labels, epsilon=1.0, *, gamma=2.0, weight=None, reduction="none"):
    x = 1 - pt(logits, labels)
    # The slope of a fractional power is infinite at 0, and times the zero behind it that is NaN.
    factor = torch.where(x == 0, 0, torch.where(x == 0, 1, x) ** gamma) if gamma else torch.ones_like(x)
    losses = factor * entropy(logits, labels) + epsilon * x ** (gamma + 1)
    return reduced(weighted(losses, labels, weight), labels, weight, reduction)


def poly_n(logits, labels, epsilon=(1.0, 0.5), weight=None, reduction="none"):
    x = 1 - pt(logits, labels)
    losses = entropy(logits, labels)
    for j, eps in enumerate(epsilon, start=1):
        losses = losses + eps * x**j
    return reduced(weighted(losses, labels, weight), labels, weight, reduction)

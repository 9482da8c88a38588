"""Losses of many shapes, for the probe: each computes CE + epsilon (1 - Pt) unless it says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def poly(logits: Tensor, q: Tensor, epsilon: float = 1.0, weight: Tensor | None = None) -> Tensor:
    """Per-sample losses from one-hot or soft labels."""
    entropy = -(q * logits.log_softmax(-1) * (1 if weight is None else weight)).sum(-1)
    return entropy + epsilon * (1 - (q * logits.softmax(-1)).sum(-1))


def hot(labels: Tensor, logits: Tensor) -> Tensor:
    return F.one_hot(labels, logits.shape[-1]).to(logits)


def plain(logits, labels):
    """Index labels, nothing to choose."""
    return poly(logits, hot(labels, logits))


def keras_order(y_true, y_pred, epsilon=2.0):
    return poly(y_pred, hot(y_true, y_pred), epsilon)


def nameless_labels_first(a, b):
    return poly(b, hot(a, b))


def one_hot_only(pred, target, eps=1.0):
    return poly(pred, target, eps)


def one_hot_keras(y_true, y_pred):
    return poly(y_pred, y_true)


def nameless_one_hot_labels_first(a, b):
    return poly(b, a)


def integer_one_hot(logits, labels):
    if labels.is_floating_point() or labels.shape != logits.shape:
        raise TypeError("labels must be integers of the logits' shape")
    return poly(logits, labels.to(logits))


def index_column(logits, labels):
    return -logits.log_softmax(-1).gather(1, labels).squeeze(1)


def column(logits, labels):
    return plain(logits, labels)[:, None]


def elements(logits, labels):
    return F.binary_cross_entropy_with_logits(logits, hot(labels, logits), reduction="none")


def in_a_tuple(logits, labels):
    return "ce", plain(logits, labels), logits


def in_a_dict(logits, labels):
    return {"logits": logits, "loss": plain(logits, labels)}


def mean_only(logits, labels):
    return plain(logits, labels).mean()


def sum_only(logits, labels):
    return plain(logits, labels).sum()


def keyword_only(*, target, input, gamma=0):
    return plain(input, target) * (1 - (hot(target, input) * input.softmax(-1)).sum(-1)) ** gamma


def epsilon_first(epsilon, logits, labels):
    return poly(logits, hot(labels, logits), epsilon)


def averaged(logits, labels, size_average=True):
    losses = plain(logits, labels)
    return losses.mean() if size_average else losses.sum()


def reduction_none_is_none(logits, labels, reduction="mean"):
    losses = plain(logits, labels)
    if reduction is None:
        return losses
    return {"mean": losses.mean, "sum": losses.sum}[reduction]()


def ignores_reduction(logits, labels, reduction="mean"):
    return plain(logits, labels).mean()


def guarded(logits, labels, eps=1e-8):
    """eps is a guard here, not a coefficient."""
    return -(hot(labels, logits) * (logits.softmax(-1) + eps).log()).sum(-1)


def from_probabilities(probs, target):
    return -probs.log().gather(1, target[:, None])[:, 0]


def through_numpy(logits, labels):
    z = logits.numpy()
    z = z - z.max(-1, keepdims=True)
    return np.log(np.exp(z).sum(-1)) - z[np.arange(len(z)), labels.numpy()]


def python_number(logits, labels):
    return plain(logits, labels).mean().item()


def detached(logits, labels):
    return plain(logits.detach(), labels)


def constant(logits, labels):
    return torch.ones(len(logits), dtype=logits.dtype, requires_grad=True)


def single_precision(logits, labels):
    if logits.dtype != torch.float32:
        raise TypeError("float32 only")
    return plain(logits, labels)


def three_classes(logits, labels):
    return poly(logits, F.one_hot(labels, 3).to(logits))


def returns_none(logits, labels):
    plain(logits, labels)


def hopeless(logits, labels, mystery):
    """Needs an argument that nobody knows."""


def broken(logits, labels):
    raise ValueError("always broken\nwith a second line")


def square(logits, labels):
    """The (N, N) of an (N, 1) added to an (N,)."""
    return plain(logits, labels)[:, None] + plain(logits, labels)


def overwrites_logits(logits, labels):
    loss = plain(logits.clone(), labels)
    logits.mul_(2)
    return loss


def overwrites_labels(logits, labels):
    loss = plain(logits, labels)
    labels.zero_()
    return loss


def make_closure(epsilon=1.0, num_classes=3):
    """A factory."""

    def loss(y_true, y_pred):
        return poly(y_pred, F.one_hot(y_true, num_classes).to(y_pred), epsilon)

    return loss


class Required:
    """No module, and everything has to be given."""

    def __init__(self, num_classes, epsilon, gamma, reduction):
        self.settings = num_classes, epsilon, gamma
        if reduction not in ("mean", "sum"):
            raise ValueError(f"unknown reduction {reduction}")
        self.reduction = reduction

    def __call__(self, x, y):
        num_classes, epsilon, gamma = self.settings
        q = F.one_hot(y, num_classes).to(x)
        losses = poly(x, q, epsilon) * (1 - (q * x.softmax(-1)).sum(-1)) ** gamma
        return getattr(losses, self.reduction)()


class PolyN(nn.Module):
    """A list of coefficients."""

    def __init__(self, N: int = 1, epsilon: list[float] | None = None, reduction: str = "mean"):
        super().__init__()
        self.epsilon = [1.0] * N if epsilon is None else epsilon
        if len(self.epsilon) != N:
            raise ValueError(f"{len(self.epsilon)} coefficients for N = {N}")
        self.reduction = reduction

    def forward(self, input, target, **_: Any):
        q = hot(target, input)
        x = 1 - (q * input.softmax(-1)).sum(-1)
        losses = -(q * input.log_softmax(-1)).sum(-1) + sum(e * x ** (j + 1) for j, e in enumerate(self.epsilon))
        return losses if self.reduction == "none" else getattr(losses, self.reduction)()


class Buffered(nn.Module):
    """Class weights in a buffer, and torch's own options."""

    def __init__(self, weight: Tensor | None = None, *, label_smoothing=0.0, ignore_index=-100, alpha=None):
        super().__init__()
        self.register_buffer("weight", weight)
        self.options = {"label_smoothing": label_smoothing, "ignore_index": ignore_index}
        self.unused = alpha

    def forward(self, logits, target):
        weight = None if self.weight is None else self.weight.to(logits)
        return F.cross_entropy(logits, target, weight=weight, reduction="none", **self.options)


class Counting(nn.Module):
    """A second call is another one."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, logits, labels):
        self.calls += 1
        return plain(logits, labels) * self.calls


class SecondCallRaises(Counting):
    def forward(self, logits, labels):
        losses = super().forward(logits, labels)
        if self.calls > 1:
            raise RuntimeError("once only")
        return losses


class Holder:
    """Something with a dot in its path."""

    inner = staticmethod(plain)
    number = 3


instance = Buffered(torch.tensor([1.0, 2.0, 0.5]))
bound = partial(one_hot_only, eps=0.5)
Loss = Callable[[Tensor, Tensor], Tensor]

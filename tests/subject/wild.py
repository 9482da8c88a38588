"""Calling conventions of the wild (design section 6), written anew: each computes CE + epsilon (1 - Pt) in its manner.

Small, torch only, and right, unless the name says otherwise.
"""

from __future__ import annotations

import enum
import warnings
from collections import namedtuple
from dataclasses import dataclass
from functools import partial

import torch
from right import log_softmax_once as right
from right import poly_n
from right import pt as right_pt
from torch import Tensor, nn
from torch.nn import functional as F


def soft(logits: Tensor, q: Tensor, epsilon: float | Tensor = 1.0) -> Tensor:
    """The loss of one-hot or soft labels."""
    return F.cross_entropy(logits, q.to(logits), reduction="none") + epsilon * (1 - (q * logits.softmax(1)).sum(1))


def binary(z: Tensor, y: Tensor, epsilon: float = 1.0) -> Tensor:
    """The loss of each logit by itself."""
    y, p = y.to(z), z.sigmoid()
    return F.binary_cross_entropy_with_logits(z, y, reduction="none") + epsilon * (y * (1 - p) + (1 - y) * p)


def reduced(losses: Tensor, how: str) -> Tensor:
    return losses if how == "none" else getattr(losses, how)()


# --- epsilon ----------------------------------------------------------------------------------------------------------


def capital(logits, labels, Epsilon=1.0):
    return right(logits, labels, Epsilon)


def eps1(x, y, eps1=1.0):
    return right(x, y, eps1)


def eps_1(x, y, *, eps_1=2.0):
    return right(x, y, eps_1)


def poly_alpha(y_true, y_pred, poly_alpha=1.0):
    return right(y_pred, y_true, poly_alpha)


def poly_eps(outputs, targets, poly_eps=1.0):
    return right(outputs, targets, poly_eps)


class PolylossEpsilon(nn.Module):
    def __init__(self, polyloss_epsilon=1.0):
        super().__init__()
        self.e = polyloss_epsilon

    def forward(self, output, gt):
        return right(output, gt, self.e)


def series(logits, labels, epsilons=(1.0,)):
    return poly_n(logits, labels, epsilons)


def make_poly_loss(eps):
    def loss(y_hat, y):
        def polynomial():
            return eps * (1 - right_pt(y_hat, y))

        return F.cross_entropy(y_hat, y, reduction="none") + polynomial()

    return loss


class Attribute(nn.Module):
    """epsilon is set after construction."""

    def __init__(self):
        super().__init__()
        self.epsilon = 1.0

    def forward(self, logits, labels):
        return right(logits, labels, self.epsilon)


class Learnable(nn.Module):
    def __init__(self):
        super().__init__()
        self.epsilon = nn.Parameter(torch.tensor([2.0]))

    def forward(self, logits, labels):
        return right(logits, labels, self.epsilon.to(logits))


def tensor_required(logits, labels, epsilon):
    return right(logits, labels, epsilon.to(logits))


def whole_number_required(logits, labels, epsilon):
    losses = right(logits, labels, 0.0)
    for _ in range(epsilon):
        losses = losses + 1 - right_pt(logits, labels)
    return losses


# --- reduction --------------------------------------------------------------------------------------------------------


class Mode(enum.Enum):
    NONE = 0
    MEAN = 1
    SUM = 2


def enumerated(logits, labels, reduction=Mode.MEAN):
    return reduced(right(logits, labels), Mode(reduction).name.lower())


def upper_case(logits, labels, reduction="MEAN"):
    if reduction not in ("NONE", "MEAN", "SUM"):
        raise ValueError(f"unknown reduction {reduction}")
    return reduced(right(logits, labels), reduction.lower())


def batchmean(logits, labels, reduction="batchmean"):
    losses = right(logits, labels)
    return {"batchmean": losses.mean, "sum": losses.sum, "none": lambda: losses}[reduction]()


def old_flags(input, target, size_average=True, reduce=True):
    losses = right(input, target)
    return losses if not reduce else losses.mean() if size_average else losses.sum()


class Detection(nn.Module):
    """In the manner of detection tool boxes."""

    def __init__(self, epsilon=1.0, reduction="mean", loss_weight=1.0):
        super().__init__()
        self.epsilon, self.reduction, self.loss_weight = epsilon, reduction, loss_weight

    def forward(self, cls_score, label, weight=None, avg_factor=None, reduction_override=None, **_):
        losses = right(cls_score, label, self.epsilon)
        if weight is not None:
            losses = losses * weight
        how = reduction_override or self.reduction
        if avg_factor is not None:
            return self.loss_weight * losses.sum() / avg_factor
        return self.loss_weight * reduced(losses, how)


def average(logits, labels, average=True):
    losses = right(logits, labels)
    return losses.mean() if average else losses


def per_sample(logits, labels, per_sample=False):
    losses = right(logits, labels)
    return losses if per_sample else losses.mean()


# --- arguments --------------------------------------------------------------------------------------------------------


def labels_by_keyword(*, y_true, y_pred, epsilon=1.0):
    return right(y_pred, y_true, epsilon)


def weight_required(scores, target, weight):
    return F.cross_entropy(scores, target, weight, reduction="none")


def mask_required(logits, labels, mask):
    return right(logits, labels) * mask


class Temperature:
    def __init__(self, temperature):
        self.temperature = temperature

    def __call__(self, logits, labels):
        return right(logits / self.temperature, labels)


class Methods:
    """Losses that are methods."""

    def method(self, preds, gt):
        return right(preds, gt)

    @staticmethod
    def static(preds, gt):
        return right(preds, gt)

    @classmethod
    def of_class(cls, preds, gt, eps=1.0):
        return right(preds, gt, eps)


methods = Methods()
part = partial(poly_alpha, poly_alpha=2.0)


class WithEpsilon(nn.Module):
    def __init__(self, epsilon: float):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, logits, labels, epsilon: float = 1.0):
        return to_be_scripted(logits, labels, epsilon * self.epsilon)


def to_be_scripted(logits: Tensor, labels: Tensor, epsilon: float = 1.0) -> Tensor:
    log_pt = logits.log_softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return -log_pt - epsilon * torch.expm1(log_pt)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it is deprecated, and in use
    scripted = torch.jit.script(to_be_scripted)
    scripted_module = torch.jit.script(WithEpsilon(2.0))


def anything(*args, **kwargs):
    return right(*args, **kwargs)


# --- labels and shapes ------------------------------------------------------------------------------------------------


def int32_required(logits, labels):
    if labels.dtype != torch.int32:
        raise TypeError("labels must be int32")
    return right(logits, labels.long())


def bool_required(logits, labels):
    return -logits.log_softmax(1)[labels]


def multi_hot(logits, labels, epsilon=1.0):
    if labels.shape != logits.shape or not torch.is_floating_point(labels):
        raise TypeError("labels must be floats of the logits' shape")
    return binary(logits, labels, epsilon)


def one_logit(logits, labels, epsilon=1.0):
    if logits.dim() != 1:
        raise ValueError("logits must be (N,)")
    return binary(logits, labels, epsilon)


def one_logit_column(pred, target):
    if pred.shape[1] != 1:
        raise ValueError("one logit a row")
    return binary(pred.squeeze(1), target.squeeze(1).float()).mean()


def segmentation(pred, target):
    n, c, h, w = pred.shape
    return right(pred.permute(0, 2, 3, 1).reshape(-1, c), target.reshape(-1)).reshape(n, h, w)


def segmentation_last(pred, target, eps=1.0):
    if pred.dim() != 4 or target.dim() != 3:
        raise ValueError("give (N, H, W, C) and (N, H, W)")
    return right(pred.reshape(-1, pred.shape[-1]), target.reshape(-1), eps).mean()


# --- inputs -----------------------------------------------------------------------------------------------------------


def of_probabilities(p: Tensor, y: Tensor, epsilon: float) -> Tensor:
    pt = p.gather(1, y[:, None])[:, 0]
    return -pt.log() + epsilon * (1 - pt)


def keras(y_true, y_pred, epsilon=1.0):
    """Clipped, so that logits go through without a complaint."""
    return of_probabilities(y_pred.clip(1e-7, 1 - 1e-7), y_true, epsilon)


def probabilities(output, target, eps=1.0):
    return of_probabilities(output, target, eps)


def binary_probabilities(y_true, y_pred, epsilon=1.0):
    p = y_pred
    return F.binary_cross_entropy(p, y_true, reduction="none") + epsilon * (y_true * (1 - p) + (1 - y_true) * p)


def log_probabilities(log_probs, target, epsilon=1.0):
    log_pt = log_probs.gather(1, target[:, None])[:, 0]
    return -log_pt - epsilon * torch.expm1(log_pt)


def nll(input, target):
    return F.nll_loss(input, target, reduction="none") + 1 - input.exp().gather(1, target[:, None])[:, 0]


class FromLogits:
    """Of probabilities, unless it is told otherwise."""

    def __init__(self, epsilon=1.0, from_logits=False):
        self.epsilon, self.from_logits = epsilon, from_logits

    def __call__(self, y_true, y_pred):
        if self.from_logits:
            return right(y_pred, y_true, self.epsilon)
        return of_probabilities(y_pred.clip(1e-7, 1), y_true, self.epsilon)


def use_softmax(pred, target, use_softmax=True):
    return right(pred, target) if use_softmax else of_probabilities(pred, target, 1.0)


def logits_flag(y_pred, y_true, logits=False):
    return of_probabilities(y_pred.softmax(-1) if logits else y_pred, y_true, 1.0)


def activation(pred, target, activation=None):
    p = {"softmax": lambda z: z.softmax(-1), None: lambda z: z}[activation](pred)
    return of_probabilities(p, target, 1.0)


def guesses(pred, target):
    """Misreads logits that look like probabilities."""
    looks = bool((pred >= 0).all()) and bool((pred <= 1).all())
    return of_probabilities(pred if looks else pred.softmax(-1), target, 1.0)


def guesses_from_sum(pred, target):
    looks = bool((pred >= 0).all()) and torch.allclose(pred.sum(-1), torch.ones_like(pred[..., 0]))
    return of_probabilities(pred if looks else pred.softmax(-1), target, 1.0)


# --- results ----------------------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "logits loss")


@dataclass
class Output:
    logits: Tensor
    loss: Tensor


def named_tuple(logits, labels):
    return Pair(logits, right(logits, labels))


def data_class(logits, labels, epsilon=1.0):
    return Output(logits, right(logits, labels, epsilon))


def negated(logits, labels, epsilon=1.0):
    """A score to be maximised."""
    return -right(logits, labels, epsilon)


def negated_mean(y_true, y_pred):
    return -right(y_pred, y_true).mean()


def number(logits, labels):
    return right(logits, labels).mean().item()


# --- derivatives ------------------------------------------------------------------------------------------------------


def softmax_objective(y_true, y_pred):
    """The gradient and the diagonal of the Hessian of cross-entropy."""
    p = y_pred.detach().softmax(-1)
    return p - F.one_hot(y_true, p.shape[1]), p * (1 - p)


def binary_objective(preds, dtrain):
    """The same for one logit, in the manner of boosting libraries."""
    y = dtrain.get_label()
    p = preds.detach().sigmoid()
    return p - y, p * (1 - p)


def poly_objective(y_true, y_pred):
    z = y_pred.detach().requires_grad_()
    with torch.enable_grad():
        losses = right(z, y_true)
        (gradient,) = torch.autograd.grad(losses.sum(), z)
    return gradient, gradient * 0 + 1


# --- accidents: none of these is to be taken for what it looks like ---------------------------------------------------


def number_labels(logits, labels):
    """With labels as numbers a loss would come out too, and it would be nonsense."""
    if labels.dim() == 1:
        labels = labels[:, None]
    return -(labels * logits.log_softmax(-1)).sum(-1)


def square_mean(pred, target):
    """A column minus a row is (N, N); the mean hides it, unless the labels are a column."""
    log_p = pred.log_softmax(-1).gather(1, target.view(-1, 1)).view(-1)
    return (-log_p + (1 - log_p.exp())).mean() + 0 * target.view(-1).float().mean()


def swapped_roles(a, b):
    """Goes through in both orders."""
    return soft(b, a)

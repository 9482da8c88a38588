"""Poly-N losses in torch as people write them: right ones, which the rounding model must pass, and wrong ones.

Each takes the logits, the targets and a Spec, and gives one loss a row; a wrong one has a word for its fault as its
name. All of them run in the dtype of the logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F

from polyref.spec import Spec

Loss = Callable[[torch.Tensor, torch.Tensor, Spec], torch.Tensor]


def cross_entropy(z: torch.Tensor, t: torch.Tensor, **options: object) -> torch.Tensor:
    return F.cross_entropy(z, t, reduction="none", **options)


def polynomial(x: torch.Tensor, spec: Spec) -> torch.Tensor:
    """sum_j eps_j x^(gamma+j) by powers; nothing where there are no terms."""
    total = torch.zeros_like(x)
    for j, eps in enumerate(spec.epsilon, 1):
        term = eps * (x if spec.gamma + j == 1 else x ** (spec.gamma + j))
        total = term if j == 1 else total + term
    return total


def horner(x: torch.Tensor, spec: Spec) -> torch.Tensor:
    """The same, x^gamma (x (eps_1 + x (eps_2 + ...)))."""
    total = torch.zeros_like(x)
    for j, eps in enumerate(reversed(spec.epsilon)):
        total = (eps * x) if j == 0 else (total + eps) * x
    return total if spec.gamma == 0 else total * x**spec.gamma


def focal(ce: torch.Tensor, x: torch.Tensor, spec: Spec) -> torch.Tensor:
    return ce if spec.gamma == 0 else x**spec.gamma * ce


# --- right ------------------------------------------------------------------------------------------------------


def one_hot(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    """The paper's own code."""
    x = 1 - (F.one_hot(t, z.shape[-1]).to(z.dtype) * F.softmax(z, -1)).sum(-1)
    return focal(cross_entropy(z, t), x, spec) + polynomial(x, spec)


def gather(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    x = 1 - F.softmax(z, -1).gather(-1, t[:, None])[:, 0]
    return focal(cross_entropy(z, t), x, spec) + polynomial(x, spec)


def exp_of_ce(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    ce = cross_entropy(z, t)
    x = 1 - torch.exp(-ce)
    return focal(ce, x, spec) + polynomial(x, spec)


def expm1(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    log_pt = F.log_softmax(z, -1).gather(-1, t[:, None])[:, 0]
    x = -torch.expm1(log_pt)
    return focal(-log_pt, x, spec) + polynomial(x, spec)


def gather_horner(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    x = 1 - F.softmax(z, -1).gather(-1, t[:, None])[:, 0]
    return focal(cross_entropy(z, t), x, spec) + horner(x, spec)


RIGHT: dict[str, Loss] = {f.__name__: f for f in (one_hot, gather, exp_of_ce, expm1)}


# --- right, with weights, soft targets, the sigmoid link and reductions ---------------------------------------------


def _reduced(losses: torch.Tensor, spec: Spec, total_weight: torch.Tensor | float) -> torch.Tensor:
    if spec.reduction == "none":
        return losses
    return losses.sum() if spec.reduction == "sum" else losses.sum() / total_weight


def weighted(z: torch.Tensor, t: torch.Tensor, spec: Spec, w: torch.Tensor) -> torch.Tensor:
    """The weight distributed over the parts, cross-entropy's by torch."""
    wt = w[t]
    pt = F.softmax(z, -1).gather(-1, t[:, None])[:, 0]
    ce = cross_entropy(z, t, weight=w)
    if spec.weighting == "both":
        losses = focal(ce, 1 - pt, spec) + wt * polynomial(1 - pt, spec)
    elif spec.weighting == "ce_only":
        losses = focal(ce, 1 - pt, spec) + polynomial(1 - pt, spec)
    else:
        y = 1 - pt * wt / w.mean()
        poly = polynomial(y, replace(spec, gamma=0.0))
        losses = focal(ce, 1 - pt, spec) + (poly if spec.gamma == 0 else (1 - pt) ** spec.gamma * poly)
    return _reduced(losses, spec, wt.sum())


def factored(z: torch.Tensor, t: torch.Tensor, spec: Spec, w: torch.Tensor) -> torch.Tensor:
    """The whole-loss law as it is written: w (CE + polynomial)."""
    losses = w[t] * one_hot(z, t, spec)
    return _reduced(losses, spec, w[t].sum())


def mean_of_parts(z: torch.Tensor, t: torch.Tensor, spec: Spec, w: torch.Tensor) -> torch.Tensor:
    """The mean of torch's cross-entropy and that of the polynomial, each divided by itself; gamma 0."""
    pt = F.softmax(z, -1).gather(-1, t[:, None])[:, 0]
    poly = w[t] * polynomial(1 - pt, spec)
    return F.cross_entropy(z, t, weight=w) + poly.sum() / w[t].sum()


def smooth(z: torch.Tensor, t: torch.Tensor, spec: Spec, w: torch.Tensor | None = None) -> torch.Tensor:
    """Label smoothing by torch, the polynomial eps (1 - sum q p) with the same q."""
    classes = z.shape[-1]
    q = F.one_hot(t, classes).to(z.dtype) * (1 - spec.smoothing) + spec.smoothing / classes
    x = 1 - (q * F.softmax(z, -1)).sum(-1)
    return _reduced(cross_entropy(z, t, label_smoothing=spec.smoothing) + spec.epsilon[0] * x, spec, len(z))


def smooth_expectation(z: torch.Tensor, t: torch.Tensor, spec: Spec, w: torch.Tensor | None = None) -> torch.Tensor:
    """The same as a sum over classes of q_k (CE_k + polynomial_k)."""
    classes = z.shape[-1]
    q = F.one_hot(t, classes).to(z.dtype) * (1 - spec.smoothing) + spec.smoothing / classes
    log_p = F.log_softmax(z, -1)
    x = 1 - log_p.exp()
    return _reduced((q * (focal(-log_p, x, spec) + polynomial(x, spec))).sum(-1), spec, len(z))


def soft(z: torch.Tensor, q: torch.Tensor, spec: Spec, w: torch.Tensor | None = None) -> torch.Tensor:
    """torch's cross-entropy of soft targets, whose rows sum to one, and eps (1 - sum q p)."""
    x = 1 - (q * F.softmax(z, -1)).sum(-1)
    return _reduced(cross_entropy(z, q) + spec.epsilon[0] * x, spec, len(z))


def soft_expectation(z: torch.Tensor, q: torch.Tensor, spec: Spec, w: torch.Tensor | None = None) -> torch.Tensor:
    x = 1 - F.softmax(z, -1)
    losses = (q * (focal(-F.log_softmax(z, -1), x, spec) + polynomial(x, spec))).sum(-1)
    return _reduced(losses, spec, len(z))


def _elements(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return t.to(z.dtype) if t.ndim == 2 else F.one_hot(t, z.shape[-1]).to(z.dtype)


def bce(z: torch.Tensor, t: torch.Tensor, spec: Spec, w: torch.Tensor | None = None) -> torch.Tensor:
    """Every logit for itself, Pt from the sigmoid."""
    q = _elements(z, t)
    p = torch.sigmoid(z)
    x = 1 - (p * q + (1 - p) * (1 - q))
    ce = F.binary_cross_entropy_with_logits(z, q, reduction="none")
    if spec.alpha is not None:
        share = spec.alpha * q + (1 - spec.alpha) * (1 - q)
        if spec.alpha_on_polynomial:
            return _reduced(share * (focal(ce, x, spec) + polynomial(x, spec)), spec, z.numel())
        ce = share * ce
    return _reduced(focal(ce, x, spec) + polynomial(x, spec), spec, z.numel())


def bce_exp(z: torch.Tensor, t: torch.Tensor, spec: Spec, w: torch.Tensor | None = None) -> torch.Tensor:
    """Every logit for itself, Pt = exp(-BCE); hard targets."""
    ce = F.binary_cross_entropy_with_logits(z, _elements(z, t), reduction="none")
    x = 1 - torch.exp(-ce)
    return _reduced(focal(ce, x, spec) + polynomial(x, spec), spec, z.numel())


def bce_log_sigmoid(z: torch.Tensor, t: torch.Tensor, spec: Spec, w: torch.Tensor | None = None) -> torch.Tensor:
    """Every logit for itself, from logsigmoid and expm1; hard targets."""
    q = _elements(z, t)
    log_pt = F.logsigmoid(torch.where(q > 0.5, z, -z))
    x = -torch.expm1(log_pt)
    return _reduced(focal(-log_pt, x, spec) + polynomial(x, spec), spec, z.numel())


def mixed(z: torch.Tensor, t: torch.Tensor, spec: Spec, w: torch.Tensor | None = None) -> torch.Tensor:
    """The logarithm of softmax, and the mean over classes of a polynomial of sigmoids."""
    ce = cross_entropy(z, t)
    q, p = _elements(z, t), torch.sigmoid(z)
    x = 1 - (p * q + (1 - p) * (1 - q))
    gamma = spec.gamma if spec.polynomial_gamma is None else spec.polynomial_gamma
    poly = polynomial(x, replace(spec, gamma=gamma, polynomial_gamma=None)).mean(-1)
    return _reduced(focal(ce, 1 - torch.exp(-ce), spec) + poly, spec, len(z))


# --- wrong, all with gamma 0 and one epsilon ------------------------------------------------------------------------


def squared(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    x = 1 - F.softmax(z, -1).gather(-1, t[:, None])[:, 0]
    return cross_entropy(z, t) + spec.epsilon[0] * x**2


def _clamped(z: torch.Tensor, t: torch.Tensor, spec: Spec, low: float) -> torch.Tensor:
    pt = F.softmax(z, -1).gather(-1, t[:, None])[:, 0].clamp(low, 1 - low)
    return -torch.log(pt) + spec.epsilon[0] * (1 - pt)


def clamped(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    return _clamped(z, t, spec, 1e-7)


def clamped_wide(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    return _clamped(z, t, spec, 1e-3)


def smoothed(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    x = 1 - F.softmax(z, -1).gather(-1, t[:, None])[:, 0]
    return cross_entropy(z, t, label_smoothing=1e-3) + spec.epsilon[0] * x


def log_of_softmax(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    pt = F.softmax(z, -1).gather(-1, t[:, None])[:, 0]
    return -torch.log(pt) + spec.epsilon[0] * (1 - pt)


def no_max(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    x = 1 - F.softmax(z, -1).gather(-1, t[:, None])[:, 0]
    ce = z.exp().sum(-1).log() - z.gather(-1, t[:, None])[:, 0]
    return ce + spec.epsilon[0] * x


def batch_mean(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    x = 1 - F.softmax(z, -1).gather(-1, t[:, None])[:, 0]
    return F.cross_entropy(z, t) + spec.epsilon[0] * x


def polynomial_detached(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    x = 1 - F.softmax(z, -1).gather(-1, t[:, None])[:, 0]
    return cross_entropy(z, t) + spec.epsilon[0] * x.detach()


def ce_detached(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    x = 1 - F.softmax(z, -1).gather(-1, t[:, None])[:, 0]
    return cross_entropy(z, t).detach() + spec.epsilon[0] * x

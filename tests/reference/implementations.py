"""Poly-N losses in torch as people write them: right ones, which the rounding model must pass, and wrong ones.

Each takes the logits, the targets and a Spec, and gives one loss a row; a wrong one has a word for its fault as its
name. All of them run in the dtype of the logits.
"""

from __future__ import annotations

from collections.abc import Callable

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

"""Mutants: wrong implementations, each with one thing wrong, that the laws must reject.

All share one calling convention, ``f(logits, labels, epsilon=1.0, weight=None, reduction="none")``, so that what tells
them apart is the mathematics. ``textbook`` is the right one that they are made from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

#: f(logits, labels, epsilon, weight, reduction) -> losses
Loss = Callable[..., Any]


@dataclass(frozen=True)
class Mutant:
    """A wrong implementation.

    Attributes:
        name: what the laws call it.
        defect: the one thing that is wrong, in a few words.
        loss: the implementation.
    """

    name: str
    defect: str
    loss: Loss


def textbook(logits: Any, labels: Any, epsilon: float = 1.0, weight: Any = None, reduction: str = "none") -> Any:
    """w [CE + eps (1 - Pt)] as a textbook would have it; no mutant."""
    return _reduced(
        _weighted(_cross_entropy(logits, labels) + epsilon * (1 - _pt(logits, labels)), labels, weight),
        labels,
        weight,
        reduction,
    )


def _cross_entropy(logits: Any, labels: Any) -> Any:
    import torch.nn.functional as F  # noqa: PLC0415 - the laws can be listed without torch

    return F.cross_entropy(logits, labels, reduction="none")


def _pt(logits: Any, labels: Any) -> Any:
    return logits.softmax(-1).gather(-1, labels[:, None])[:, 0]


def _weighted(losses: Any, labels: Any, weight: Any) -> Any:
    return losses if weight is None else losses * weight[labels]


def _reduced(losses: Any, labels: Any, weight: Any, reduction: str) -> Any:
    if reduction == "sum":
        return losses.sum()
    if reduction == "mean":
        return losses.mean() if weight is None else losses.sum() / weight[labels].sum()
    return losses


def _per_sample(formula: Callable[[Any, Any, float], Any]) -> Loss:
    """A loss whose unweighted per-sample formula is wrong and whose weights and reductions are right."""

    def loss(logits: Any, labels: Any, epsilon: float = 1.0, weight: Any = None, reduction: str = "none") -> Any:
        return _reduced(_weighted(formula(logits, labels, epsilon), labels, weight), labels, weight, reduction)

    return loss


def _log_of_softmax(z: Any, y: Any, eps: float) -> Any:
    pt = _pt(z, y)
    return -pt.log() + eps * (1 - pt)


def _clamped(z: Any, y: Any, eps: float) -> Any:
    pt = _pt(z, y).clamp(1e-7, 1 - 1e-7)
    return -pt.log() + eps * (1 - pt)


def _softmax_twice(z: Any, y: Any, eps: float) -> Any:
    return _cross_entropy(z.softmax(-1), y) + eps * (1 - _pt(z, y))


def _smoothed(z: Any, y: Any, eps: float) -> Any:
    import torch.nn.functional as F  # noqa: PLC0415

    return F.cross_entropy(z, y, reduction="none", label_smoothing=0.05) + eps * (1 - _pt(z, y))


def _sigmoid(z: Any, y: Any, eps: float) -> Any:
    return _cross_entropy(z, y) + eps * (1 - z.sigmoid().gather(-1, y[:, None])[:, 0])


def _without_max(z: Any, y: Any, eps: float) -> Any:
    e = z.exp()
    total = e.sum(-1)
    return total.log() - z.gather(-1, y[:, None])[:, 0] + eps * (1 - e.gather(-1, y[:, None])[:, 0] / total)


def _normaliser_detached(z: Any, y: Any, eps: float) -> Any:
    log_total = z.logsumexp(-1).detach()
    return log_total - z.gather(-1, y[:, None])[:, 0] + eps * (1 - _pt(z, y))


def _weights_on_one_part(logits: Any, labels: Any, epsilon: float, weight: Any, *, on_polynomial: bool) -> Any:
    ce, poly = _cross_entropy(logits, labels), epsilon * (1 - _pt(logits, labels))
    return ce + _weighted(poly, labels, weight) if on_polynomial else _weighted(ce, labels, weight) + poly


def _weight_on_cross_entropy(
    logits: Any, labels: Any, epsilon: float = 1.0, weight: Any = None, reduction: str = "none"
) -> Any:
    losses = _weights_on_one_part(logits, labels, epsilon, weight, on_polynomial=False)
    return _reduced(losses, labels, weight, reduction)


def _weight_on_polynomial(
    logits: Any, labels: Any, epsilon: float = 1.0, weight: Any = None, reduction: str = "none"
) -> Any:
    losses = _weights_on_one_part(logits, labels, epsilon, weight, on_polynomial=True)
    return _reduced(losses, labels, weight, reduction)


def _rescaled(logits: Any, labels: Any, epsilon: float = 1.0, weight: Any = None, reduction: str = "none") -> Any:
    pt = _pt(logits, labels)
    if weight is not None:
        pt = pt * weight[labels] / weight.mean()
    losses = _weighted(_cross_entropy(logits, labels), labels, weight) + epsilon * (1 - pt)
    return _reduced(losses, labels, weight, reduction)


def _normalised(logits: Any, labels: Any, epsilon: float = 1.0, weight: Any = None, reduction: str = "none") -> Any:
    return textbook(logits, labels, epsilon, None if weight is None else weight / weight.sum(), reduction)


def _batch_mean(logits: Any, labels: Any, epsilon: float = 1.0, weight: Any = None, reduction: str = "none") -> Any:
    losses = _cross_entropy(logits, labels).mean() + epsilon * (1 - _pt(logits, labels))
    return _reduced(_weighted(losses, labels, weight), labels, weight, reduction)


def _sum_is_mean(logits: Any, labels: Any, epsilon: float = 1.0, weight: Any = None, reduction: str = "none") -> Any:
    losses = textbook(logits, labels, epsilon, weight)
    return losses if reduction == "none" else losses.mean()


def _negated(logits: Any, labels: Any, epsilon: float = 1.0, weight: Any = None, reduction: str = "none") -> Any:
    return -textbook(logits, labels, epsilon, weight, reduction)


def _inputs_overwritten(
    logits: Any, labels: Any, epsilon: float = 1.0, weight: Any = None, reduction: str = "none"
) -> Any:
    result = textbook(logits, labels, epsilon, weight, reduction)
    labels.zero_()
    return result


def _mean_detached(logits: Any, labels: Any, epsilon: float = 1.0, weight: Any = None, reduction: str = "none") -> Any:
    losses = textbook(logits, labels, epsilon, weight, reduction)
    if reduction != "mean":
        return losses
    return losses - (extra := textbook(logits, labels, epsilon, weight, reduction) / 2) + extra.detach()


class _StateKept:
    """Remembers the largest loss seen and adds a trace of it to the next call."""

    def __init__(self, epsilon: float = 1.0, weight: Any = None, reduction: str = "none") -> None:
        self.settings = (epsilon, weight, reduction)
        self.seen = 0.0

    def __call__(self, logits: Any, labels: Any) -> Any:
        result = textbook(logits, labels, *self.settings) + self.seen
        self.seen = 0.125
        return result


@cache
def all_mutants() -> dict[str, Mutant]:
    """Every mutant by name."""
    found = (
        Mutant(
            "squared-term",
            "eps (1 - Pt)^2",
            _per_sample(lambda z, y, e: _cross_entropy(z, y) + e * (1 - _pt(z, y)) ** 2),
        ),
        Mutant(
            "sign-flipped", "- eps (1 - Pt)", _per_sample(lambda z, y, e: _cross_entropy(z, y) - e * (1 - _pt(z, y)))
        ),
        Mutant(
            "epsilon-ignored", "epsilon is always 1", _per_sample(lambda z, y, _: _cross_entropy(z, y) + 1 - _pt(z, y))
        ),
        Mutant(
            "epsilon-as-exponent",
            "(1 - Pt)^(1 + eps)",
            _per_sample(lambda z, y, e: _cross_entropy(z, y) + (1 - _pt(z, y)) ** (1 + abs(e))),
        ),
        Mutant(
            "epsilon-squared",
            "eps^2 (1 - Pt)",
            _per_sample(lambda z, y, e: _cross_entropy(z, y) + e * e * (1 - _pt(z, y))),
        ),
        Mutant(
            "polynomial-without-epsilon",
            "an extra 1e-3 (1 - Pt) whatever epsilon is",
            _per_sample(lambda z, y, e: _cross_entropy(z, y) + (e + 1e-3) * (1 - _pt(z, y))),
        ),
        Mutant(
            "polynomial-detached",
            "the polynomial has no gradient",
            _per_sample(lambda z, y, e: _cross_entropy(z, y) + e * (1 - _pt(z, y)).detach()),
        ),
        Mutant(
            "cross-entropy-detached",
            "the cross-entropy has no gradient",
            _per_sample(lambda z, y, e: _cross_entropy(z, y).detach() + e * (1 - _pt(z, y))),
        ),
        Mutant("normaliser-detached", "log-sum-exp has no gradient", _per_sample(_normaliser_detached)),
        Mutant("log-of-softmax", "log(softmax) in the place of log_softmax", _per_sample(_log_of_softmax)),
        Mutant("probability-clamped", "Pt clamped to [1e-7, 1 - 1e-7]", _per_sample(_clamped)),
        Mutant("exp-without-max", "log-sum-exp without subtracting the maximum", _per_sample(_without_max)),
        Mutant("softmax-twice", "cross-entropy of probabilities", _per_sample(_softmax_twice)),
        Mutant("smoothing-slipped-in", "label smoothing 0.05 in the cross-entropy", _per_sample(_smoothed)),
        Mutant("sigmoid-probability", "Pt from sigmoid", _per_sample(_sigmoid)),
        Mutant("weight-on-cross-entropy-only", "w CE + eps x", _weight_on_cross_entropy),
        Mutant("weight-on-polynomial-only", "CE + w eps x", _weight_on_polynomial),
        Mutant("probabilities-rescaled", "Pt times w / mean(w)", _rescaled),
        Mutant("weight-normalised", "weights divided by their sum", _normalised),
        Mutant("batch-mean-plus-samples", "the batch's mean cross-entropy plus each sample's term", _batch_mean),
        Mutant("sum-is-mean", "reduction sum returns the mean", _sum_is_mean),
        Mutant("mean-half-detached", "reduction mean has half of its gradient", _mean_detached),
        Mutant("negated", "the negative of the loss", _negated),
        Mutant("state-kept", "the second call differs from the first", _StateKept),
        Mutant("inputs-overwritten", "the labels are zeroed", _inputs_overwritten),
    )
    return {m.name: m for m in found}

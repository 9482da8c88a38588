"""The hypotheses on what stands in the place of the cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from polyref.formats import BFLOAT16, BINARY16, Format
from polyref.subject.hypotheses.choice import Choice
from polyref.subject.rows import Array, Rows


def _wide(rows: Rows, numbers: Any) -> Array:
    return np.broadcast_to(numbers, rows.z.shape)


def _of_probabilities(rows: Rows, x: Array) -> Array:
    return np.asarray(np.log(np.exp(rows.p).sum(1, keepdims=True)) - rows.p)


def _truncated(terms: int) -> Callable[[Rows, Array], Array]:
    def computed(rows: Rows, x: Array) -> Array:
        return np.asarray(sum(x**j / j for j in range(1, terms + 1)))

    return computed


def _added_up_in(fmt: Format) -> Callable[[Rows, Array], Array]:
    def computed(rows: Rows, x: Array) -> Array:
        d = rows.z - rows.z.max(1, keepdims=True)
        total = np.zeros(len(d))
        for k in range(d.shape[1]):
            total = np.vectorize(fmt.round)(total + np.vectorize(fmt.round)(np.exp(d[:, k])))
        return np.asarray(np.log(total)[:, None] - d)

    return computed


def _batch_mean(rows: Rows, x: Array) -> Array:
    return _wide(rows, -(rows.smoothed * rows.log_p).sum(1).mean())


_LOGARITHM = "Compute the logarithm as F.cross_entropy(logits, labels, reduction='none')."

LOGARITHMS: tuple[Choice, ...] = (
    Choice(
        "all probabilities",
        "Pt clamped to [{c}, 1 - {c}] everywhere",
        "Pt is clamped to [{c}, 1 - {c}]: where it is nearer to 0 or 1, the loss stands still and has no gradient.",
        "Use log_softmax, which needs no clamp.",
        lambda rows, c: replace(rows, clamp=c),
        (1e-16, 0.2),
    ),
    Choice(
        "logarithm",
        "CE of the probabilities",
        "The cross-entropy is given probabilities, so that softmax is applied twice.",
        "Give the logits to the cross-entropy: F.cross_entropy(logits, labels, reduction='none').",
        _of_probabilities,
    ),
    Choice(
        "logarithm",
        "batch mean of CE",
        "The cross-entropy is reduced to its batch mean before the term of each sample is added.",
        "Take F.cross_entropy(..., reduction='none'), add the polynomial, and reduce once.",
        _batch_mean,
    ),
    Choice(
        "logarithm",
        "CE/log 2",
        "The logarithm is to base 2.",
        "Use the natural logarithm.",
        lambda rows, x: -rows.log_p / math.log(2),
    ),
    Choice(
        "logarithm",
        "(-sum_k p_k log p_k)",
        "The entropy of the prediction stands in the place of the cross-entropy: the labels have no part in it.",
        _LOGARITHM,
        lambda rows, x: _wide(rows, -(rows.p * rows.log_p).sum(1, keepdims=True)),
    ),
    Choice(
        "logarithm",
        "(-log sigmoid z_y)",
        "The logarithm is that of a sigmoid, beside a softmax in the polynomial.",
        _LOGARITHM,
        lambda rows, x: np.logaddexp(0, -rows.z),
    ),
    Choice(
        "logarithm",
        "mean_k CE_k",
        "The cross-entropy is averaged over all classes: the labels have no part in it.",
        _LOGARITHM,
        lambda rows, x: _wide(rows, -rows.log_p.mean(1, keepdims=True)),
    ),
    *(
        Choice(
            "logarithm",
            f"sum_(j=1..{m}) x^j/j",
            f"The series of -log Pt is cut off after {m} terms.",
            _LOGARITHM,
            _truncated(m),
        )
        for m in range(1, 41)
    ),
    *(
        Choice(
            "logarithm",
            f"CE of a sum in {fmt.name}",
            f"The exponentials of log-sum-exp are added up in {fmt.name}, whatever the logits' dtype is.",
            "Use log_softmax in the dtype of the logits, or in a wider one.",
            _added_up_in(fmt),
            rounds=True,
        )
        for fmt in (BINARY16, BFLOAT16)
    ),
    Choice(
        "logarithm",
        "(-log(Pt + {c}))",
        "The logarithm is guarded: log(Pt + {c}).",
        "Use log_softmax, which needs no guard.",
        lambda rows, x, c: -np.log(rows.p + c),
        (1e-16, 0.2),
    ),
    Choice(
        "logarithm",
        "(-log clamp(Pt, {c}, 1 - {c}))",
        "The logarithm is of Pt clamped to [{c}, 1 - {c}].",
        "Use log_softmax, which needs no clamp.",
        lambda rows, x, c: -np.log(rows.p.clip(c, 1 - c)),
        (1e-16, 0.2),
    ),
    Choice(
        "logarithm",
        "(CE under label smoothing {c})",
        "Label smoothing of {c} is built into the cross-entropy, and nobody asked for it.",
        "Leave label_smoothing at 0 unless it is asked for, and use it in both parts.",
        lambda rows, x, c: -(1 - c) * rows.log_p - c * rows.log_p.mean(1, keepdims=True),
        (0.0, 1.0),
    ),
    Choice(
        "logarithm",
        "{c} CE",
        "The cross-entropy is multiplied by {c}.",
        "Take the cross-entropy as it is.",
        lambda rows, x, c: -c * rows.log_p,
        (-100.0, 100.0),
    ),
)

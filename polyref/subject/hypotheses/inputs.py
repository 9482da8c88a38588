"""The hypotheses on what is done to logits and labels before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from polyref.formats import BFLOAT16, BINARY16, Format
from polyref.subject.hypotheses.choice import Choice
from polyref.subject.rows import Array, Rows


def _hot(labels: Array, classes: int) -> Array:
    return np.eye(classes)[labels]


# --- logits -------------------------------------------------------------------------------------------------------


def _rounded(fmt: Format) -> Callable[[Rows], Array]:
    return lambda rows: np.vectorize(fmt.round)(rows.z)


def _cut_off(bits: int) -> Callable[[Rows], Array]:
    def computed(rows: Rows) -> Array:
        mantissa, exponent = np.frexp(rows.z)
        return np.ldexp(np.trunc(mantissa * 2.0**bits) / 2.0**bits, exponent)

    return computed


def _logarithm_of_guessed(rows: Rows) -> Array:
    inside = bool(((rows.z >= 0) & (rows.z <= 1)).all())
    return np.log(rows.z) if inside and (rows.z > 0).all() else rows.z


_LOGITS_AS_THEY_ARE = "Compute with the logits as they are given."

_LOGITS = (
    Choice(
        "logits",
        "classes in ascending order of their logits",
        "The logits are sorted, so that a label is a rank and no class.",
        _LOGITS_AS_THEY_ARE,
        lambda rows: np.sort(rows.z, axis=1),
    ),
    Choice(
        "logits",
        "logits between 0 and 1 taken for probabilities",
        "Logits that all lie between 0 and 1 are taken for probabilities.",
        "Do not guess: take logits, or probabilities, always.",
        _logarithm_of_guessed,
    ),
    Choice(
        "logits",
        "softmax of the softmax",
        "Softmax is applied twice.",
        "Give the logits to the loss, not probabilities.",
        lambda rows: rows.p,
    ),
    *(
        Choice(
            "logits",
            f"logits rounded to {fmt.name}",
            f"The logits are rounded to {fmt.name} before anything is computed.",
            "Compute in the dtype of the logits.",
            _rounded(fmt),
            rounds=True,
        )
        for fmt in (BINARY16, BFLOAT16)
    ),
    *(
        Choice(
            "logits",
            f"logits cut off after {bits - 1} bits of fraction",
            f"The logits are cut off after {bits - 1} bits of fraction.",
            "Compute in the dtype of the logits.",
            _cut_off(bits),
            rounds=True,
        )
        for bits in (8, 11, 24)
    ),
    Choice(
        "logits",
        "logits clamped to [-{c}, {c}]",
        "The logits are clamped to [-{c}, {c}].",
        "Leave the logits as they are: log_softmax does not overflow.",
        lambda rows, c: rows.z.clip(-c, c),
        (0.5, 100.0),
    ),
    Choice(
        "logits",
        "logits at most {c} below the largest",
        "No logit is further than {c} below the largest.",
        "Leave the logits as they are: log_softmax does not overflow.",
        lambda rows, c: np.maximum(rows.z, rows.z.max(1, keepdims=True) - c),
        (0.5, 100.0),
    ),
)

# --- labels and smoothing -----------------------------------------------------------------------------------------

_INDEX = "Use the label as an index: gather(1, labels[:, None])."
_EXPECTED = "Take the expectation over the soft label: sum_k q_k l_k."


def _shifted(by: int) -> Callable[[Rows], Array]:
    return lambda rows: rows.q if rows.soft else np.roll(rows.q, by, axis=1)


def _transposed(rows: Rows) -> Array:
    return rows.q.T if rows.soft and rows.q.shape[0] == rows.q.shape[1] else rows.q


def _softmax_of_soft(rows: Rows) -> Array:
    e = np.exp(rows.q)
    return e / e.sum(1, keepdims=True) if rows.soft else rows.q


_LABELS = (
    Choice("labels", "each class taken for the next", "Each class is taken for the next one.", _INDEX, _shifted(1)),
    Choice(
        "labels", "each class taken for the one before", "Each class is taken for the one before.", _INDEX, _shifted(-1)
    ),
    Choice(
        "labels",
        "soft labels: their argmax",
        "Soft labels are turned into their argmax.",
        _EXPECTED,
        lambda rows: _hot(rows.y, rows.q.shape[1]) if rows.soft else rows.q,
    ),
    Choice(
        "labels",
        "soft labels: their softmax",
        "Soft labels are taken for logits: softmax is applied to them.",
        _EXPECTED,
        _softmax_of_soft,
    ),
    Choice(
        "labels",
        "soft labels: transposed where N = C",
        "Soft labels are read as (C, N) where the batch has as many rows as there are classes.",
        "Do not guess the layout from sizes: soft labels are (N, C).",
        _transposed,
    ),
)


def _uniform(rows: Rows, s: float) -> Array:
    return np.asarray((1 - s) * rows.q + s / rows.q.shape[1])


def _over_others(rows: Rows) -> tuple[Array, Array]:
    s, classes = rows.smoothing, rows.q.shape[1]
    q = (1 - s) * rows.q + s * (1 - rows.q) / max(classes - 1, 1)
    q = _uniform(rows, s) if rows.soft else q
    return q, q


def _of_indices(rows: Rows) -> tuple[Array, Array]:
    q = rows.q if rows.soft else _uniform(rows, rows.smoothing)
    return q, q


_SMOOTH_BOTH = "Smooth the label once, and use it in both parts."

_SMOOTHINGS = (
    Choice(
        "smoothing",
        "label smoothing in the cross-entropy only",
        "Label smoothing acts on the cross-entropy alone, not on the polynomial.",
        _SMOOTH_BOTH,
        lambda rows: (_uniform(rows, rows.smoothing), rows.q),
    ),
    Choice(
        "smoothing",
        "label smoothing in the polynomial only",
        "Label smoothing acts on the polynomial alone, not on the cross-entropy.",
        _SMOOTH_BOTH,
        lambda rows: (rows.q, _uniform(rows, rows.smoothing)),
    ),
    Choice(
        "smoothing",
        "label smoothing without effect",
        "Label smoothing is taken and not used.",
        _SMOOTH_BOTH,
        lambda rows: (rows.q, rows.q),
    ),
    Choice(
        "smoothing",
        "label smoothing: s/(C - 1) for each other class",
        "Label smoothing gives s/(C - 1) to each other class, not s/C to every class.",
        "Smooth as torch does: (1 - s) q + s/C.",
        _over_others,
    ),
    Choice(
        "smoothing",
        "soft labels not smoothed",
        "Soft labels are not smoothed, indices are.",
        "Smooth soft labels as well: (1 - s) q + s/C.",
        _of_indices,
    ),
    Choice(
        "smoothing",
        "label smoothing {c} in the polynomial",
        "Label smoothing of {c} is built into the polynomial, and nobody asked for it.",
        "Leave the labels as they are unless smoothing is asked for, and use it in both parts.",
        lambda rows, c: (rows.q, _uniform(rows, c)),
        (0.0, 1.0),
    ),
    Choice(
        "smoothing",
        "label smoothing {c}",
        "Label smoothing of {c} is built in, and nobody asked for it.",
        "Leave the labels as they are unless smoothing is asked for.",
        lambda rows, c: (_uniform(rows, c), _uniform(rows, c)),
        (0.0, 1.0),
    ),
)

# --- ignored rows -------------------------------------------------------------------------------------------------


def _wrapped(rows: Rows) -> Array:
    return _hot(rows.raw % rows.q.shape[1], rows.q.shape[1]) if not rows.soft else rows.q


_IGNORED = (
    Choice(
        "ignored rows",
        "ignored labels taken modulo C",
        "Labels that are to be ignored are taken modulo C, and count.",
        "Leave out the rows whose label is ignore_index, in value, gradient and denominator.",
        lambda rows: replace(rows, q=_wrapped(rows), kept=rows.raw % rows.q.shape[1] != rows.ignore_index),
    ),
    Choice(
        "ignored rows",
        "ignore_index always -100",
        "ignore_index is taken and not used: it is always -100.",
        "Leave out the rows whose label is the ignore_index that was asked for.",
        lambda rows: replace(rows, q=_wrapped(rows), kept=rows.raw != -100),
    ),
)

INPUTS: tuple[Choice, ...] = (*_SMOOTHINGS, *_LABELS, *_LOGITS, *_IGNORED)

"""The hypotheses on what stands in the place of Pt, in all of the loss or in the polynomial alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from polyref.formats import BFLOAT16, BINARY16, Format
from polyref.spec import Reduction
from polyref.subject.hypotheses.choice import Choice
from polyref.subject.rows import Array, Rows

_PT = "Take for Pt the softmax probability of the row's own class: logits.softmax(1).gather(1, labels[:, None])."


def _wide(rows: Rows, numbers: Any) -> Array:
    return np.broadcast_to(numbers, rows.z.shape)


def _sigmoid(z: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0, -z)))


def _softmax(z: Array, axis: int = 1) -> Array:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def _first_classes(count: int) -> Callable[[Rows], Array]:
    def computed(rows: Rows) -> Array:
        p = _softmax(rows.z[:, :count])
        return p[:, np.minimum(np.arange(rows.z.shape[1]), p.shape[1] - 1)]

    return computed


def _second_logit(rows: Rows) -> Array:
    if rows.z.shape[1] != 2:
        return rows.p
    second = _sigmoid(rows.z[:, 1])
    return np.stack([1 - second, second], axis=1)


def _over_the_batch(rows: Rows) -> Array:
    n, classes = rows.z.shape
    return _softmax(rows.z, axis=0) if n == classes else rows.p


def _complement_in(fmt: Format) -> Callable[[Rows], Array]:
    return lambda rows: 1 - np.vectorize(fmt.round)(1 - rows.p)


def _share(rows: Rows) -> Array:
    own = rows.of_target(rows.p)
    return rows.p / own.sum() if len(own) > 1 else rows.p


def _of_the_mean(rows: Rows) -> Array:
    ce = -(rows.smoothed * rows.w * rows.log_p).sum(1)[rows.kept]
    by = len(ce) if rows.soft or rows.reduction is Reduction.MEAN_OVER_SAMPLES else rows.w[rows.y][rows.kept].sum()
    return _wide(rows, np.exp(-ce.sum() / by))


#: What stands in the place of Pt: how x is written, what it is in words, and its value for every class.
_PROBABILITIES: tuple[tuple[str, str, Callable[..., Array], tuple[float, float] | None], ...] = (
    ("(1 - log Pt)", "the logarithm of Pt", lambda rows: rows.log_p, None),
    (
        "(1 - max_k p_k)",
        "the largest probability, that of the predicted class,",
        lambda rows: _wide(rows, rows.p.max(1, keepdims=True)),
        None,
    ),
    ("(1 - sigmoid z_y)", "the sigmoid of the target's logit", lambda rows: _sigmoid(rows.z), None),
    (
        "(1 - batch mean of Pt)",
        "the batch's mean Pt",
        lambda rows: _wide(rows, rows.of_target(rows.p).mean()),
        None,
    ),
    (
        "(1 - exp(-mean CE))",
        "Pt of the mean, exp(-mean CE), as the cross-entropy is reduced before the polynomial is taken of it,",
        _of_the_mean,
        None,
    ),
    (
        "(1 - Pt of row 0)",
        "the Pt of the first row",
        lambda rows: _wide(rows, rows.of_target(rows.p)[0]),
        None,
    ),
    ("(1 - Pt / batch sum of Pt)", "Pt divided by the batch's sum of Pt", _share, None),
    (
        "(1 - mean_k p_k)",
        "the mean of all classes' probabilities, which is always 1/C,",
        lambda rows: _wide(rows, rows.p.mean(1, keepdims=True)),
        None,
    ),
    (
        "(1 - y Pt)",
        "Pt times the class index as a number",
        lambda rows: rows.p * np.arange(rows.z.shape[1]),
        None,
    ),
    ("(1 - w Pt)", "Pt times the class weight", lambda rows: rows.p * rows.w, None),
    (
        "(1 - Pt w/mu)",
        "Pt times w/mean(w)",
        lambda rows: rows.p * rows.w / rows.w.mean(),
        None,
    ),
    (
        "(1 - prod_k p_k^q_k)",
        "the product of p_k^q_k over the soft label q",
        lambda rows: _wide(rows, np.exp((rows.smoothed * rows.log_p).sum(1, keepdims=True))),
        None,
    ),
    (
        "(1 - sum_k q_k^2 p_k)",
        "sum q_k^2 p_k over the soft label q",
        lambda rows: _wide(rows, (rows.smoothed**2 * rows.p).sum(1, keepdims=True)),
        None,
    ),
    (
        "(1 - sum_k q_k p_k)",
        "sum q_k p_k over the soft label q, before the powers are taken,",
        lambda rows: _wide(rows, (rows.smoothed * rows.p).sum(1, keepdims=True)),
        None,
    ),
    (
        "(1 - Pt over the batch)",
        "a softmax over the batch, where it has as many rows as there are classes,",
        _over_the_batch,
        None,
    ),
    (
        "(1 - sigmoid of the second logit)",
        "the sigmoid of the second of two logits",
        _second_logit,
        None,
    ),
    *(
        (
            f"(1 - Pt among the first {m} classes)",
            f"a softmax of the first {m} classes",
            _first_classes(m),
            None,
        )
        for m in (2, 3)
    ),
    *(
        (
            f"(1 - Pt in {fmt.name})",
            f"a number whose distance from 1 is rounded to {fmt.name}",
            _complement_in(fmt),
            None,
        )
        for fmt in (BINARY16, BFLOAT16)
    ),
    (
        "(1 - clamp(Pt, {c}, 1 - {c}))",
        "Pt clamped to [{c}, 1 - {c}]",
        lambda rows, c: rows.p.clip(c, 1 - c),
        (1e-16, 0.2),
    ),
    (
        "(1 - Pt at temperature {c})",
        "the Pt of a softmax at temperature {c}",
        lambda rows, c: _softmax(rows.z / c),
        (0.05, 20.0),
    ),
)


def _every() -> Iterator[Choice]:
    for where, part in (("probability", "Pt"), ("polynomial probability", "Pt in the polynomial")):
        for text, words, compute, span in _PROBABILITIES:
            told = f"In the place of {part} stands {words.rstrip(',')}."
            yield Choice(where, text, told, _PT, compute, span, rounds="rounded" in words)


PROBABILITIES: tuple[Choice, ...] = tuple(_every())

"""The hypotheses on class weights, reductions, and what is done to the losses of a batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from polyref.subject.hypotheses.choice import Choice
from polyref.subject.rows import Array, Rows

_WEIGHT = "Multiply the whole loss by weight[labels], as it is given."


def _predicted(rows: Rows) -> Array:
    return rows.w if rows.soft or rows.smoothing else rows.w[np.argmax(rows.z, axis=1)][:, None]


def _per_batch(rows: Rows) -> Array:
    return np.asarray(rows.w / rows.w[rows.y].sum() * len(rows.y))


#: How the weight is written, what is done in words, and its value.
_WEIGHTINGS: tuple[tuple[str, str, Callable[..., Array], tuple[float, float] | None], ...] = (
    ("", "are taken and not used", lambda rows: np.ones_like(rows.w), None),
    ("w/sum(w)", "are divided by their sum", lambda rows: rows.w / rows.w.sum(), None),
    ("w/mean(w)", "are divided by their mean", lambda rows: rows.w / rows.w.mean(), None),
    ("w/max(w)", "are divided by the largest", lambda rows: rows.w / rows.w.max(), None),
    ("w/batch mean of w", "are divided by their mean over the batch", _per_batch, None),
    ("w^2", "are squared: they act twice", lambda rows: rows.w**2, None),
    ("sqrt(w)", "are the roots of those given", lambda rows: np.sqrt(rows.w), None),
    ("(1/w)", "are the inverses of those given", lambda rows: 1 / rows.w, None),
    ("w of the predicted class", "are those of the predicted class, not of the label's", _predicted, None),
    (
        "w (1 for soft labels)",
        "have no effect on soft labels",
        lambda rows: np.ones_like(rows.w) if rows.soft else rows.w,
        None,
    ),
    (
        "w of the likeliest class",
        "are, for all shares of a soft label, that of its likeliest class",
        lambda rows: rows.w[rows.y][:, None],
        None,
    ),
    ("max(w, {c})", "are at least {c}", lambda rows, c: np.maximum(rows.w, c), (1e-9, 0.5)),
)

#: Of these, what depends on the row; the others are done to the vector that was given.
_BY_ROW = ("w/batch mean of w", "w of the predicted class", "w of the likeliest class")

_WEIGHTS = (
    *(
        Choice("weight" if text in _BY_ROW else "given weights", text, f"The class weights {words}.", _WEIGHT, f, span)
        for text, words, f, span in _WEIGHTINGS
    ),
    *(
        Choice(
            f"weight of the {part}", "w", f"The class weights multiply the {part} too.", _WEIGHT, lambda rows: rows.w
        )
        for part in ("logarithm", "polynomial")
    ),
    Choice(
        "weight of the polynomial",
        "",
        "The class weight multiplies the cross-entropy alone, not the polynomial.",
        _WEIGHT,
        lambda rows: np.ones_like(rows.w),
    ),
    Choice(
        "weight of the logarithm",
        "",
        "The class weight multiplies the polynomial alone, not the cross-entropy.",
        _WEIGHT,
        lambda rows: np.ones_like(rows.w),
    ),
    *(
        Choice(
            f"weight of the {part}",
            text,
            f"In the {'cross-entropy' if part == 'logarithm' else part} the class weights {words}.",
            _WEIGHT,
            f,
            span,
        )
        for part in ("logarithm", "polynomial")
        for text, words, f, span in _WEIGHTINGS[1:8]
    ),
)

# --- reductions ---------------------------------------------------------------------------------------------------


def _by_weights(rows: Rows) -> float:
    return float(rows.w[rows.y][rows.kept].sum())


def _counting_ignored(rows: Rows, a: Array, b: Array) -> float:
    # An ignored row's own label is no class: it is counted with the weight of the class that stands in for it.
    weighted = str(rows.reduction) == "mean" and not rows.soft
    return float((a + b).sum()) / float(rows.w[rows.y].sum() if weighted else len(rows.kept))


_REDUCE = "Reduce the losses of the samples once, at the end: losses.{0}()."
_WEIGHTED_MEAN = "Divide the sum of the weighted losses by the sum of the weights, once."

_REDUCTIONS = (
    Choice(
        "sum",
        "reduction sum: their mean",
        "Reduction sum returns the mean.",
        _REDUCE.format("sum"),
        lambda rows, a, b: (a + b).mean(),
    ),
    Choice(
        "sum",
        "reduction sum: N times the sum",
        "Reduction sum returns N times the sum.",
        _REDUCE.format("sum"),
        lambda rows, a, b: (a + b).sum() * len(a),
    ),
    Choice(
        "none",
        "reduction none: their mean in every row",
        "Reduction none returns the mean, in every row.",
        "Return the losses of the samples for reduction none.",
        lambda rows, a, b: np.full(len(a), (a + b).mean()),
    ),
    Choice(
        "none",
        "reduction none: last row first",
        "Reduction none returns the rows in reverse order.",
        "Return the losses in the order of the batch.",
        lambda rows, a, b: (a + b)[::-1],
    ),
    Choice(
        "mean",
        "reduction mean: their sum",
        "Reduction mean returns the sum.",
        _REDUCE.format("mean"),
        lambda rows, a, b: (a + b).sum(),
    ),
    Choice(
        "mean",
        "reduction mean: the largest",
        "Reduction mean returns the largest loss.",
        _REDUCE.format("mean"),
        lambda rows, a, b: (a + b).max(),
    ),
    Choice(
        "mean",
        "reduction mean: divided by C as well",
        "Reduction mean divides by the number of classes as well.",
        _REDUCE.format("mean"),
        lambda rows, a, b: (a + b).sum() / _by_weights(rows) / rows.z.shape[1],
    ),
    Choice(
        "mean",
        "reduction mean: sum w^2 l / sum w",
        "The class weights act twice in the mean: sum w^2 l / sum w.",
        _WEIGHTED_MEAN,
        lambda rows, a, b: (rows.w[rows.y] * (a + b)).sum() / _by_weights(rows),
    ),
    Choice(
        "mean",
        "reduction mean: sum of the cross-entropies / sum w + sum of the polynomials / N",
        "The mean divides the cross-entropy by the sum of the weights and the polynomial by the number of samples.",
        _WEIGHTED_MEAN,
        lambda rows, a, b: a.sum() / _by_weights(rows) + b.sum() / rows.kept.sum(),
    ),
    Choice(
        "mean",
        "reduction mean: divided by the ignored rows too",
        "The mean counts ignored rows in what it divides by.",
        "Divide by the number (or the weights) of the rows that are not ignored.",
        _counting_ignored,
    ),
)


def _every_pair(rows: Rows, a: Array, b: Array) -> tuple[Array, Array]:
    # The weight of a row multiplies a column of the square.
    w = rows.w[rows.y]
    return (a[None, :] + (b / w)[:, None] * w[None, :]), np.zeros((len(a), len(a)))


_LOSSES = (
    Choice(
        "losses",
        "each row's polynomial added to every row's cross-entropy, (N, N) numbers",
        "The polynomial is (N, 1) and the cross-entropy (N,): added up they are (N, N) numbers.",
        "Bring both parts to the shape (N,): squeeze(1) the gathered column.",
        _every_pair,
    ),
    *(
        Choice(
            "losses",
            f"losses rounded to {decimals} decimals",
            f"The losses are rounded to {decimals} decimals.",
            "Return the losses as they are computed, and round where they are printed.",
            lambda rows, a, b, decimals=decimals: ((a + b).round(decimals), np.zeros_like(b)),
            rounds=True,
        )
        for decimals in range(1, 7)
    ),
)

BATCH: tuple[Choice, ...] = (*_WEIGHTS, *_REDUCTIONS, *_LOSSES)

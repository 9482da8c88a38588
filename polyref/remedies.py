"""Remedies in the words of the subject's framework, and which of two remedies a violation gets.

A law's own remedy is in torch's words. Where those are no words of another framework, or are not true of it, the table
here has others.
"""

from __future__ import annotations

from dataclasses import replace

from polyref.property import Property
from polyref.subject.dialect import WHOLE_LOSS_REMEDY, Dialect
from polyref.verdict import Outcome

#: What the frameworks call the same thing.
_WORDS = {
    "jax": {"stop": "jax.lax.stop_gradient", "where": "jnp.where", "cast": ".astype(logits.dtype)"},
    "tensorflow": {"stop": "tf.stop_gradient", "where": "tf.where", "cast": "tf.cast(loss, logits.dtype)"},
    "numpy": {"stop": "a constant", "where": "np.where", "cast": ".astype(logits.dtype)"},
}
#: By law, what to do in any framework but torch.
_OTHERWISE = {
    "dtype-is-kept": "Convert the result back by {cast}, and make new arrays in the dtype of the logits.",
    "gradient-sums-to-zero": "Differentiate through softmax: no {stop} of the normaliser, and no sigmoids beside it.",
    "gradient-is-that-of-the-value": "Let the gradient through every part: {stop} cuts it off; use x itself.",
    "gradient-signs": (
        "Add epsilon * (1 - Pt) with its sign and the weight of the cross-entropy, and without {stop} of a logit."
    ),
    "gradient-matches-the-reference": (
        "Let automatic differentiation see every part: no {stop}, no detour through NumPy, no clip."
    ),
    "first-term-gradient-is-minus-one": (
        "Add epsilon * (1 - Pt), with Pt the softmax probability of the target, without {stop} and unclipped."
    ),
    "eps-zero-is-cross-entropy": (
        "Compute the first part as the weighted cross-entropy of the logits themselves, unsmoothed."
    ),
    "neighbours-do-not-matter": "Compute both parts for each sample, softmax along the classes, and reduce at the end.",
    "small-gamma-at-certainty": (
        "Give the power a safe argument where x is 0: {where}(x > 0, {where}(x > 0, x, 1) ** gamma, 0)."
    ),
    "layout-does-not-matter": "Index arrays by their dimensions, never by their memory or their strides.",
}
#: By law and framework, where one of them is unlike the others.
_ONE = {
    ("label-out-of-range-is-an-error", "tensorflow"): (
        "Check labels with tf.debugging.assert_less and assert_non_negative: tf.one_hot makes zeros of them, and "
        "tf.gather checks on the CPU alone."
    ),
    ("label-out-of-range-is-an-error", "numpy"): (
        "Check that labels lie in 0 .. C-1 before they index an array: there -1 is the last class."
    ),
}
#: Laws that hold an answer against the formula's value or gradient; the others hold the subject against itself.
_OF_THE_FORMULA = ("series", "values", "gradients", "weights", "saturation")


def worded(law: Property, framework: str) -> Property:
    """The law with its remedy in the words of a framework."""
    words = _WORDS.get(framework)
    if words is None:
        return law
    text = _ONE.get((law.id, framework)) or _OTHERWISE.get(law.id)
    return law if text is None else replace(law, remedy=text.format_map(words))


def remedy(law: Property, outcome: Outcome, dialect: Dialect) -> str:
    """What mends a violation: its own remedy if it has one, else the law's, or that of the formula's deviation.

    A law's remedy supposes that the rest of the formula is right. Where it is not, what the formula does otherwise is
    what a law of the value or the gradient has met; a law of shapes or behaviour has met something else.
    """
    if outcome.remedy:
        return outcome.remedy
    if dialect.known or law.self_scaled or law.theme not in _OF_THE_FORMULA:
        return law.remedy
    return dialect.remedy or WHOLE_LOSS_REMEDY

"""Published code of TensorFlow and JAX."""

from __future__ import annotations

from polyref.gallery.entry import MIXED_LINKS, ONE_LINK, WIDER, Defect, Entry, each

_CSDN_TF = "the CSDN article on PolyLoss by hope_wisdom, its TensorFlow half"

_PICK = "pick the target's log-probability with gather or where, in the place of a product with one-hot labels"
#: What follows from 0 times -inf.
_PRODUCT = each(
    "A class of probability 0 makes NaN of the loss: its one-hot 0 times its log-probability -inf.",
    _PICK,
    "impossible-classes",
    "impossible-class-changes-nothing",
    "largest-logits",
)
_ZERO_ROW = Defect(
    "label-out-of-range-is-an-error",
    "tf.one_hot makes a row of zeros of a label that is out of range, and the loss takes it.",
    "check the labels with tf.debugging.assert_less, or give them to sparse_softmax_cross_entropy_with_logits",
)
_NO_CLIP = "take log Pt from log_softmax and clip nothing"


OF_OTHERS: tuple[Entry, ...] = (
    Entry(
        id="tensorflow-cross-entropy",
        target="polyref.gallery.tensorflow_:cross_entropy_tf",
        title="Cross-entropy of TensorFlow",
        source=_CSDN_TF,
        formula="CE",
        weighting=None,
        defects=(
            *_PRODUCT,
            Defect(
                "value-matches-the-reference",
                "Logits at both ends of the format make NaN of the loss: their difference is -inf, times 0.",
                _PICK,
            ),
            _ZERO_ROW,
        ),
        exit_code=1,
        framework="tensorflow",
    ),
    Entry(
        id="tensorflow-poly-cross-entropy",
        target="polyref.gallery.tensorflow_:poly1_cross_entropy_tf",
        title="Poly-1 cross-entropy of TensorFlow",
        source=_CSDN_TF,
        formula="CE + eps x, of float32 logits alone",
        weighting=None,
        defects=(*_PRODUCT, _ZERO_ROW),
        exit_code=1,
        framework="tensorflow",
    ),
    Entry(
        id="tensorflow-focal",
        target="polyref.gallery.tensorflow_:focal_loss_tf",
        title="Focal loss of a clipped probability",
        source=_CSDN_TF,
        formula="-alpha_y (1 - p)^gamma log p, p = Pt within 1e-7 of 0 and 1, in float32",
        weighting=None,
        defects=(
            *(
                Defect(law, "Pt is clipped to [1e-7, 1 - 1e-7], and beyond there is no gradient.", _NO_CLIP)
                for law in (
                    "gradient-matches-the-reference",
                    "value-matches-the-reference",
                    "weight-multiplies-the-whole-loss",
                    "gamma-zero-is-cross-entropy",
                    "largest-logits",
                    "ties",
                    "impossible-classes",
                )
            ),
            Defect("nan-in-nan-out", "The clip makes a number of NaN.", _NO_CLIP),
            Defect("infinite-logit-is-no-number", "The clip makes a number of infinity.", _NO_CLIP),
            WIDER,
        ),
        exit_code=1,
        framework="tensorflow",
    ),
    Entry(
        id="tensorflow-mixed-focal",
        target="polyref.gallery.tensorflow_:poly1_focal_loss_tf",
        title="Softmax focal loss of a clipped probability with a sigmoid polynomial",
        source=_CSDN_TF,
        formula="-alpha_y (1 - p)^gamma log p + eps mean_k (1 - Pt_sigmoid,k)^3, of float32 logits alone",
        weighting=None,
        defects=(
            *(
                Defect(law, "Pt is clipped to [1e-7, 1 - 1e-7], and beyond there is no gradient.", _NO_CLIP)
                for law in (
                    "gradient-matches-the-reference",
                    "value-matches-the-reference",
                    "eps-zero-is-cross-entropy",
                    "gamma-zero-is-cross-entropy",
                    "largest-logits",
                    "ties",
                )
            ),
            Defect("infinite-logit-is-no-number", "The clip makes a number of infinity.", _NO_CLIP),
            *MIXED_LINKS,
            *each(
                MIXED_LINKS[0].summary,
                ONE_LINK,
                "shift-invariance",
                "gradient-sums-to-zero",
                "eps-minus-one-cancels-first-term-under-class-weights",
            ),
            *each(
                "At eps = -1 the polynomial outweighs the focal part.",
                ONE_LINK,
                "decreasing-in-pt",
                "non-negative",
                "gradient-signs",
            ),
        ),
        exit_code=1,
        framework="tensorflow",
    ),
    Entry(
        id="jax-cross-entropy",
        target="polyref.gallery.jax_:poly_loss_cross_entropy",
        title="Poly-1 cross-entropy of JAX, one-hot form",
        source="optax.losses.poly_loss_cross_entropy of optax 0.2.8, without its where",
        formula="CE + eps x",
        weighting=None,
        defects=(
            *_PRODUCT,
            Defect(
                "half-precision-follows-the-wide-result",
                "In binary16 the log-probability of another class overflows, and 0 times -inf is NaN.",
                _PICK,
            ),
        ),
        exit_code=1,
        framework="jax",
    ),
)

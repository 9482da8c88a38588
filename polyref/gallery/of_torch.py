"""Published code of torch."""

from __future__ import annotations

from polyref.gallery.entry import MIXED_LINKS, ONE_LINK, WIDER, Defect, Entry, each
from polyref.spec import Weighting

_NOTES = '"[Notes] PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions" (15 May 2022)'
_CSDN = "the CSDN article on PolyLoss by hope_wisdom, its PyTorch half"

_WEIGHT_BOTH = "weight the added term too: CE + weight[labels] * epsilon * (1 - pt)"


def _unweighted_term(remedy: str) -> tuple[Defect, ...]:
    """What follows from an added term that the class weight does not multiply, beside what eps = -1 leaves."""
    found = (
        ("weight-multiplies-the-whole-loss", "The class weight multiplies one part of the loss."),
        ("zero-weight-row-is-zero", "A class of weight 0 still has a loss and a gradient, those of the added term."),
        ("scale-of-the-weights", "Twice the weights do not make twice the loss."),
        ("non-negative", "At eps = -1 the loss of a class with a small weight is negative."),
    )
    return tuple(Defect(law, summary, remedy) for law, summary in found)


#: What follows from weights that are a plain attribute of the module.
_NO_BUFFER = Defect(
    "state-dict-carries-everything",
    "The weights are a plain attribute: a state_dict does not hold them, and a reloaded model trains with others.",
    'keep them with self.register_buffer("weight", weight)',
)
_STAYS_BEHIND = Defect(
    "weights-follow-the-module",
    "The weights are a plain attribute and stay behind when the module is moved to another dtype or device.",
    'keep them with self.register_buffer("weight", weight)',
)
_ANY_REDUCTION = Defect(
    "unknown-reduction-is-an-error",
    "A reduction of an unknown name is taken for one of the known ones.",
    "raise ValueError for a name that is none, mean or sum",
)
_CLASSES_LAST = Defect(
    "classes-before-places",
    "The classes are looked for along the last dimension, so logits (N, C, d) give other numbers in silence.",
    "take softmax and gather along dimension 1, or refuse what is not (N, C)",
)
_SMALL_GAMMA = Defect(
    "small-gamma-at-certainty",
    "For 0 < gamma < 1 the gradient at Pt = 1 is NaN: an infinite slope of x^gamma times zero.",
    "put a positive number in the place of x = 0 before the power is taken",
)
_COEFFICIENT = Defect(
    "coefficient-j-is-one-over-j-plus-eps",
    "Under a class weight w the coefficient of x over w is not 1 + eps.",
    _WEIGHT_BOTH,
)


OF_TORCH: tuple[Entry, ...] = (
    Entry(
        id="onehot-cross-entropy",
        target="polyref.gallery.onehot:Poly1CrossEntropyLoss",
        title="Poly-1 cross-entropy, one-hot form",
        source=f"abhuse/polyloss-pytorch by Abdulla Huseynov, quoted in {_NOTES}",
        formula="w CE + eps x",
        weighting=Weighting.CE_ONLY,
        defects=(
            Defect(
                "eps-minus-one-cancels-first-term-under-class-weights",
                "The weight is on the cross-entropy alone, so the first coefficient is w + eps: eps = -1 leaves "
                "(w - 1) x.",
                _WEIGHT_BOTH,
            ),
            Defect(
                "decreasing-in-pt",
                "At eps = -1 the loss of a class with w < 1 has its minimum at Pt = w, and training stops there.",
                _WEIGHT_BOTH,
            ),
            *_unweighted_term(_WEIGHT_BOTH),
            _COEFFICIENT,
            Defect(
                "gradient-signs",
                "At eps = -1 and Pt > w a step against the gradient makes the target less likely.",
                _WEIGHT_BOTH,
            ),
            _NO_BUFFER,
            _STAYS_BEHIND,
            _ANY_REDUCTION,
            _CLASSES_LAST,
        ),
        exit_code=1,
    ),
    Entry(
        id="onehot-sigmoid-focal",
        target="polyref.gallery.onehot:Poly1FocalLoss",
        title="Poly-1 focal loss, sigmoid form",
        source="abhuse/polyloss-pytorch by Abdulla Huseynov",
        formula="alpha_t w BCE x^gamma + eps x^(gamma + 1) for every element",
        weighting=Weighting.CE_ONLY,
        defects=(
            Defect(
                "eps-minus-one-cancels-first-term-under-class-weights",
                "Weight and alpha are on the focal part alone, so the first coefficient is alpha_t w + eps.",
                "weight the added term too: alpha_t * weight * epsilon * (1 - pt) ** (gamma + 1)",
            ),
            Defect(
                "decreasing-in-pt",
                "At eps = -1 the loss of an element with alpha_t w < 1 has its minimum before Pt = 1.",
                "weight the added term too: alpha_t * weight * epsilon * (1 - pt) ** (gamma + 1)",
            ),
            *_unweighted_term("weight the added term too: alpha_t * weight * epsilon * (1 - pt) ** (gamma + 1)"),
            Defect(
                "gradient-signs",
                "At eps = -1 and alpha_t w < 1 a step against the gradient makes the target less likely.",
                "weight the added term too: alpha_t * weight * epsilon * (1 - pt) ** (gamma + 1)",
            ),
            _NO_BUFFER,
            _ANY_REDUCTION,
            _SMALL_GAMMA,
        ),
        exit_code=1,
    ),
    Entry(
        id="gather-rescaled",
        target="polyref.gallery.gather:Poly1CrossEntropyLoss",
        title="Poly-1 cross-entropy, gather form with rescaled probabilities",
        source=f"pytorch-lightning-spells (veritable-tech), quoted in {_NOTES}",
        formula="w CE + eps (1 - Pt w / mu), mu the mean of the weights",
        weighting=Weighting.RESCALED_P,
        defects=(
            Defect(
                "eps-minus-one-cancels-first-term-under-class-weights",
                "The loss is w (CE + (eps / mu) x) + eps (1 - w / mu): at eps = -1 the first term vanishes only where "
                "mu = 1, and the constant w / mu - 1 stays.",
                _WEIGHT_BOTH + ", and leave the probabilities as they are",
            ),
            Defect(
                "decreasing-in-pt",
                "At eps = -1 and mu < 1 the loss of every class has its minimum at Pt = mu.",
                _WEIGHT_BOTH + ", and leave the probabilities as they are",
            ),
            *_unweighted_term(_WEIGHT_BOTH + ", and leave the probabilities as they are"),
            _COEFFICIENT,
            Defect(
                "zero-at-certainty",
                "The constant eps (1 - w / mu) stays in the loss of a certain prediction.",
                _WEIGHT_BOTH + ", and leave the probabilities as they are",
            ),
            _NO_BUFFER,
            _STAYS_BEHIND,
            _ANY_REDUCTION,
            _CLASSES_LAST,
        ),
        exit_code=1,
    ),
    Entry(
        id="rewrapped-cross-entropy",
        target="polyref.gallery.rewrapped:poly1_cross_entropy_torch",
        title="Poly-1 cross-entropy of tensors wrapped once more",
        source=_CSDN,
        formula="CE + eps x, the gradient that of eps x alone",
        weighting=None,
        defects=(
            Defect(
                "gradient-is-that-of-the-value",
                "The cross-entropy is computed from torch.tensor(logits), a copy without history, and has no gradient.",
                "call F.cross_entropy(logits, labels) on the tensors themselves",
            ),
            Defect(
                "gradient-matches-the-reference",
                "Only the polynomial is differentiated: at eps = 0 nothing is learnt, at eps = -1 the loss is raised.",
                "call F.cross_entropy(logits, labels) on the tensors themselves",
            ),
            Defect(
                "eps-minus-one-cancels-first-term",
                "At eps = -1 the gradient is that of -x, the first term's own.",
                "call F.cross_entropy(logits, labels) on the tensors themselves",
            ),
            *each(
                "Only the polynomial is differentiated.",
                "call F.cross_entropy(logits, labels) on the tensors themselves",
                "gradient-signs",
                "second-derivative-matches-the-reference",
                "largest-logits",
                "ties",
            ),
            Defect(
                "impossible-classes",
                "Only the polynomial is differentiated.",
                "call F.cross_entropy(logits, labels) on the tensors themselves",
            ),
            WIDER,
            _CLASSES_LAST,
        ),
        exit_code=1,
    ),
    Entry(
        id="rewrapped-focal",
        target="polyref.gallery.rewrapped:FocalLoss",
        title="Focal loss whose table of alphas lasts for one call",
        source=_CSDN,
        formula="-alpha_y x^gamma log Pt, alpha for class 0 and 1 - alpha for the others",
        weighting=None,
        defects=(
            Defect(
                "inputs-untouched-and-repeatable",
                "forward stores the batch's alphas in the place of the classes', so a second call takes them by the "
                "wrong index or raises.",
                "keep the gathered alphas in a local variable",
            ),
            _SMALL_GAMMA,
            WIDER,
            _CLASSES_LAST,
        ),
        exit_code=1,
    ),
    Entry(
        id="rewrapped-mixed-focal",
        target="polyref.gallery.rewrapped:poly1_focal_loss_torch",
        title="Softmax focal loss with a sigmoid polynomial",
        source=_CSDN,
        formula="-alpha_y x^gamma log Pt + eps mean_k (1 - Pt_sigmoid,k)^3",
        weighting=None,
        defects=(
            Defect(
                "decreasing-in-pt",
                "At eps = -1 the polynomial outweighs the focal part, so the loss rises with Pt.",
                ONE_LINK,
            ),
            Defect(
                "eps-minus-one-cancels-first-term-under-class-weights",
                "The polynomial is a mean over sigmoids and no power of the softmax's x, so eps = -1 cancels nothing.",
                ONE_LINK,
            ),
            Defect(
                "gradient-sums-to-zero",
                "The sigmoid part changes when a constant is added to all logits.",
                "use the softmax probability of the target in both parts",
            ),
            Defect(
                "shift-invariance",
                "The sigmoid part changes when a constant is added to all logits.",
                "use the softmax probability of the target in both parts",
            ),
            *MIXED_LINKS,
            *each(
                "At eps = -1 the polynomial outweighs the focal part.",
                ONE_LINK,
                "non-negative",
                "gradient-signs",
            ),
            _SMALL_GAMMA,
            WIDER,
            _CLASSES_LAST,
        ),
        exit_code=1,
    ),
    Entry(
        id="returns-nothing",
        target="polyref.gallery.nothing:Poly1CrossEntropyLoss",
        title="Poly-1 cross-entropy as printed, without its last line",
        source=f"the first listing of {_NOTES}",
        formula="nothing",
        weighting=None,
        defects=(
            Defect("returns-a-value", "forward ends in a bare return and gives None.", "return the reduced loss"),
        ),
        exit_code=1,
    ),
)

"""Published PolyLoss code, rewritten to behave like the original bit by bit, with where it is from and what is wrong.

The list is data: importing it loads no torch. The modules named by the targets load it.
"""

from __future__ import annotations

from dataclasses import dataclass

from polyref.errors import UsageError
from polyref.spec import Weighting

_NOTES = '"[Notes] PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions" (15 May 2022)'
_CSDN = "the CSDN article on PolyLoss by hope_wisdom, its PyTorch half"


@dataclass(frozen=True)
class Defect:
    """One law that an entry breaks.

    Attributes:
        property_id: the law.
        summary: what the code does instead, in a sentence.
        remedy: the change that mends it.
    """

    property_id: str
    summary: str
    remedy: str


@dataclass(frozen=True)
class Entry:
    """One published implementation.

    Attributes:
        id: a short name.
        target: what an audit is given.
        title: the entry in a few words.
        source: where it was published.
        formula: what it computes, x = 1 - Pt.
        weighting: which parts its class weights multiply; None where it takes none.
        defects: the laws that it breaks.
        exit_code: what an audit of it ends with.
    """

    id: str
    target: str
    title: str
    source: str
    formula: str
    weighting: Weighting | None
    defects: tuple[Defect, ...]
    exit_code: int


_WEIGHT_BOTH = "weight the added term too: CE + weight[labels] * epsilon * (1 - pt)"

ENTRIES: tuple[Entry, ...] = (
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
                "use the softmax probability of the target in both parts, and alpha on both",
            ),
            Defect(
                "eps-minus-one-cancels-first-term-under-class-weights",
                "The polynomial is a mean over sigmoids and no power of the softmax's x, so eps = -1 cancels nothing.",
                "use the softmax probability of the target in both parts, and alpha on both",
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


def entry(name: str) -> Entry:
    """The entry of that id.

    Raises:
        UsageError: if there is none.
    """
    for candidate in ENTRIES:
        if candidate.id == name:
            return candidate
    raise UsageError(f"no gallery entry {name!r}: choose one of {', '.join(e.id for e in ENTRIES)}")

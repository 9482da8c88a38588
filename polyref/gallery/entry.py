"""What an entry of the gallery says: where the code was published, what it computes, and the laws that it breaks."""

from __future__ import annotations

from dataclasses import dataclass

from polyref.spec import Weighting


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
        framework: what it is written in.
    """

    id: str
    target: str
    title: str
    source: str
    formula: str
    weighting: Weighting | None
    defects: tuple[Defect, ...]
    exit_code: int
    framework: str = "torch"


def each(summary: str, remedy: str, *laws: str) -> tuple[Defect, ...]:
    """Laws that are broken in one way."""
    return tuple(Defect(law, summary, remedy) for law in laws)


WIDER = Defect(
    "dtype-is-kept",
    "Sixteen-bit logits give a loss in float32, as a table made within is in float32.",
    "make tensors with the dtype and on the device of the logits",
)
ONE_LINK = "use the softmax probability of the target in both parts, and alpha on both"
#: What follows from a polynomial of sigmoids beside a focal loss of a softmax.
MIXED_LINKS = each(
    "The polynomial is a mean over sigmoids and no power of the softmax's x.",
    ONE_LINK,
    "coefficient-j-is-one-over-j-plus-eps",
    "focal-exponent-is-gamma-plus-j",
    "impossible-class-changes-nothing",
    "two-class-softmax-is-sigmoid",
    "weight-multiplies-the-whole-loss",
)

"""A dialect: the loss that a subject turns out to compute, so that its precision is judged by its own law."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from polyref.case import Case
from polyref.spec import Reduction, Spec, Weighting

if TYPE_CHECKING:
    from polyref.subject.deviation import Explained


@dataclass(frozen=True)
class Dialect:
    """What a subject computes.

    Attributes:
        formula: one line of text.
        spec: link, weighting, gamma, alpha, polynomial link, and the epsilon and reduction that the subject has by
            default; the nearest member of the family where ``known`` is False.
        known: whether ``spec`` describes the subject to rounding.
        link_known: whether its answers say that the link is that of ``spec``; where no formula was found they may not.
        settable: which of epsilon, gamma, weight, smoothing the subject lets a caller choose.
        mean: what the subject's "mean" divides by.
        built_in: class weights that a caller cannot choose, the last one for all further classes; None where there are
            none.
        weighting: none (it takes no weights), both, ce_only, rescaled_p, or other.
        residual: the largest relative difference between subject and formula that was met, in the widest format.
        precision: the significant bits that it computes with, where they are fewer than those of its widest format.
        deviation: what the subject does otherwise than the PolyLoss that it is nearest to, in sentences; empty where
            nothing was found. A convention is no deviation.
        remedy: what mends the deviation, in sentences.
        otherwise: what explains the deviation of the value, to be asked whether it acts on a case; two dialects are
            equal without it.
        flushes: names of the formats in which its framework makes zeros of subnormal results.
        notes: what else was noticed, in a person's words.
    """

    formula: str
    spec: Spec
    known: bool = True
    link_known: bool = True
    settable: frozenset[str] = frozenset({"epsilon", "gamma", "weight"})
    mean: Reduction = Reduction.MEAN
    built_in: tuple[float, ...] | None = None
    weighting: str = "both"
    residual: float = 0.0
    precision: int | None = None
    deviation: str = ""
    remedy: str = ""
    otherwise: tuple[Explained, ...] = field(default=(), compare=False, repr=False)
    flushes: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def own(self, case: Case) -> Case:
        """The case as the subject computes it: what it was asked for, in its own law.

        What the caller cannot choose is what the subject does of itself.
        """
        asked, mine = case.spec, self.spec
        spec = replace(
            mine,
            epsilon=asked.epsilon if "epsilon" in self.settable else mine.epsilon,
            gamma=asked.gamma if "gamma" in self.settable else mine.gamma,
            smoothing=asked.smoothing if "smoothing" in self.settable else mine.smoothing,
            reduction=self.mean if asked.reduction is Reduction.MEAN else asked.reduction,
        )
        weight = case.weight
        if self.built_in is not None:
            last = len(self.built_in) - 1
            weight = tuple(case.format.round(self.built_in[min(k, last)]) for k in range(case.classes))
        # Mostly nothing changes, and a new case would be examined anew.
        return case if (spec, weight) == (asked, case.weight) else replace(case, spec=spec, weight=weight)

    def lawful(self, case: Case) -> Case:
        """The case under the law that is tested: the class weight multiplies both parts; all else is the dialect's."""
        own = self.own(case)
        if own.spec.weighting is Weighting.BOTH:
            return own
        return replace(own, spec=replace(own.spec, weighting=Weighting.BOTH))


#: What mends a formula that is no member of the family, whichever it is.
WHOLE_LOSS_REMEDY = (
    "Compute w * (CE + epsilon * (1 - Pt)) for each sample, Pt the softmax probability of its class; reduce once."
)
#: What a correct implementation follows; polyref.nn and every mutant in the test suite are judged by it.
WHOLE_LOSS = Dialect(formula="w [CE + sum_j eps_j x^j]", spec=Spec(epsilon=(1.0,), reduction=Reduction.MEAN))

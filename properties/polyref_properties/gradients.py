"""Laws of the gradient that hold whatever the formula is."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from hypothesis.strategies import SearchStrategy

from polyref.case import Case
from polyref.property import Context, Property
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.verdict import Outcome, Verdict, shown
from polyref_properties.checks import all_of, needs_gradient, needs_softmax, over, rational, total, total_tolerance
from polyref_properties.strategies import BENIGN, cases


def _sum_cases(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=(*BENIGN, "margin"))


def _sums_to_zero(case: Case, context: Context) -> Outcome:
    seen = context.observe(case, gradient=True)
    tolerance = sum(context.truth(case).tolerance.gradient[0])
    assert seen.gradient is not None
    (row,) = seen.gradient
    if math.isinf(tolerance):
        return Outcome(Verdict.INCONCLUSIVE, 0.0)
    try:
        excess = total(row)
    except OverflowError:
        return Outcome(
            Verdict.VIOLATED,
            float("inf"),
            "a finite gradient",
            ", ".join(map(repr, row)),
            "The gradient is not finite.",
        )
    return Outcome.of(
        over(excess, tolerance),
        "sum_k dl/dz_k = 0",
        f"sum_k dl/dz_k = {float(excess)!r}",
        "The derivatives in the logits do not add up to zero, so a constant added to all logits would change the loss.",
    )


SUMS_TO_ZERO = Property(
    id="gradient-sums-to-zero",
    theme="gradients",
    statement="The derivatives in all logits of a row add up to zero.",
    formula="sum_k dl/dz_k = 0",
    citation="Derivative of shift invariance: dl/dz_k = dl/dPt Pt (delta_ky - p_k)",
    remedy="Differentiate through softmax; do not detach the normaliser or mix in sigmoids.",
    applies=all_of(needs_gradient, needs_softmax),
    strategy=_sum_cases,
    check=_sums_to_zero,
    mutants=("sigmoid-probability", "normaliser-detached"),
)

#: Step of the difference quotient: eighths plus and minus it are exact in binary64 and binary32.
_STEP = 2.0**-9


def _small_cases(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=("eighths",))


def _is_that_of_the_value(case: Case, context: Context) -> Outcome:
    """Central differences with steps h and h/2.

    Their truncation errors are h^2 l'''/6 and a quarter of it up to higher orders, so the difference between the two
    exceeds the error of the finer one threefold; rounding adds the values' tolerances over the step.
    """
    seen = context.observe(case, gradient=True)
    assert seen.gradient is not None
    (row,), (gradient,) = case.logits, seen.gradient
    tolerances = context.truth(case).tolerance.gradient[0]
    outcomes = []
    for k, g in enumerate(gradient):
        quotients, rounding = [], 0.0
        for step in (_STEP, _STEP / 2):
            try:
                ends = [_at(case, context, row, k, s) for s in (step, -step)]
                quotients.append((ends[0][0] - ends[1][0]) / Fraction(2 * step))
            except OverflowError:
                return Outcome(Verdict.INCONCLUSIVE, 0.0)
            rounding += (ends[0][1] + ends[1][1]) / (2 * step)
        coarse, fine = quotients
        tolerance = float(abs(coarse - fine)) + rounding + tolerances[k]
        try:
            error = rational(g) - fine
        except OverflowError:
            error = Fraction(10) ** 9
        outcomes.append(
            Outcome.of(
                over(error, tolerance),
                f"dl/dz_{k} = {float(fine):.9g} (from the values)",
                f"dl/dz_{k} = {shown(g)}",
                f"The values change by {float(fine):.6g} per unit of logit {k}, and the gradient says {g:.6g}: "
                "a part of the loss is detached from the logits.",
            )
        )
    return max(outcomes, key=lambda o: o.ratio)


def _at(case: Case, context: Context, row: tuple[float, ...], k: int, step: float) -> tuple[Fraction, float]:
    moved = replace(case, logits=(tuple(z + step if i == k else z for i, z in enumerate(row)),))
    return total(context.observe(moved).value or ()), total_tolerance(context.truth(moved))


def _wide_enough(convention: Convention, _: Dialect) -> str | None:
    wide = {"binary64", "binary32"} & set(convention.formats)
    return None if wide else "it takes no format wide enough for difference quotients"


THAT_OF_THE_VALUE = Property(
    id="gradient-is-that-of-the-value",
    theme="gradients",
    statement="The gradient is the derivative of the value that is returned.",
    formula="dl/dz_k = lim (l(z + h e_k) - l(z - h e_k)) / 2h",
    citation="Definition of the derivative",
    remedy="Keep every part attached: torch.tensor(x) and x.detach() cut the graph; use x itself.",
    applies=all_of(needs_gradient, _wide_enough),
    strategy=_small_cases,
    check=_is_that_of_the_value,
    mutants=("cross-entropy-detached", "polynomial-detached"),
    self_scaled=True,
)

LAWS = (SUMS_TO_ZERO, THAT_OF_THE_VALUE)

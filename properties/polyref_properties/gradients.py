"""Laws of the gradient that hold whatever the formula is."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from itertools import chain

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from polyref.case import Case
from polyref.property import Context, Property
from polyref.spec import Reduction
from polyref.verdict import Outcome, Verdict, shown
from polyref_properties.checks import PAPER, UNDECIDED, by_either_mean, over, rational, total, total_tolerance, worse
from polyref_properties.conditions import (
    all_of,
    needs_admissible_epsilon,
    needs_gradient,
    needs_hard_labels,
    needs_softmax,
    needs_wide_format,
)
from polyref_properties.strategies import BENIGN, admissible_cases, cases, lifted, offered, reduced, single


def _sum_cases(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=(*BENIGN, "margin"))


def _sums_to_zero(case: Case, context: Context) -> Outcome:
    seen = context.observe(case, gradient=True)
    truth = context.truth(case)
    if truth.balls.value is None:
        return UNDECIDED  # a mean with nothing to divide by
    tolerance = sum(truth.tolerance.gradient[0])
    assert seen.gradient is not None
    (row,) = seen.gradient
    if math.isinf(tolerance):
        return UNDECIDED
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
    mutants=("sigmoid-probability", "normaliser-detached", "target-logit-detached", "target-detached-in-x"),
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
    if not all(case.format.contains(z + s) for z in row for s in (_STEP, _STEP / 2, -_STEP, -_STEP / 2)):
        return UNDECIDED
    tolerances = context.truth(case).tolerance.gradient[0]
    outcomes = []
    for k, g in enumerate(gradient):
        quotients, rounding = [], 0.0
        for step in (_STEP, _STEP / 2):
            try:
                ends = [_at(case, context, row, k, s) for s in (step, -step)]
                quotients.append((ends[0][0] - ends[1][0]) / Fraction(2 * step))
            except OverflowError:
                return UNDECIDED
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
    value = total(context.observe(moved).value or ())
    # What is computed in a narrower format than the case's is rounded to it, which a quotient of differences enlarges.
    precision = context.dialect.precision
    own = 0.0
    if precision is not None and precision < case.format.precision:
        own = _ROUNDINGS * math.ldexp(1.0, -precision) * max(1.0, abs(float(value)))
    return value, total_tolerance(context.truth(moved)) + own


#: How many roundings of a narrower format a value holds that is computed in one.
_ROUNDINGS = 16

THAT_OF_THE_VALUE = Property(
    id="gradient-is-that-of-the-value",
    theme="gradients",
    statement="The gradient is the derivative of the value that is returned.",
    formula="dl/dz_k = lim (l(z + h e_k) - l(z - h e_k)) / 2h",
    citation="Definition of the derivative",
    remedy="Keep every part attached: torch.tensor(x) and x.detach() cut the graph; use x itself.",
    applies=all_of(needs_gradient, needs_wide_format),
    strategy=_small_cases,
    check=_is_that_of_the_value,
    mutants=(
        "cross-entropy-detached",
        "polynomial-detached",
        "focal-factor-detached",
        "gradient-halved",
        "gradient-clipped",
        "wrong-predictions-reversed",
    ),
    self_scaled=True,
)


# --- signs --------------------------------------------------------------------------------------------------------


def _leading_cases(context: Context) -> SearchStrategy[Case]:
    """Admissible cases, the target often likelier than not: there a negative coefficient outweighs the logarithm."""
    return st.builds(_led, admissible_cases(context), st.sampled_from((0.0, 2.0, 4.0)))


def _led(case: Case, lead: float) -> Case:
    (row,), (target,) = case.logits, case.target
    return replace(case, logits=(lifted(case.format, row, target, lead),))


def _signs(case: Case, context: Context) -> Outcome:
    seen = context.observe(case, gradient=True)
    truth = context.truth(case)
    if truth.balls.value is None or all(map(math.isinf, truth.tolerance.gradient[0])):
        return UNDECIDED
    (target,), (tolerances,) = case.target, truth.tolerance.gradient
    assert seen.gradient is not None
    (row,) = seen.gradient
    # What goes the wrong way: down in another class's logit, up in the target's.
    wrong = [g if k == target else -g for k, g in enumerate(row)]
    ratios = [0.0 if g <= 0 else over(g, t) for g, t in zip(wrong, tolerances, strict=True)]
    k = max(range(len(ratios)), key=ratios.__getitem__)
    which, sign = ("the target's logit", "<=") if k == target else ("another class's logit", ">=")
    return Outcome.of(
        ratios[k],
        f"dl/dz_{k} {sign} 0",
        f"dl/dz_{k} = {shown(row[k])}",
        f"The derivative in {which} is {row[k]:.6g}: a step against it makes the target less likely.",
    )


SIGNS = Property(
    id="gradient-signs",
    theme="gradients",
    statement="With eps_j >= -1/j for every j a step against the gradient raises the target's logit and no other.",
    formula="eps_j >= -1/j for every j implies dl/dz_y <= 0 <= dl/dz_k for k != y",
    citation=f"{PAPER}, section 3: dl/dPt <= 0, and dl/dz_k is it times dPt/dz_k",
    remedy="Add epsilon * (1 - Pt) with its sign and the weight of the cross-entropy, and detach no logit.",
    applies=all_of(needs_gradient, needs_admissible_epsilon, needs_hard_labels),
    strategy=_leading_cases,
    check=_signs,
    mutants=(
        "negated",
        "sign-flipped",
        "weight-on-cross-entropy-only",
        "wrong-predictions-reversed",
        "target-logit-detached",
        "polynomial-of-pt",
        "entropy-of-the-prediction",
    ),
    effort=3,
)


# --- the gradient of a reduction ----------------------------------------------------------------------------------


def _reduced_batches(context: Context) -> SearchStrategy[Case]:
    # The mean twice, as most is wrong with it.
    wanted = offered(context, Reduction.SUM, Reduction.MEAN, Reduction.MEAN, Reduction.NONE)
    return reduced(cases(context, kinds=(*BENIGN, "margin"), rows=(2, 3)), wanted)


def _of_the_reduction(case: Case, context: Context) -> Outcome:
    """What a mean divides by is known of a dialect; where the formula is not, either denominator will do."""
    if context.dialect.known or case.spec.reduction is not Reduction.MEAN:
        return _of_the_reduction_as(case, context)
    return by_either_mean(_of_the_reduction_as, case, context)


def _of_the_reduction_as(case: Case, context: Context) -> Outcome:
    """A row's gradient in the batch, times what the batch is divided by, is that of the row alone, times its own."""
    together, together_tolerance = _scaled_gradient(case, context)
    outcomes = []
    for i in range(len(case.logits)):
        alone, alone_tolerance = _scaled_gradient(single(case, i).with_spec(reduction=context.reduction), context)
        if together is None or alone is None:
            continue
        for k, (g, h) in enumerate(zip(together[i], alone[0], strict=True)):
            tolerance = together_tolerance[i][k] + alone_tolerance[0][k]
            outcomes.append(
                Outcome.of(
                    over(g - h, tolerance),
                    f"dl/dz_{k} of row {i} = {float(h)!r}, from the row alone",
                    f"dl/dz_{k} of row {i} = {float(g)!r}, from the batch times what it is divided by",
                    f"The gradient of reduction {str(case.spec.reduction)!r} is not that of the rows, reduced: row {i} "
                    f"has {float(g):.6g} in logit {k} in the batch and {float(h):.6g} alone.",
                )
            )
    return worse(*outcomes)


def _scaled_gradient(case: Case, context: Context) -> tuple[list[list[Fraction]] | None, list[list[float]]]:
    """The gradient and its tolerance times what the reduction divides by; None where there is nothing to tell."""
    denominator = context.dialect.own(case).denominator
    if denominator == 0:
        return None, []
    scale = denominator or Fraction(1)
    seen = context.observe(case, gradient=True).gradient or ()
    tolerance = [[t * float(scale) for t in row] for row in context.truth(case).tolerance.gradient]
    if any(map(math.isinf, chain.from_iterable(tolerance))):
        return None, []
    try:
        return [[rational(g) * scale for g in row] for row in seen], tolerance
    except OverflowError:
        return None, []


OF_THE_REDUCTION = Property(
    id="gradient-of-the-reduction",
    theme="gradients",
    statement="The gradient of a sum or a mean is that of the rows, summed or divided, whatever the other rows are.",
    formula="d sum_i l_i / dz_k = dl_i/dz_k; the same over sum_i w_i, or over N, for a mean",
    citation="Linearity of the derivative; torch.nn.functional.cross_entropy, documentation, for the mean",
    remedy="Reduce once, at the end, by sum() or a division, and let automatic differentiation see it.",
    applies=needs_gradient,
    strategy=_reduced_batches,
    check=_of_the_reduction,
    mutants=("mean-half-detached", "sum-is-mean", "gradient-clipped", "batch-mean-probability"),
)

LAWS = (SUMS_TO_ZERO, THAT_OF_THE_VALUE, SIGNS, OF_THE_REDUCTION)

"""Laws of the value: agreement with the reference, and its course in Pt."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

from hypothesis.strategies import SearchStrategy

from polyref.case import Case
from polyref.property import Context, Property
from polyref.spec import Weighting
from polyref.verdict import Outcome, shown
from polyref_properties.checks import (
    PAPER,
    UNDECIDED,
    compare_gradients,
    compare_values,
    family,
    over,
    total,
    total_tolerance,
    worse,
)
from polyref_properties.conditions import always, needs_admissible_epsilon, needs_gradient, needs_hard_labels
from polyref_properties.strategies import admissible_cases, cases, certain_rows, offered, raised_rows, reduced, single


def _any_cases(context: Context) -> SearchStrategy[Case]:
    """Every reduction that the subject offers, half of the cases with the least reduced."""
    every, batches = offered(context), cases(context, rows=(1, 3))
    if len(every) == 1:
        return batches
    return reduced(batches, (every[0],) * (len(every) - 1) + every[1:])


def _value_matches(case: Case, context: Context) -> Outcome:
    return compare_values(context.observe(case), context.truth(case), _explanation("value", context))


def _gradient_matches(case: Case, context: Context) -> Outcome:
    seen = context.observe(case, gradient=True)
    return compare_gradients(seen, context.truth(case), _explanation("gradient", context))


def _explanation(what: str, context: Context) -> str:
    if not context.dialect.known:
        return f"The subject's formula is no member of the PolyLoss family: {context.dialect.formula}."
    return f"The {what} is further from the exact one than any correct textbook evaluation in {context.format.name}."


VALUE = Property(
    id="value-matches-the-reference",
    theme="values",
    statement="The value is the one of the loss's own formula, as nearly as a correct textbook evaluation gives it.",
    formula="|l - exact| <= radius of the rounding model",
    citation=f"{PAPER}; Higham, Accuracy and Stability of Numerical Algorithms, SIAM 2002, section 3.1",
    remedy="Take the logarithm from log_softmax and 1 - Pt from softmax of the same logits, without clamps.",
    applies=always,
    strategy=_any_cases,
    check=_value_matches,
    mutants=(
        "log-of-softmax",
        "probability-clamped",
        "squared-term",
        "exp-without-max",
        "batch-mean-plus-samples",
        "batch-mean-probability",
        "predicted-probability",
        "focal-factor-of-sigmoid",
        "temperature-two",
    ),
    formats="each",
    guided=True,
)

GRADIENT = Property(
    id="gradient-matches-the-reference",
    theme="values",
    statement="The gradient is the one of the loss's own formula, as nearly as a correct textbook backward gives it.",
    formula="|dl/dz_k - exact| <= radius of the rounding model, for every k",
    citation=f"{PAPER}; Higham, Accuracy and Stability of Numerical Algorithms, SIAM 2002, section 3.1",
    remedy="Let automatic differentiation see every part: no detach, no torch.tensor(tensor), no clamp.",
    applies=needs_gradient,
    strategy=_any_cases,
    check=_gradient_matches,
    mutants=(
        "polynomial-detached",
        "cross-entropy-detached",
        "probability-clamped",
        "mean-half-detached",
        "focal-factor-detached",
        "gradient-halved",
        "gradient-clipped",
        "wrong-predictions-reversed",
    ),
    formats="each",
    guided=True,
)


def _decreasing(case: Case, context: Context) -> Outcome:
    """l at a smaller Pt is at least l at the next larger one."""
    singles = [single(case, i) for i in range(len(case.logits))]
    truths = [context.truth(c) for c in singles]
    try:
        losses = [total(context.observe(c).value or ()) for c in singles]
    except OverflowError:
        return UNDECIDED
    target = case.target[0]
    index = target if isinstance(target, int) and len(truths[0].balls.pt[0]) > 1 else 0
    pts = [float(t.balls.pt[0][index]) for t in truths]
    outcomes = []
    for i, j in pairwise(range(len(singles))):
        rise = losses[j] - losses[i]
        tolerance = total_tolerance(truths[i]) + total_tolerance(truths[j])
        outcomes.append(
            Outcome.of(
                over(rise, tolerance) if rise > 0 else 0.0,
                f"l(Pt = {pts[j]:.6g}) <= l(Pt = {pts[i]:.6g}) = {float(losses[i])!r}",
                f"l(Pt = {pts[j]:.6g}) = {float(losses[j])!r}",
                f"The loss rises from {float(losses[i]):.6g} to {float(losses[j]):.6g} while Pt rises from "
                f"{pts[i]:.4g} to {pts[j]:.4g}: {_minimum(context.dialect.own(singles[i]), context)}",
            )
        )
    return worse(*outcomes)


def _minimum(own: Case, context: Context) -> str:
    """Where the subject's own law puts the minimum."""
    target, weights, spec = own.target[0], own.weights, own.spec
    if not isinstance(target, int) or not context.dialect.known or spec.gamma or len(spec.epsilon) != 1:
        return "it has a minimum before Pt = 1."
    w, eps = weights[target], Fraction(spec.epsilon[0])
    # w CE + B eps x has the slope -w/Pt - B eps in Pt, zero at Pt = -w / (B eps).
    factor = eps
    if spec.weighting is Weighting.RESCALED_P:
        factor = eps * w / (sum(weights, Fraction(0)) / len(weights))
    elif spec.weighting is Weighting.BOTH:
        factor = eps * w
    if factor >= 0 or -w / factor >= 1:
        return "it has a minimum before Pt = 1."
    return f"its minimum is at Pt = {float(-w / factor):.6g}, and training stops there."


DECREASING = Property(
    id="decreasing-in-pt",
    theme="values",
    statement="A more confident right answer never costs more: with eps_j >= -1/j the loss decreases in Pt.",
    formula="Pt < Pt' implies l(Pt) >= l(Pt'), under every class weight",
    citation=f"{PAPER}, section 3: all coefficients 1/j + eps_j are at least zero",
    remedy="Multiply both parts by the class weight, so that the first coefficient is w (1 + epsilon) >= 0.",
    applies=needs_admissible_epsilon,
    strategy=raised_rows,
    check=_decreasing,
    mutants=("weight-on-cross-entropy-only", "sign-flipped", "negated"),
    effort=3,
)


# --- the range ----------------------------------------------------------------------------------------------------


def _admissible_cases(context: Context) -> SearchStrategy[Case]:
    return admissible_cases(context, rows=(1, 2))


def _non_negative(case: Case, context: Context) -> Outcome:
    truth = context.truth(case)
    if truth.balls.value is None or all(map(math.isinf, truth.tolerance.value)):
        return UNDECIDED
    seen = context.observe(case).value or ()
    below = [0.0 if v >= 0 else over(v, t) for v, t in zip(seen, truth.tolerance.value, strict=True)]
    i = max(range(len(below)), key=below.__getitem__)
    return Outcome.of(
        below[i],
        "l >= 0",
        f"l = {shown(seen[i])}",
        f"The loss is {seen[i]:.6g}, although every eps_j is at least -1/j.",
    )


NON_NEGATIVE = Property(
    id="non-negative",
    theme="values",
    statement="With eps_j >= -1/j for every j no coefficient of the series is negative, and so no loss is.",
    formula="eps_j >= -1/j for every j implies l >= 0",
    citation=f"{PAPER}, section 3: a sum of powers of x = 1 - Pt in [0, 1], with coefficients 1/j + eps_j",
    remedy="Add epsilon * (1 - Pt) with its sign, under the weight of the cross-entropy, and return no negated loss.",
    applies=needs_admissible_epsilon,
    strategy=_admissible_cases,
    check=_non_negative,
    mutants=(
        "negated",
        "sign-flipped",
        "weight-on-cross-entropy-only",
        "epsilon-alone",
        "log-probability-as-pt",
        "class-mean-probability",
    ),
    effort=2,
)


def _zero_at_certainty(case: Case, context: Context) -> Outcome:
    """Values and derivatives are zero up to the rounding of the subject's own law, and what is lawful there.

    A value may be as large as its tolerance. A derivative may be as large as any of its row: that of the target is made
    of 1 - Pt, and whatever is smaller has gone to zero.
    """
    own, lawful = context.truth(case), family(context.lawful(case))
    if lawful.balls.value is None:
        return UNDECIDED
    differentiable = context.convention.differentiable
    seen = context.observe(case, gradient=differentiable)
    (row,) = case.logits
    lead = max(row) - min(row) if len(row) > 1 else 2 * abs(row[0])
    left = [
        ("l", v, tolerance + abs(float(lawful.value(i))))
        for i, (v, tolerance) in enumerate(zip(seen.value or (), own.tolerance.value, strict=True))
    ]
    if differentiable and seen.gradient is not None:
        reach = max(own.tolerance.gradient[0])
        left += [(f"dl/dz_{k}", g, reach + abs(float(lawful.gradient(0, k)))) for k, g in enumerate(seen.gradient[0])]
    if all(math.isinf(tolerance) for _, _, tolerance in left):
        return UNDECIDED
    outcomes = [
        Outcome.of(
            over(observed, tolerance),
            f"{name} -> 0",
            f"{name} = {shown(observed)}",
            f"Where the target is certain, at a lead of {lead:.4g}, {name} is {observed:.6g}: it does not go to zero.",
        )
        for name, observed, tolerance in left
    ]
    return worse(*outcomes)


ZERO_AT_CERTAINTY = Property(
    id="zero-at-certainty",
    theme="values",
    statement="A right answer that is certain costs nothing and moves nothing.",
    formula="z_y - max of the others -> infinity implies l -> 0 and dl/dz -> 0",
    citation=f"{PAPER}, section 3: the series has no term without a factor x = 1 - Pt",
    remedy="Multiply epsilon by a power of 1 - Pt of the logits as they are: no constant, clamp or second softmax.",
    applies=needs_hard_labels,
    strategy=certain_rows,
    check=_zero_at_certainty,
    mutants=(
        "epsilon-alone",
        "terms-from-zero",
        "polynomial-of-pt",
        "class-mean-probability",
        "softmax-twice",
        "smoothing-slipped-in",
        "probability-clamped",
        "probabilities-rescaled",
        "log-probability-as-pt",
        "target-logit-detached",
    ),
)

LAWS = (VALUE, GRADIENT, DECREASING, NON_NEGATIVE, ZERO_AT_CERTAINTY)

"""Laws of the series: what epsilon does to the expansion of the loss about Pt = 1."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from polyref.case import Case
from polyref.property import Context, Property
from polyref.spec import Spec, Weighting
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.verdict import Outcome, Verdict, shown, worst
from polyref_properties.checks import (
    FOCAL,
    PAPER,
    UNDECIDED,
    compare,
    compare_gradients,
    compare_values,
    family,
    over,
    rational,
    total,
    total_tolerance,
    worse,
)
from polyref_properties.conditions import (
    all_of,
    needs_class_weights,
    needs_epsilon,
    needs_gradient,
    needs_no_focal_factor,
    needs_plain_classes,
)
from polyref_properties.strategies import BENIGN, cases

_MINUS_ONE = st.just((-1.0,))
_NONZERO = st.sampled_from((1.0, -1.0, 2.0, 0.5, -0.5)).map(lambda e: (e,))


# --- the gradient of the first term -------------------------------------------------------------------------------


def _first_term_cases(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=BENIGN, epsilon=_NONZERO, gamma=0.0, weighted=False)


def _first_term_gradient(case: Case, context: Context) -> Outcome:
    """(gradient at eps - gradient at 0) / eps is the gradient of x alone: -Pt x in the target's logit."""
    bare = case.with_spec(epsilon=(0.0,))
    with_term, without = context.observe(case, gradient=True), context.observe(bare, gradient=True)
    truth, truth_bare = context.lawful(case), context.lawful(bare)
    if truth.balls.value is None:
        return UNDECIDED  # a mean with nothing to divide by
    target = case.target[0]
    assert isinstance(target, int)
    assert with_term.gradient is not None
    assert without.gradient is not None
    ratios = []
    for k, (g, h) in enumerate(zip(with_term.gradient[0], without.gradient[0], strict=True)):
        tolerance = truth.tolerance.gradient[0][k] + truth_bare.tolerance.gradient[0][k]
        try:
            error = rational(g) - rational(h) - (rational(truth.gradient(0, k)) - rational(truth_bare.gradient(0, k)))
        except OverflowError:
            return Outcome(Verdict.VIOLATED, float("inf"), "finite gradients", f"{shown(g)}, {shown(h)}")
        ratios.append(over(error, tolerance))
    exact = rational(truth.gradient(0, target)) - rational(truth_bare.gradient(0, target))
    seen = rational(with_term.gradient[0][target]) - rational(without.gradient[0][target])
    slope = float(-seen / exact) if exact else 0.0
    return Outcome.of(
        worst(ratios),
        "d(first term)/dPt = -1",
        f"d(first term)/dPt = {slope:.9g}",
        f"What epsilon multiplies has the gradient {slope:.9g} in Pt here; that of x = 1 - Pt is -1 everywhere.",
    )


FIRST_TERM_GRADIENT = Property(
    id="first-term-gradient-is-minus-one",
    theme="series",
    statement="What epsilon multiplies is 1 - Pt, whose gradient in Pt is -1 whatever Pt is.",
    formula="(dl/dPt at eps - dl/dPt at 0) / eps = -1",
    citation=f"{PAPER}, section 3",
    remedy="Add epsilon * (1 - Pt), with Pt the softmax probability of the target, not detached and not clamped.",
    applies=all_of(needs_epsilon, needs_gradient, needs_no_focal_factor, needs_plain_classes),
    strategy=_first_term_cases,
    check=_first_term_gradient,
    mutants=(
        "squared-term",
        "polynomial-detached",
        "epsilon-ignored",
        "sign-flipped",
        "ten-bit-coefficient",
        "twenty-bit-coefficient",
        "predicted-probability",
        "target-detached-in-x",
    ),
)


# --- epsilon = -1 -------------------------------------------------------------------------------------------------


def _cancels(case: Case, context: Context, explanation: str) -> Outcome:
    return compare(case, context, family(context.lawful(case)), explanation, explanation)


def _minus_one_cases(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=BENIGN, epsilon=_MINUS_ONE, weighted=False)


def _minus_one(case: Case, context: Context) -> Outcome:
    return _cancels(
        case,
        context,
        "At epsilon = -1 something other than -log Pt - x is left: the first term of the series is not cancelled.",
    )


MINUS_ONE = Property(
    id="eps-minus-one-cancels-first-term",
    theme="series",
    statement="At epsilon = -1 the first term is gone: -log Pt - x = x^2/2 + x^3/3 + ... is left, gradient included.",
    formula="l(eps = -1) = x^gamma (-log Pt - x)",
    citation=f"{PAPER}, sections 3 and 5",
    remedy="Add epsilon * (1 - Pt) ** (gamma + 1), unscaled, to the cross-entropy or focal part.",
    applies=all_of(needs_epsilon, needs_plain_classes),
    strategy=_minus_one_cases,
    check=_minus_one,
    mutants=(
        "squared-term",
        "sign-flipped",
        "epsilon-ignored",
        "cross-entropy-detached",
        "smoothing-slipped-in",
        "truncated-series",
        "log-probability-as-pt",
        "polynomial-of-pt",
        "epsilon-alone",
        "class-mean-probability",
        "entropy-in-bits",
    ),
)


def _weighted_cases(context: Context) -> SearchStrategy[Case]:
    rows = (2, 3) if context.reduction == "mean" else (1, 1)  # a weighted mean over one row loses the weight
    return cases(context, kinds=BENIGN, epsilon=_MINUS_ONE, weighted=True, rows=rows)


def _minus_one_weighted(case: Case, context: Context) -> Outcome:
    return _cancels(case, context, _what_is_left(context.dialect.own(case), context))


def _what_is_left(own: Case, context: Context) -> str:
    """What the subject's own weighting law leaves at epsilon = -1, for the first row's class."""
    target = own.target[0]
    weights = own.weights
    w = weights[target] if isinstance(target, int) else Fraction(1)
    if own.spec.mixed:
        return (
            "The polynomial is a mean over sigmoids, no power of the softmax's x: at epsilon = -1 nothing is cancelled."
        )
    power = "x" if own.spec.gamma == 0 else f"x^{own.spec.gamma + 1:g}"
    if own.spec.alpha is not None:
        a = own.spec.alpha
        return (
            f"alpha multiplies the focal part only: at epsilon = -1 {a - 1:g} {power} is left for the target class "
            f"and {-a:g} {power} for the others."
        )
    if own.spec.weighting is Weighting.CE_ONLY or context.dialect.weighting == "ce_only":
        text = f"The weight multiplies the cross-entropy only: with w = {float(w):g} at epsilon = -1 "
        text += f"{float(w - 1):g} {power} is left"
        if w < 1 and own.spec.gamma == 0:
            text += f", and the loss has its minimum at Pt = w = {float(w):g}, where training stops"
        return text + "."
    if own.spec.weighting is Weighting.RESCALED_P:
        mu = sum(weights, Fraction(0)) / len(weights)
        text = f"Pt is rescaled by w/mu, with w = {float(w):g} and mu = {float(mu):g}: at epsilon = -1 the constant "
        text += f"w/mu - 1 = {float(w / mu - 1):.6g} is left in the value"
        if mu == 1:
            return text + "; the gradient is cancelled because mu = 1."
        text += f", and {float(w * (1 - 1 / mu)):.6g} {power} of the first term"
        return text + (f", so the minimum is at Pt = mu = {float(mu):.6g}." if mu < 1 else ".")
    return "Under class weights something other than w (-log Pt - x) is left at epsilon = -1."


MINUS_ONE_WEIGHTED = Property(
    id="eps-minus-one-cancels-first-term-under-class-weights",
    theme="series",
    statement="The class weight multiplies the whole loss, so epsilon = -1 cancels the first term under weights too.",
    formula="l(eps = -1) = w x^gamma (-log Pt - x)",
    citation=f"{PAPER}, section 3; the weight as in torch.nn.functional.cross_entropy",
    remedy="Multiply both parts by the weight: w[target] * (CE + epsilon * (1 - Pt)).",
    applies=all_of(needs_epsilon, needs_class_weights),
    strategy=_weighted_cases,
    check=_minus_one_weighted,
    mutants=(
        "weight-on-cross-entropy-only",
        "probabilities-rescaled",
        "weight-on-polynomial-only",
        "weight-normalised",
    ),
)


# --- linear in epsilon --------------------------------------------------------------------------------------------


def _affine_cases(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=(*BENIGN, "margin"), epsilon=_NONZERO)


def _affine(case: Case, context: Context) -> Outcome:
    """l(2 eps) - 2 l(eps) + l(0) = 0."""
    (eps,) = case.spec.epsilon
    triple = [case.with_spec(epsilon=(e,)) for e in (0.0, eps, 2 * eps)]
    seen = [context.observe(c).value or () for c in triple]
    truths = [context.truth(c) for c in triple]
    try:
        zero, one, two = (total(v) for v in seen)
    except OverflowError:
        return UNDECIDED
    tolerance = sum(factor * total_tolerance(t) for factor, t in zip((1, 2, 1), truths, strict=True))
    return Outcome.of(
        over(two - 2 * one + zero, tolerance),
        f"l({2 * eps:g}) = 2 l({eps:g}) - l(0) = {float(2 * one - zero)!r}",
        f"l({2 * eps:g}) = {float(two)!r}",
        "The loss is not a straight line in epsilon: epsilon is not a coefficient there.",
    )


AFFINE = Property(
    id="affine-in-epsilon",
    theme="series",
    statement="Epsilon is a coefficient: the loss is an affine function of it.",
    formula="l(2 eps) - 2 l(eps) + l(0) = 0",
    citation=f"{PAPER}, equation of Poly-1",
    remedy="Let epsilon multiply the polynomial term, and let it appear nowhere else.",
    applies=needs_epsilon,
    strategy=_affine_cases,
    check=_affine,
    mutants=("epsilon-as-exponent", "epsilon-squared"),
)


def _zero_cases(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=(*BENIGN, "margin"), epsilon=st.just((0.0,)), rows=(1, 3))


def _without_polynomial(spec: Spec) -> Spec:
    """Without its polynomial a loss has one weighting law only, and no second link."""
    return replace(spec, epsilon=(), weighting=Weighting.BOTH, polynomial_link=None, polynomial_gamma=None)


def _zero_is_cross_entropy(case: Case, context: Context) -> Outcome:
    own = context.dialect.own(case)
    truth = context.truth_of(replace(own, spec=_without_polynomial(own.spec)))
    name = "the cross-entropy" if not own.spec.gamma else "the focal loss"
    return compare_values(context.observe(case), truth, f"At epsilon = 0 the value is not {name}.")


ZERO_IS_CROSS_ENTROPY = Property(
    id="eps-zero-is-cross-entropy",
    theme="series",
    statement="With epsilon = 0 the loss is the weighted cross-entropy, or the focal loss where gamma > 0.",
    formula="l(eps = 0) = -w x^gamma log Pt",
    citation=f"{PAPER}, section 3",
    remedy="Compute the first part as cross_entropy(logits, labels, weight) of the logits themselves, unsmoothed.",
    applies=needs_epsilon,
    strategy=_zero_cases,
    check=_zero_is_cross_entropy,
    mutants=(
        "softmax-twice",
        "smoothing-slipped-in",
        "polynomial-without-epsilon",
        "batch-mean-plus-samples",
        "truncated-series",
        "entropy-not-focal",
        "focal-factor-of-pt",
        "focal-factor-of-sigmoid",
        "entropy-of-the-prediction",
    ),
)


# --- gamma = 0 ----------------------------------------------------------------------------------------------------


def _needs_gamma(_: Convention, dialect: Dialect) -> str | None:
    return None if "gamma" in dialect.settable else "gamma cannot be chosen"


def _gamma_zero_cases(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=(*BENIGN, "margin"), epsilon=_gamma_zero_epsilons(context), gamma=0.0, rows=(1, 3))


def _gamma_zero_epsilons(context: Context) -> SearchStrategy[tuple[float, ...]] | None:
    if "epsilon" not in context.dialect.settable:
        return None
    return st.sampled_from((0.0, 0.0, 0.0, 1.0, -1.0)).map(lambda e: (e,))


def _gamma_zero(case: Case, context: Context) -> Outcome:
    own = context.dialect.own(case)
    if any(own.spec.epsilon):
        truth, name = context.truth(case), "the loss without a focal factor"
    else:
        truth, name = context.truth_of(replace(own, spec=_without_polynomial(own.spec))), "the cross-entropy"
    differentiable = context.convention.differentiable
    seen = context.observe(case, gradient=differentiable)
    outcome = compare_values(seen, truth, f"At gamma = 0 the value is not that of {name}.")
    if not differentiable:
        return outcome
    return worse(outcome, compare_gradients(seen, truth, f"At gamma = 0 the gradient is not that of {name}."))


GAMMA_ZERO_IS_CROSS_ENTROPY = Property(
    id="gamma-zero-is-cross-entropy",
    theme="series",
    statement="With gamma = 0 there is no focal factor: the cross-entropy is left, and the polynomial in x alone.",
    formula="l(gamma = 0) = w [-log Pt + sum_j eps_j x^j]",
    citation=f"{FOCAL}, section 3.2: the focal loss with gamma = 0 is the cross-entropy",
    remedy="Multiply the cross-entropy by (1 - Pt) ** gamma and by no other power of a probability.",
    applies=_needs_gamma,
    strategy=_gamma_zero_cases,
    check=_gamma_zero,
    mutants=(
        "gamma-plus-one",
        "softmax-twice",
        "smoothing-slipped-in",
        "truncated-series",
        "entropy-in-bits",
        "entropy-of-the-prediction",
        "exponent-two",
    ),
)

LAWS = (FIRST_TERM_GRADIENT, MINUS_ONE, MINUS_ONE_WEIGHTED, AFFINE, ZERO_IS_CROSS_ENTROPY, GAMMA_ZERO_IS_CROSS_ENTROPY)

"""Laws of the value: agreement with the reference, and its course in Pt."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from polyref.case import Case
from polyref.property import Context, Property
from polyref.spec import Reduction, Weighting
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.verdict import Outcome, Verdict
from polyref_properties.checks import (
    PAPER,
    always,
    compare_gradients,
    compare_values,
    needs_gradient,
    over,
    total,
    total_tolerance,
    worse,
)
from polyref_properties.strategies import cases, raised_rows, single


def _any_cases(context: Context) -> SearchStrategy[Case]:
    """Every reduction that the subject offers, half of the cases with the least reduced."""
    offered = tuple(
        r for r in (Reduction.NONE, Reduction.SUM, Reduction.MEAN) if str(r) in context.convention.reductions
    )
    batches = cases(context, rows=(1, 3))
    if len(offered) == 1:
        return batches
    return st.builds(_reduced, batches, st.sampled_from((offered[0],) * (len(offered) - 1) + offered[1:]))


def _reduced(case: Case, reduction: Reduction) -> Case:
    return case.with_spec(reduction=reduction)


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
    mutants=("log-of-softmax", "probability-clamped", "squared-term", "exp-without-max", "batch-mean-plus-samples"),
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
    mutants=("polynomial-detached", "cross-entropy-detached", "probability-clamped", "mean-half-detached"),
    formats="each",
    guided=True,
)


def _admissible(_: Convention, dialect: Dialect) -> str | None:
    """A subject whose epsilon can be chosen, or is no reason of its own for an interior minimum."""
    if "epsilon" in dialect.settable or not dialect.known:
        return None
    below = [(j, e) for j, e in enumerate(dialect.spec.epsilon, start=1) if e < -1 / j]
    return f"its epsilon_{below[0][0]}, {below[0][1]:g}, is below -1/{below[0][0]}" if below else None


def _decreasing(case: Case, context: Context) -> Outcome:
    """l at a smaller Pt is at least l at the next larger one."""
    singles = [single(case, i) for i in range(len(case.logits))]
    truths = [context.truth(c) for c in singles]
    try:
        losses = [total(context.observe(c).value or ()) for c in singles]
    except OverflowError:
        return Outcome(Verdict.INCONCLUSIVE, 0.0)
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
    applies=_admissible,
    strategy=raised_rows,
    check=_decreasing,
    mutants=("weight-on-cross-entropy-only", "sign-flipped", "negated"),
    effort=3,
)

LAWS = (VALUE, GRADIENT, DECREASING)

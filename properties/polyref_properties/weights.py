"""Laws of the class weights."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from polyref.case import Case
from polyref.formats import BINARY32
from polyref.property import Broke, Context, Property
from polyref.spec import Link, Reduction, Weighting
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.subject.manner import Manner
from polyref.verdict import Outcome
from polyref_properties.checks import FOCAL, PAPER, TORCH, UNDECIDED, agree, all_zero, answers, asked, compare
from polyref_properties.conditions import all_of, needs_known_formula, needs_torch, needs_weight
from polyref_properties.strategies import BENIGN, cases, offered, reduced


def _sums(context: Context) -> tuple[Reduction, ...]:
    """The reductions that do not divide by weights; the mean where there is no other."""
    return offered(context, Reduction.NONE, Reduction.SUM) or (Reduction.MEAN,)


def _weighted_batches(context: Context) -> SearchStrategy[Case]:
    # A weighted mean over one row loses the weight.
    rows = (2, 3) if _sums(context) == (Reduction.MEAN,) else (1, 2)
    return reduced(cases(context, kinds=BENIGN, rows=rows, weighted=True), _sums(context))


# --- the whole loss -----------------------------------------------------------------------------------------------


def _needs_weights_of_any_kind(convention: Convention, dialect: Dialect) -> str | None:
    if convention.can("weight") or dialect.built_in is not None:
        return None
    return "it has no class weights"


def _whole(case: Case, context: Context) -> Outcome:
    laws = {
        Weighting.CE_ONLY: "The weight multiplies the cross-entropy only.",
        Weighting.RESCALED_P: "The weight multiplies the cross-entropy, and rescales Pt in the polynomial.",
    }
    text = laws.get(context.dialect.spec.weighting, "Under class weights the loss is not the weight times the loss.")
    return compare(case, context, context.lawful(case), text, text)


WHOLE_LOSS = Property(
    id="weight-multiplies-the-whole-loss",
    theme="weights",
    statement="The class weight multiplies the whole loss of a row, polynomial included, and so the whole gradient.",
    formula="l = w [x^gamma CE + sum_j eps_j x^(gamma+j)]",
    citation=f"{TORCH}: weight; {PAPER}, whose loss is one function of Pt",
    remedy="Multiply by weight[labels] after both parts are added.",
    applies=all_of(_needs_weights_of_any_kind, needs_known_formula),
    strategy=_weighted_batches,
    check=_whole,
    mutants=(
        "weight-on-cross-entropy-only",
        "weight-on-polynomial-only",
        "probabilities-rescaled",
        "weight-without-effect",
        "weight-squared",
        "weight-normalised",
        "weight-of-mean-one",
        "weight-of-the-predicted-class",
    ),
)


# --- a weight of zero ---------------------------------------------------------------------------------------------


def _zero_cases(context: Context) -> SearchStrategy[Case]:
    return st.builds(_without_first, _weighted_batches(context))


def _without_first(case: Case) -> Case:
    """The case with weight 0 for the first row's class, and one class at least that has another."""
    assert case.weight is not None
    target = case.target[0]
    weight = tuple(0.0 if k == target else w or 1.0 for k, w in enumerate(case.weight))
    return replace(case, weight=weight)


def _zero(case: Case, context: Context) -> Outcome:
    assert case.weight is not None
    weights = case.weight
    elements = context.dialect.spec.link is Link.SIGMOID

    def weightless(row: int, column: int | None) -> bool:
        """Whether the class that a number belongs to has weight 0: each logit its own, or the row's target."""
        target = case.target[row]
        at = column if elements and column is not None else target
        return isinstance(at, int) and weights[at] == 0

    found = asked(case, context)
    every = all(weightless(i, k) for i in range(len(case.logits)) for k in range(case.classes))
    nothing = [p for p in found if (every if p.row is None else weightless(p.row, p.column))]
    return all_zero(found, nothing, "A class of weight 0 has a loss or a gradient: a part is not weighted.")


ZERO_WEIGHT = Property(
    id="zero-weight-row-is-zero",
    theme="weights",
    statement="A class of weight 0 costs nothing: the loss of its rows is 0, and so is their gradient.",
    formula="w = 0 implies l = 0 and dl/dz = 0",
    citation=f"{TORCH}: weight",
    remedy="Multiply both parts by the weight as it is given: no lower bound, and no weight in a denominator.",
    applies=needs_weight,
    strategy=_zero_cases,
    check=_zero,
    mutants=(
        "weight-on-cross-entropy-only",
        "weight-on-polynomial-only",
        "weight-floored",
        "weight-of-the-predicted-class",
    ),
)


# --- all weights twice as large -----------------------------------------------------------------------------------


def _scaled_cases(context: Context) -> SearchStrategy[Case]:
    return reduced(cases(context, kinds=BENIGN, rows=(1, 3), weighted=True), offered(context))


def _scale(case: Case, context: Context) -> Outcome:
    """What a mean divides by is known of a dialect; where the formula is not, either denominator will do."""
    means = case.spec.reduction is Reduction.MEAN
    by_weights = means and context.dialect.mean is Reduction.MEAN and context.dialect.spec.link is Link.SOFTMAX
    factors = (1, 2) if means and not context.dialect.known else (1,) if by_weights else (2,)
    return min((_times(case, context, factor) for factor in factors), key=lambda outcome: outcome.ratio)


def _times(case: Case, context: Context, factor: int) -> Outcome:
    assert case.weight is not None
    doubled = replace(case, weight=tuple(2 * w for w in case.weight))
    once, twice = asked(case, context), asked(doubled, context)
    what = "twice the loss" if factor == 2 else "the same weighted mean"
    text = f"Weights twice as large do not give {what}."
    return agree(once, twice, text, factor=factor)


SCALE = Property(
    id="scale-of-the-weights",
    theme="weights",
    statement="Weights twice as large double every loss and their sum, and leave a mean over the weights as it is.",
    formula="l(2 w) = 2 l(w); sum w l / sum w unchanged",
    citation=f"{TORCH}: weight, reduction 'mean'; {FOCAL}, whose alpha is such a weight",
    remedy="Let the weight be a factor of each row's loss, once, and divide a mean by the sum of the same weights.",
    applies=needs_weight,
    strategy=_scaled_cases,
    check=_scale,
    mutants=(
        "weight-without-effect",
        "weight-squared",
        "weight-normalised",
        "weight-of-mean-one",
        "weight-twice-in-the-mean",
        "polynomial-mean-over-samples",
    ),
)


# --- a module that is moved ---------------------------------------------------------------------------------------


def _needs_weights_of_a_module(convention: Convention, _: Dialect) -> str | None:
    parameter = convention.parameter("weight")
    if parameter is None or parameter.where != "constructor" or convention.kind != "class":
        return "it is no class whose constructor takes the weights"
    return None


def _moved_cases(context: Context) -> SearchStrategy[Case]:
    return reduced(cases(context, kinds=BENIGN, rows=(1, 2), weighted=True), offered(context))


def _moved(case: Case, context: Context) -> Outcome:
    if case.format is BINARY32:
        return UNDECIDED  # there is nothing to be moved from
    differentiable, dtype = context.convention.differentiable, case.format.torch_name
    seen = context.attempt(case, gradient=differentiable, manner=Manner(mode="moved"))
    if seen.refused:
        return UNDECIDED
    if seen.killed is not None:
        raise Broke(seen, seen.trouble or "died")
    if seen.value is None:
        text = f"An instance moved to {dtype} no longer works: its weights stay behind."
        return Outcome.of(math.inf, "a loss", f"raised {seen.error}", text)
    plain, truth = context.observe(case, gradient=differentiable), context.truth(case)
    if (seen.shape, seen.dtype) != (plain.shape, plain.dtype):
        text = f"An instance moved to {dtype} returns another shape or dtype: its weights stay behind."
        due, got = (f"{o.dtype} of shape {o.shape}" for o in (plain, seen))
        return Outcome.of(math.inf, due, got, text)
    text = f"An instance moved to {dtype} has another loss than one that is made with weights of {dtype}."
    return agree(answers(plain, truth), answers(seen, truth), text)


FOLLOW = Property(
    id="weights-follow-the-module",
    theme="weights",
    statement="Class weights that a module is made with follow it to another dtype.",
    formula="module(w in binary32).to(dtype) = module(w in dtype)",
    citation="torch.nn.Module.register_buffer, documentation; torch.nn.CrossEntropyLoss, whose weight is a buffer",
    remedy='Keep the weights with self.register_buffer("weight", weight), not as a plain attribute.',
    applies=all_of(needs_torch, _needs_weights_of_a_module),
    strategy=_moved_cases,
    check=_moved,
    mutants=("weight-left-behind",),
)

LAWS = (WHOLE_LOSS, ZERO_WEIGHT, SCALE, FOLLOW)

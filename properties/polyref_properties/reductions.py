"""Laws of reductions."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis.strategies import SearchStrategy

from polyref.case import Case
from polyref.property import Context, Property
from polyref.spec import Reduction
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.subject.manner import Manner
from polyref.verdict import Outcome
from polyref_properties.checks import (
    TORCH,
    UNDECIDED,
    answer,
    by_either_mean,
    over,
    rational,
    refuses,
    total,
    total_tolerance,
    worse,
)
from polyref_properties.conditions import needs_own_result
from polyref_properties.strategies import BENIGN, cases, offered, reduced


def _needs_two(convention: Convention, _: Dialect) -> str | None:
    offered = [r for r in ("none", "sum", "mean") if r in convention.reductions]
    return None if len(offered) > 1 else f"it has one reduction only: {', '.join(offered) or 'none known'}"


def _batches(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=BENIGN, rows=(1, 4))


def _agree(case: Case, context: Context) -> Outcome:
    """What a mean divides by is known of a dialect; where the formula is not, either denominator will do."""
    if context.dialect.known:
        return _agree_as(case, context)
    return by_either_mean(_agree_as, case, context)


def _agree_as(case: Case, context: Context) -> Outcome:
    """sum = sum of none; mean times its denominator = that sum."""
    every, sums = offered(context), {}
    for reduction in every:
        asked = case.with_spec(reduction=reduction)
        own = context.dialect.own(asked)
        denominator = own.denominator or 1
        truth = context.truth(asked)
        try:
            seen = total(context.observe(asked).value or ()) * denominator
        except OverflowError:
            return UNDECIDED
        sums[reduction] = seen, total_tolerance(truth) * float(denominator)
    first, *others = every
    base, base_tolerance = sums[first]
    outcomes = []
    for reduction in others:
        got, tolerance = sums[reduction]
        outcomes.append(
            Outcome.of(
                over(got - base, base_tolerance + tolerance),
                f"{reduction} = {_as_reduced(float(base), reduction, case, context)!r}, from {first}",
                f"{reduction} = {_as_reduced(float(got), reduction, case, context)!r}",
                f"Reduction {str(reduction)!r} is not the {reduction} of what {str(first)!r} returns.",
            )
        )
    return worse(*outcomes)


def _as_reduced(value: float, reduction: Reduction, case: Case, context: Context) -> float:
    own = context.dialect.own(replace(case, spec=replace(case.spec, reduction=reduction)))
    return float(rational(value) / (own.denominator or 1))


AGREE = Property(
    id="reductions-agree",
    theme="reductions",
    statement="sum and mean are the sum and the mean of what none returns.",
    formula="sum = sum_i l_i; mean = sum_i l_i / sum_i w_i, or / N",
    citation=TORCH,
    remedy="Reduce once, at the end, after both parts are added per sample.",
    applies=_needs_two,
    strategy=_batches,
    check=_agree,
    mutants=(
        "sum-is-mean",
        "sum-times-n",
        "mean-is-sum",
        "mean-is-the-largest",
        "mean-over-classes-too",
        "weight-twice-in-the-mean",
        "polynomial-mean-over-samples",
    ),
)


# --- one row ------------------------------------------------------------------------------------------------------

#: The shape of the unreduced loss of one row, and with -1 for the number of classes.
_OF_ONE_ROW = {"per_sample": (1,), "column": (1, 1), "elements": (1, -1)}


def _needs_shape_or_two(convention: Convention, dialect: Dialect) -> str | None:
    return None if convention.result in _OF_ONE_ROW else _needs_two(convention, dialect)


def _one_row(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=BENIGN)


def _batch_of_one(case: Case, context: Context) -> Outcome:
    outcomes = [] if _needs_two(context.convention, context.dialect) else [_agree(case, context)]
    shape = _OF_ONE_ROW.get(context.convention.result)
    if shape is not None and case.spec.reduction is Reduction.NONE:
        due = tuple(case.classes if n == -1 else n for n in shape)
        seen = context.observe(case)
        text = f"Reduction 'none' of a batch of one row returns the shape {seen.shape}, and {due} is due."
        wrong = math.inf if seen.shape != due else 0.0
        outcomes.append(Outcome.of(wrong, f"shape {due}", f"shape {seen.shape}", text, _KEPT))
    return worse(*outcomes)


_KEPT = "Name the dimension that is to be taken away: squeeze(-1), never squeeze()."

ONE_ROW = Property(
    id="batch-of-one",
    theme="reductions",
    statement="A batch of one row is a batch: none keeps its dimension, and sum and mean are the loss of the row.",
    formula="l of z (1, C) has shape (1,); sum = mean = l",
    citation=TORCH,
    remedy="Divide a mean by the number of rows or by the sum of their weights, and by nothing else.",
    applies=_needs_shape_or_two,
    strategy=_one_row,
    check=_batch_of_one,
    mutants=("squeezed", "mean-over-classes-too", "weight-twice-in-the-mean"),
)


# --- no row -------------------------------------------------------------------------------------------------------


def _simple(context: Context) -> SearchStrategy[Case]:
    return reduced(cases(context, kinds=("eighths",)), offered(context))


def _empty(case: Case, context: Context) -> Outcome:
    seen = answer(context, case, Manner(empty=True))
    if seen is None:
        return UNDECIDED
    assert seen.value is not None
    reduction = case.spec.reduction
    due = {Reduction.NONE: "no numbers", Reduction.SUM: "0"}.get(reduction, "NaN or 0")
    if reduction is Reduction.NONE:
        right = not seen.value
    else:
        right = len(seen.value) == 1 and (
            seen.value[0] == 0 or (reduction is Reduction.MEAN and math.isnan(seen.value[0]))
        )
    returned = ", ".join(map(repr, seen.value)) or "no numbers"
    text = f"Reduction {str(reduction)!r} of a batch of no rows returns {returned}."
    return Outcome.of(0.0 if right else math.inf, due, returned, text)


NO_ROWS = Property(
    id="empty-batch",
    theme="reductions",
    statement="A batch of no rows has no losses, and their sum is 0; their mean is NaN or 0.",
    formula="none: (); sum: 0; mean: 0 / 0",
    citation="torch.nn.functional.cross_entropy of a batch of no rows",
    remedy="Add the losses up for a sum, and neither take it from a mean nor begin it with a number.",
    applies=needs_own_result,
    strategy=_simple,
    check=_empty,
    mutants=("sum-from-mean", "empty-batch-is-a-zero"),
)


# --- no reduction -------------------------------------------------------------------------------------------------


def _needs_name(convention: Convention, _: Dialect) -> str | None:
    if any(isinstance(value, str) for _, value in convention.reduction_values):
        return None
    return "its reduction is not chosen by a name"


def _unknown(case: Case, context: Context) -> Outcome:
    seen = context.attempt(case, manner=Manner(reduction=_NO_REDUCTION))
    returned = ", ".join(map(repr, seen.value or ())) or "nothing"
    return Outcome.of(
        0.0 if refuses(seen) else math.inf,
        f"an exception for reduction {_NO_REDUCTION!r}",
        f"returned {returned}",
        f"Reduction {_NO_REDUCTION!r} is taken, although there is none of that name: a misspelling stays unseen.",
    )


_NO_REDUCTION = "average"

UNKNOWN = Property(
    id="unknown-reduction-is-an-error",
    theme="reductions",
    statement="A reduction that there is not is an error and gives no number.",
    formula="reduction not in none, sum, mean: an error",
    citation="torch.nn.functional.cross_entropy: ValueError for an unknown reduction",
    remedy="End the choice of the reduction with raise ValueError, in the constructor if there is one.",
    applies=_needs_name,
    strategy=_simple,
    check=_unknown,
    mutants=("unknown-reduction-is-mean", "unknown-reduction-is-none"),
    of_chance=True,
)

LAWS = (AGREE, ONE_ROW, NO_ROWS, UNKNOWN)

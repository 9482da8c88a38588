"""Laws of reductions."""

from __future__ import annotations

from dataclasses import replace

from hypothesis.strategies import SearchStrategy

from polyref.case import Case
from polyref.property import Context, Property
from polyref.spec import Reduction
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.verdict import Outcome, Verdict
from polyref_properties.checks import TORCH, over, rational, total, total_tolerance, worse
from polyref_properties.strategies import BENIGN, cases


def _needs_two(convention: Convention, _: Dialect) -> str | None:
    offered = [r for r in ("none", "sum", "mean") if r in convention.reductions]
    return None if len(offered) > 1 else f"it has one reduction only: {', '.join(offered) or 'none known'}"


def _batches(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=BENIGN, rows=(1, 4))


def _agree(case: Case, context: Context) -> Outcome:
    """What a mean divides by is known of a dialect; where the formula is not, either denominator will do."""
    if context.dialect.known:
        return _agree_as(case, context)
    means = (Reduction.MEAN, Reduction.MEAN_OVER_SAMPLES)
    contexts = [replace(context, dialect=replace(context.dialect, mean=mean)) for mean in means]
    return min((_agree_as(case, c) for c in contexts), key=lambda outcome: outcome.ratio)


def _agree_as(case: Case, context: Context) -> Outcome:
    """sum = sum of none; mean times its denominator = that sum."""
    offered = [r for r in (Reduction.NONE, Reduction.SUM, Reduction.MEAN) if str(r) in context.convention.reductions]
    sums = {}
    for reduction in offered:
        asked = case.with_spec(reduction=reduction)
        own = context.dialect.own(asked)
        denominator = own.denominator or 1
        truth = context.truth(asked)
        try:
            seen = total(context.observe(asked).value or ()) * denominator
        except OverflowError:
            return Outcome(Verdict.INCONCLUSIVE, 0.0)
        sums[reduction] = seen, total_tolerance(truth) * float(denominator)
    first, *others = offered
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
    mutants=("sum-is-mean",),
)

LAWS = (AGREE,)

"""Laws of symmetry."""

from __future__ import annotations

from polyref.case import Case
from polyref.property import Context, Property
from polyref.verdict import Outcome, Verdict
from polyref_properties.checks import needs_softmax, over, total, total_tolerance
from polyref_properties.strategies import shifted_pairs, single


def _shift(case: Case, context: Context) -> Outcome:
    here, there = single(case, 0), single(case, 1)
    constant = there.logits[0][0] - here.logits[0][0]
    tolerance = total_tolerance(context.truth(here)) + total_tolerance(context.truth(there))
    try:
        before, after = total(context.observe(here).value or ()), total(context.observe(there).value or ())
    except OverflowError:
        return Outcome(
            Verdict.VIOLATED, float("inf"), "finite losses", "an infinity or a NaN", "The shifted logits overflow."
        )
    return Outcome.of(
        over(after - before, tolerance),
        f"l(z + {constant:g}) = l(z) = {float(before)!r}",
        f"l(z + {constant:g}) = {float(after)!r}",
        f"Adding {constant:g} to every logit changes the loss: it does not see the logits through softmax alone.",
    )


SHIFT = Property(
    id="shift-invariance",
    theme="symmetries",
    statement="Adding one constant to every logit changes nothing, as softmax does not see it.",
    formula="l(z + c) = l(z)",
    citation="Definition of softmax",
    remedy="Use softmax for every probability of a single-label loss, and subtract the largest logit before exp.",
    applies=needs_softmax,
    strategy=shifted_pairs,
    check=_shift,
    mutants=("sigmoid-probability", "exp-without-max"),
)

LAWS = (SHIFT,)

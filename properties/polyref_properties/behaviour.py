"""Laws of behaviour: what a loss must not do beside its mathematics."""

from __future__ import annotations

from hypothesis.strategies import SearchStrategy

from polyref.case import Case
from polyref.property import Context, Property
from polyref.verdict import Outcome
from polyref_properties.checks import always
from polyref_properties.strategies import BENIGN, cases


def _batches(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=BENIGN, rows=(1, 3))


def _untouched(case: Case, context: Context) -> Outcome:
    seen = context.observe(case, gradient=context.convention.differentiable, twice=True)
    complaints = []
    if seen.inputs_untouched is False:
        complaints.append("the caller's tensors were overwritten")
    second = seen.second
    if second is not None:
        if second.error is not None:
            complaints.append(f"the second call raised {second.error}")
        elif not second.value_equal:
            complaints.append("the second call returned another value")
        elif second.gradient_equal is False:
            complaints.append("the second call gave another gradient")
    text = "; ".join(complaints)
    return Outcome.of(
        float("inf") if complaints else 0.0,
        "inputs as they were, and the same result twice",
        text,
        f"{text[:1].upper()}{text[1:]}: the loss keeps state between calls or writes into its inputs.",
    )


UNTOUCHED = Property(
    id="inputs-untouched-and-repeatable",
    theme="behaviour",
    statement="A call leaves its inputs as they were, and a second call with the same inputs returns the same.",
    formula="f(z, y) = f(z, y), bit by bit; z, y, w unchanged",
    citation="Convention of torch.nn losses",
    remedy="Assign results to local names, never to self or into the arguments.",
    applies=always,
    strategy=_batches,
    check=_untouched,
    mutants=("state-kept", "inputs-overwritten"),
)

LAWS = (UNTOUCHED,)

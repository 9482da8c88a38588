"""The search for a case that breaks a law, and the laws that are found through the entry point."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
import right
from hypothesis import strategies as st

from polyref import property as properties
from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import BINARY32, BINARY64
from polyref.property import Broke, Context, LawFailed, check, load_properties
from polyref.search import draw, search
from polyref.spec import Reduction, Spec
from polyref.subject.convention import Convention
from polyref.subject.dialect import WHOLE_LOSS
from polyref.subject.local import LocalSubject
from polyref.subject.observation import Observation
from polyref.verdict import Outcome, Verdict
from polyref_properties import ALL
from polyref_properties.mutants import all_mutants, textbook

pytestmark = pytest.mark.usefixtures("one_thread")

LAWS = {law.id: law for law in ALL}
VALUE = LAWS["value-matches-the-reference"]
CASE = Case(Spec(epsilon=(1.0,)), BINARY64, ((0.0, 1.0),), (0,))


def context(loss=textbook, fmt=BINARY64) -> Context:
    runner = LocalSubject(loss)
    settable = frozenset(p for p in ("epsilon", "gamma", "weight") if runner.convention.can(p))
    return Context(runner, replace(WHOLE_LOSS, settable=settable), fmt)


def recorded(outcome):
    """The value law's cases with another check, and the cases that it was given."""
    given = []

    def check(case, _):
        given.append(case)
        return outcome(case)

    return replace(VALUE, check=check), given


HOLDS = Outcome.of(0.5)
VIOLATED = Outcome.of(2.0, "a", "b", "c")


def test_the_same_seed_tries_the_same_cases():
    runs = []
    for seed in (3, 3, 4):
        law, given = recorded(lambda _: HOLDS)
        search(law, context(), examples=25, seed=seed)
        runs.append(given)
    assert runs[0] == runs[1] != runs[2]
    shrunk = [search(VALUE, context(all_mutants()["probability-clamped"].loss), examples=40, seed=2) for _ in range(2)]
    assert shrunk[0] == shrunk[1]


def test_what_is_drawn_is_what_a_search_tries():
    law, given = recorded(lambda _: HOLDS)
    search(law, context(), examples=25, seed=3)
    assert draw(VALUE, context(), examples=25, seed=3) == tuple(given)


def test_an_expensive_law_gets_few_examples():
    assert [replace(VALUE, effort=3, limit=limit).examples(10) for limit in (None, 4, 100)] == [30, 4, 30]


@pytest.mark.parametrize("examples", [1, 3, 10, 11, 25, 40])
def test_as_many_cases_are_tried_as_were_asked_for(examples):
    law, given = recorded(lambda _: HOLDS)
    found = search(law, context(), examples=examples, seed=0)
    assert found.examples == len(given) == len(set(given)) == examples
    assert (found.verdict, found.worst_ratio) == (Verdict.HOLDS, 0.5)
    assert found.case in given


def test_the_cases_meet_every_regime():
    law, given = recorded(lambda _: HOLDS)
    search(law, context(), examples=40, seed=0)
    rows = [(row, t) for c in given for row, t in zip(c.logits, c.target, strict=True)]
    leads = [row[t] - max(z for k, z in enumerate(row) if k != t) for row, t in rows if len(row) > 1]
    for low, high in [(-1e400, -745), (-745, -37), (-37, -2), (-2, 2), (2, 37), (37, 745), (745, 1e400)]:
        assert any(low <= lead < high for lead in leads)
    assert {len(c.logits) for c in given} == {1, 2, 3}
    assert {c.classes for c in given} == {1, 2, 3, 4, 5, 10}
    assert {c.weight is None for c in given} == {True, False}


@pytest.mark.parametrize("shrinks", [0, 1, 7])
def test_the_budget_for_shrinking_is_kept(shrinks):
    def outcome(case):
        return VIOLATED if sum(map(abs, case.logits[0])) > 3 else HOLDS

    law, given = recorded(outcome)
    found = search(law, context(), examples=40, seed=0, shrinks=shrinks)
    first = next(i for i, c in enumerate(given) if outcome(c) is VIOLATED)
    assert len(given) == found.examples == first + 1 + shrinks
    assert found.verdict is Verdict.VIOLATED
    assert outcome(found.case) is VIOLATED
    assert found.outcome is VIOLATED


def test_a_violation_is_made_as_small_as_it_can_be():
    law, _ = recorded(lambda c: VIOLATED if sum(map(abs, c.logits[0])) > 3 else HOLDS)
    found = search(law, context(), examples=40, seed=0, shrinks=500)
    assert found.case.logits in (((0.0, 3.125),), ((3.125, 0.0),), ((0.0, 3.01),))
    assert found.case.target == (0,)
    assert found.case.weight is None


def test_a_law_that_cannot_tell_is_inconclusive():
    law, given = recorded(lambda _: Outcome(Verdict.INCONCLUSIVE, 0.0))
    found = search(law, context(), examples=12)
    assert (found.verdict, found.outcome, found.case) == (Verdict.INCONCLUSIVE, None, None)
    assert found.examples == len(given) == 12


def test_one_case_that_can_tell_is_enough():
    law, _ = recorded(lambda c: HOLDS if c.classes == 3 else Outcome(Verdict.INCONCLUSIVE, 0.0))
    found = search(law, context(), examples=30)
    assert found.verdict is Verdict.HOLDS
    assert found.case.classes == 3


def test_a_defect_of_a_check_is_not_taken_for_one_of_the_subject():
    def broken(_):
        raise ZeroDivisionError("in the check")

    law, _ = recorded(broken)
    with pytest.raises(LawFailed, match="'value-matches-the-reference' itself raised ZeroDivisionError"):
        search(law, context(), examples=5)


def test_a_defect_of_a_check_is_shown_by_a_small_case():
    def broken(case):
        if max(max(row) for row in case.logits) > 3:
            raise ZeroDivisionError("in the check")
        return HOLDS

    law, _ = recorded(broken)
    with pytest.raises(LawFailed, match=r"logits \[[^;\]]*\] = \S+ \S+, target 0, epsilon 1, reduction none"):
        search(law, context(), examples=30)


class Unhashable(Case):
    def __hash__(self):
        raise TypeError("no hash")


def test_a_case_that_a_law_draws_wrongly_is_a_defect_of_the_law():
    odd = replace(VALUE, strategy=lambda _: st.builds(Unhashable, *map(st.just, vars(CASE).values())))
    with pytest.raises(LawFailed, match=r"raised TypeError \(no hash\) when it drew cases"):
        search(odd, context(), examples=5)


def raises_on_five(logits, labels, epsilon=1.0):
    if logits.shape[-1] == 5:
        raise RuntimeError("five is too many\nand more")
    return right.entropy(logits, labels) + epsilon * (1 - right.pt(logits, labels))


def test_a_subject_that_raises_breaks_the_law():
    found = search(VALUE, context(raises_on_five), examples=40, seed=0)
    assert found.verdict is Verdict.VIOLATED
    assert found.case.classes == 5
    assert set(found.case.logits[0]) == {0.0}
    assert found.outcome.explanation == "The subject raised RuntimeError: five is too many."
    assert (found.outcome.expected, found.outcome.observed) == ("a loss", "RuntimeError: five is too many")


class Scripted:
    """A runner that answers everything with one observation."""

    name = "scripted"
    source = None

    def __init__(self, seen: Observation, reductions=("none",)) -> None:
        self.seen = seen
        self.convention = Convention("scripted", "function", reductions=reductions, formats=("binary64",))

    def afresh(self):
        pass

    def observe(self, *_, **__):
        return self.seen


@pytest.mark.parametrize(
    ("seen", "explanation"),
    [
        (Observation(killed="timeout"), "The subject was killed: timeout."),
        (Observation(error="ValueError: killed by hand"), "The subject raised ValueError: killed by hand."),
        (Observation(error="returned None, no numbers"), "The subject returned None, no numbers."),
        (Observation(), "The subject returned nothing."),
        (Observation((1.0, 2.0), (2,)), "The subject returned 2 values of shape (2,) where 1 were due."),
        (
            Observation((1.0,), (1,), gradient_reason="the value does not depend on the logits"),
            "The subject has no gradient: the value does not depend on the logits.",
        ),
    ],
)
def test_what_a_subject_does_in_the_place_of_answering_is_said_in_words(seen, explanation):
    made = Context(Scripted(seen), WHOLE_LOSS, BINARY64)
    outcome = check(LAWS["gradient-matches-the-reference"], CASE, made)
    assert outcome.verdict is Verdict.VIOLATED
    assert outcome.explanation == explanation
    with pytest.raises(Broke) as caught:
        made.observe(CASE, gradient=True)
    assert caught.value.observation is seen


def test_a_case_that_nobody_was_asked_says_nothing():
    made = Context(Scripted(Observation(error="not asked: too few digits", refused=True)), WHOLE_LOSS, BINARY64)
    assert check(LAWS["value-matches-the-reference"], CASE, made).verdict is Verdict.INCONCLUSIVE


def test_rounded_probabilities_are_judged_by_half_of_the_digits():
    law, made = LAWS["value-matches-the-reference"], Context(Scripted(Observation()), WHOLE_LOSS, BINARY64)
    made.runner.convention = replace(made.convention, inputs="probabilities")
    for ratio, verdict in ((0.5, Verdict.HOLDS), (2.0, Verdict.INCONCLUSIVE), (1e9, Verdict.VIOLATED)):
        assert check(replace(law, check=lambda *_, r=ratio: Outcome.of(r)), CASE, made).verdict is verdict


def test_a_context_knows_its_subject():
    made = context(fmt=BINARY32)
    assert made.can("weight")
    assert not made.can("gamma")
    assert made.spec(epsilon=(-1.0,)) == Spec(epsilon=(-1.0,), reduction=Reduction.NONE)
    assert made.observe(replace(CASE, format=BINARY32)).ok
    only_mean = Context(LocalSubject(lambda logits, labels: textbook(logits, labels).mean()), WHOLE_LOSS, BINARY64)
    assert only_mean.reduction is Reduction.MEAN
    with pytest.raises(UsageError, match="offers none of the reductions"):
        _ = Context(Scripted(Observation(), reductions=()), WHOLE_LOSS, BINARY64).reduction


# --- the entry point ----------------------------------------------------------------------------------------------


def test_the_laws_are_found_through_the_entry_point():
    assert load_properties() == ALL


REGISTERED: tuple = ()


def registered(monkeypatch, laws):
    monkeypatch.setattr("test_property.REGISTERED", laws)
    other = EntryPoint("other", "test_property:REGISTERED", properties.GROUP)
    ours = EntryPoint("polyref", "polyref_properties:ALL", properties.GROUP)
    monkeypatch.setattr(properties, "entry_points", lambda group: [other, ours] if group == properties.GROUP else [])


def test_another_package_can_add_laws(monkeypatch):
    extra = replace(VALUE, id="another-law")
    registered(monkeypatch, (extra,))
    assert load_properties() == (*ALL, extra)


@pytest.mark.parametrize(
    ("law", "says"),
    [
        (VALUE, "test_property:REGISTERED has a second law with the id 'value-matches-the-reference': rename one"),
        ("text", "test_property:REGISTERED holds 'text', which is no Property: register a tuple of them"),
        (
            replace(VALUE, id="toothless", mutants=()),
            "the law 'toothless' of test_property:REGISTERED has no mutant to reject: give it one",
        ),
    ],
)
def test_what_is_no_law_is_refused(monkeypatch, law, says):
    registered(monkeypatch, (law,))
    with pytest.raises(UsageError) as caught:
        load_properties()
    assert str(caught.value) == says

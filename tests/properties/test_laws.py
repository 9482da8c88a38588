"""Every law against every mutant that it names, and against right implementations."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import right

from polyref.auditor import AUDITED, PROFILES, Options, findings
from polyref.case import Case
from polyref.formats import BINARY16, BINARY32, BINARY64, Format, named
from polyref.gallery.onehot import Poly1FocalLoss
from polyref.nn import PolyBCEWithLogitsLoss, PolyCrossEntropyLoss, PolyFocalLoss, backends
from polyref.nn.functional import poly_binary_cross_entropy_with_logits, poly_cross_entropy
from polyref.options import Result
from polyref.property import Context, Property, check
from polyref.search import search
from polyref.spec import Reduction, Spec
from polyref.subject.dialect import WHOLE_LOSS, Dialect
from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject
from polyref.verdict import Verdict, describe
from polyref_properties import ALL
from polyref_properties.mutants import CLAIMED, all_mutants, textbook

pytestmark = pytest.mark.usefixtures("one_thread")

LAWS = {law.id: law for law in ALL}
EXAMPLES, _ = PROFILES["default"]


@cache
def mutant(name: str) -> LocalSubject:
    found = all_mutants()[name]
    return LocalSubject(found.loss, name=name, convention=found.convention)


def pairs():
    for law in ALL:
        for name in law.mutants:
            for fmt in AUDITED if law.formats == "each" else AUDITED[:1]:
                yield pytest.param(law, name, fmt, id=f"{law.id}-{name}-{fmt.name}")


@pytest.mark.parametrize(("law", "name", "fmt"), list(pairs()))
def test_a_law_rejects_its_mutants(law: Property, name: str, fmt: Format):
    context = Context(mutant(name), CLAIMED, fmt)
    assert law.applies(context.convention, CLAIMED) is None
    for seed in range(3):
        found = search(law, context, examples=law.examples(EXAMPLES), seed=seed, shrinks=0)
        assert found.verdict is Verdict.VIOLATED, seed
        assert found.examples <= law.examples(EXAMPLES)
        assert found.worst_ratio > 1
        assert found.outcome.expected
        assert found.outcome.observed
        assert check(law, found.case, context) == found.outcome


#: (law, mutant): the smallest case that shows it, as far as it can be foreseen.
SMALLEST = {
    ("value-matches-the-reference", "squared-term"): "binary64 logits [0, 0], target 0, epsilon 1, reduction none",
    ("gradient-matches-the-reference", "polynomial-detached"): (
        "binary64 logits [0, 0], target 0, epsilon 1, reduction none"
    ),
    ("eps-minus-one-cancels-first-term", "sign-flipped"): (
        "binary64 logits [0, 0], target 0, epsilon -1, reduction none"
    ),
    ("first-term-gradient-is-minus-one", "epsilon-ignored"): (
        "binary64 logits [0, 0], target 0, epsilon 1, reduction none"
    ),
    ("eps-minus-one-cancels-first-term-under-class-weights", "weight-on-cross-entropy-only"): (
        "binary64 logits [0, 0], target 0, weight [0.5, 0.5], epsilon -1, reduction none"
    ),
    ("reductions-agree", "sum-is-mean"): "binary64 logits [0, 0; 0, 0], target 0; 0, epsilon 1, reduction none",
    ("affine-in-epsilon", "epsilon-squared"): "binary64 logits [0, 0], target 0, epsilon 1, reduction none",
    ("gradient-sums-to-zero", "normaliser-detached"): "binary64 logits [0, 0], target 0, epsilon 1, reduction none",
    ("gradient-is-that-of-the-value", "cross-entropy-detached"): (
        "binary64 logits [0, 0], target 0, epsilon 1, reduction none"
    ),
    ("inputs-untouched-and-repeatable", "state-kept"): ("binary64 logits [0, 0], target 0, epsilon 1, reduction none"),
}


@pytest.mark.parametrize(("law", "name"), list(SMALLEST))
def test_violations_shrink(law, name):
    found = search(LAWS[law], Context(mutant(name), CLAIMED, BINARY64), examples=EXAMPLES, seed=1)
    assert describe(found.case) == SMALLEST[law, name]


def test_a_shift_shrinks_to_the_only_one_that_overflows():
    context = Context(mutant("exp-without-max"), CLAIMED, BINARY64)
    found = search(LAWS["shift-invariance"], context, examples=EXAMPLES, seed=1)
    assert len(found.case.logits[0]) == 2
    assert found.case.logits == ((0.0, 0.0), (1024.0, 1024.0))
    assert found.outcome.observed == "an infinity or a NaN"


RIGHT = (
    textbook,
    right.log_softmax_once,
    right.from_cross_entropy,
    right.weights_factored_out,
    right.single_precision_inside,
    right.focal,
    right.poly_n,
)


#: One seed where everybody waits, more of them with `pytest -m long`.
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("subject", RIGHT, ids=lambda s: s.__name__)
def test_right_implementations_hold_every_law(subject, seed):
    holds_every_law(subject, seed)


# The losses of polyref.nn are audited with their baselines (tests/gallery/test_baselines.py), by the same laws on the
# same backends. What is long here has other seeds, and the modules.


@pytest.mark.long
@pytest.mark.parametrize("backend", [name for name in ("eager", "native") if not backends()[name]])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("subject", [poly_cross_entropy, PolyCrossEntropyLoss, PolyFocalLoss], ids=lambda s: s.__name__)
def test_our_losses_hold_every_law_on_every_backend(subject, seed, backend, monkeypatch):
    monkeypatch.setenv("POLYREF_NN_BACKEND", backend)
    holds_every_law(subject, seed, backend=backend)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "subject", [poly_binary_cross_entropy_with_logits, PolyBCEWithLogitsLoss], ids=lambda s: s.__name__
)
def test_our_binary_losses_hold_every_law_of_sigmoids(subject, seed):
    holds_every_law(subject, seed, without=OF_SOFTMAX)


#: Laws of one softmax over a row.
OF_SOFTMAX = {"gradient-sums-to-zero", "shift-invariance"}
OF_SOFTMAX |= {"classes-before-places", "impossible-classes", "infinite-logit-is-no-number"}
OF_SOFTMAX |= {"impossible-class-changes-nothing", "two-class-softmax-is-sigmoid"}


#: Laws of what a plain function may lack: a gamma that can be chosen.
NEED_MORE = {"gamma-zero-is-cross-entropy"}

#: More of them: weights in a constructor, state that could be copied, a gamma below 1.
NEED_MORE |= {"small-gamma-at-certainty", "deep-copy-is-the-same", "state-dict-carries-everything"}

#: And soft labels, label smoothing, an ignore_index, index labels.
NEED_MORE |= {"one-hot-equals-index", "soft-target-is-the-expectation", "smoothing-is-a-soft-target"}
NEED_MORE |= {"ignored-rows-count-for-nothing", "label-out-of-range-is-an-error", "weights-follow-the-module"}

#: Laws that a subject keeps by raising an exception too, in every case perhaps.
MAY_REFUSE = {"row-without-a-batch"}


@cache
def judged(subject, seed, backend=None) -> tuple[Dialect, tuple[Result, ...]]:
    """The dialect of a subject, and every law's verdict on it; polyref.nn answers by the backend that is set."""
    runner = LocalSubject(subject)
    dialect = identify(runner)
    return dialect, tuple(findings(runner, dialect, Options(profile="quick", seed=seed)))


def holds_every_law(subject, seed, without=frozenset(), backend=None):
    dialect, results = judged(subject, seed, backend)
    assert dialect.known
    asked = {r.law.id for r in results if r.found is not None}
    assert set(LAWS) - without - NEED_MORE <= asked <= set(LAWS) - without
    for r in results:
        if r.law.id not in asked:
            continue
        refused = r.law.id in MAY_REFUSE and r.found.verdict is Verdict.INCONCLUSIVE
        assert refused or r.found.verdict is Verdict.HOLDS, (r.law.id, r.format.name, r.found)
        assert r.found.worst_ratio <= 1
        assert r.found.examples >= r.law.examples(11)


def test_every_law_is_heard_in_each_format_that_it_asks_for():
    given = [r for r in judged(textbook, 0)[1] if r.found is not None]
    asked = {r.law.id for r in given}
    assert len(asked) > 40
    wanted = [
        (law.id, f) for law in ALL if law.id in asked for f in (AUDITED if law.formats == "each" else AUDITED[:1])
    ]
    assert [(r.law.id, r.format) for r in given] == wanted
    assert all(r.found.examples == r.law.examples(PROFILES["quick"][0]) for r in given)


#: Right results at the edge of a format once seen outside the tolerance, or that a change could move there.
EDGES = [
    # The weight times the logarithm overflows in the backward, although neither factor does: nothing is bounded.
    ("binary64", ((0.0, 0.0, 8.988465674311579e307), (0.0, 0.0, 0.0)), (3.0, 0.5, 0.5), 0.5),
    # The logarithm overflows, although its product with the weight does not.
    ("binary16", ((-65504.0, 0.0, 65504.0), (0.0, 0.0, 0.0)), (0.25, 0.75, 0.75), 1.0),
    ("bfloat16", ((-3.3895313892515355e38, 1.6947656946257677e38), (0.0, 0.0)), (0.25, 0.75), 2.0),
]


@pytest.mark.parametrize(("fmt", "logits", "weight", "gamma"), EDGES)
@pytest.mark.parametrize("law", ["value-matches-the-reference", "gradient-matches-the-reference"])
def test_what_a_textbook_backward_overflows_on_is_no_violation(law, fmt, logits, weight, gamma):
    runner = LocalSubject(right.focal)
    dialect = replace(WHOLE_LOSS, settable=frozenset({"epsilon", "gamma", "weight"}))
    case = Case(Spec(epsilon=(1.0,), gamma=gamma), named(fmt), logits, (0, 0), weight)
    assert check(LAWS[law], case, Context(runner, dialect, named(fmt))).verdict is Verdict.HOLDS


def test_zero_times_a_logarithm_that_overflows_is_no_violation():
    case = Case(Spec(), BINARY32, ((BINARY32.largest, -BINARY32.largest),), (1,), (0.5, 0.0))
    context = Context(LocalSubject(textbook), CLAIMED, BINARY32)
    assert check(LAWS["value-matches-the-reference"], case, context).verdict is Verdict.INCONCLUSIVE


def test_a_weight_may_come_before_alpha():
    """1024 times the logarithm is no number of binary16, and with alpha it is one."""
    runner = LocalSubject(Poly1FocalLoss)
    dialect = identify(runner)
    spec = replace(dialect.spec, reduction=Reduction.NONE)
    case = Case(spec, BINARY16, ((0.0, -65.5),), (1,), (0.5, 1024.0))
    context = Context(runner, dialect, BINARY16)
    assert check(LAWS["value-matches-the-reference"], case, context).verdict is Verdict.INCONCLUSIVE


def test_every_mutant_is_rejected_by_a_law():
    assert {name for law in ALL for name in law.mutants} == set(all_mutants())
    assert all(m.name == name and m.defect for name, m in all_mutants().items())


def test_laws_say_what_they_are():
    assert len(LAWS) == len(ALL)
    for law in ALL:
        assert law.statement.endswith(".")
        assert law.remedy.endswith(".")
        assert all((law.formula, law.citation, law.theme))
        assert law.id == law.id.lower()
        assert " " not in law.id
        assert len(set(law.mutants)) == len(law.mutants) > 0

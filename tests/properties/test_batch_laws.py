"""Laws of symmetries, labels, weights and reductions: whom they concern, what they leave open, and what they say."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from polyref.auditor import PROFILES
from polyref.case import Case
from polyref.formats import BINARY16, BINARY32, BINARY64
from polyref.gallery.gather import Poly1CrossEntropyLoss as Rescaled
from polyref.gallery.onehot import Poly1CrossEntropyLoss as CrossEntropyOnly
from polyref.gallery.onehot import Poly1FocalLoss as SigmoidFocal
from polyref.gallery.rewrapped import FocalLoss as BuiltIn
from polyref.gallery.rewrapped import poly1_cross_entropy_torch, poly1_focal_loss_torch
from polyref.nn import PolyBCEWithLogitsLoss, PolyCrossEntropyLoss
from polyref.property import Broke, Context, check
from polyref.search import search
from polyref.spec import Reduction, Spec
from polyref.subject.convention import Parameter
from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject
from polyref.subject.observation import Observation
from polyref.verdict import Truth, Verdict, describe
from polyref_properties import ALL, labels, reductions, symmetries, weights
from polyref_properties.checks import Place, agree, answers, refuses
from polyref_properties.mutants import CLAIMED, CONVENTION, all_mutants
from polyref_properties.mutants.base import Textbook
from polyref_properties.symmetries import _permutations

pytestmark = pytest.mark.usefixtures("one_thread")

LAWS = {law.id: law for law in ALL}
MINE = [*symmetries.LAWS, *labels.LAWS, *weights.LAWS, *reductions.LAWS]
PLAIN = Spec(epsilon=(1.0,), reduction=Reduction.NONE)
ROWS = Case(PLAIN, BINARY64, ((0.5, -1.0), (2.0, 0.25), (1.0, 1.0), (-3.0, 0.0)), (0, 1, 1, 0))
MEAN = ROWS.with_spec(reduction=Reduction.MEAN)


def context(loss=Textbook, fmt=BINARY64, claims=CLAIMED, **changes):
    return Context(LocalSubject(loss, name="subject", convention=replace(CONVENTION, **changes)), claims, fmt)


def variant(**methods):
    return type("Variant", (Textbook,), methods)


def verdict(law, case, *arguments, **changes):
    return check(LAWS[law], case, context(*arguments, **changes)).verdict


# --- whom they concern --------------------------------------------------------------------------------------------


def test_all_of_them_concern_a_loss_like_torchs():
    runner = LocalSubject(PolyCrossEntropyLoss)
    dialect = identify(runner)
    assert [law.id for law in MINE if law.applies(runner.convention, dialect) is not None] == []


#: What a convention lacks: the laws that say nothing then.
LACKING = [
    ({"soft": False}, {"one-hot-equals-index", "soft-target-is-the-expectation"}),
    ({"labels": "one_hot"}, {"one-hot-equals-index", "soft-target-is-the-expectation"}),
    ({"labels": "one_hot_integer"}, {"label-out-of-range-is-an-error", "ignored-rows-count-for-nothing"}),
    ({"classes": 3}, {"impossible-class-changes-nothing", "two-class-softmax-is-sigmoid"}),
    ({"classes": 20}, {"n-equal-to-c-is-not-confused"}),
    ({"reductions": ("mean",), "result": "scalar"}, {"neighbours-do-not-matter", "reductions-agree", "batch-of-one"}),
    ({"reduction_values": (("mean", True),)}, {"unknown-reduction-is-an-error"}),
    ({"kind": "function"}, {"weights-follow-the-module"}),
]


@pytest.mark.parametrize(("changes", "lost"), LACKING, ids=lambda value: "-".join(sorted(map(str, value))))
def test_a_law_says_why_it_does_not_concern_a_subject(changes, lost):
    convention = replace(CONVENTION, **changes)
    reasons = {law.id: law.applies(convention, CLAIMED) for law in MINE}
    assert lost <= {name for name, reason in reasons.items() if reason}


def test_without_class_weights_the_laws_of_weights_say_nothing():
    convention = replace(CONVENTION, parameters=tuple(p for p in CONVENTION.parameters if p.name != "weight"))
    assert all(law.applies(convention, CLAIMED) for law in weights.LAWS)
    built_in = replace(CLAIMED, built_in=(0.25, 0.75))
    concerned = [law.id for law in weights.LAWS if not law.applies(convention, built_in)]
    assert concerned == ["weight-multiplies-the-whole-loss"]
    assert "built in" in LAWS["class-permutation"].applies(convention, built_in)


def test_a_program_of_jax_is_not_asked_for_an_exception():
    law = LAWS["label-out-of-range-is-an-error"]
    assert "JAX" in law.applies(replace(CONVENTION, framework="jax"), CLAIMED)
    assert law.applies(replace(CONVENTION, framework="tensorflow"), CLAIMED) is None


def test_an_impossible_class_has_a_remedy_for_what_is_seen():
    case = Case(PLAIN, BINARY64, ((0.0, 1.0, -math.inf),), (0,))
    for name, about_nan in (("one-hot-times-logarithm", True), ("logits-floored", False)):
        outcome = check(LAWS["impossible-class-changes-nothing"], case, context(all_mutants()[name].loss))
        assert (outcome.verdict, "NaN" in outcome.remedy) == (Verdict.VIOLATED, about_nan)


def test_a_loss_that_is_no_number_without_a_shift_is_not_accused_of_overflow():
    def zero_over_zero(self, logits, labels):
        return Textbook.forward(self, logits, labels) * math.nan

    pair = Case(PLAIN, BINARY64, ((0.0, 0.0), (1024.0, 1024.0)), (0, 0))
    assert verdict("shift-invariance", pair, variant(forward=zero_over_zero)) is Verdict.INCONCLUSIVE
    assert verdict("shift-invariance", pair) is Verdict.HOLDS


#: Published code, and the laws of these themes that it breaks: its weights are on one part only, and so on.
_WEIGHTS = {"weight-multiplies-the-whole-loss", "zero-weight-row-is-zero", "scale-of-the-weights"}
PUBLISHED = [
    (CrossEntropyOnly, _WEIGHTS | {"weights-follow-the-module", "unknown-reduction-is-an-error"}),
    (SigmoidFocal, _WEIGHTS | {"unknown-reduction-is-an-error"}),
    (Rescaled, _WEIGHTS | {"weights-follow-the-module", "unknown-reduction-is-an-error"}),
    (poly1_cross_entropy_torch, set()),
    (BuiltIn, set()),
    (
        poly1_focal_loss_torch,
        {
            "shift-invariance",
            "impossible-class-changes-nothing",
            "two-class-softmax-is-sigmoid",
            "weight-multiplies-the-whole-loss",
        },
    ),
]


@pytest.mark.parametrize(("subject", "broken"), PUBLISHED, ids=lambda value: getattr(value, "__name__", ""))
def test_published_code_is_accused_of_what_it_does(subject, broken):
    runner = LocalSubject(subject)
    dialect = identify(runner)
    asked = Context(runner, dialect, BINARY64)
    found = {
        law.id: search(law, asked, examples=PROFILES["default"][0], seed=1, shrinks=0).verdict
        for law in MINE
        if law.applies(runner.convention, dialect) is None
    }
    assert {name for name, seen in found.items() if seen is not Verdict.HOLDS} == broken


# --- the smallest cases -------------------------------------------------------------------------------------------

SMALLEST = {
    ("class-permutation", "index-as-number"): "binary64 logits [0, 0], target 0, epsilon 1, reduction none",
    ("batch-permutation", "batch-reversed"): (
        "binary64 logits [0, 0; 0, 0; 0, 0.125] = [0x0.0p+0, 0x0.0p+0; 0x0.0p+0, 0x0.0p+0; 0x0.0p+0, "
        "0x1.0000000000000p-3], target 0; 0; 0, epsilon 1, reduction none"
    ),
    ("impossible-class-changes-nothing", "logits-floored"): (
        "binary64 logits [-inf, 0, 0], target 1, epsilon 1, reduction none"
    ),
    ("two-class-softmax-is-sigmoid", "softmax-twice"): (
        "binary64 logits [0, 0.125; -0.125, 0] = [0x0.0p+0, 0x1.0000000000000p-3; -0x1.0000000000000p-3, 0x0.0p+0], "
        "target 0; 0, epsilon 1, reduction none"
    ),
    ("soft-target-is-the-expectation", "soft-labels-taken-for-logits"): (
        "binary64 logits [0, 0], target (1, 0), epsilon 1, reduction none"
    ),
    ("zero-weight-row-is-zero", "weight-floored"): (
        "binary64 logits [0, 0], target 0, weight [0, 0.5], epsilon 1, reduction none"
    ),
    ("unknown-reduction-is-an-error", "unknown-reduction-is-none"): (
        "binary64 logits [0, 0], target 0, epsilon 1, reduction none"
    ),
}


@pytest.mark.parametrize(("law", "name"), list(SMALLEST))
def test_violations_shrink(law, name):
    found = search(LAWS[law], context(all_mutants()[name].loss), examples=40, seed=1)
    assert describe(found.case) == SMALLEST[law, name]


# --- symmetries ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 6))
def test_the_two_permutations_make_all(count):
    made = {tuple(range(count))}
    while True:
        more = {tuple(order[k] for k in by) for order in made for by in _permutations(count)} | made
        if more == made:
            break
        made = more
    assert made == set(itertools.permutations(range(count)))


@pytest.mark.parametrize("place", [-1, 0, 1, 2, 5])
def test_an_impossible_class_moves_the_targets_behind_it(place):
    wide = symmetries._with_impossible(ROWS, place)
    at = wide.logits[0].index(-math.inf)
    assert at == {-1: 2, 5: 2}.get(place, place)
    assert [t - (t > at) for t in wide.target] == list(ROWS.target)
    assert verdict("impossible-class-changes-nothing", wide) is Verdict.HOLDS


@pytest.mark.parametrize("spec", [{}, {"weighting": "ce_only"}, {"weighting": "rescaled_p"}])
@pytest.mark.parametrize("reduction", list(Reduction)[:3])
def test_the_closed_form_of_two_classes_is_the_reference_of_the_pair(spec, reduction):
    case = replace(ROWS, logits=((0.5, -1.0),), target=(1,), weight=(0.5, 3.0)).with_spec(reduction=reduction, **spec)
    context = Context(None, CLAIMED, case.format)
    closed = symmetries._closed(case, context)
    if reduction is Reduction.MEAN or spec.get("weighting") == "rescaled_p":
        assert closed is None
    else:
        assert closed.value(0).overlaps(Truth.of(case).value(0))
    bare = replace(case, weight=None)
    assert symmetries._closed(bare, context).value(0).overlaps(Truth.of(bare).value(0))


# --- labels -------------------------------------------------------------------------------------------------------


def test_whoever_refuses_soft_labels_under_weights_may():
    def losses(self, z, y):
        if y.is_floating_point() and self.weight is not None:
            raise TypeError("labels must be indices")
        return Textbook.losses(self, z, y)

    weighted, law = replace(ROWS, weight=(0.5, 2.0)), "one-hot-equals-index"
    assert verdict(law, ROWS, variant(losses=losses)) is Verdict.HOLDS
    assert verdict(law, weighted, variant(losses=losses)) is Verdict.INCONCLUSIVE

    def nothing(self, logits, labels):
        return Textbook.forward(self, logits, labels) if not labels.is_floating_point() else None

    assert verdict(law, ROWS, variant(forward=nothing)) is Verdict.VIOLATED


@pytest.mark.parametrize("mean", [math.nan, 0.0, 1.0])
def test_a_mean_of_ignored_rows_alone_is_no_number_or_zero(mean):
    def reduced(self, losses, y, kept):
        return losses.sum() * 0 + mean if not kept.any() else Textbook.reduced(self, losses, y, kept)

    nothing = replace(MEAN, target=(-7,) * 4, ignore_index=-7)
    found = check(LAWS["ignored-rows-count-for-nothing"], nothing, context(variant(reduced=reduced)))
    assert (found.verdict is Verdict.VIOLATED) is (mean == 1)
    for reduction in (Reduction.NONE, Reduction.SUM):
        assert verdict("ignored-rows-count-for-nothing", nothing.with_spec(reduction=reduction)) is Verdict.HOLDS


def test_a_class_may_be_the_ignored_label():
    case = replace(MEAN, ignore_index=1, weight=(0.5, 2.0))
    assert verdict("ignored-rows-count-for-nothing", case) is Verdict.HOLDS
    late = context(all_mutants()["ignored-rows-in-the-denominator"].loss)
    found = check(LAWS["ignored-rows-count-for-nothing"], case, late)
    assert found.explanation == "With rows that are ignored the loss is not that of the other rows alone."


def test_the_last_label_is_no_error_where_it_is_ignored():
    law = "label-out-of-range-is-an-error"
    from_the_end = all_mutants()["label-from-the-end"].loss
    assert verdict(law, ROWS, from_the_end) is Verdict.VIOLATED
    assert verdict(law, replace(ROWS, ignore_index=-1), from_the_end) is Verdict.HOLDS
    fixed = context(from_the_end, parameters=tuple(p for p in CONVENTION.parameters if p.name != "ignore_index"))
    assert check(LAWS[law], ROWS, fixed).verdict is Verdict.VIOLATED
    known = replace(fixed.convention, fixed=(("ignore_index", -1),))
    fixed.runner.convention = known
    assert check(LAWS[law], ROWS, fixed).verdict is Verdict.HOLDS


def test_a_process_that_dies_of_a_label_has_not_refused_it():
    with pytest.raises(Broke):
        refuses(Observation(error="killed", killed="signal SIGSEGV"))
    assert refuses(Observation(error="IndexError: out of range"))
    assert not refuses(Observation(error="returned None, no numbers"))


@pytest.mark.parametrize("reduction", list(Reduction)[:3])
def test_as_many_rows_as_classes_in_each_reduction(reduction):
    square = replace(ROWS, logits=ROWS.logits[:2], target=(0, 1), weight=(0.5, 2.0)).with_spec(reduction=reduction)
    law = "n-equal-to-c-is-not-confused"
    assert verdict(law, square) is Verdict.HOLDS
    confused = context(all_mutants()["classes-over-the-batch"].loss)
    found = check(LAWS[law], square, confused)
    assert found.explanation == (
        "With as many rows as classes, 2, the loss is another: batch and classes are confused."
    )


# --- weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [Reduction.MEAN, Reduction.MEAN_OVER_SAMPLES])
@pytest.mark.parametrize("known", [True, False])
def test_what_doubles_with_the_weights_is_the_dialects(mean, known):
    claims = replace(CLAIMED, mean=mean, known=known)

    def denominator(self, y, kept):
        return kept.sum()

    over_samples = variant(denominator=denominator)
    case = replace(MEAN, weight=(0.5, 2.0))
    for loss, own in ((Textbook, Reduction.MEAN), (over_samples, Reduction.MEAN_OVER_SAMPLES)):
        fits = not known or own is mean
        assert (verdict("scale-of-the-weights", case, loss, claims=claims) is Verdict.HOLDS) is fits


def test_an_element_of_weight_zero_is_zero_under_sigmoids():
    runner = LocalSubject(PolyBCEWithLogitsLoss)
    dialect = identify(runner)
    case = replace(ROWS, weight=(0.0, 2.0), spec=replace(dialect.spec, reduction=Reduction.NONE))
    assert check(LAWS["zero-weight-row-is-zero"], case, Context(runner, dialect, BINARY64)).verdict is Verdict.HOLDS


def test_whoever_computes_in_the_weights_dtype_returns_another_one():
    class Promoting(torch.nn.Module):
        def __init__(self, weight=None):
            super().__init__()
            self.weight = weight

        def forward(self, logits, labels):
            losses = F.cross_entropy(logits, labels, reduction="none")
            return losses if self.weight is None else losses * self.weight[labels]

    weight = Parameter("weight", "weight", "constructor")
    runner = LocalSubject(Promoting, convention=replace(CONVENTION, parameters=(weight,), reductions=("none",)))
    claims = replace(CLAIMED, settable=frozenset({"weight"}), spec=replace(PLAIN, epsilon=()))
    case = Case(PLAIN, BINARY16, ROWS.logits, ROWS.target, (0.5, 2.0))
    found = check(LAWS["weights-follow-the-module"], case, Context(runner, claims, BINARY16))
    assert (found.expected, found.observed) == ("binary16 of shape (4,)", "binary32 of shape (4,)")


def test_nothing_is_known_of_a_module_that_cannot_be_moved():
    law, case = "weights-follow-the-module", replace(ROWS, weight=(0.5, 2.0))

    class Bare:
        def __init__(self, *arguments, **keywords):
            self.loss = Textbook(*arguments, **keywords)

        def __call__(self, logits, labels):
            return self.loss(logits, labels)

    assert verdict(law, case) is Verdict.HOLDS
    assert verdict(law, case, Bare) is Verdict.INCONCLUSIVE
    assert verdict(law, replace(case, format=BINARY32)) is Verdict.INCONCLUSIVE


# --- reductions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", list(Reduction)[:3])
def test_a_batch_of_no_rows_may_be_refused(reduction):
    def forward(self, logits, labels):
        if not len(logits):
            raise ValueError("no rows")
        return Textbook.forward(self, logits, labels)

    case = ROWS.with_spec(reduction=reduction)
    assert verdict("empty-batch", case) is Verdict.HOLDS
    assert verdict("empty-batch", case, variant(forward=forward)) is Verdict.INCONCLUSIVE


def test_a_batch_of_one_has_the_shape_of_the_convention():
    def forward(self, logits, labels):
        return Textbook.forward(self, logits, labels)[..., None]

    one = replace(ROWS, logits=ROWS.logits[:1], target=(0,))
    columns = {"result": "column", "reductions": ("none",)}
    assert verdict("batch-of-one", one, variant(forward=forward), **columns) is Verdict.HOLDS
    found = check(LAWS["batch-of-one"], one, context(**columns))
    assert (found.expected, found.observed) == ("shape (1, 1)", "shape (1,)")
    assert found.remedy.startswith("Name the dimension")


# --- comparing answers --------------------------------------------------------------------------------------------


def test_answers_are_named_by_their_place():
    seen = context().observe(ROWS, gradient=True)
    found = answers(seen, Truth.of(ROWS))
    assert [str(p) for p in found][:4] == ["l of row 0", "l of row 1", "l of row 2", "l of row 3"]
    assert str(Place("dl/dz", 3, 1)) == "dl/dz_1 of row 3" == str(list(found)[-1])
    assert found[Place("l", 2)][0] == seen.value[2]
    undefined = replace(MEAN, weight=(0.0, 0.0))
    assert answers(context().observe(undefined, gradient=True), Truth.of(undefined)) == {}


@pytest.mark.parametrize(
    ("first", "second", "ratio"),
    [
        ((1.0, 0.5), (1.5, 0.5), 0.5),
        ((1.0, 0.0), (1.5, 0.0), math.inf),
        ((1.0, 0.0), (math.nan, 1.0), math.inf),
        ((math.inf, 1.0), (math.inf, 1.0), 0.0),
        ((math.nan, 1.0), (math.nan, 1.0), 0.0),
    ],
)
def test_answers_agree_within_both_tolerances(first, second, ratio):
    place = Place("l")
    assert agree({place: first}, {place: second}, "Not equal.").ratio == ratio


def test_answers_without_a_tolerance_say_nothing():
    place = Place("l")
    found = agree({place: (1.0, math.inf)}, {place: (2.0, 0.0)}, "Not equal.")
    assert found.verdict is Verdict.INCONCLUSIVE
    assert agree({place: (1.0, 0.25)}, {place: (2.0, 0.5)}, "Not equal.", factor=2).ratio == 0

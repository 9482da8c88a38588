"""The probe over a zoo of calling conventions."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from polyref.formats import BFLOAT16, BINARY16, BINARY32
from polyref.spec import Reduction
from polyref.subject import Convention, LocalSubject, NoConvention, NotOffered, ReturnsNothing
from polyref.subject.probe import probe
from subject import zoo
from subject.cases import POLY_1, PRINTED, case

ALL_FORMATS = ("binary64", "binary32", "binary16", "bfloat16")


def convention(name: str, **overrides) -> Convention:
    found = probe(getattr(zoo, name), name, **overrides)
    assert Convention.from_json(json.loads(json.dumps(found.to_json()))) == found
    return found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain", "plain(logits, labels) → (N,)"),
        ("keras_order", "keras_order(labels, logits, epsilon=…) → (N,)"),
        ("nameless_labels_first", "nameless_labels_first(labels, logits) → (N,)"),
        ("one_hot_only", "one_hot_only(logits, one_hot_labels, eps=…) → (N,)"),
        ("one_hot_keras", "one_hot_keras(one_hot_labels, logits) → (N,)"),
        ("nameless_one_hot_labels_first", "nameless_one_hot_labels_first(one_hot_labels, logits) → (N,)"),
        ("integer_one_hot", "integer_one_hot(logits, one_hot_integer_labels) → (N,)"),
        ("index_column", "index_column(logits, labels[:, None]) → (N,)"),
        ("column", "column(logits, labels) → (N, 1)"),
        ("elements", "elements(logits, labels) → (N, C)"),
        ("in_a_tuple", "in_a_tuple(logits, labels)[1] → (N,)"),
        ("in_a_dict", 'in_a_dict(logits, labels)["loss"] → (N,)'),
        ("mean_only", "mean_only(logits, labels) → a scalar"),
        ("keyword_only", "keyword_only(target=labels, input=logits, gamma=…) → (N,)"),
        ("epsilon_first", "epsilon_first(logits=logits, labels=labels, epsilon=…) → (N,)"),
        ("averaged", "averaged(logits, labels, size_average=False) → a scalar"),
        ("reduction_none_is_none", "reduction_none_is_none(logits, labels, reduction=None) → (N,)"),
        ("guarded", "guarded(logits, labels) → (N,)"),
        ("from_probabilities", "from_probabilities(softmax(logits), labels) → (N,)"),
        ("make_closure", "make_closure(num_classes=C, epsilon=…)(labels, logits) → (N,)"),
        (
            "Required",
            'Required(num_classes=C, epsilon=…, gamma=…, reduction="sum")(logits, labels) → a scalar',
        ),
        ("PolyN", 'PolyN(epsilon=…, N=…, reduction="none")(logits, labels) → (N,)'),
        ("Buffered", "Buffered(weight=…, label_smoothing=…, ignore_index=…)(logits, labels) → (N,)"),
        ("instance", "instance(logits, labels) → (N,)"),
        ("bound", "bound(logits, one_hot_labels, eps=…) → (N,)"),
    ],
)
def test_the_convention_is_found(name, text):
    found = convention(name)
    assert found.text == text
    assert found.attempts
    assert found.formats == ALL_FORMATS


def test_kinds():
    kinds = {n: convention(n).kind for n in ("plain", "make_closure", "Required", "instance", "bound")}
    assert kinds == {
        "plain": "function",
        "make_closure": "factory",
        "Required": "class",
        "instance": "instance",
        "bound": "function",
    }


@pytest.mark.parametrize(
    ("name", "reductions"),
    [
        ("plain", ("none",)),
        ("mean_only", ("mean",)),
        ("sum_only", ("sum",)),
        ("python_number", ("mean",)),
        ("averaged", ("sum", "mean")),
        ("reduction_none_is_none", ("none", "sum", "mean")),
        ("ignores_reduction", ("sum", "mean")),
        ("Required", ("sum", "mean")),
        ("PolyN", ("none", "sum", "mean")),
    ],
)
def test_the_reductions_are_found(name, reductions):
    assert convention(name).reductions == reductions


def test_defaults_are_read_from_the_signature():
    found = convention("keras_order").parameter("epsilon")
    assert (found.subject_name, found.where, found.default, found.required) == ("epsilon", "call", 2.0, False)
    required = convention("Required").parameter("epsilon")
    assert (required.default, required.required, required.where) == (None, True, "constructor")


def test_a_parameter_is_offered_only_if_a_call_took_it():
    # alpha=None is no float default, so it is not taken for a focal alpha; gamma is not in the signature.
    found = convention("Buffered")
    assert [found.can(p) for p in ("weight", "smoothing", "ignore_index", "alpha", "gamma", "epsilon", "soft")] == [
        *(True, True, True, False, False, False),
        True,
    ]
    with pytest.raises(ValueError, match="no parameter"):
        found.can("epsilonn")


def test_lists_of_coefficients():
    found = convention("PolyN")
    assert found.epsilon_form == "list"
    runner = LocalSubject(zoo.PolyN, convention=found)
    three = runner.observe(case(epsilon=(1.0, 0.5, 0.25)))
    one = runner.observe(case(epsilon=(1.0,)))
    none = runner.observe(case(epsilon=()))
    assert three.value > one.value > none.value


def test_soft_labels():
    assert convention("one_hot_only").soft
    assert convention("Buffered").soft
    assert not convention("plain").soft
    soft = replace(case(), target=((0.5, 0.5, 0.0), (0.0, 0.25, 0.75)))
    assert LocalSubject(zoo.one_hot_only).observe(soft).ok


def test_refused_formats_are_among_the_attempts():
    found = convention("single_precision")
    assert found.formats == ("binary32",)
    assert any("binary64" in a.call and "float32 only" in a.outcome for a in found.attempts)


class NoAttributes:
    """Its attributes cannot even be asked for."""

    def __init__(self, epsilon=1.0):
        object.__setattr__(self, "held", epsilon)

    def __getattr__(self, name):
        raise RuntimeError(f"no {name} for you")

    def __call__(self, logits, labels):
        log_pt = logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
        return -log_pt + self.held * (1 - log_pt.exp())


def test_attributes_that_cannot_be_looked_up_are_not_there():
    text = "NoAttributes(epsilon=…)(logits, labels) → (N,)"
    assert probe(NoAttributes, "NoAttributes").text == text
    assert LocalSubject(NoAttributes()).convention.text.endswith("(logits, labels) → (N,)")


def test_a_hard_coded_class_count():
    found = convention("three_classes")
    assert found.classes == 3
    assert found.objection(case(4)) == "it works with 3 classes only, and the case has 4"
    assert found.supports(case(3))


def test_an_instance_with_weights():
    found = convention("instance")
    assert found.classes == 3
    assert dict(found.fixed) == {"weight": (1.0, 2.0, 0.5)}
    assert found.default("weight") == (1.0, 2.0, 0.5)
    assert not found.can("weight")


def test_code_that_cannot_be_differentiated():
    found = convention("through_numpy")
    assert not found.differentiable
    seen = LocalSubject(zoo.through_numpy).observe(case())
    assert seen.ok
    assert seen.gradient is None
    assert seen.gradient_reason == "it takes no logits that require a gradient, or returns a number that has none"
    assert LocalSubject(zoo.through_numpy).observe(case(), gradient=False).gradient_reason is None


def test_overrides_are_passed_and_not_varied():
    found = convention("PolyN", init={"N": 2, "epsilon": [1.0, -0.5]})
    assert found.text == 'PolyN(reduction="none", N=2, epsilon=[1.0, -0.5])(logits, labels) → (N,)'
    assert not found.can("epsilon")
    assert dict(found.fixed)["epsilon"] == (1.0, -0.5)
    weighted = LocalSubject(zoo.Buffered, init={"weight": [1.0, 2.0, 0.5]})
    assert weighted.convention.classes == 3
    assert weighted.observe(case(3)).value != LocalSubject(zoo.Buffered).observe(case(3)).value
    called = LocalSubject(zoo.keras_order, call={"epsilon": 1.0})
    assert called.observe(PRINTED).value == pytest.approx(POLY_1, rel=1e-14)


def test_an_unknown_argument_can_be_given():
    message = str(refusal("hopeless"))
    assert "mystery" in message
    assert message.endswith("It needs what polyref has no value for: give --call mystery=value")
    with pytest.raises(ReturnsNothing):
        probe(zoo.hopeless, "hopeless", call={"mystery": "x"})


def refusal(name: str) -> NoConvention:
    with pytest.raises(NoConvention) as caught:
        probe(getattr(zoo, name), name)
    assert "\n" not in str(caught.value)
    return caught.value


def test_nothing_works():
    error = refusal("broken")
    assert "Tried broken(logits, labels), broken(labels, logits), " in str(error)
    assert str(error).count(": ValueError: always broken") == 1  # what failed alike is listed together
    assert "second line" not in str(error)
    assert len(error.attempts) > 8
    assert "(3, 3) for 3 rows of 4 classes" in str(refusal("square"))
    with pytest.raises(NoConvention, match=r"Holder\(\): gives a Holder, which cannot be called"):
        probe(zoo.Holder, "Holder", init={})
    with pytest.raises(NoConvention, match="no room for logits and labels"):
        probe(lambda x: x, "identity")


def test_nothing_is_returned():
    with pytest.raises(ReturnsNothing, match=r"^returns_none returns None: its body has no return value$") as caught:
        probe(zoo.returns_none, "returns_none")
    found = caught.value.convention
    assert found.text == "returns_none(logits, labels) → None"
    assert found.result == "nothing"
    assert Convention.from_json(found.to_json()) == found


def test_the_probe_is_repeatable():
    assert convention("Required") == convention("Required")


@pytest.mark.parametrize("name", ["plain", "one_hot_keras", "nameless_labels_first", "in_a_dict", "epsilon_first"])
def test_every_convention_gets_the_same_numbers(name):
    seen = LocalSubject(getattr(zoo, name)).observe(PRINTED)
    assert seen.value == pytest.approx(POLY_1, rel=1e-14)
    assert seen.inputs_untouched


def test_what_cannot_be_asked_for():
    subject = LocalSubject(zoo.plain)
    for wrong, says in [
        (case(reduction=Reduction.MEAN), "reduction 'mean'"),
        (replace(case(), weight=(1.0, 2.0, 1.0)), "no class weights"),
        (replace(case(), target=((1.0, 0.0, 0.0), (0.5, 0.5, 0.0))), "no soft labels"),
    ]:
        assert not subject.convention.supports(wrong)
        with pytest.raises(NotOffered, match=says):
            subject.observe(wrong)
        with pytest.raises(NotOffered, match=says):
            subject.observe_all([case(), wrong])
    narrow = LocalSubject(zoo.single_precision)
    assert "only binary32" in narrow.convention.objection(case())
    ignored = replace(case(), target=(-100, 1))
    assert "ignored" in LocalSubject(zoo.one_hot_only).convention.objection(ignored)
    assert "takes one epsilon" in LocalSubject(zoo.keras_order).convention.objection(case(epsilon=(1.0, 2.0)))
    third = replace(case(format=BINARY16), target=((1 / 3, 2 / 3, 0.0), (0.5, 0.5, 0.0)))
    assert "no number of binary16" in LocalSubject(zoo.one_hot_only).convention.objection(third)
    # The subject knows one mean; which one is for its dialect to say.
    assert LocalSubject(zoo.mean_only).convention.supports(case(reduction=Reduction.MEAN_OVER_SAMPLES))


@pytest.mark.parametrize("format", [BINARY32, BINARY16, BFLOAT16])
def test_logits_are_built_exactly(format):
    got = []

    def keeps(logits, labels):
        got.append(logits.detach().clone())
        return zoo.plain(logits, labels)

    subject = LocalSubject(keeps)
    z = (-0.0, format.largest, format.smallest_subnormal, float("-inf"))
    subject.observe(replace(case(4, format=format), logits=(z, z)))
    assert str(got[-1].dtype) == f"torch.{format.torch_name}"
    assert [v.hex() for v in got[-1][0].tolist()] == [v.hex() for v in z]


def test_global_state_is_left_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    LocalSubject(zoo.PolyN).observe(case())
    assert torch.equal(before, torch.random.get_rng_state())
    assert (threads, dtype) == (torch.get_num_threads(), torch.get_default_dtype())

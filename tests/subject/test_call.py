"""What an observation says about one call."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from polyref.formats import BINARY32
from polyref.subject import LocalSubject, Observation, Runner, Second, wire
from polyref.subject.manner import Manner
from polyref.subject.result import tensor_at
from subject import wild, zoo
from subject.cases import PRINTED, case


def observe(name: str, **options) -> Observation:
    return LocalSubject(getattr(zoo, name)).observe(PRINTED, **options)


def test_value_and_gradient():
    seen = observe("plain", twice=True)
    z = torch.tensor(PRINTED.logits, dtype=torch.float64, requires_grad=True)
    value = zoo.plain(z, torch.tensor(PRINTED.target))
    value.sum().backward()
    assert seen.value == tuple(value.tolist())
    assert seen.gradient == tuple(map(tuple, z.grad.tolist()))
    assert (seen.shape, seen.dtype, seen.trouble) == ((2,), "binary64", None)
    assert seen.second == Second(value_equal=True, gradient_equal=True)
    assert seen.inputs_untouched
    assert seen.warnings == ()


def test_no_gradient_is_computed_unless_asked_for():
    seen = observe("plain", gradient=False, twice=True)
    assert seen.ok
    assert seen.gradient is seen.gradient_reason is None
    assert seen.second == Second(value_equal=True, gradient_equal=None)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("detached", "cut off from the logits"),
        ("python_number", "returns a number that has none"),
        ("constant", "does not depend on the logits"),
    ],
)
def test_why_there_is_no_gradient(name, reason):
    reduction = "mean" if name == "python_number" else "none"
    seen = LocalSubject(getattr(zoo, name)).observe(PRINTED.with_spec(reduction=reduction))
    assert seen.ok
    assert seen.gradient is None
    assert reason in seen.gradient_reason


def test_a_backward_pass_that_raises():
    class Refuses(torch.autograd.Function):
        @staticmethod
        def forward(_, z):
            return z.sum(-1)

        @staticmethod
        def backward(_, g):
            raise NotImplementedError("no way back")

    seen = LocalSubject(lambda logits, labels: Refuses.apply(logits) + 0 * labels).observe(PRINTED)
    assert seen.value == (3.5, 4.1)
    assert seen.gradient_reason == "the backward pass raised NotImplementedError: no way back"


@pytest.mark.parametrize("name", ["overwrites_logits", "overwrites_labels"])
@pytest.mark.parametrize("gradient", [True, False])
def test_inputs_that_are_overwritten(name, gradient):
    seen = observe(name, gradient=gradient)
    assert seen.ok
    assert seen.inputs_untouched is False


def test_weights_that_are_overwritten():
    def loss(logits, labels, weight=None):
        if weight is not None:
            weight /= weight.sum()
        return torch.nn.functional.cross_entropy(logits, labels, weight, reduction="none")

    seen = LocalSubject(loss).observe(replace(PRINTED, weight=(1.0, 2.0, 3.0)))
    assert seen.inputs_untouched is False


def test_state_is_seen_in_the_second_call_and_not_in_the_next_case():
    subject = LocalSubject(zoo.Counting)
    first, second = subject.observe_all([PRINTED, PRINTED], twice=True)
    assert first == second
    assert first.second == Second(value_equal=False, gradient_equal=False)
    assert observe("SecondCallRaises", twice=True).second.error == "RuntimeError: once only"


def test_an_instance_keeps_no_state_between_cases():
    counting = zoo.Counting()
    subject = LocalSubject(counting)
    assert subject.observe(PRINTED) == subject.observe(PRINTED)
    assert counting.calls == 0


def test_an_exception_becomes_its_first_line():
    def picky(logits, labels):
        if logits.shape[-1] == 5:
            raise ValueError("\n  five classes \nare too many")
        return zoo.plain(logits, labels)

    seen = LocalSubject(picky).observe(case(5))
    assert seen.error == seen.trouble == "ValueError: five classes"
    assert not seen.ok
    assert seen.inputs_untouched


def test_a_subject_that_exits():
    def leaves(logits, labels):
        if logits.shape[-1] == 5:
            raise SystemExit("bye")
        return zoo.plain(logits, labels)

    seen = LocalSubject(leaves).observe(case(5))
    assert seen.killed == "exit 1"
    assert seen.trouble == "killed: exit 1"


def test_a_result_that_is_no_loss_for_one_case():
    def forgetful(logits, labels):
        return None if logits.shape[-1] == 5 else zoo.plain(logits, labels)

    assert LocalSubject(forgetful).observe(case(5)).error == "returned None, no numbers"


def test_warnings_are_collected_once():
    import warnings

    def warns(logits, labels):
        for text in ("old", "older", "old"):
            warnings.warn(text, DeprecationWarning, stacklevel=1)
        return zoo.plain(logits, labels)

    assert LocalSubject(warns).observe(PRINTED).warnings == ("old", "older")


def test_epsilon_zero_is_an_empty_list_of_terms():
    subject = LocalSubject(zoo.keras_order)
    nothing, zero = subject.observe_all([PRINTED.with_spec(epsilon=()), PRINTED.with_spec(epsilon=(0.0,))])
    assert nothing == zero


def test_saturated_numbers_survive_json():
    seen = LocalSubject(lambda logits, labels: logits * math.inf + labels[:, None]).observe(case(3))
    assert any(map(math.isnan, seen.value)) or math.inf in seen.value
    for back in (
        Observation.from_json(json.loads(json.dumps(seen.to_json()))),
        wire.unpack_observation(wire.decode(wire.encode(wire.pack_observation(seen)))),
    ):
        assert repr(back) == repr(seen)


def test_cases_survive_the_wire():
    hard = replace(
        case(4, epsilon=(0.1, -1.0), gamma=0.3, polynomial_link=None),
        logits=((-0.0, 5e-324, 0.1, -math.inf), (1e308, 1 / 3, 2.0, -2.0)),
        weight=(0.1, 0.0, 1.0, 2.0),
        ignore_index=-1,
    )
    soft = replace(case(3), target=((1 / 3, 2 / 3, 0.0), (0.5, 0.5, 0.0)))
    for one in (hard, soft, case(3, alpha=0.25, smoothing=0.1)):
        back = wire.unpack_case(wire.decode(wire.encode(wire.pack_case(one))))
        assert back == one
        assert repr(back) == repr(one)
        back.__post_init__()


def test_a_local_subject_is_a_runner():
    runner: Runner = LocalSubject(zoo.plain)
    assert runner.name == "plain"
    assert runner.source.doc == "Index labels, nothing to choose."
    assert set(runner.environment()) >= {"torch", "python", "cpu_capability", "device"}
    assert LocalSubject(zoo.instance).name == "Buffered"


# --- results and data of unusual forms -----------------------------------------------------------------------------


def test_a_score_comes_with_its_sign_turned():
    seen, loss = LocalSubject(wild.negated).observe(PRINTED), LocalSubject(wild.capital).observe(PRINTED)
    assert (seen.value, seen.gradient) == (loss.value, loss.gradient)


@pytest.mark.parametrize(("name", "path"), [("named_tuple", 1), ("data_class", ".loss")])
def test_a_loss_among_other_results(name, path):
    subject = LocalSubject(getattr(wild, name))
    assert subject.convention.result_path == path
    assert subject.observe(PRINTED).value == LocalSubject(wild.capital).observe(PRINTED).value
    assert tensor_at(object(), path) is None


def test_a_python_number_is_one_of_the_format_where_it_can_be():
    subject = LocalSubject(wild.number)
    mean = PRINTED.with_spec(reduction="mean")
    assert subject.observe(mean).dtype == "binary64"
    narrow = replace(mean, format=BINARY32, logits=((0.5, 0.25, 0.125), (1.0, 2.0, 3.0)))
    assert subject.observe(narrow).dtype == "binary32"
    assert tensor_at(True, None) is None


@pytest.mark.parametrize(
    ("name", "shape"),
    [("one_logit", (2, 3)), ("segmentation", (2,)), ("segmentation_last", ())],
)
def test_results_of_other_shapes_are_brought_back_to_rows(name, shape):
    subject = LocalSubject(getattr(wild, name))
    reduction = subject.convention.reductions[0]
    case = PRINTED.with_spec(reduction=reduction)
    seen = subject.observe(case)
    assert (seen.shape, len(seen.gradient), len(seen.gradient[0])) == (shape, 2, 3)
    if name != "one_logit":
        same = LocalSubject(wild.square_mean if shape == () else wild.eps1)
        assert seen.value == pytest.approx(same.observe(case).value, rel=1e-14)
    refused = subject.observe(case, manner=Manner(shape=(2, 1)))
    assert (refused.refused, refused.error) == (True, "not asked: it takes data of one shape only")


@pytest.mark.parametrize(("name", "margin"), [("probabilities", 800.0), ("binary_probabilities", 20.0)])
def test_probabilities_of_too_few_digits_are_not_handed_over(name, margin):
    subject = LocalSubject(getattr(wild, name))
    assert subject.observe(PRINTED).ok
    seen = subject.observe(replace(PRINTED, logits=((margin, 0.0, 0.0), (0.0, 0.0, 0.0))))
    assert (seen.refused, seen.error) == (True, "not asked: its probabilities are rounded to too few digits")


@pytest.mark.parametrize("name", ["int32_required", "bool_required", "scripted", "enumerated", "Learnable"])
def test_every_form_has_a_gradient_and_leaves_its_inputs(name):
    seen = LocalSubject(getattr(wild, name)).observe(PRINTED, twice=True)
    assert seen.gradient is not None
    assert seen.inputs_untouched
    assert seen.second == Second(value_equal=True, gradient_equal=True)

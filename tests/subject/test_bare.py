"""The first call that works, over the calling conventions of the wild."""

from __future__ import annotations

import json

import pytest

from polyref.errors import UsageError
from polyref.subject import Convention, LocalSubject, NoConvention, explore
from polyref.subject import probe as probing
from polyref.subject.overrides import Forms
from polyref.subject.probe import probe
from subject import wild, zoo
from subject.cases import POLY_1, PRINTED


def convention(name: str, **told) -> Convention:
    subject = wild
    for part in name.split("."):
        subject = getattr(subject, part)
    found = probe(subject, name, **told)
    assert Convention.from_json(json.loads(json.dumps(found.to_json()))) == found
    return found


ORDINARY = [
    ("capital", "capital(logits, labels, Epsilon=…) → (N,)"),
    ("eps1", "eps1(logits, labels, eps1=…) → (N,)"),
    ("eps_1", "eps_1(logits, labels, eps_1=…) → (N,)"),
    ("poly_alpha", "poly_alpha(labels, logits, poly_alpha=…) → (N,)"),
    ("poly_eps", "poly_eps(logits, labels, poly_eps=…) → (N,)"),
    ("PolylossEpsilon", "PolylossEpsilon(polyloss_epsilon=…)(logits, labels) → (N,)"),
    ("series", "series(logits, labels, epsilons=…) → (N,)"),
    ("make_poly_loss", "make_poly_loss(eps=…)(logits, labels) → (N,)"),
    ("Attribute", "(Attribute() with .epsilon=…)(logits, labels) → (N,)"),
    ("Learnable", "(Learnable() with .epsilon=…)(logits, labels) → (N,)"),
    ("tensor_required", "tensor_required(logits, labels, epsilon=…) → (N,)"),
    ("enumerated", 'enumerated(logits, labels, reduction="NONE") → (N,)'),
    ("upper_case", 'upper_case(logits, labels, reduction="NONE") → (N,)'),
    ("batchmean", 'batchmean(logits, labels, reduction="none") → (N,)'),
    ("old_flags", "old_flags(logits, labels, reduce=False) → (N,)"),
    ("Detection", 'Detection(epsilon=…, reduction="none")(logits, labels) → (N,)'),
    ("average", "average(logits, labels, average=False) → (N,)"),
    ("per_sample", "per_sample(logits, labels, per_sample=True) → (N,)"),
    ("labels_by_keyword", "labels_by_keyword(y_true=labels, y_pred=logits, epsilon=…) → (N,)"),
    ("weight_required", "weight_required(logits, labels, weight=…) → (N,)"),
    ("part", "part(labels, logits, poly_alpha=…) → (N,)"),
    ("scripted", "scripted(logits, labels, epsilon=…) → (N,)"),
    ("scripted_module", "scripted_module(logits, labels, epsilon=…) → (N,)"),
    ("anything", "anything(logits, labels) → (N,)"),
    ("methods.method", "methods.method(logits, labels) → (N,)"),
    ("Methods.static", "Methods.static(logits, labels) → (N,)"),
    ("Methods.of_class", "Methods.of_class(logits, labels, eps=…) → (N,)"),
    ("log_probabilities", "log_probabilities(log_softmax(logits), labels, epsilon=…) → (N,)"),
    ("use_softmax", "use_softmax(logits, labels) → (N,)"),
    ("logits_flag", "logits_flag(logits, labels, logits=True) → (N,)"),
    ("activation", 'activation(logits, labels, activation="softmax") → (N,)'),
    ("guesses", "guesses(logits, labels) → (N,)"),
    ("named_tuple", "named_tuple(logits, labels)[1] → (N,)"),
    ("data_class", "data_class(logits, labels, epsilon=…).loss → (N,)"),
    ("negated", "-negated(logits, labels, epsilon=…) → (N,)"),
    ("negated_mean", "-negated_mean(labels, logits) → a scalar"),
    ("number", "number(logits, labels) → a scalar"),
    ("square_mean", "square_mean(logits, labels) → a scalar"),
    ("multi_hot", "multi_hot(logits, one_hot_labels, epsilon=…) → (N, C)"),
    ("keras", "keras(labels, softmax(logits), epsilon=…) → (N,)"),
    ("probabilities", "probabilities(softmax(logits), labels, eps=…) → (N,)"),
    ("FromLogits", "FromLogits(epsilon=…, from_logits=True)(labels, logits) → (N,)"),
]
UNUSUAL = [
    ("whole_number_required", "whole_number_required(logits, labels, epsilon=1) → (N,)"),
    ("int32_required", "int32_required(logits, int32_labels) → (N,)"),
    ("bool_required", "bool_required(logits, one_hot_bool_labels) → (N,)"),
    ("one_logit", "one_logit(logits.flatten(), one_hot_labels.flatten(), epsilon=…) → (N*C,)"),
    (
        "one_logit_column",
        "one_logit_column(logits.flatten()[:, None], one_hot_labels.flatten()[:, None]) → a scalar",
    ),
    ("segmentation", "segmentation(logits[..., None, None], labels[..., None, None]) → (N, 1, 1)"),
    ("segmentation_last", "segmentation_last(logits[:, None, None], labels[:, None, None], eps=…) → a scalar"),
    ("binary_probabilities", "binary_probabilities(one_hot_labels, sigmoid(logits), epsilon=…) → (N, C)"),
    ("nll", "nll(log_softmax(logits), labels) → (N,)"),
    ("number_labels", "number_labels(logits, one_hot_labels) → (N,)"),
    ("swapped_roles", "swapped_roles(one_hot_labels, logits) → (N,)"),
]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of attempts up to and with the call that was taken, of every probe."""
    counts: list[int] = []

    def explored(trials, found, case):
        counts.append(len(trials.attempts))
        return explore.explored(trials, found, case)

    monkeypatch.setattr(probing, "explored", explored)
    return counts


@pytest.mark.parametrize(("name", "text"), ORDINARY)
def test_an_ordinary_call_is_found_within_three_trials(name, text, counted):
    found = convention(name)
    assert found.text == text
    assert counted[-1] <= 3
    assert len(found.attempts) <= 16


@pytest.mark.parametrize(("name", "text"), UNUSUAL)
def test_an_unusual_call_is_found_within_some_dozens(name, text, counted):
    found = convention(name)
    assert found.text == text
    assert 3 < counted[-1] <= 24


@pytest.mark.parametrize(
    "name",
    ["capital", "make_poly_loss", "Attribute", "tensor_required", "scripted", "FromLogits", "data_class", "negated"],
)
def test_every_manner_gives_the_numbers_of_the_articles(name):
    seen = LocalSubject(getattr(wild, name)).observe(PRINTED)
    assert seen.value == pytest.approx(POLY_1, rel=1e-14)
    assert seen.gradient is not None
    assert seen.inputs_untouched


def refusal(subject, name="loss", **told) -> str:
    with pytest.raises(NoConvention) as caught:
        probe(subject, name, **told)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_only_the_user_can_give_is_named():
    assert refusal(wild.mask_required).endswith("It needs what polyref has no value for: give --call mask=value")
    assert refusal(wild.Temperature).endswith("give --init temperature=value")
    assert probe(wild.mask_required, "loss", call={"mask": 1.0}).text == "loss(logits, labels, mask=1.0) → (N,)"
    assert probe(wild.Temperature, "T", init={"temperature": 1.0}).text == "T(temperature=1.0)(logits, labels) → (N,)"


def test_what_does_not_work_is_not_tried_for_ever():
    def fussy(logits, labels):
        raise ValueError(f"neither {tuple(logits.shape)} nor {tuple(labels.shape)}")

    with pytest.raises(NoConvention) as caught:
        probe(fussy, "fussy")
    assert len(caught.value.attempts) <= 160
    assert len(str(caught.value)) < 1500


def test_a_method_without_its_instance():
    said = refusal(wild.Methods.method, "Methods.method")
    assert said == (
        "Methods.method is a method of Methods and needs an instance: name the class, or an instance's method"
    )


def test_a_function_in_a_function_is_no_method():
    def loss(self, labels):
        return zoo.plain(self, labels)

    assert probe(loss, "loss").text == "loss(logits, labels) → (N,)"


def test_forms_that_are_told():
    assert convention("keras", forms=Forms(inputs="logits")).inputs == "logits"
    assert convention("anything", forms=Forms(inputs="log_probabilities")).inputs == "log_probabilities"
    assert convention("swapped_roles", forms=Forms(order="labels_first", labels="one_hot_integer")).labels == (
        "one_hot_integer"
    )
    told = probe(zoo.keyword_only, "loss", forms=Forms(order="labels_first"))
    assert told.text.startswith("loss(target=labels, input=logits")


def test_forms_that_do_not_work():
    said = refusal(wild.multi_hot, forms=Forms(labels="index", order="logits_first"))
    assert said.startswith(
        "loss: no way of calling it works with --labels index --order logits_first. Tried loss(logits"
    )
    assert said.endswith("or leave --labels index --order logits_first out")
    with pytest.raises(UsageError, match="inputs 'odds' is not known: choose one of logits, probabilities"):
        Forms(inputs="odds")


def test_names_that_leave_no_doubt_are_believed():
    def forgets_softmax(logits, labels):
        return -logits.gather(1, labels[:, None])[:, 0]

    found = probe(forgets_softmax, "loss")
    assert found.inputs == "logits"
    assert found.notes[0].startswith("No way of calling it that was tried makes little of certain right predictions")

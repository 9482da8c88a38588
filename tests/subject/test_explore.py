"""What else goes through: reductions, attributes, what is left alone, and what is worth a note."""

from __future__ import annotations

import pytest
import torch
from right import log_softmax_once

from polyref.spec import Reduction
from polyref.subject import LocalSubject
from polyref.subject.probe import probe
from subject import wild
from subject.cases import PRINTED


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("enumerated", (("none", "NONE"), ("sum", "SUM"), ("mean", "MEAN"))),
        ("upper_case", (("none", "NONE"), ("sum", "SUM"), ("mean", "MEAN"))),
        ("batchmean", (("none", "none"), ("sum", "sum"), ("mean", "batchmean"))),
        ("old_flags", (("none", False), ("mean", True))),
        ("average", (("none", False), ("mean", True))),
        ("per_sample", (("none", True), ("mean", False))),
    ],
)
def test_reductions_by_every_name(name, values):
    subject = LocalSubject(getattr(wild, name))
    assert subject.convention.reduction_values == values
    losses = subject.observe(PRINTED).value
    for reduction, _ in values[1:]:
        total = subject.observe(PRINTED.with_spec(reduction=Reduction(reduction))).value[0]
        assert total == pytest.approx(sum(losses) / (1 if reduction == "sum" else 2), rel=1e-14)


def test_what_is_left_at_its_default_is_stated():
    found = probe(wild.Detection, "Detection")
    assert found.left == (("loss_weight", 1.0), ("weight", None), ("avg_factor", None), ("reduction_override", None))
    assert probe(wild.use_softmax, "loss").left == (("use_softmax", True),)
    assert probe(wild.FromLogits, "FromLogits").left == ()


def test_an_epsilon_that_is_an_attribute():
    for kind in (wild.Attribute, wild.Learnable):
        subject = LocalSubject(kind)
        found = subject.convention.parameter("epsilon")
        assert (found.where, found.default) == ("attribute", 1.0 if kind is wild.Attribute else 2.0)
        nothing, one = (subject.observe(PRINTED.with_spec(epsilon=(e,))).value for e in (0.0, 1.0))
        assert nothing[0] < one[0]


def test_an_attribute_without_effect_is_no_epsilon():
    class Deaf(wild.Attribute):
        def forward(self, logits, labels):
            return log_softmax_once(logits, labels)

    assert not probe(Deaf, "Deaf").can("epsilon")


def test_an_instance_stays_as_it_was_made():
    subject = wild.Attribute()
    found = probe(subject, "loss")
    assert not found.can("epsilon")
    assert dict(found.fixed) == {"epsilon": 1.0}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("negated", "It returns the loss with its sign turned, to be maximised: a convention."),
        ("guesses", "It takes inputs that lie in [0, 1] for probabilities, and all others for logits"),
        ("keras", "It takes probabilities; it was given those of each case's logits"),
        ("nll", "It takes log-probabilities; it was given those of each case's logits"),
        ("binary_probabilities", "It takes sigmoid probabilities"),
        ("one_logit", "It takes one logit and one binary label for each of its problems"),
        ("number", "It returns a Python number: there is no gradient, and only its value was judged."),
    ],
)
def test_what_is_worth_a_note(name, says):
    (note,) = probe(getattr(wild, name), name).notes
    assert note.startswith(says)


def test_an_ordinary_loss_has_no_notes():
    for name in ("eps1", "Learnable", "FromLogits", "segmentation", "multi_hot", "data_class"):
        assert probe(getattr(wild, name), name).notes == ()


def test_multi_hot_labels_are_soft_labels():
    subject = LocalSubject(wild.multi_hot)
    assert subject.convention.soft
    case = PRINTED.with_spec(link="sigmoid")
    several = type(case)(case.spec, case.format, case.logits[:1], ((1.0, 1.0, 0.0),))
    p = torch.tensor(several.logits, dtype=torch.float64).sigmoid()[0]
    pt = torch.stack((p[0], p[1], 1 - p[2]))
    assert subject.observe(several).value == pytest.approx((1 - pt - pt.log()).tolist(), rel=1e-14)

"""What a weighting law leaves at epsilon = -1, read off the subject."""

from __future__ import annotations

from dataclasses import replace

import pytest
from right import entropy, pt
from torch.nn import functional as F

from polyref.formats import BINARY64
from polyref.gallery import gather, onehot
from polyref.subject.consequences import _left, consequences, descent
from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject
from polyref.subject.observation import Observation
from polyref_properties.mutants import textbook

pytestmark = pytest.mark.usefixtures("one_thread")


def notes(subject) -> tuple[str, ...]:
    runner = LocalSubject(subject)
    return consequences(runner, identify(runner))


def test_rescaled_probabilities_leave_constants_and_move_the_minimum():
    one, third = notes(gather.Poly1CrossEntropyLoss)
    assert one == (
        "At epsilon = -1 under the class weights (0.5, 1, 1.5), mean 1: the constants -0.5, 0, +0.5 stay in the value, "
        "and the gradient of the first term is cancelled. From equal logits, 100 steps of gradient descent arrive at "
        "Pt = 0.939, 0.958, 0.966."
    )
    assert third == (
        "At epsilon = -1 under the class weights (0.2, 0.3, 0.5), mean 0.3333: the constants -0.4, -0.1, +0.5 stay in "
        "the value; the loss of every class has its minimum at Pt = 0.333, and training stops there. From equal "
        "logits, 100 steps of gradient descent arrive at Pt = 0.333, 0.333, 0.333."
    )


def test_a_weight_on_the_cross_entropy_alone_has_its_minimum_at_the_weight():
    one, third = notes(onehot.Poly1CrossEntropyLoss)
    assert one == (
        "At epsilon = -1 under the class weights (0.5, 1, 1.5), mean 1: -0.5 x, 0 x, +0.5 x is left of the first term; "
        "the loss has its minimum at Pt = 0.5 for w = 0.5, and training stops there. From equal logits, 100 steps of "
        "gradient descent arrive at Pt = 0.5, 0.958, 0.994."
    )
    assert third.endswith(
        "minimum at Pt = 0.2 for w = 0.2, Pt = 0.3 for w = 0.3, Pt = 0.5 for w = 0.5, and training stops there. From "
        "equal logits, 100 steps of gradient descent arrive at Pt = 0.2, 0.3, 0.5."
    )


@pytest.mark.parametrize(("w", "minimum"), [(0.2, 1 / 3), (0.3, 1 / 3), (0.5, 1 / 3)])
def test_the_minimum_is_where_the_loss_is_least(w, minimum):
    vector = (0.2, 0.3, 0.5)
    left = _left(LocalSubject(gather.Poly1CrossEntropyLoss), BINARY64, vector, vector.index(w))
    assert left.weight == w
    assert left.constant == pytest.approx(3 * w - 1, abs=1e-12)
    assert left.minimum == pytest.approx(minimum, abs=1e-5)


@pytest.mark.parametrize(
    ("subject", "weight", "arrival"),
    [
        (onehot.Poly1CrossEntropyLoss, (0.2, 0.3, 0.5), (0.2, 0.3, 0.5)),  # Pt = w
        (gather.Poly1CrossEntropyLoss, (0.25, 0.5, 0.75), (0.5, 0.5, 0.5)),  # Pt = mu
        (gather.Poly1CrossEntropyLoss, (0.2, 0.3, 0.5), (1 / 3, 1 / 3, 1 / 3)),
    ],
)
def test_training_ends_where_the_loss_is_least(subject, weight, arrival):
    assert descent(LocalSubject(subject), BINARY64, weight) == pytest.approx(arrival, abs=1e-6)


def test_training_goes_on_under_the_whole_loss_law():
    assert min(descent(LocalSubject(textbook), BINARY64, (0.2, 0.3, 0.5))) > 0.6


def test_no_descent_without_a_gradient():
    def cut_off(logits, labels, epsilon=1.0, weight=None):
        return F.cross_entropy(logits.detach(), labels, weight=weight, reduction="none") + epsilon

    assert descent(LocalSubject(cut_off), BINARY64, (1.0, 1.0, 1.0)) is None


def test_a_weight_on_the_polynomial_alone_stops_above_one():
    def loss(logits, labels, epsilon=1.0, weight=None):
        w = 1 if weight is None else weight[labels]
        return entropy(logits, labels) + w * epsilon * (1 - pt(logits, labels))

    (note,) = notes(loss)
    assert "the loss has its minimum at Pt = 0.667 for w = 1.5, and training stops there." in note


def test_the_whole_loss_law_has_none():
    assert notes(textbook) == ()
    assert notes(onehot.Poly1FocalLoss) == ()  # a sigmoid's elements have no one Pt


def test_none_where_they_cannot_be_measured():
    runner = LocalSubject(gather.Poly1CrossEntropyLoss)
    dialect = identify(runner)
    assert consequences(runner, replace(dialect, settable=frozenset({"weight"}))) == ()

    class Mute:
        name = "mute"
        convention = runner.convention

        def observe_all(self, cases, **_):
            return [Observation(error="ValueError: no") for _ in cases]

    assert consequences(Mute(), dialect) == ()

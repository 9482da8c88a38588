"""What a subject does when it is told nothing is said in words."""

from __future__ import annotations

import pytest
from right import entropy, pt

from polyref.gallery import onehot, rewrapped
from polyref.nn.functional import poly_cross_entropy
from polyref.subject.defaults import defaults
from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject
from subject import peculiar, zoo

pytestmark = pytest.mark.usefixtures("one_thread")


def closed_over(epsilon):
    def loss(logits, labels):
        return entropy(logits, labels) + epsilon * (1 - pt(logits, labels))

    return loss


def squared(logits, labels):
    return (entropy(logits, labels) * (1 + pt(logits, labels))).sin()


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (onehot.Poly1CrossEntropyLoss, "Epsilon is 1 by default; its reduction is none by default."),
        (poly_cross_entropy, "Epsilon is 1 by default; its reduction is mean by default."),
        (zoo.keras_order, "Epsilon is 2 by default; it always returns one loss a row."),
        (
            zoo.sum_only,
            "Epsilon is fixed at 1, as its answers show: nothing sets it; it always returns the sum of the batch.",
        ),
        (closed_over(0.3), "Epsilon is fixed at 0.3, as it was set; it always returns one loss a row."),
        (
            peculiar.negative_square,
            "Epsilon is fixed at (0, -1), as its answers show: nothing sets it; it always returns one loss a row.",
        ),
        (peculiar.Square(-1.0), "Epsilon is fixed at -1, as it was set; it always returns the mean of the batch."),
        (
            peculiar.elsewhere,
            "Epsilon is fixed at (1.5, 0.75), as its answers show: it was set to 0.5; "
            "it always returns one loss a row.",
        ),
        (
            rewrapped.FocalLoss,
            "Epsilon is fixed at 0, as its answers show: nothing sets it; it always returns one loss a row.",
        ),
        (zoo.Required, "Epsilon has no default: it has to be given; its reduction has to be given."),
        (squared, "Epsilon cannot be chosen; it always returns one loss a row."),
    ],
)
def test_defaults(subject, text):
    runner = LocalSubject(subject)
    assert defaults(runner.convention, identify(runner)) == text


def test_what_was_set():
    runner = LocalSubject(zoo.PolyN, init={"N": 2, "epsilon": [1.0, -0.5]})
    assert defaults(runner.convention, identify(runner)).startswith("Epsilon is fixed at (1, -0.5), as it was set")

"""What lies outside the family is described by the terms that it is made of."""

from __future__ import annotations

import pytest
import torch
from right import entropy, made, x
from torch.nn import functional as F

from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject

# ruff: noqa: ARG005 -- every formula gets the same three arguments

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (lambda z, y, e: entropy(z, y) + (2 + 3 * e) * x(z, y), "CE + (2 + 3 eps) x"),
        (
            lambda z, y, e: entropy(z, y) + (e + e**3) * x(z, y),
            "CE + c(eps) [-2 at -1, 0 at 0, 2 at 1, 10 at 2] x",
        ),
        (
            lambda z, y, e: 0.75 * entropy(z, y) + 2 * x(z, y) ** 3 + 0.5 * z.gather(-1, y[:, None])[:, 0],
            "0.75 CE + 2 x^3 + 0.5 z_y, no dependence on epsilon",
        ),
        (
            lambda z, y, e: torch.sin(37 * z).sum(-1) + e * z.cos().prod(-1),
            "no law found: no combination of up to 3 of the 16 terms 1, CE, x, x^2, ... explains it (residual 0.61)",
        ),
    ],
)
def test_the_terms_are_found(formula, text):
    found = identify(LocalSubject(made(formula), name="loss"))
    assert not found.known
    assert found.weighting == "other"
    assert found.formula == text
    assert (found.residual < 1e-8) == ("no law" not in text)
    assert found.deviation == "Its formula is no member of the PolyLoss family."
    assert found.remedy


def weighted_fit(logits, labels, epsilon=1.0, weight=None):
    w = 1 if weight is None else weight[labels]
    return w * entropy(logits, labels) + (2 + 3 * epsilon) * x(logits, labels)


def test_which_terms_the_weight_multiplies():
    found = identify(LocalSubject(weighted_fit))
    assert found.formula == "CE + (2 + 3 eps) x; under class weights, at eps = 1: w CE + 5 x"


def test_weights_that_follow_no_law():
    def cubed(logits, labels, epsilon=1.0, weight=None):
        losses = entropy(logits, labels) + (2 + 3 * epsilon) * x(logits, labels)
        return losses if weight is None else losses * weight[labels] ** 3

    assert identify(LocalSubject(cubed)).formula == "CE + (2 + 3 eps) x; under class weights no law was found"


def test_a_sample_that_sees_the_others():
    def loss(logits, labels, epsilon=1.0):
        return entropy(logits, labels).mean() + (2 + 3 * epsilon) * x(logits, labels)

    assert identify(LocalSubject(loss)).formula.endswith("; in a batch a sample's value depends on the others")


def test_elements_of_a_sigmoid():
    def loss(logits, labels, epsilon=1.0):
        q = F.one_hot(labels, logits.shape[-1]).to(logits)
        agreed = torch.where(q == 1, logits.sigmoid(), (-logits).sigmoid())
        return F.binary_cross_entropy_with_logits(logits, q, reduction="none") + epsilon * (1 - agreed) ** 2

    assert identify(LocalSubject(loss)).formula == "BCE + eps x^2, for each logit by itself"


def test_one_number_of_something_else():
    """Whichever link comes nearest, a scalar that no law explains is reported and breaks nothing."""

    def loss(logits, labels):
        return logits.sin().sum() * labels.sum()

    found = identify(LocalSubject(loss))
    assert not found.known
    assert found.formula.startswith("no law found: ")

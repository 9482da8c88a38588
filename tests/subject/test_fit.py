"""What lies outside the family is described by the terms that it is made of."""

from __future__ import annotations

import pytest
import torch
from right import entropy, pt
from torch.nn import functional as F

from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject
from polyref_properties.mutants import all_mutants

# ruff: noqa: ARG005 -- every formula gets the same three arguments

pytestmark = pytest.mark.usefixtures("one_thread")


def made(formula):
    """A loss with an epsilon from a formula of (logits, labels, epsilon)."""

    def loss(logits, labels, epsilon=1.0):
        return formula(logits, labels, epsilon)

    return loss


def x(z, y):
    return 1 - pt(z, y)


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (lambda z, y, e: entropy(z, y) + e * x(z, y) ** 2, "CE + eps x^2"),
        (lambda z, y, e: entropy(z, y) + x(z, y) ** 3, "CE + x^3, no dependence on epsilon"),
        (lambda z, y, e: entropy(z, y) - e * x(z, y), "CE - eps x"),
        (lambda z, y, e: entropy(z, y) + x(z, y), "CE + x, no dependence on epsilon"),
        (lambda z, y, e: entropy(z, y) + e * e * x(z, y), "CE + eps^2 x"),
        (lambda z, y, e: entropy(z, y) + abs(e) * x(z, y), "CE + |eps| x"),
        (lambda z, y, e: entropy(z, y) + (2 + 3 * e) * x(z, y), "CE + (2 + 3 eps) x"),
        (lambda z, y, e: entropy(z, y) + 0.5 * e * x(z, y), "CE + 0.5 eps x"),
        (lambda z, y, e: entropy(z, y) + (e + e**3) * x(z, y), "CE + c(eps) [-2 at -1, 0 at 0, 2 at 1, 10 at 2] x"),
        # A score to be maximised is judged with its sign turned, and what is left of it is another formula.
        (lambda z, y, e: -entropy(z, y) + e * x(z, y), "CE - eps x"),
        (lambda z, y, e: entropy(z, y) + e * (1 + entropy(z, y)), "eps + (1 + eps) CE"),
        (lambda z, y, e: x(z, y) ** 2 * entropy(z, y) + e * x(z, y), "eps x + x^2 CE"),
        (lambda z, y, e: entropy(z.softmax(-1), y) + e * x(z, y), "eps x + CE of the probabilities"),
        (
            lambda z, y, e: F.cross_entropy(z, y, label_smoothing=0.1, reduction="none") + e * x(z, y),
            "0.9 CE + eps x + 0.1 mean_k CE_k",
        ),
        (
            lambda z, y, e: entropy(z, y) + e * (1 - z.sigmoid().gather(-1, y[:, None])[:, 0]),
            "CE + eps (1 - sigmoid z_y)",
        ),
        (lambda z, y, e: entropy(z, y) + e * (1 - z.softmax(-1).amax(-1)), "CE + eps (1 - max_k p_k)"),
        (
            lambda z, y, e: entropy(z, y).mean() + e * x(z, y),
            "CE + eps x; in a batch a sample's value depends on the others",
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


@pytest.mark.parametrize(
    ("name", "under_weights"),
    [
        ("weight-on-polynomial-only", "CE + w x"),
        ("weight-normalised", "w/sum(w) CE + w/sum(w) x"),
        ("squared-term", "w CE + w x^2"),
    ],
)
def test_which_terms_the_weight_multiplies(name, under_weights):
    found = identify(LocalSubject(all_mutants()[name].loss))
    assert found.formula.endswith(f"; under class weights, at eps = 1: {under_weights}")


def test_weights_that_follow_no_law():
    def squared(logits, labels, epsilon=1.0, weight=None):
        losses = entropy(logits, labels) + epsilon * x(logits, labels)
        return losses if weight is None else losses * weight[labels] ** 2

    assert identify(LocalSubject(squared)).formula == "CE + eps x; under class weights no law was found"


def test_elements_of_a_sigmoid():
    def loss(logits, labels, epsilon=1.0):
        q = F.one_hot(labels, logits.shape[-1]).to(logits)
        agreed = torch.where(q == 1, logits.sigmoid(), (-logits).sigmoid())
        return F.binary_cross_entropy_with_logits(logits, q, reduction="none") + epsilon * (1 - agreed) ** 2

    assert identify(LocalSubject(loss)).formula == "CE + eps x^2"


def test_one_number_of_something_else():
    """Whichever link comes nearest, a scalar that no law explains is reported and breaks nothing."""

    def loss(logits, labels):
        return logits.sin().sum() * labels.sum()

    found = identify(LocalSubject(loss))
    assert not found.known
    assert found.formula.startswith("no law found: ")

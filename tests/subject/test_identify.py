"""The law that a subject follows is named, with its defaults."""

from __future__ import annotations

import pytest
import right
import torch
from right import entropy, pt, reduced, weighted
from torch.nn import functional as F

from polyref.errors import NothingMeasured
from polyref.formats import BINARY16
from polyref.gallery import gather, onehot, rewrapped
from polyref.nn.functional import poly_cross_entropy
from polyref.spec import Link, Reduction, Weighting
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject
from polyref.subject.observation import Observation
from polyref_properties.mutants import textbook
from subject import zoo
from subject.cases import case

pytestmark = pytest.mark.usefixtures("one_thread")


def named(subject, **overrides) -> Dialect:
    found = identify(LocalSubject(subject, **overrides))
    assert found.known, found.formula
    assert found.residual < 1e-12
    assert not found.notes
    return found


def one_hot(labels, logits):
    return F.one_hot(labels, logits.shape[-1]).to(logits)


def weight_on_entropy(logits, labels, epsilon=2.0, weight=None, reduction="sum"):
    losses = F.cross_entropy(logits, labels, weight=weight, reduction="none") + epsilon * (1 - pt(logits, labels))
    return losses if reduction == "none" else getattr(losses, reduction)()


def fixed_focal(logits, labels, epsilon=-1.0):
    x = 1 - pt(logits, labels)
    return x**3 * entropy(logits, labels) + epsilon * x**4


def fixed_gamma_and_epsilon(logits, labels):
    x = 1 - pt(logits, labels)
    return x**1.5 * entropy(logits, labels) + 0.3 * x**2.5


def fixed_default(logits, labels, gamma=0.7):
    """gamma can be passed, and is checked to be what it is."""
    return (1 - pt(logits, labels)) ** gamma * entropy(logits, labels)


def elements(logits, labels, epsilon=1.0, alpha=0.25, gamma=2.0):
    q = one_hot(labels, logits)
    agreed = torch.where(q == 1, logits.sigmoid(), (-logits).sigmoid())
    balance = torch.where(q == 1, alpha, 1 - alpha)
    bce = F.binary_cross_entropy_with_logits(logits, q, reduction="none")
    return balance * (1 - agreed) ** gamma * bce + epsilon * (1 - agreed) ** (gamma + 1)


def poly_3(logits, labels):
    x = 1 - pt(logits, labels)
    return entropy(logits, labels) - x + 0.25 * x**3


@pytest.mark.parametrize(
    ("subject", "formula"),
    [
        (textbook, "w [CE + eps x]"),
        (weight_on_entropy, "w CE + eps x"),
        (gather.Poly1CrossEntropyLoss, "w [CE + (eps/mu) x] + eps (1 - w/mu)"),
        (right.focal, "w [x^gamma CE + eps x^(gamma+1)]"),
        (fixed_focal, "x^3 CE + eps x^4"),
        (fixed_gamma_and_epsilon, "x^1.5 CE + 0.3 x^2.5"),
        (fixed_default, "x^gamma CE"),
        (right.poly_n, "w [CE + sum_j eps_j x^j]"),
        (poly_3, "CE - x + 0.25 x^3"),
        (poly_cross_entropy, "w [x^gamma CE + sum_j eps_j x^(gamma+j)]"),
        (
            elements,
            "alpha_t x^gamma BCE + eps x^(gamma+1), alpha_t = 0.25 for the target class, 0.75 for the others, "
            "for each logit by itself",
        ),
        (
            onehot.Poly1FocalLoss,
            "w alpha_t x^gamma BCE + eps x^(gamma+1), alpha_t = 0.25 for the target class, 0.75 for the others, "
            "for each logit by itself",
        ),
        (zoo.elements, "BCE, for each logit by itself"),
        (rewrapped.FocalLoss, "w x^gamma CE, w = 0.25 for class 0, 0.75 for the others"),
        (
            rewrapped.poly1_focal_loss_torch,
            "w x^gamma CE + eps mean_k x_k^3 (x_k = 1 - Pt of sigmoid), w = 0.25 for class 0, 0.75 for the others",
        ),
        (rewrapped.poly1_cross_entropy_torch, "CE + eps x"),
        (zoo.plain, "CE + x"),
        (zoo.keras_order, "CE + eps x"),
        (zoo.one_hot_only, "CE + eps x"),
        (zoo.integer_one_hot, "CE + x"),
        (zoo.column, "CE + x"),
        (zoo.three_classes, "CE + x"),
        (zoo.from_probabilities, "CE"),
        (zoo.instance, "w CE, w = (1, 2, 0.5)"),
        (zoo.bound, "CE + eps x"),
        (zoo.make_closure, "CE + eps x"),
        (zoo.Required, "x^gamma CE + eps x^(gamma+1)"),
        (zoo.sum_only, "CE + x"),
        (zoo.mean_only, "CE + x"),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_the_law_is_named(subject, formula):
    assert named(subject).formula == formula


def test_the_parts_of_a_dialect():
    found = named(weight_on_entropy)
    assert (found.spec.epsilon, found.spec.reduction, found.weighting) == ((2.0,), Reduction.SUM, "ce_only")
    assert found.spec.weighting is Weighting.CE_ONLY
    assert found.mean is Reduction.MEAN_OVER_SAMPLES
    assert found.settable == {"epsilon", "weight"}
    assert named(textbook).mean is Reduction.MEAN
    assert named(textbook).weighting == "both"
    assert named(fixed_focal).spec.epsilon == (-1.0,)
    assert named(fixed_focal).spec.gamma == 3.0
    assert named(fixed_gamma_and_epsilon).spec.epsilon == (0.3,)
    assert named(right.poly_n).spec.epsilon == (1.0, 0.5)
    assert named(poly_3).spec.epsilon == (-1.0, 0.0, 0.25)
    sigmoid = named(elements)
    assert (sigmoid.spec.link, sigmoid.spec.alpha, sigmoid.weighting) == (Link.SIGMOID, 0.25, "none")
    mixed = named(rewrapped.poly1_focal_loss_torch)
    assert (mixed.spec.polynomial_link, mixed.spec.polynomial_gamma) == (Link.SIGMOID, 2.0)
    assert mixed.built_in == (0.25, 0.75)


@pytest.mark.parametrize(("epsilon", "expected"), [(0.5, 0.5), (1 / 3, 1 / 3), (-2.0, -2.0), (0.1, 0.1), (7.25, 7.25)])
def test_a_fixed_epsilon_is_measured(epsilon, expected):
    def fixed(logits, labels):
        return entropy(logits, labels) + epsilon * (1 - pt(logits, labels))

    found = named(fixed)
    assert found.spec.epsilon == (expected,)
    assert found.formula == f"CE {'-' if epsilon < 0 else '+'} {abs(epsilon):g} x"


def test_overrides_are_part_of_the_law():
    found = named(zoo.PolyN, init={"N": 2, "epsilon": [1.0, -0.5]})
    assert found.formula == "CE + x - 0.5 x^2"
    assert found.spec.epsilon == (1.0, -0.5)
    assert named(zoo.Buffered, init={"weight": [1.0, 2.0, 0.5]}).built_in == (1.0, 2.0, 0.5)
    third = named(gather.Poly1CrossEntropyLoss, init={"weight": [0.25, 0.5, 0.75], "epsilon": -1.0})
    assert third.spec.weighting is Weighting.RESCALED_P
    assert third.spec.epsilon == (-1.0,)


def mean_of(losses):
    def loss(logits, labels, epsilon=1.0, weight=None):
        return losses(logits, labels, epsilon, weight)

    return loss


def poly(logits, labels, epsilon):
    return entropy(logits, labels) + epsilon * (1 - pt(logits, labels))


@pytest.mark.parametrize(
    ("loss", "formula", "mean"),
    [
        (
            lambda z, y, e, w: reduced(weighted(poly(z, y, e), y, w), y, w, "mean"),
            "w [CE + eps x]",
            Reduction.MEAN,
        ),
        (lambda z, y, e, w: weighted(poly(z, y, e), y, w).mean(), "w [CE + eps x]", Reduction.MEAN_OVER_SAMPLES),
        (
            lambda z, y, e, w: (F.cross_entropy(z, y, weight=w, reduction="none") + e * (1 - pt(z, y))).mean(),
            "w CE + eps x",
            Reduction.MEAN_OVER_SAMPLES,
        ),
        (lambda z, y, e, w: weighted(poly(z, y, e), y, w).sum(), "w [CE + eps x]", Reduction.MEAN),
    ],
)
def test_a_law_that_is_known_by_one_number_alone(loss, formula, mean):
    found = named(mean_of(loss))
    assert (found.formula, found.mean) == (formula, mean)


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_one_number_of_sigmoids(reduce):
    def loss(logits, labels, epsilon=1.0):
        return getattr(elements(logits, labels, epsilon, gamma=0.0), reduce)()

    assert named(loss).spec.link is Link.SIGMOID


@pytest.mark.parametrize(
    ("subject", "default"),
    [
        (zoo.averaged, Reduction.MEAN),
        (zoo.reduction_none_is_none, Reduction.MEAN),
        (zoo.PolyN, Reduction.MEAN),
        (zoo.sum_only, Reduction.SUM),
        (zoo.Required, Reduction.SUM),
        (onehot.Poly1CrossEntropyLoss, Reduction.NONE),
    ],
)
def test_the_default_reduction_is_read_out(subject, default):
    assert named(subject).spec.reduction is default


def test_single_precision_inside_is_noticed():
    def loss(logits, labels, epsilon=1.0):
        return poly(logits.float(), labels, epsilon).to(logits)

    found = identify(LocalSubject(loss))
    assert found.known
    assert found.formula == "CE + eps x"
    assert 1e-9 < found.residual < 1e-6
    assert "as if they had been computed in binary32" in found.notes[0]


def test_own_weights_are_numbers_of_the_format():
    found = named(zoo.Buffered, init={"weight": [0.1, 2.0, 0.5]})
    own = found.own(case(3, format=BINARY16, epsilon=()))
    assert own.weight == (BINARY16.round(0.1), 2.0, 0.5)
    assert found.own(case(3, epsilon=())).weight == (0.1, 2.0, 0.5)


def test_a_subject_that_answers_nothing_is_not_identified():
    class Mute:
        name = "mute"
        convention = Convention("mute", "function", reductions=("none",), formats=("binary64",))

        def observe_all(self, cases, **_):
            return [Observation(error="ValueError: no") for _ in cases]

    with pytest.raises(NothingMeasured, match="mute answered none"):
        identify(Mute())

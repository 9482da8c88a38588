"""The gallery behaves like its formulas, defects included."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch
from torch.nn import functional as F

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import BINARY64
from polyref.gallery import ENTRIES, entry
from polyref.spec import Link, Reduction, Spec, Weighting
from polyref.subject import LocalSubject, ReturnsNothing

#: The rows of both articles.
LOGITS, LABELS = ((2.0, 0.5, 1.0), (0.1, 1.0, 3.0)), (1, 2)
WEIGHT = (0.25, 1.0, 2.0)


def loaded(name: str):
    module, _, attribute = entry(name).target.partition(":")
    return getattr(import_module(module), attribute)


def observed(name: str, *, weight=None, logits=LOGITS, labels=LABELS, twice=False, **spec):
    case = Case(Spec(**spec), BINARY64, logits, labels, weight)
    return LocalSubject(loaded(name)).observe(case, twice=twice)


def by_formula(formula, labels=LABELS):
    """The value and gradient of a formula of (logits, one-hot labels)."""
    z = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    value = formula(z, F.one_hot(torch.tensor(labels), 3).double())
    value.sum().backward()
    return value.flatten().tolist(), z.grad.flatten().tolist()


def agree(seen, formula, labels=LABELS):
    value, gradient = by_formula(formula, labels)
    assert seen.value == pytest.approx(value, rel=1e-13)
    assert [g for row in seen.gradient for g in row] == pytest.approx(gradient, rel=1e-12, abs=1e-15)


def pt(z, q):
    return (z.softmax(-1) * q).sum(-1)


def weight_of(q):
    return q @ torch.tensor(WEIGHT, dtype=torch.float64)


@pytest.mark.parametrize("epsilon", [1.0, -1.0, 0.0, 2.5])
def test_one_hot_form(epsilon):
    agree(
        observed("onehot-cross-entropy", weight=WEIGHT, epsilon=(epsilon,)),
        lambda z, q: -weight_of(q) * pt(z, q).log() + epsilon * (1 - pt(z, q)),
    )


@pytest.mark.parametrize("epsilon", [1.0, -1.0, 0.0, 2.5])
def test_gather_form(epsilon):
    mu = sum(WEIGHT) / 3
    agree(
        observed("gather-rescaled", weight=WEIGHT, epsilon=(epsilon,)),
        lambda z, q: -weight_of(q) * pt(z, q).log() + epsilon * (1 - pt(z, q) * weight_of(q) / mu),
    )
    agree(
        observed("gather-rescaled", epsilon=(epsilon,)),
        lambda z, q: -pt(z, q).log() + epsilon * (1 - pt(z, q)),
    )


@pytest.mark.parametrize(("alpha", "gamma", "epsilon"), [(0.25, 2.0, 1.0), (0.5, 0.5, -1.0), (-1.0, 3.0, 2.0)])
def test_sigmoid_focal_form(alpha, gamma, epsilon):
    def formula(z, q):
        p = torch.sigmoid(z * (2 * q - 1))
        balance = torch.where(q == 1, alpha, 1 - alpha) if alpha >= 0 else 1.0
        weight = torch.tensor(WEIGHT, dtype=torch.float64)
        return -balance * weight * (1 - p) ** gamma * p.log() + epsilon * (1 - p) ** (gamma + 1)

    seen = observed(
        "onehot-sigmoid-focal", weight=WEIGHT, alpha=alpha, gamma=gamma, epsilon=(epsilon,), link=Link.SIGMOID
    )
    agree(seen, formula)
    assert seen.shape == (2, 3)


@pytest.mark.parametrize("name", ["onehot-cross-entropy", "gather-rescaled", "onehot-sigmoid-focal"])
def test_reductions(name):
    rows = observed(name).value
    assert observed(name, reduction=Reduction.SUM).value == pytest.approx([sum(rows)])
    assert observed(name, reduction=Reduction.MEAN).value == pytest.approx([sum(rows) / len(rows)])


def test_the_cross_entropy_of_rewrapped_tensors_has_no_gradient():
    seen = observed("rewrapped-cross-entropy", epsilon=(2.0,))
    value, _ = by_formula(lambda z, q: -pt(z, q).log() + 2 * (1 - pt(z, q)))
    _, gradient = by_formula(lambda z, q: 2 * (1 - pt(z, q)))
    assert seen.value == pytest.approx(value, rel=1e-14)
    assert [g for row in seen.gradient for g in row] == pytest.approx(gradient, rel=1e-13)
    assert any("copy construct" in w for w in seen.warnings)


def test_the_focal_loss_loses_its_alphas():
    seen = observed("rewrapped-focal", gamma=2.0, alpha=0.25, twice=True)
    agree(seen, lambda z, q: -torch.where(q[:, 0] == 1, 0.25, 0.75) * (1 - pt(z, q)) ** 2 * pt(z, q).log())
    assert "index 2 is out of bounds" in seen.second.error
    # Without a label beyond the batch the second call is silent, and wrong.
    silent = observed("rewrapped-focal", gamma=2.0, alpha=0.25, labels=(1, 0), twice=True)
    assert silent.second.error is None
    assert not silent.second.value_equal


@pytest.mark.parametrize("gamma", [2.0, 0.5])
def test_the_mixed_focal_loss_cubes_whatever_gamma_is(gamma):
    def formula(z, q):
        focal = -torch.where(q[:, 0] == 1, 0.25, 0.75) * (1 - pt(z, q)) ** gamma * pt(z, q).log()
        return focal + 1.5 * ((1 - torch.sigmoid(z * (2 * q - 1))) ** 3).mean(-1)

    agree(observed("rewrapped-mixed-focal", gamma=gamma, alpha=0.25, epsilon=(1.5,)), formula)


@pytest.mark.parametrize(
    ("name", "printed", "exact"),
    [
        ("onehot-cross-entropy", (2.8241, 0.3342), (2.8241244009418563571, 0.33417147673784707224)),
        ("gather-rescaled", (2.8241, 0.3342), (2.8241244009418563571, 0.33417147673784707224)),
        ("rewrapped-cross-entropy", (2.8241, 0.3342), (2.8241244009418563571, 0.33417147673784707224)),
        ("rewrapped-focal", (1.0890, 0.0033), (1.0890161768583238155, 0.0033422146123155047062)),
        ("rewrapped-mixed-focal", (1.4650, 0.1818), (1.4649664275909131837, 0.18184367866959761494)),
    ],
)
def test_the_articles_example(name, printed, exact):
    seen = observed(name, gamma=2.0, alpha=0.25)
    assert tuple(round(v, 4) for v in seen.value) == printed
    assert seen.value == pytest.approx(exact, rel=1e-8)  # exact but for the logit 0.1, which binary64 holds


def test_the_listing_that_returns_nothing():
    with pytest.raises(ReturnsNothing, match="its forward has no return value") as caught:
        LocalSubject(loaded("returns-nothing"))
    assert "→ None" in caught.value.convention.text


def test_entries_are_consistent():
    ids = [e.id for e in ENTRIES]
    assert len(set(ids)) == len(ids)
    for e in ENTRIES:
        assert entry(e.id) is e
        assert e.target.startswith("polyref.gallery.")
        assert e.framework != "torch" or callable(loaded(e.id))
        assert (e.exit_code == 1) == bool(e.defects)
        assert len({d.property_id for d in e.defects}) == len(e.defects)
        assert all(d.summary.endswith(".") and d.remedy for d in e.defects)
        assert e.weighting is None or isinstance(e.weighting, Weighting)
    with pytest.raises(UsageError, match="choose one of onehot-cross-entropy"):
        entry("nothing-like-it")

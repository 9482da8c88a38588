"""Specs: the responses' exact coefficients against the formulas, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from cases import specs
from hypothesis import given, settings
from hypothesis import strategies as st

from polyref.errors import UsageError
from polyref.spec import Link, Reduction, Response, Spec, Weighting

QUICK = settings(max_examples=120, deadline=None, derandomize=True, database=None)
SHARES = st.fractions(0, 1, max_denominator=1000)
WEIGHTS = st.fractions(0, 10, max_denominator=100)


def polynomial(response: Response, pt: Fraction) -> Fraction:
    """B sum_j eps_j (1 - r Pt)^j, by its definition."""
    y = 1 - response.rescale * pt
    return response.poly_weight * sum((eps * y**j for j, eps in enumerate(response.epsilon, 1)), Fraction(0))


@given(spec=specs(), weight=WEIGHTS, mean=WEIGHTS.filter(bool), pt=SHARES, positive=st.booleans())
@QUICK
def test_coefficients_expand_the_polynomial_in_x(
    spec: Spec, weight: Fraction, mean: Fraction, pt: Fraction, positive: bool
) -> None:
    response = spec.response(weight, mean, positive=positive)
    x = 1 - pt
    assert sum((c * x**i for i, c in enumerate(response.coefficients)), Fraction(0)) == polynomial(response, pt)


def test_the_whole_loss_law_weights_every_coefficient_of_the_series() -> None:
    eps, w = (Fraction(1, 2), Fraction(-1, 2), Fraction(0)), Fraction(3)
    response = Spec(epsilon=tuple(map(float, eps))).response(w, Fraction(7))
    for j in range(1, 8):
        extra = eps[j - 1] if j <= len(eps) else 0
        assert response.series_coefficient(j) == w * (Fraction(1, j) + extra)
    assert response.series_coefficient(0) == 0


def test_eps_minus_one_cancels_the_first_term_under_the_whole_loss_law_alone() -> None:
    w, mean = Fraction(1, 2), Fraction(3, 4)
    first = {law: Spec(epsilon=(-1.0,), weighting=law).response(w, mean).series_coefficient(1) for law in Weighting}
    assert first == {Weighting.BOTH: 0, Weighting.CE_ONLY: w - 1, Weighting.RESCALED_P: w - w / mean}


def test_the_rescaled_law_is_a_constant_and_a_rescaled_epsilon() -> None:
    # w CE + eps (1 - Pt w/mu) = w [CE + (eps/mu) x] + eps (1 - w/mu)
    w, mu, eps = Fraction(3, 2), Fraction(5, 4), Fraction(-1, 4)
    response = Spec(epsilon=(-0.25,), weighting=Weighting.RESCALED_P).response(w, mu)
    assert response.coefficients == (eps * (1 - w / mu), w * eps / mu)
    assert response.log_weight == w


def test_alpha_is_on_the_logarithm_and_complements_for_the_other_class() -> None:
    spec = Spec(link=Link.SIGMOID, alpha=0.25)
    assert spec.response(Fraction(2), Fraction(1)).log_weight == Fraction(1, 2)
    assert spec.response(Fraction(2), Fraction(1), positive=False).log_weight == Fraction(3, 2)
    assert spec.response(Fraction(2), Fraction(1)).poly_weight == 2
    both = Spec(link=Link.SIGMOID, alpha=0.25, alpha_on_polynomial=True)
    assert both.response(Fraction(2), Fraction(1)).poly_weight == Fraction(1, 2)
    assert both.response(Fraction(2), Fraction(1), positive=False).poly_weight == Fraction(3, 2)


def test_a_polynomial_of_its_own_link_leaves_the_logarithm_alone() -> None:
    spec = Spec(epsilon=(1.0,), gamma=2.0, alpha=0.25, polynomial_link=Link.SIGMOID)
    responses = spec.responses((1.0, 2.0), 2)
    assert [r.epsilon for r in responses.positive] == [(), ()]
    assert [(a.log_weight, a.poly_weight, a.gamma) for a, _ in responses.mixed] == [(0, 1, 2), (0, 2, 2)]
    assert all(a == b for a, b in responses.mixed)
    fixed = Spec(gamma=1.0, polynomial_link=Link.SIGMOID, polynomial_gamma=2.0).responses(None, 1)
    assert fixed.positive[0].gamma == 1
    assert fixed.mixed[0][0].gamma == 2
    assert not Spec(polynomial_link=Link.SOFTMAX).mixed


def test_names_and_whole_numbers_are_kept_as_what_they_stand_for() -> None:
    spec = Spec(link="sigmoid", epsilon=[1, 2], gamma=2, weighting="ce_only", smoothing=0, reduction="mean", alpha=1)
    assert spec == Spec(Link.SIGMOID, (1.0, 2.0), 2.0, Weighting.CE_ONLY, 0.0, Reduction.MEAN, 1.0)
    assert spec.link is Link.SIGMOID
    assert spec.weighting is Weighting.CE_ONLY
    assert spec.reduction is Reduction.MEAN
    assert isinstance(spec.gamma, float)
    assert spec.responses(None, 2) is spec.responses(None, 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"gamma": -1.0}, "gamma -1.0 is not allowed: give a finite number, at least 0"),
        ({"gamma": math.nan}, "gamma nan is not allowed: give a finite number, at least 0"),
        ({"epsilon": (1.0, math.inf)}, "epsilon_2 is inf: give a finite number"),
        ({"smoothing": 1.5}, "smoothing 1.5 is not allowed: give a number from 0 to 1"),
        ({"smoothing": math.nan}, "smoothing nan is not allowed: give a number from 0 to 1"),
        ({"alpha": math.nan}, "alpha nan is not allowed: give a finite number"),
        ({"link": "logit"}, "link 'logit' is not known: choose one of softmax, sigmoid"),
        ({"weighting": "all"}, "weighting 'all' is not known: choose one of both, ce_only, rescaled_p"),
        ({"reduction": "avg"}, "reduction 'avg' is not known: choose one of none, sum, mean, mean_over_samples"),
        (
            {"polynomial_gamma": 2.0},
            "polynomial_gamma 2.0 is not allowed here: give a finite number, at least 0, beside a polynomial_link that "
            "is not the link",
        ),
    ],
)
def test_a_parameter_out_of_range_is_an_error_of_one_line(parameters: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Spec(**parameters)
    assert str(caught.value) == message


def test_what_cannot_be_evaluated_is_an_error() -> None:
    with pytest.raises(UsageError, match="the weights have mean 0, and the rescaled law divides by it: give other"):
        Spec(weighting=Weighting.RESCALED_P).responses((0.0, 0.0), 2)
    with pytest.raises(UsageError, match="polynomial_link is understood beside link softmax only: leave it out"):
        Spec(link=Link.SIGMOID, polynomial_link=Link.SOFTMAX).responses(None, 2)

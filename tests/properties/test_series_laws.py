"""The laws of single terms and of the second derivative: how sharp they are, and what they say."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from polyref.auditor import AUDITED
from polyref.case import Case
from polyref.formats import BINARY16, BINARY64
from polyref.property import Context, check
from polyref.search import search
from polyref.spec import Spec
from polyref.subject.local import LocalSubject
from polyref.subject.manner import direction
from polyref.verdict import Verdict
from polyref_properties.coefficients import COEFFICIENT, EXPONENT, _lagrange
from polyref_properties.curvature import SECOND_DERIVATIVE, _second_derivative
from polyref_properties.gradients import THAT_OF_THE_VALUE
from polyref_properties.mutants import CLAIMED, CONVENTION, all_mutants
from polyref_properties.mutants.base import Textbook

pytestmark = pytest.mark.usefixtures("one_thread")

EPSILON = (1.0, -0.5, 2.0, 0.5)
HEIGHTS = ((0,), (-6, 6), (-7, -1, 8), (-8, -3, 3, 11))


def context(loss, fmt=BINARY64):
    return Context(LocalSubject(loss, name="subject", convention=CONVENTION), CLAIMED, fmt)


def mutant(name, fmt=BINARY64):
    return context(all_mutants()[name].loss, fmt)


def apart(terms, fmt=BINARY64, *, weight=None, gamma=0.0, epsilon=EPSILON):
    rows = tuple((h / 8, -h / 8) for h in HEIGHTS[terms - 1])
    return Case(Spec(epsilon=epsilon[:terms], gamma=gamma), fmt, rows, (0,) * terms, weight)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weight", [None, (3.0, 0.5)])
@pytest.mark.parametrize("terms", [1, 2, 3, 4])
def test_a_coefficient_off_by_one_part_in_a_million_is_found(terms, weight, gamma):
    case = apart(terms, weight=weight, gamma=gamma)
    found = check(COEFFICIENT, case, mutant("twenty-bit-coefficient"))
    assert found.verdict is Verdict.VIOLATED
    assert found.ratio > 1e5


@pytest.mark.parametrize("fmt", AUDITED, ids=lambda f: f.name)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("terms", [1, 2, 3, 4])
def test_right_coefficients_are_fitted_within_the_tolerance(terms, gamma, fmt):
    found = check(COEFFICIENT, apart(terms, fmt, weight=(2.0, 1.0), gamma=gamma), context(Textbook, fmt))
    assert found.verdict is Verdict.HOLDS
    assert found.ratio < 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("only-the-first-term", "The coefficient of x^3 is 0.333333333 where 1/3 + eps_3 = 2.33333333."),
        ("only-the-last-term", "The coefficient of x is 1 where 1 + eps_1 = 2."),
        ("epsilon-times-j", "The coefficient of x^3 is 6.33333333 where 1/3 + eps_3 = 2.33333333."),
    ],
)
def test_the_wrong_coefficient_is_named(name, words):
    assert check(COEFFICIENT, apart(3), mutant(name)).explanation == words


def test_the_class_weight_divides_the_coefficient():
    found = check(COEFFICIENT, apart(1, weight=(0.5, 1.0), epsilon=(-1.0,)), mutant("weight-on-cross-entropy-only"))
    words = "The coefficient of x, under the class weight 0.5 that divides the loss, is -1 where 1 + eps_1 = 0."
    assert found.explanation == words


@pytest.mark.parametrize(
    ("name", "seen"), [("exponent-two", "2"), ("polynomial-not-focal", "1"), ("temperature-two", "0.75")]
)
def test_the_exponent_is_measured(name, seen):
    case = replace(apart(2, gamma=0.5), spec=Spec(epsilon=(1.0,), gamma=0.5))
    found = check(EXPONENT, case, mutant(name))
    assert found.verdict is Verdict.VIOLATED
    assert found.expected == "exponent of what eps_1 adds: 1.5"
    assert found.observed == f"exponent of what eps_1 adds: {seen}"


def test_one_class_and_a_weight_of_zero_say_nothing():
    one = Case(Spec(epsilon=(1.0,)), BINARY64, ((0.0,),), (0,))
    assert check(COEFFICIENT, one, context(Textbook)).verdict is Verdict.INCONCLUSIVE
    assert check(COEFFICIENT, apart(2, weight=(0.0, 1.0)), context(Textbook)).verdict is Verdict.INCONCLUSIVE
    pair = replace(one, logits=((0.0,), (1.0,)), target=(0, 0))
    assert check(EXPONENT, pair, context(Textbook)).verdict is Verdict.INCONCLUSIVE


def test_the_exact_second_derivative_is_that_of_softmax():
    case = Case(Spec(epsilon=()), BINARY64, ((1.0, -0.5, 0.25),), (1,))
    p, v = torch.tensor(case.logits[0], dtype=torch.float64).softmax(-1), torch.tensor(direction(3)).double()
    wanted = p * (v - p @ v)
    assert [float(d) for d in _second_derivative(case)] == pytest.approx(wanted.tolist(), rel=1e-14)


class TwentyBitCurvature(Textbook):
    def per_sample(self, z, y):
        loss = super().per_sample(z, y)
        if not loss.requires_grad:
            return loss
        (slope,) = torch.autograd.grad(loss.sum(), z, retain_graph=True)
        tangent = loss.detach() + ((z - z.detach()) * slope).sum(-1)
        return loss + 2.0**-20 * (tangent - loss)


class OnceOnly(torch.autograd.Function):
    @staticmethod
    def forward(_, z):
        return z.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(_, g):
        return g.clone()


class OnceDifferentiable(Textbook):
    def per_sample(self, z, y):
        return super().per_sample(OnceOnly.apply(z), y)


def test_a_second_derivative_off_by_one_part_in_a_million_is_found():
    found = search(SECOND_DERIVATIVE, context(TwentyBitCurvature), examples=40, seed=1)
    assert found.verdict is Verdict.VIOLATED
    assert search(SECOND_DERIVATIVE, context(Textbook), examples=40, seed=1).worst_ratio < 1e-3


def test_what_cannot_be_differentiated_twice_is_not_accused():
    found = search(SECOND_DERIVATIVE, context(OnceDifferentiable), examples=10, seed=1)
    assert found.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("law", [SECOND_DERIVATIVE, THAT_OF_THE_VALUE], ids=lambda law: law.id)
def test_steps_that_a_format_does_not_hold_say_nothing(law):
    case = Case(Spec(epsilon=(1.0,)), BINARY16, ((4.0,) * 8,), (0,))
    assert check(law, case, context(Textbook, BINARY16)).verdict is Verdict.INCONCLUSIVE


def test_the_polynomials_of_the_fit_are_one_at_one_point_and_zero_at_the_others():
    points = [Fraction(1, 8), Fraction(1, 3), Fraction(7, 8)]
    for i, row in enumerate(_lagrange(points)):
        values = [sum(c * x**j for j, c in enumerate(row)) for x in points]
        assert values == [Fraction(int(i == m)) for m in range(3)]

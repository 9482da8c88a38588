"""What is easily misread is told for what it is."""

from __future__ import annotations

import pytest

from polyref.formats import BINARY32, BINARY64
from polyref.property import Context
from polyref.search import search
from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject
from polyref.verdict import Verdict
from polyref_properties.conditions import needs_softmax
from polyref_properties.gradients import THAT_OF_THE_VALUE
from subject import peculiar

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("subject", "epsilon", "formula"),
    [
        (peculiar.alpha_is_epsilon, 2.0, "CE + eps x"),
        (peculiar.whole_alpha, 1, "CE - eps x"),
        (peculiar.alpha_balances, 1.0, "w [CE + eps x], w = 0.25 for class 0, 0.25 for the others"),
    ],
)
def test_alpha_is_epsilon_where_it_acts_as_one(subject, epsilon, formula):
    runner = LocalSubject(subject)
    assert runner.convention.default("epsilon") == epsilon
    assert identify(runner).formula == formula


def test_alpha_above_one_is_no_share():
    found = identify(LocalSubject(peculiar.alpha_weights))
    assert found.known
    assert found.formula == "w [CE + x], w = 3 for class 0, 3 for the others"


@pytest.mark.parametrize("subject", [peculiar.Square(-1.0), peculiar.square_with(-1.0)])
def test_an_epsilon_that_was_set_is_the_first_one(subject):
    found = identify(LocalSubject(subject))
    assert not found.known
    assert found.spec.epsilon == (-1.0,)
    assert found.formula == "CE - x^2"
    assert found.deviation.startswith("The exponent is fixed at 2")


def test_an_epsilon_that_nothing_sets_may_be_any():
    found = identify(LocalSubject(peculiar.negative_square))
    assert (found.known, found.formula, found.spec.epsilon) == (True, "CE - x^2", (0.0, -1.0))


@pytest.mark.parametrize(
    ("subject", "everywhere", "soft", "defect"),
    [
        (peculiar.sign_and_soft, "CE - eps x", "CE - eps {}", "Epsilon has the wrong sign. Where labels are soft: "),
        (peculiar.exponent_and_soft, "CE + x^(eps)", "CE + {}^(eps)", "Epsilon is an exponent, not a factor"),
        (
            peculiar.sum_and_soft,
            "CE + eps x; reduction mean: their sum",
            "CE + eps {}",
            "Reduction mean returns the sum. Where labels are soft: ",
        ),
    ],
)
def test_what_is_done_everywhere_comes_first(subject, everywhere, soft, defect):
    found = identify(LocalSubject(subject))
    first, behind = found.formula.rsplit("; where labels are soft: ", 1)
    assert (first, behind) == (everywhere, soft.format("(1 - prod_k p_k^q_k)"))
    assert found.deviation.startswith(defect)
    assert "no formula was found" not in found.deviation


def test_alpha_on_both_parts_of_a_sigmoid_loss():
    found = identify(LocalSubject(peculiar.balanced))
    assert found.known
    assert found.formula == (
        "alpha_t [x^gamma BCE + eps x^(gamma+1)], alpha_t = 0.25 for the target class, 0.75 for the others, "
        "for each logit by itself"
    )
    assert not found.deviation


@pytest.mark.parametrize(("subject", "known"), [(peculiar.no_formula, False), (peculiar.no_formula_of_softmax, True)])
def test_without_a_formula_the_link_is_what_the_answers_show(subject, known):
    runner = LocalSubject(subject)
    found = identify(runner)
    assert found.formula.startswith("no law found")
    assert found.link_known is known
    assert (needs_softmax(runner.convention, found) is None) is known


def test_class_weights_in_a_constant_are_measured():
    found = identify(LocalSubject(peculiar.constant_weights))
    assert (found.known, found.deviation) == (True, "")
    assert found.formula == "w [CE + eps x], w measured as (0.5, 1, 2)"
    assert found.built_in == (0.5, 1.0, 2.0)


def test_class_weights_in_a_buffer_are_measured_for_many_classes():
    found = identify(LocalSubject(peculiar.BufferedWeights))
    assert found.known
    shown = "(0.1, 0.75, 0.5, 0.1, 0.75, 0.5, 0.1, 0.75, ...)"
    assert found.formula == f"w x^gamma CE + eps x^(gamma+1), w measured as {shown}"
    assert found.built_in is not None
    assert found.built_in[0] == BINARY32.round(0.1)
    assert "multiplies the logarithm alone" in found.deviation


def test_one_factor_for_every_class_is_no_weight():
    found = identify(LocalSubject(peculiar.same_factor))
    assert found.formula == "3 (CE + eps x)"
    assert found.built_in is None


def test_one_answer_is_no_measurement():
    found = identify(LocalSubject(peculiar.masked))
    assert found.formula == "CE + eps x"
    assert found.deviation == "Where labels are soft, no formula was found."
    assert not found.remedy


@pytest.mark.parametrize("subject", [peculiar.polynomial_of_the_mean, peculiar.weighted_polynomial_of_the_mean])
def test_a_polynomial_of_the_mean_cross_entropy(subject):
    found = identify(LocalSubject(subject))
    assert "CE + eps (1 - exp(-mean CE))" in found.formula
    assert "Pt of the mean, exp(-mean CE)" in found.deviation


@pytest.mark.parametrize("subject", [peculiar.partly_single, peculiar.partly_single_sum])
def test_what_is_partly_computed_in_single_precision(subject):
    runner = LocalSubject(subject)
    found = identify(runner)
    assert (found.known, found.formula) == (True, "BCE + eps x, for each logit by itself")
    assert found.precision == BINARY32.precision
    assert not found.deviation
    assert "a part of it had been computed in binary32" in found.notes[0]
    result = search(THAT_OF_THE_VALUE, Context(runner, found, BINARY64), examples=10, seed=0)
    assert result.verdict is Verdict.HOLDS


def test_what_is_always_too_much_is_no_rounding():
    found = identify(LocalSubject(peculiar.slightly_more))
    assert not found.known
    assert found.precision is None


@pytest.mark.parametrize(("subject", "classes"), [(peculiar.ten_classes, 10), (peculiar.seven_classes, 7)])
def test_a_number_of_classes_in_the_code_comes_before_other_shapes(subject, classes):
    runner = LocalSubject(subject)
    assert (runner.convention.classes, runner.convention.layout) == (classes, "rows")
    found = identify(runner)
    assert (found.known, found.formula) == (True, "CE + eps x")

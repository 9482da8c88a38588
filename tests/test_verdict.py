"""Outcomes, ratios, and the words for numbers and cases."""

from __future__ import annotations

import math

import pytest

from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY32, BINARY64
from polyref.spec import Link, Reduction, Spec
from polyref.verdict import Outcome, Truth, Verdict, describe, shown, worst


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(0.0, "holds"), (1.0, "holds"), (1.0001, "violated"), (math.inf, "violated")]
)
def test_a_ratio_above_one_violates(ratio, verdict):
    outcome = Outcome.of(ratio, "a", "b", "c")
    assert outcome.verdict == verdict
    assert outcome.explanation == ("c" if verdict == "violated" else "")
    assert (outcome.expected, outcome.observed) == ("a", "b")


def test_the_worst_ratio():
    assert worst([]) == 0.0
    assert worst([0.25, 0.5]) == 0.5
    assert worst([0.25, math.nan]) == math.inf


def case(**changes) -> Case:
    values = {"spec": Spec(), "format": BINARY64, "logits": ((0.0, 0.0), (1.0, -1.0)), "target": (0, 1)} | changes
    return Case(**values)


def test_truth_judges_values_and_gradients():
    truth = Truth.of(case())
    exact = math.log(2) + 0.5
    assert truth.values == 2
    assert float(truth.value(0)) == pytest.approx(exact, rel=1e-15)
    assert float(truth.gradient(0, 0)) == pytest.approx(-0.75, rel=1e-15)
    assert truth.value_ratio(0, exact) < 1
    assert truth.value_ratio(0, exact * (1 + 1e-12)) > 1
    assert truth.value_ratio(0, math.nan) == math.inf
    assert truth.gradient_ratio(0, 0, -0.75) < 1
    assert truth.gradient_ratio(0, 1, 0.7501) > 1


def test_a_narrower_format_allows_more_and_a_wider_computation_less():
    wide, narrow = Truth.of(case(format=BINARY32)), Truth.of(case(format=BFLOAT16))
    careful = Truth.of(case(format=BFLOAT16), compute=BINARY32)
    assert wide.tolerance.value[0] < careful.tolerance.value[0] < narrow.tolerance.value[0]


def test_a_mean_over_nothing_is_undefined():
    truth = Truth.of(case(spec=Spec(reduction=Reduction.MEAN), weight=(0.0, 0.0)))
    assert truth.values == 1
    assert math.isnan(float(truth.value(0)))
    assert truth.value_ratio(0, math.nan) == 0.0
    assert truth.value_ratio(0, 0.0) == math.inf


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-1.0, "-1.0"),
        (0.1, "0.1 (0x1.999999999999ap-4)"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_numbers_are_shown_exactly(value, text):
    assert shown(value) == text


def test_a_case_in_one_line():
    assert describe(case()) == "binary64 logits [0, 0; 1, -1], target 0; 1, epsilon 1, reduction none"
    full = case(
        spec=Spec(link=Link.SOFTMAX, epsilon=(0.5, -1.0), gamma=2.0, smoothing=0.125, reduction=Reduction.SUM),
        logits=((0.5, -math.inf), (1.0, 2.0)),
        target=((0.25, 0.75), (1.0, 0.0)),
        weight=(1.0, 0.5),
    )
    assert describe(full) == (
        "binary64 logits [0.5, -inf; 1, 2] = [0x1.0000000000000p-1, -inf; 0x1.0000000000000p+0, 0x1.0000000000000p+1], "
        "target (0.25, 0.75); (1, 0), weight [1, 0.5], epsilon 0.5, -1, gamma 2, smoothing 0.125, reduction sum"
    )
    assert "epsilon 0," in describe(case(spec=Spec(epsilon=())))
    assert Verdict("not_applicable") is Verdict.NOT_APPLICABLE

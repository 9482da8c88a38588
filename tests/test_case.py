"""Cases: the journey through JSON, what a mean divides by, and what is refused."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import cases
from hypothesis import HealthCheck, given, settings

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import BFLOAT16, BINARY32, E4M3
from polyref.spec import Link, Reduction, Spec

INF = math.inf


@given(cases())
@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_a_case_survives_json_to_the_last_bit(case: Case) -> None:
    text = json.dumps(case.to_json(), allow_nan=False)
    read = Case.from_json(json.loads(text))
    assert read == case
    assert json.dumps(read.to_json()) == text  # equality cannot tell -0.0 from 0.0; the text can


def make(**changes: Any) -> Case:
    given_fields: dict[str, Any] = {
        "spec": Spec(),
        "format": BINARY32,
        "logits": ((1.0, 2.0, 3.0), (0.5, 0.25, 0.0)),
        "target": (0, 2),
    }
    return Case(**(given_fields | changes))


def test_whole_numbers_and_lists_are_kept_as_floats_and_tuples() -> None:
    case = make(logits=[[1, 2], [3, 4]], target=[[0, 1], [1, 0]], weight=[1, 2])
    assert case.logits == ((1.0, 2.0), (3.0, 4.0))
    assert case.target == ((0.0, 1.0), (1.0, 0.0))
    assert all(isinstance(v, float) for row in (*case.logits, *case.target, case.weight) for v in row)
    assert Case.from_json(case.to_json()) == case
    assert make(target=(np.int64(0), torch.tensor(2))).to_json()["target"] == [0, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": ()}, "the batch is empty: give at least one row of at least one logit"),
        ({"logits": ((),)}, "the batch is empty: give at least one row of at least one logit"),
        (
            {"logits": ((1.0, 2.0), (1.0,))},
            "row 1 has 1 logits and row 0 has 2: give rows of one length",
        ),
        (
            {"logits": ((math.nan, 0.0), (0.0, 0.0))},
            "logit 0 of row 0 is nan: give a number, or -inf for an impossible class",
        ),
        (
            {"logits": ((0.0, 0.0), (0.0, INF))},
            "logit 1 of row 1 is inf: give a number, or -inf for an impossible class",
        ),
        (
            {"logits": ((0.1, 0.0), (0.0, 0.0))},
            "logit 0 of row 0 is 0.1, no number of binary32: round it, or choose a wider format",
        ),
        (
            {"format": E4M3, "logits": ((1.0, -INF), (0.0, 0.0))},
            "logit 1 of row 0 is -inf, no number of e4m3: round it, or choose a wider format",
        ),
        (
            {"logits": ((0.0, 0.0), (-INF, -INF)), "target": (0, 0)},
            "every logit of row 1 is -inf, so it has no probabilities: give a finite one",
        ),
        ({"target": (0,)}, "1 targets for 2 rows of logits: give one a row"),
        ({"target": (0, 3)}, "target 3 of row 1 is out of range: with 3 classes give 0 to 2"),
        ({"target": (-1, 0)}, "target -1 of row 0 is out of range: with 3 classes give 0 to 2"),
        ({"target": (0, 1.0)}, "target 1.0 of row 1 is no class index: give an integer, or a row of shares"),
        (
            {"target": (0, (1.0, 0.0, 0.0))},
            "target 1 is (1.0, 0.0, 0.0) where target 0 is 0: give one kind of target",
        ),
        ({"target": ((1.0, 0.0), (0.0, 1.0))}, "soft target 0 has 2 entries: give 3, one a class"),
        (
            {"target": ((0.5, 0.5, 0.0), (0.0, -0.5, 1.0))},
            "entry 1 of soft target 1 is -0.5: give a number from 0 to 1",
        ),
        (
            {"target": ((0.5, 0.5, 0.0), (0.0, math.nan, 1.0))},
            "entry 1 of soft target 1 is nan: give a number from 0 to 1",
        ),
        ({"weight": (1.0, 1.0)}, "the weight vector has 2 entries: give 3, one a class"),
        ({"weight": (1.0, -1.0, 1.0)}, "weight 1 is -1.0: give a finite number, at least 0"),
        ({"weight": (1.0, INF, 1.0)}, "weight 1 is inf: give a finite number, at least 0"),
        (
            {"weight": (1.0, 1.0, 1e-60)},
            "weight 2 is 1e-60, no number of binary32: round it, or choose a wider format",
        ),
    ],
)
def test_what_is_no_case_is_an_error_of_one_line(changes: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(**changes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec",), None),
        (("spec", "link"), "logit"),
        (("spec", "gamma"), 2.0),
        (("spec", "gamma"), "0x1p99999"),
        (("spec", "epsilon"), "1"),
        (("format",), "float128"),
        (("format",), 16),
        (("logits",), [["one", "two"]]),
        (("logits",), None),
        (("target",), [0.0, 2.0]),
        (("target",), [0, 7]),
        (("weight",), ["0x1p0"]),
        (("ignore_index",), "x"),
    ],
)
def test_a_malformed_document_is_an_error_of_one_line(path: tuple[str, ...], value: object) -> None:
    document = make().to_json()
    part = document
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    with pytest.raises(UsageError) as caught:
        Case.from_json(document)
    assert "\n" not in str(caught.value)
    assert ": " in str(caught.value)


@pytest.mark.parametrize("name", ["spec", "format", "logits", "target", "weight", "ignore_index"])
def test_a_missing_field_is_named(name: str) -> None:
    document = make().to_json()
    del document[name]
    with pytest.raises(UsageError) as caught:
        Case.from_json(document)
    assert str(caught.value) == f"this is no case document (KeyError: '{name}'): give what Case.to_json wrote"


def test_something_else_than_a_document_is_refused() -> None:
    for document in ([], None, 3, "x"):
        with pytest.raises(UsageError, match="this is no case document"):
            Case.from_json(document)


def test_smoothing_mixes_with_the_uniform_distribution_of_the_link() -> None:
    case = make(spec=Spec(smoothing=0.125))
    assert case.distribution(0) == (Fraction(7, 8) + Fraction(1, 24), Fraction(1, 24), Fraction(1, 24))
    sigmoid = case.with_spec(link=Link.SIGMOID)
    assert sigmoid.distribution(0) == (Fraction(15, 16), Fraction(1, 16), Fraction(1, 16))
    assert make().distribution(1) == (0, 0, 1)


@pytest.mark.parametrize("weight", [None, (0.5, 2.0, 3.0)])
@pytest.mark.parametrize("target", [(0, 2), (0, -100), ((0.5, 0.5, 0.0), (1.0, 0.0, 0.0))])
def test_the_mean_divides_by_what_torch_divides_by(weight: tuple | None, target: tuple) -> None:
    case = make(spec=Spec(reduction=Reduction.MEAN), target=target, weight=weight)
    z, t = torch.tensor(case.logits, dtype=torch.float64), torch.tensor(target)
    w = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    t = t.double() if case.soft else t
    total = F.cross_entropy(z, t, weight=w, reduction="sum")
    assert F.cross_entropy(z, t, weight=w) == pytest.approx(float(total) / float(case.denominator), rel=1e-14)


def test_denominators_of_the_other_reductions() -> None:
    case = make(target=(0, -100), weight=(0.5, 2.0, 3.0))
    assert case.denominator is None
    assert case.with_spec(reduction=Reduction.SUM).denominator == 1
    assert case.with_spec(reduction=Reduction.MEAN_OVER_SAMPLES).denominator == 1
    assert case.with_spec(reduction=Reduction.MEAN, link=Link.SIGMOID).denominator == 3
    nothing = make(target=(-100, -100), spec=Spec(reduction=Reduction.MEAN))
    assert nothing.denominator == 0
    assert make(weight=(0.0, 1.0, 0.0), spec=Spec(reduction=Reduction.MEAN)).denominator == 0


def test_an_ignore_index_may_be_a_class() -> None:
    case = make(ignore_index=2)
    assert [case.ignored(i) for i in range(2)] == [False, True]
    assert not make(target=((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), ignore_index=2).ignored(1)


def test_weights_are_exact() -> None:
    assert make(weight=(0.5, 0.25, 3.0)).weights == (Fraction(1, 2), Fraction(1, 4), 3)
    assert make().weights == (1, 1, 1)
    assert make(format=BFLOAT16).format is BFLOAT16

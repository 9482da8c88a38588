"""The effect of a mutant: above 1 for what is wrong, never for what is right."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from polyref.formats import BINARY64
from polyref.options import AUDITED
from polyref.selftest.effect import Measure, probes
from polyref.spec import Reduction
from polyref.subject.local import LocalSubject
from polyref_properties.mutants import CLAIMED, CONVENTION, all_mutants
from polyref_properties.mutants.base import Textbook

from .planted import LeavesEarly

pytestmark = pytest.mark.usefixtures("one_thread")


def effect(loss, fmt, convention=CONVENTION, claims=CLAIMED):
    return Measure(0).effect(LocalSubject(loss, convention=convention), claims, fmt)


@pytest.mark.parametrize("fmt", AUDITED, ids=lambda f: f.name)
def test_the_textbook_is_within_the_tolerance(fmt):
    assert 0 < effect(Textbook, fmt) <= 1


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("sign-flipped", 1, math.inf), ("weight-on-cross-entropy-only", 1, math.inf), ("exp-without-max", 1, math.inf)],
)
def test_the_effect_of_a_mutant(name, low, high):
    assert low < effect(all_mutants()[name].loss, BINARY64) <= high


def test_no_number_is_an_infinite_effect():
    assert effect(LeavesEarly, BINARY64) == math.inf


def test_the_cases_meet_everything_that_a_case_may_hold():
    found = probes(BINARY64, 0)
    assert found == probes(BINARY64, 0)
    assert found != probes(BINARY64, 1)
    cases = [p.case for p in found]
    assert {c.spec.reduction for c in cases} == {Reduction.NONE, Reduction.SUM, Reduction.MEAN}
    assert {len(c.spec.epsilon) for c in cases} == {1, 2, 3}
    assert {c.spec.gamma for c in cases} == {0.0, 0.5, 1.0, 2.0}
    assert {c.soft for c in cases} == {c.weight is None for c in cases} == {True, False}
    assert any(c.spec.smoothing for c in cases)
    assert any(c.ignored(i) for c in cases for i in range(len(c.target)))
    assert any(z == -math.inf for c in cases for row in c.logits for z in row)
    assert {p.manner.layout for p in found} == {"contiguous", "transposed", "strided"}
    assert {p.manner.shape for p in found} >= {None, (), (2, 2), (1, 2, 2)}


def test_a_subject_is_asked_for_what_it_can_be_told():
    """One that has a mean alone, one epsilon and neither weights nor gamma."""

    def mean(logits, labels, epsilon=1.0):
        assert isinstance(epsilon, float)
        return Textbook(epsilon, reduction="mean")(logits, labels)

    claims = replace(CLAIMED, settable=frozenset({"epsilon"}))
    subject = LocalSubject(mean)
    assert subject.convention.reductions == ("mean",)
    assert 0 < Measure(0).effect(subject, claims, BINARY64) <= 1

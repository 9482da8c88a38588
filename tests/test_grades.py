"""Grades: each of the six reached, every regime met, and what is not a number."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import right
import torch

from polyref.auditor import AUDITED
from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64
from polyref.grades import Grade, Tally, grade_format, log_odds_of
from polyref.nn.functional import poly_cross_entropy
from polyref.regimes import REGIMES, regime_of
from polyref.spec import Link, Reduction, Spec
from polyref.subject.convention import Convention
from polyref.subject.dialect import WHOLE_LOSS
from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject
from polyref.subject.observation import Observation
from polyref.verdict import Truth
from polyref_properties.mutants import textbook

pytestmark = pytest.mark.usefixtures("one_thread")

FIXED = replace(WHOLE_LOSS, settable=frozenset())
ORDER = list(Grade)


class Exact:
    """A runner that returns the exact result, bent by a function of (exact enclosure, format)."""

    name = "exact"
    source = None

    def __init__(self, bend, reductions=("none",)) -> None:
        self.bend = bend
        self.convention = Convention(
            "exact", "function", reductions=reductions, formats=tuple(f.name for f in AUDITED), differentiable=True
        )

    def observe_all(self, cases, **_):
        return [self._seen(c) for c in cases]

    def _seen(self, case: Case) -> Observation:
        truth = Truth.of(case)
        value = tuple(self.bend(truth.value(i), case.format) for i in range(truth.values))
        rows = tuple(tuple(self.bend(truth.gradient(i, k), case.format) for k in range(case.classes)) for i in (0,))
        return Observation(value, (len(value),), gradient=rows)


def graded(runner, dialect=FIXED, fmt=BINARY32, rows=4, seed=0) -> dict:
    return {(q, r): t for q, r, t in grade_format(runner, dialect, fmt, rows=rows, seed=seed)}


def neighbour(exact, fmt):
    """The other neighbour of the exact result: less than an ulp away, and not the nearest."""
    rounded = exact.rounded(fmt)
    return fmt.after(rounded) if nearest_double(exact) > rounded else fmt.before(rounded)


def nearest_double(exact):
    return float(exact)  # binary64 tells on which side of a binary32 number it lies


@pytest.mark.parametrize(
    ("bend", "grade"),
    [
        (lambda e, f: e.rounded(f), Grade.CORRECTLY_ROUNDED),
        (neighbour, Grade.FAITHFUL),
        (lambda e, f: f.round(1.001 * float(e)), Grade.DEGRADED),
        (lambda _, __: math.nan, Grade.BROKEN),
        (lambda _, __: math.inf, Grade.BROKEN),
        (lambda e, f: -e.rounded(f), Grade.BROKEN),
    ],
)
def test_a_grade_is_reached(bend, grade):
    # A zero or a subnormal has no room for an error of a thousandth.
    for (quantity, regime), tally in graded(Exact(bend)).items():
        if regime in ("Pt < 1/4", "even", "1-Pt < 1/4"):
            assert tally.grade is grade, (quantity, regime)


def test_textbook_and_accurate_code_are_told_apart():
    runner = LocalSubject(textbook)
    textbooks = graded(runner, identify(runner), BINARY64, rows=20)
    assert textbooks["value", "all"].grade is Grade.TEXTBOOK
    assert textbooks["gradient", "all"].grade is Grade.TEXTBOOK


@pytest.mark.parametrize("fmt", AUDITED, ids=lambda f: f.name)
def test_our_own_loss_is_at_least_accurate(fmt):
    runner = LocalSubject(poly_cross_entropy)
    tallies = graded(runner, identify(runner), fmt, rows=20)
    assert {q for q, _ in tallies} == {"value", "gradient"}
    for tally in tallies.values():
        assert ORDER.index(tally.grade) <= ORDER.index(Grade.ACCURATE)
    if fmt is BINARY64:
        assert tallies["value", "all"].grade is Grade.ACCURATE


@pytest.mark.parametrize("fmt", AUDITED, ids=lambda f: f.name)
def test_every_regime_that_the_format_reaches_is_met(fmt):
    tallies = graded(Exact(lambda e, f: e.rounded(f)), fmt=fmt, rows=5)
    regimes = [name for quantity, name in tallies if quantity == "value"]
    beyond = {"Pt < 2^-64", "1-Pt < 2^-64"} if fmt is BINARY16 else set()
    assert regimes == ["all", *(name for name, _ in REGIMES if name not in beyond)]
    for name in regimes[1:]:
        # The rounding of the target's logit may put a row near a boundary on its other side.
        assert 4 <= tallies["value", name].examples <= 6
    assert tallies["value", "all"].examples == 5 * (len(regimes) - 1)


@pytest.mark.parametrize(
    ("lead", "regime"),
    [
        (-45.0, "Pt < 2^-64"),
        (-44.0, "Pt < 2^-16"),
        (-11.0, "Pt < 1/4"),
        (-1.0, "even"),
        (0.0, "even"),
        (1.0, "even"),
        (1.2, "1-Pt < 1/4"),
        (12.0, "1-Pt < 2^-16"),
        (45.0, "1-Pt < 2^-64"),
        (1e300, "1-Pt < 2^-64"),
        (-1e300, "Pt < 2^-64"),
    ],
)
def test_regimes_are_named_by_the_target(lead, regime):
    assert regime_of(log_odds_of(Case(Spec(), BINARY64, ((lead, 0.0),), (0,)))) == regime


def test_the_target_that_is_surest_wrong_names_a_sigmoid_row():
    case = Case(Spec(link=Link.SIGMOID), BINARY64, ((3.0, 50.0),), (0,))
    assert regime_of(log_odds_of(case)) == "Pt < 2^-64"


def test_one_logit_alone_has_odds_under_the_sigmoid_link() -> None:
    assert log_odds_of(Case(Spec(link=Link.SIGMOID), BINARY64, ((2.5,),), (0,))) == 2.5
    assert log_odds_of(Case(Spec(), BINARY64, ((2.5,),), (0,))) == math.inf


def test_the_same_seed_grades_the_same_rows():
    runner = LocalSubject(textbook)
    dialect = identify(runner)
    runs = [graded(runner, dialect, BFLOAT16, rows=3, seed=seed) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_a_tally_keeps_the_worst_case():
    tally = Tally()
    cases = [Case(Spec(epsilon=(e,)), BINARY64, ((0.0, 0.0),), (0,)) for e in (0.0, 1.0, 2.0, 3.0, 4.0)]
    tally.add(cases[0], 0.25, 0.125, Grade.CORRECTLY_ROUNDED)
    tally.add(cases[1], 300.0, 0.75, Grade.TEXTBOOK)
    tally.add(cases[2], 0.5, 0.875, Grade.FAITHFUL)  # a better grade, though nearer to its tolerance
    tally.add(cases[3], math.inf, math.inf, Grade.BROKEN)
    tally.add(cases[4], 2.0, 1.5, Grade.DEGRADED)
    assert tally.case == cases[3]
    assert (tally.examples, tally.max_ulp, tally.max_ratio) == (5, math.inf, math.inf)
    assert tally.grade is Grade.BROKEN
    assert tally.histogram == [2, 0, 1, 0, 0, 0, 1, 1]


def test_no_answer_counts_as_broken_and_a_missing_gradient_is_not_graded():
    def cut_off(logits, labels):
        return right.entropy(logits, labels).detach()

    detached = graded(LocalSubject(cut_off), replace(FIXED, spec=Spec(epsilon=())), rows=2)
    assert {q for q, _ in detached} == {"value"}

    class Silent(Exact):
        def observe_all(self, cases, **_):
            return [Observation(error="ValueError: no") for _ in cases]

    silent = graded(Silent(None), rows=2)
    assert {(q, t.grade) for (q, _), t in silent.items()} == {("value", Grade.BROKEN)}
    assert silent["value", "all"].max_ulp == math.inf


def test_an_infinity_is_right_where_the_exact_result_is_one():
    class Saturated(Exact):
        """Rows whose exact loss is beyond the format."""

        def observe_all(self, cases, **_):
            return [Observation(tuple(math.inf for _ in c.logits)) for c in cases]

    tallies = graded(Saturated(None), fmt=BINARY16, rows=2)
    assert tallies["value", "all"].grade is Grade.BROKEN  # every loss of these rows is a number of binary16


def test_reductions_and_links():
    def summed(logits, labels):
        return textbook(logits, labels).sum()

    def elements(logits, labels):
        q = torch.nn.functional.one_hot(labels, logits.shape[-1]).to(logits)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, q, reduction="none")

    dialect = replace(FIXED, spec=replace(FIXED.spec, reduction=Reduction.SUM))
    assert graded(LocalSubject(summed), dialect, rows=2)["value", "all"].grade is Grade.TEXTBOOK
    sigmoid = replace(FIXED, spec=replace(FIXED.spec, link=Link.SIGMOID, epsilon=()))
    tally = graded(LocalSubject(elements), sigmoid, rows=4)["gradient", "all"]
    assert ORDER.index(tally.grade) <= ORDER.index(Grade.TEXTBOOK)
    assert tally.max_ratio <= 1

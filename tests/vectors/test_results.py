"""What is exact about a case: narrow enclosures, correct roundings, tolerances that are never too small."""

from __future__ import annotations

import math

import pytest

from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, Dyadic, Format
from polyref.reference import ball
from polyref.reference.enclosure import Enclosure
from polyref.reference.model import textbook
from polyref.spec import Link, Reduction, Spec
from polyref.vectors import results as rs
from polyref.vectors.results import excess, nearness_to_halfway, regime, results, rounded

PLAIN = Spec(epsilon=(1.0,), reduction=Reduction.NONE)


def case(fmt: Format, *row: float, target: int = 0, spec: Spec = PLAIN) -> Case:
    return Case(spec, fmt, (row,), (target,))


@pytest.mark.parametrize("fmt", [BINARY64, BINARY32, BINARY16, BFLOAT16], ids=lambda f: f.name)
def test_results_of_one_case(fmt: Format) -> None:
    one = case(fmt, 2.0, 0.5, 1.0, target=1)
    found = results(one)
    truth = ball.evaluate(one, bits=400)
    assert found.rounded.value == (truth.value[0].rounded(fmt),)
    assert found.rounded.gradient == (tuple(g.rounded(fmt) for g in truth.gradient[0]),)
    for mine, exact in zip(found.exact.all, (*truth.value, *truth.gradient[0]), strict=True):
        assert mine.overlaps(exact)
        # Narrow, and cut to what is useful.
        assert mine.bits() > fmt.precision + 40
        assert mine.mid.man.bit_length() <= fmt.precision + 64
        assert mine.rad.man.bit_length() <= 9
        # All of the narrower one lies in it.
        assert mine.lower.compare(exact.lower) <= 0 <= mine.upper.compare(exact.upper)
    radius = textbook(one)
    unit = fmt.ulp(found.exact.value[0].mid)
    exact_ulps = radius.value[0] / float(unit)
    assert exact_ulps <= found.tolerance.value[0] <= exact_ulps * 1.001
    assert all(a <= t * 4 for a, t in zip(found.accurate.all, found.tolerance.all, strict=True))


def test_a_derivative_that_is_zero_has_no_sign() -> None:
    """Equal logits and equal shares: the gradient is p - q = 0, which no precision tells from a tiny number."""
    one = Case(Spec(epsilon=(0.0,)), BINARY32, ((1.0, 1.0),), ((0.5, 0.5),))
    found = results(one).rounded.gradient[0]
    assert [math.copysign(1.0, g) for g in found] == [1.0, 1.0]
    assert found == (0.0, 0.0)
    # A negative number that underflows keeps its own.
    deep = results(case(BINARY16, 40.0, 0.0)).rounded.gradient[0]
    assert (math.copysign(1.0, deep[0]), math.copysign(1.0, deep[1])) == (-1.0, 1.0)


def test_what_is_far_below_every_format_is_only_known_to_be_so() -> None:
    found = results(case(BINARY64, -1e300, 0.0, target=1))
    for exact, sign in zip(found.exact.all, (1, 1, -1), strict=True):
        assert (exact.mid.man, exact.mid.exp, exact.rad) == (sign, -100_001, Dyadic(1, -100_001))
    assert [repr(v) for v in found.rounded.all] == ["0.0"] * 3
    # An ordinary tiny number keeps its digits.
    assert results(case(BINARY64, -1e4, 0.0, target=1)).exact.value[0].bits() > 100


def test_a_rounding_that_is_hard_takes_more_bits() -> None:
    """log(1 + exp(d)) = d + exp(-d) - ..., with d in the middle between two numbers: it rounds up, by 2^-369."""
    one = case(BINARY32, -(2.0**-16), 256.0, spec=Spec(epsilon=(0.0,)))
    found = results(one)
    assert found.rounded.value == (256.0 + 2.0**-15,)
    assert found.exact.value[0].bits() > 369
    with pytest.raises(rs.Undecided, match="a rounding boundary of binary32"):
        results(case(BINARY32, -64.0, 2.0**30, spec=Spec(epsilon=(0.0,))))


@pytest.mark.parametrize(
    ("value", "up"), [(0.0, 0.0), (1.2344, 1.235), (9.9999, 10.0), (1.5, 1.5), (math.inf, math.inf)]
)
def test_tolerances_have_few_digits_and_are_not_too_small(value: float, up: float) -> None:
    assert rs._up(value) == pytest.approx(up, rel=1e-15)
    assert rs._up(value) >= value


def test_no_tolerance_becomes_smaller() -> None:
    for i in range(1, 2000):
        value = math.exp(i / 7 - 100)
        assert value <= rs._up(value) <= value * 1.0011


@pytest.mark.parametrize(
    ("what", "name"),
    [
        (case(BINARY32, 0.0, 0.0), "even"),
        (case(BINARY32, 100.0, 0.0), "1-Pt < 2^-64"),
        (case(BINARY32, -math.inf, 0.0), "Pt < 2^-64"),
        (case(BINARY32, 3.0), "1-Pt < 2^-64"),
        (case(BINARY32, 3.0, spec=Spec(link=Link.SIGMOID)), "1-Pt < 1/4"),
        # The least certain row counts, an ignored one does not, and of soft labels the likeliest class.
        (Case(PLAIN, BINARY32, ((100.0, 0.0), (0.0, 2.0)), (0, 0)), "Pt < 1/4"),
        (Case(PLAIN, BINARY32, ((100.0, 0.0), (0.0, 2.0)), (0, -100)), "1-Pt < 2^-64"),
        (Case(PLAIN, BINARY32, ((0.0, 2.0),), ((0.25, 0.75),)), "1-Pt < 1/4"),
        (Case(PLAIN, BINARY32, ((100.0, 0.0), (0.0, 2.0)), (1, 0), ignore_index=1), "Pt < 1/4"),
    ],
)
def test_regimes(what: Case, name: str) -> None:
    assert regime(what) == name


def test_how_near_to_halfway() -> None:
    half = Enclosure(Dyadic((1 << 24) + 1, -24), Dyadic(0, 0))  # 1 + u: the middle between 1 and the next number
    assert nearness_to_halfway(half, BINARY32) == 0.0
    assert nearness_to_halfway(Enclosure.exactly(1.0), BINARY32) == 0.5
    quarter = Enclosure(Dyadic((1 << 25) + 1, -25), Dyadic(0, 0))
    assert nearness_to_halfway(quarter, BINARY32) == 0.25
    assert nearness_to_halfway(Enclosure(Dyadic(-((1 << 25) + 1), -25), Dyadic(0, 0)), BINARY32) == 0.25
    assert nearness_to_halfway(Enclosure.exactly(math.inf), BINARY32) == 0.5


def test_an_error_over_its_tolerance() -> None:
    one = Enclosure.exactly(1.0)
    after = BINARY32.after(1.0)
    assert excess(after, one, BINARY32, 4.0) == 0.25
    assert excess(1.0, one, BINARY32, 0.0) == 0.0
    assert excess(after, one, BINARY32, 0.0) == math.inf
    # Where nothing is bounded any number will do, and nothing else.
    assert excess(7.0, one, BINARY32, math.inf) == 0.0
    assert excess(math.nan, one, BINARY32, math.inf) == math.inf
    assert excess(-math.inf, one, BINARY32, 1e300) == math.inf
    beyond = Enclosure(Dyadic(1, 200), Dyadic(0, 0))
    assert rounded(beyond, BINARY32) == math.inf
    assert excess(math.inf, beyond, BINARY32, 1.0) == 0.0

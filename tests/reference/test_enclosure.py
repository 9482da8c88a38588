"""Enclosures: set logic, correct rounding, decimals that cover, and errors in ulps."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, E4M3, FORMATS, Dyadic, Format
from polyref.reference.enclosure import Enclosure, error_over, ulp_error

INF, NAN = math.inf, math.nan
QUICK = settings(max_examples=150, deadline=None, derandomize=True, database=None)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
DYADICS = st.builds(Dyadic, st.integers(-(2**70), 2**70), st.integers(-200, 200))
RADII = st.builds(Dyadic, st.integers(0, 2**30), st.integers(-300, 200))


def value_of(number: Dyadic) -> Fraction:
    return Fraction(number.man) * Fraction(2) ** number.exp


def within(low: float, high: float) -> Enclosure:
    middle, half = (Fraction(low) + Fraction(high)) / 2, (Fraction(high) - Fraction(low)) / 2
    return Enclosure(*(Dyadic(v.numerator, -(v.denominator.bit_length() - 1)) for v in (middle, half)))


# --- sets -------------------------------------------------------------------------------------------------------


@given(DYADICS, RADII, DYADICS, RADII)
@QUICK
def test_overlap_and_containment_are_those_of_intervals(a: Dyadic, ra: Dyadic, b: Dyadic, rb: Dyadic) -> None:
    first, second = Enclosure(a, ra), Enclosure(b, rb)
    apart = abs(value_of(a) - value_of(b))
    assert first.overlaps(second) == (apart <= value_of(first.rad) + value_of(second.rad))
    assert second.overlaps(first) == first.overlaps(second)
    assert first.contains(value_of(b)) == (apart <= value_of(first.rad))
    assert first.contains(value_of(first.lower))
    assert first.contains(value_of(first.upper))
    assert not first.contains(value_of(first.upper) + Fraction(1, 10**80))


@pytest.mark.parametrize("special", [INF, -INF, NAN])
def test_a_special_result_is_itself_and_nothing_else(special: float) -> None:
    enclosure = Enclosure.exactly(special)
    assert enclosure.overlaps(Enclosure.exactly(special))
    assert enclosure.contains(special)
    for other in (INF, -INF, NAN, 0.0, 1.0):
        if repr(other) != repr(special):
            assert not enclosure.overlaps(Enclosure.exactly(other))
            assert not Enclosure.exactly(other).overlaps(enclosure)
            assert not enclosure.contains(other)
    assert repr(float(enclosure)) == repr(special)
    assert enclosure.bits() == INF
    assert enclosure.decimal(20) == (repr(special), "0")


@given(FINITE)
@QUICK
def test_an_exact_enclosure_holds_its_float_alone(value: float) -> None:
    enclosure = Enclosure.exactly(value)
    assert enclosure.contains(value)
    assert not enclosure.contains(math.nextafter(value, 10.0 if value < 5 else 0.0))
    assert float(enclosure) == value
    assert enclosure.bits() == INF
    for fmt in FORMATS.values():
        assert repr(enclosure.rounded(fmt)) == repr(fmt.round(value + 0.0))


@pytest.mark.parametrize("exponent", [10**38, -(10**38)])
def test_exponents_of_any_size_cost_nothing(exponent: int) -> None:
    near = Enclosure(Dyadic(3, exponent), Dyadic(1, exponent - 100))
    exact = Enclosure(Dyadic(3, exponent), Dyadic(0, 0))
    assert near.overlaps(exact)
    assert not near.overlaps(Enclosure(Dyadic(5, exponent), Dyadic(1, exponent - 100)))
    assert not near.overlaps(Enclosure.exactly(1.0))
    assert not near.contains(Fraction(1, 3))
    assert Enclosure(Dyadic(1, 0), Dyadic(1, -1)).contains(Fraction(2, 3))
    assert exact.lower == exact.upper == exact.mid
    assert near.rounded(BINARY32) == (INF if exponent > 0 else 0.0)
    assert near.bits() == pytest.approx(100, abs=2)


def test_parts_of_very_different_size_are_widened_and_stay_true() -> None:
    small_radius = Enclosure(Dyadic(1, 0), Dyadic(1, -(10**38)))
    assert small_radius.rad.man != 0
    assert small_radius.contains(1)
    small_middle = Enclosure(Dyadic(1, -(10**38)), Dyadic(1, 0))
    for inside in (0, 1, -1, Fraction(1, 3)):
        assert small_middle.contains(inside)


@given(DYADICS.filter(lambda d: d.man != 0), RADII.filter(lambda d: d.man != 0))
@QUICK
def test_bits_are_the_certain_ones(mid: Dyadic, rad: Dyadic) -> None:
    bits = Enclosure(mid, rad).bits()
    ratio = value_of(rad) / abs(value_of(mid))
    assert Fraction(2) ** int(-bits - 1) <= ratio <= Fraction(2) ** int(-bits + 1)
    assert Enclosure(Dyadic(0, 0), rad).bits() == -INF


# --- rounding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)
@given(data=st.data())
@QUICK
def test_rounding_is_correct_or_undecided(fmt: Format, data: st.DataObject) -> None:
    low = fmt.decode(data.draw(st.integers(0, (1 << fmt.bits) - 1)))
    high = fmt.after(low)
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return
    boundary = (Fraction(low) + Fraction(high)) / 2
    unit = Fraction(high) - Fraction(low)
    offset = unit * data.draw(st.sampled_from([-1, 1])) / 2 ** data.draw(st.integers(2, 100))
    radius = abs(offset) * data.draw(st.sampled_from([Fraction(1, 2), Fraction(1), Fraction(2)]))
    mid = boundary + offset
    mid_dyadic, rad_dyadic = (Dyadic(v.numerator, -(v.denominator.bit_length() - 1)) for v in (mid, radius))
    found = Enclosure(mid_dyadic, rad_dyadic).rounded(fmt)
    nearest = low if offset < 0 else high
    if radius < abs(offset):
        assert found == nearest
    elif radius > abs(offset):
        assert found is None
    else:  # the enclosure touches the boundary: decided only if the tie goes the same way
        assert found == (nearest if fmt.round(boundary) == nearest else None)


def test_rounding_beyond_the_range_and_to_zero() -> None:
    assert within(1e39, 2e39).rounded(BINARY32) == INF
    assert within(-2e39, -1e39).rounded(BINARY32) == -INF
    assert within(3e38, 1e39).rounded(BINARY32) is None
    assert within(-1e-60, 1e-60).rounded(BINARY32) == 0
    assert math.isnan(within(1000.0, 2000.0).rounded(E4M3))
    assert within(440.0, 2000.0).rounded(E4M3) is None
    assert Enclosure.exactly(INF).rounded(BINARY16) == INF
    assert math.isnan(Enclosure.exactly(INF).rounded(E4M3))
    assert math.isnan(Enclosure.exactly(NAN).rounded(BINARY64))


# --- decimals ---------------------------------------------------------------------------------------------------


def fraction_of(text: str) -> Fraction:
    with localcontext() as context:
        context.prec = 2000
        return Fraction(Decimal(text))


def significant(text: str) -> int:
    return len(text.lstrip("-").partition("e")[0].replace(".", "").lstrip("0"))


@given(DYADICS.filter(lambda d: d.man != 0), RADII, st.integers(1, 60))
@QUICK
def test_the_printed_radius_covers_the_enclosure_about_the_printed_midpoint(mid: Dyadic, rad: Dyadic, n: int) -> None:
    enclosure = Enclosure(mid, rad)
    text, radius = enclosure.decimal(n)
    assert significant(text) == n
    shown, reach = fraction_of(text), fraction_of(radius)
    assert abs(shown - value_of(enclosure.upper)) <= reach
    assert abs(shown - value_of(enclosure.lower)) <= reach
    # ... and by little: 1 % of itself and one unit of the last digit shown.
    assert reach <= (value_of(enclosure.rad) + 2 * abs(value_of(mid)) / 10 ** (n - 1)) * Fraction(102, 100)


def test_a_thousand_digits() -> None:
    third = (1 << 3400) // 3
    text, radius = Enclosure(Dyadic(third, -3400), Dyadic(1, -3400)).decimal(1000)
    assert text == "0." + "3" * 1000
    assert fraction_of(radius) < Fraction(1, 10**1000)
    assert abs(fraction_of(text) - Fraction(1, 3)) <= fraction_of(radius)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_like_exp_of_minus_1e38(sign: int) -> None:
    exponent = sign * 144269504088896340735992468100189213743  # 1e38 / log 2
    mid, radius = Enclosure(Dyadic(12345678901234567, exponent), Dyadic(1, exponent - 40)).decimal(30)
    assert significant(mid) == 30
    mantissa, _, power = mid.partition("e")
    assert 1 <= float(mantissa) < 10
    # log10(2^e 1.2e16), to the digits that a float of the exponent's size leaves to check
    assert int(power) == pytest.approx(exponent * math.log10(2) + 16, rel=1e-15)
    assert 35 < int(power) - int(radius.partition("e")[2]) - 16 + 25 < 45


def test_short_decimals() -> None:
    assert Enclosure.exactly(0.5).decimal(5) == ("0.50000", "0")
    assert Enclosure.exactly(0.0).decimal(5) == ("0.0", "0")
    assert Enclosure(Dyadic(0, 0), Dyadic(1, -3)).decimal(5) == ("0.0", "0.126")
    assert Enclosure.exactly(0.1).decimal(3) == ("0.100", "5.59e-18")
    assert Enclosure.exactly(-3.0).decimal(2) == ("-3.0", "0")


# --- errors -----------------------------------------------------------------------------------------------------


def test_errors_in_ulps_are_fractional() -> None:
    third = Enclosure(Dyadic((1 << 200) // 3, -200), Dyadic(1, -200))
    for fmt in (BINARY16, BFLOAT16, BINARY32, BINARY64):
        nearest = fmt.round(Fraction(1, 3))
        expected = abs(Fraction(nearest) - Fraction(1, 3)) / Fraction(2) ** (-2 - fmt.precision + 1)
        assert ulp_error(nearest, third, fmt) == pytest.approx(float(expected), rel=1e-12)
        assert 0 < ulp_error(nearest, third, fmt) < 0.5
        other = fmt.after(nearest) if nearest < Fraction(1, 3) else fmt.before(nearest)
        assert ulp_error(other, third, fmt) == pytest.approx(1 - float(expected), rel=1e-12)
        assert ulp_error(-nearest, third, fmt) > 2 ** (fmt.precision - 1)


@given(FINITE, FINITE, st.floats(1e-30, 1e30))
@QUICK
def test_errors_in_units_of_a_radius(observed: float, exact: float, radius: float) -> None:
    expected = abs(Fraction(observed) - Fraction(exact)) / Fraction(radius)
    found = error_over(observed, Enclosure.exactly(exact), BINARY64, radius)
    assert found == pytest.approx(float(min(expected, Fraction(1e308))), rel=1e-12) or expected > 1e308


def test_the_width_of_the_enclosure_counts_against_the_observation() -> None:
    wide = Enclosure(Dyadic(1, 0), Dyadic(1, -10))
    assert ulp_error(1.0, wide, BINARY16) == 1.0
    assert error_over(1.0, wide, BINARY16, 2.0**-9) == 0.5


@pytest.mark.parametrize("fmt", [BINARY16, BFLOAT16, BINARY32, BINARY64], ids=lambda f: f.name)
def test_overflow_saturates(fmt: Format) -> None:
    largest = Enclosure.exactly(fmt.largest)
    assert ulp_error(INF, largest, fmt) == 1.0
    assert ulp_error(INF, Enclosure.exactly(INF), fmt) == 0.0
    assert ulp_error(INF, Enclosure(Dyadic(1, fmt.emax + 3), Dyadic(1, 0)), fmt) == 0.0
    assert ulp_error(INF, Enclosure(Dyadic(1, 10**38), Dyadic(1, 10**37)), fmt) == 0.0
    # The ulp at the first power of two beyond the range is twice the last one's.
    assert ulp_error(fmt.largest, Enclosure.exactly(INF), fmt) == 0.5
    assert ulp_error(-INF, Enclosure.exactly(INF), fmt) == 2.0 ** (fmt.precision)
    assert ulp_error(0.0, Enclosure.exactly(-INF), fmt) == 2.0 ** (fmt.precision - 1)
    assert error_over(INF, largest, fmt, 1.0) == float(fmt.ulp(fmt.largest))


def test_nan_is_infinitely_far_from_everything_but_nan() -> None:
    for exact in (0.0, 1.0, INF):
        assert ulp_error(NAN, Enclosure.exactly(exact), BINARY32) == INF
        assert error_over(NAN, Enclosure.exactly(exact), BINARY32, 1.0) == INF
    assert ulp_error(NAN, Enclosure.exactly(NAN), BINARY32) == 0.0
    for observed in (0.0, 1.0, INF):
        assert ulp_error(observed, Enclosure.exactly(NAN), BINARY32) == INF


def test_radii_at_the_ends() -> None:
    one = Enclosure.exactly(1.0)
    assert error_over(2.0, one, BINARY32, INF) == 0.0
    assert error_over(INF, one, BINARY32, INF) == 0.0
    assert error_over(1.0, one, BINARY32, 0.0) == 0.0
    assert error_over(2.0, one, BINARY32, 0.0) == INF
    assert error_over(1.0, Enclosure(Dyadic(1, 0), Dyadic(1, 10**38)), BINARY32, 1.0) > 2 * BINARY32.largest


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)
def test_subnormal_results_are_measured_in_the_smallest_subnormal(fmt: Format) -> None:
    tiny = fmt.smallest_subnormal
    exponent = fmt.emin - fmt.precision + 1
    assert ulp_error(tiny, Enclosure.exactly(0.0), fmt) == 1.0
    assert ulp_error(0.0, Enclosure(Dyadic(1, exponent - 1), Dyadic(0, 0)), fmt) == 0.5
    assert ulp_error(3 * tiny, Enclosure(Dyadic(9, exponent - 2), Dyadic(0, 0)), fmt) == 0.75
    vanishing = Enclosure(Dyadic(1, -(10**38)), Dyadic(1, -(10**38) - 50))
    assert ulp_error(0.0, vanishing, fmt) == pytest.approx(0.0, abs=1e-15)
    assert ulp_error(tiny, vanishing, fmt) == pytest.approx(1.0, rel=1e-12)

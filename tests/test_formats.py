"""Formats against torch's and numpy's own arithmetic, every pattern where there are at most 2^16 of them."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polyref.errors import UsageError
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, E4M3, E5M2, FORMATS, Dyadic, Format, decode, named

SMALL = [BINARY16, BFLOAT16, E5M2, E4M3]
EVERY = list(FORMATS.values())
INTEGERS = {8: torch.uint8, 16: torch.uint16, 32: torch.uint32, 64: torch.uint64}
QUICK = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def by_name(fmt: Format) -> str:
    return fmt.name


def dtype(fmt: Format) -> torch.dtype:
    return getattr(torch, fmt.torch_name)


def same(a: float, b: float) -> bool:
    """Equal to the sign of zero, NaN equal to itself."""
    return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))


def all_values(fmt: Format) -> torch.Tensor:
    patterns = torch.arange(1 << fmt.bits).to(INTEGERS[fmt.bits])
    return patterns.view(dtype(fmt)).double()


@pytest.mark.parametrize("fmt", SMALL, ids=by_name)
def test_every_pattern_decodes_as_torch_does_and_encodes_back(fmt: Format) -> None:
    for pattern, expected in enumerate(all_values(fmt).tolist()):
        value = fmt.decode(pattern)
        assert same(value, expected), hex(pattern)
        assert math.isnan(value) or fmt.encode(value) == pattern
        assert fmt.contains(value)


@pytest.mark.parametrize("fmt", EVERY, ids=by_name)
def test_nan_has_a_pattern_that_torch_reads_as_nan(fmt: Format) -> None:
    pattern = fmt.encode(math.nan)
    assert math.isnan(fmt.decode(pattern))
    if fmt.bits < 64:
        assert torch.tensor([pattern]).to(INTEGERS[fmt.bits]).view(dtype(fmt)).double().isnan().all()


@pytest.mark.parametrize("fmt", [BINARY32, BINARY64], ids=by_name)
@given(data=st.data())
@QUICK
def test_wide_patterns_decode_as_numpy_does(fmt: Format, data: st.DataObject) -> None:
    pattern = data.draw(st.integers(0, (1 << fmt.bits) - 1))
    unsigned, real = (np.uint32, np.float32) if fmt.bits == 32 else (np.uint64, np.float64)
    expected = float(np.array([pattern], dtype=unsigned).view(real)[0])
    assert same(fmt.decode(pattern), expected)
    assert math.isnan(expected) or fmt.encode(expected) == pattern


@pytest.mark.parametrize("fmt", EVERY, ids=by_name)
def test_constants_are_those_of_torch(fmt: Format) -> None:
    info = torch.finfo(dtype(fmt))
    assert fmt.largest == info.max
    assert fmt.smallest_normal == info.smallest_normal
    assert 2 * fmt.unit_roundoff == info.eps
    assert fmt.smallest_subnormal == fmt.decode(1)
    assert fmt.ulp(0.0) == Dyadic.from_float(fmt.smallest_subnormal)


def neighbourhoods(fmt: Format) -> list[float]:
    """Numbers of the format, the midpoints between neighbours, and the binary64 numbers next to those midpoints."""
    values = [v for v in all_values(fmt).tolist() if math.isfinite(v)]
    values = sorted({*values}, key=lambda v: (v, math.copysign(1, v)))
    if len(values) > 5000:
        values = values[:300] + values[:: len(values) // 2000] + values[-300:]
        values += [v for k in range(fmt.emin - 2, fmt.emax) for v in (2.0**k, fmt.before(2.0**k)) if fmt.contains(v)]
    found = []
    for v in values:
        after = fmt.after(v)
        middle = (v + after) / 2 if math.isfinite(after) and after != v else v
        found += [v, middle, math.nextafter(middle, math.inf), math.nextafter(middle, -math.inf)]
    return found


@pytest.mark.parametrize("fmt", SMALL, ids=by_name)
def test_rounding_of_binary64_ties_and_all(fmt: Format) -> None:
    given_values = neighbourhoods(fmt)
    # torch and numpy round binary64 to these formats through binary32, twice; only what binary32 holds is comparable.
    given_values = [v for v in given_values if BINARY32.contains(v)]
    expected = torch.tensor(given_values, dtype=torch.float64).to(dtype(fmt)).double().tolist()
    for value, wanted in zip(given_values, expected, strict=True):
        assert same(fmt.round(value), wanted), value.hex()


@pytest.mark.parametrize(
    ("fmt", "real"), [(BINARY32, np.float32), (BINARY16, np.float16)], ids=["binary32", "binary16"]
)
@given(data=st.data())
@QUICK
def test_rounding_of_any_binary64_as_numpy_does(fmt: Format, real: type, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["float", "pattern", "midpoint"]))
    if kind == "float":
        value = data.draw(st.floats(width=64))
    elif kind == "pattern":
        value = BINARY64.decode(data.draw(st.integers(0, (1 << 64) - 1)))
    else:
        low = fmt.decode(data.draw(st.integers(0, (1 << fmt.bits) - 1)))
        high = fmt.after(low)
        value = (low + high) / 2
        value = data.draw(st.sampled_from([value, math.nextafter(value, math.inf), math.nextafter(value, -math.inf)]))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        assert same(fmt.round(value), float(real(value)))


@pytest.mark.parametrize("fmt", EVERY, ids=by_name)
@given(data=st.data())
@QUICK
def test_rounding_takes_the_nearest_number_and_the_even_one_of_two(fmt: Format, data: st.DataObject) -> None:
    low = fmt.decode(data.draw(st.integers(0, (1 << fmt.bits) - 1)))
    if not math.isfinite(low) or not math.isfinite(fmt.after(low)) or fmt.after(low) == low:
        return
    high = fmt.after(low)
    middle = (Fraction(low) + Fraction(high)) / 2
    nudge = (Fraction(high) - Fraction(low)) / data.draw(st.integers(3, 10**40))
    assert fmt.round(middle - nudge) == low
    assert fmt.round(middle + nudge) == high
    assert fmt.encode(fmt.round(middle)) % 2 == 0
    as_dyadic = Dyadic(middle.numerator, -(middle.denominator.bit_length() - 1))
    assert same(fmt.round(as_dyadic), fmt.round(middle))


@pytest.mark.parametrize("fmt", EVERY, ids=by_name)
@given(st.fractions())
@QUICK
def test_rounding_of_a_fraction_is_the_nearest(fmt: Format, value: Fraction) -> None:
    rounded = fmt.round(value)
    if not math.isfinite(rounded):
        assert abs(value) > fmt.largest
        return
    distance = abs(Fraction(rounded) - value)
    for other in (fmt.before(rounded), fmt.after(rounded)):
        if math.isfinite(other):
            assert distance <= abs(Fraction(other) - value)


@pytest.mark.parametrize("fmt", EVERY, ids=by_name)
def test_the_overflow_threshold_is_half_an_ulp_beyond_the_largest(fmt: Format) -> None:
    largest, ceiling = Fraction(fmt.largest), fmt.ceiling
    beyond = Fraction(ceiling.man) * Fraction(2) ** ceiling.exp
    middle = (largest + beyond) / 2
    just_below = middle - Fraction(1, 10**30)
    assert fmt.round(just_below) == fmt.largest
    assert fmt.round(-just_below) == -fmt.largest
    # Of the two neighbours at the threshold the even one wins; for e4m3 that is the largest number itself.
    at = fmt.round(middle)
    if fmt is E4M3:
        assert at == fmt.largest
        assert math.isnan(fmt.round(middle + Fraction(1, 10**30)))
        assert math.isnan(fmt.round(math.inf))
    else:
        assert at == math.inf
        assert fmt.round(-middle) == -math.inf


@pytest.mark.parametrize("fmt", EVERY, ids=by_name)
def test_underflow_to_zero_keeps_its_sign(fmt: Format) -> None:
    half = Fraction(fmt.smallest_subnormal) / 2
    assert same(fmt.round(half), 0.0)
    assert same(fmt.round(-half), -0.0)
    assert fmt.round(half * Fraction(1001, 1000)) == fmt.smallest_subnormal
    assert same(fmt.round(Dyadic(-1, -(10**38))), -0.0)
    assert same(fmt.round(Dyadic(3, fmt.emin - fmt.precision - 1)), fmt.smallest_subnormal)


@pytest.mark.parametrize("fmt", SMALL, ids=by_name)
def test_after_and_before_walk_through_every_number(fmt: Format) -> None:
    ordered = sorted({v for v in all_values(fmt).tolist() if not math.isnan(v)})
    for low, high in itertools.pairwise(ordered):
        assert fmt.after(low) == high
        assert fmt.before(high) == low
    assert fmt.after(ordered[-1]) == ordered[-1]
    assert fmt.before(ordered[0]) == ordered[0]
    assert math.isnan(fmt.after(math.nan))


@pytest.mark.parametrize("fmt", EVERY, ids=by_name)
def test_ulp_has_no_jump_at_either_end(fmt: Format) -> None:
    assert fmt.ulp(fmt.largest) == fmt.ulp(Dyadic(1, fmt.emax))
    beyond = fmt.ulp(fmt.ceiling)
    assert beyond in (fmt.ulp(fmt.largest), Dyadic(1, fmt.ulp(fmt.largest).exp + 1))
    assert fmt.ulp(Dyadic(1, fmt.emax + 1)) == Dyadic(1, fmt.emax + 2 - fmt.precision)
    smallest = Dyadic(1, fmt.emin - fmt.precision + 1)
    assert fmt.ulp(fmt.smallest_normal) == fmt.ulp(fmt.smallest_subnormal) == fmt.ulp(Dyadic(1, -(10**38))) == smallest
    assert fmt.ulp(-1.5) == fmt.ulp(1.0) == Dyadic(1, 1 - fmt.precision)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
@QUICK
def test_dyadic_arithmetic_is_exact(a: float, b: float) -> None:
    x, y = Dyadic.from_float(a), Dyadic.from_float(b)
    total = x.plus(y)
    assert Fraction(total.man) * Fraction(2) ** total.exp == Fraction(a) + Fraction(b)
    assert x.compare(y) == (a > b) - (a < b)
    assert float(x) == a
    assert float(x.negated()) == -a
    assert float(x.absolute()) == abs(a)
    if a:
        assert 2 ** Fraction(x.magnitude - 1) <= abs(Fraction(a)) < 2 ** Fraction(x.magnitude)


def test_dyadics_of_far_apart_exponents_compare_at_once() -> None:
    tiny, huge = Dyadic(1, -(10**38)), Dyadic(1, 10**38)
    assert tiny.compare(huge) == -1
    assert huge.negated().compare(tiny) == -1
    assert tiny.negated().compare(huge.negated()) == 1
    assert Dyadic(0, 0).compare(tiny) == -1
    assert Dyadic(4, 10**38).compare(Dyadic(1, 10**38 + 2)) == 0
    assert float(huge) == math.inf


@pytest.mark.parametrize("fmt", EVERY, ids=by_name)
def test_contains(fmt: Format) -> None:
    for value in (0.0, -0.0, 1.0, fmt.largest, -fmt.largest, fmt.smallest_subnormal, math.nan):
        assert fmt.contains(value)
    assert fmt.contains(math.inf) == (fmt.overflow == "infinity")
    if fmt is not BINARY64:
        for value in (math.nextafter(1.0, 2.0), fmt.smallest_subnormal / 2, fmt.largest * 1.25, 5e-324, 1e300):
            assert not fmt.contains(value)


@pytest.mark.parametrize("fmt", EVERY, ids=by_name)
@given(st.floats())
@QUICK
def test_contains_is_being_unchanged_by_rounding(fmt: Format, value: float) -> None:
    rounded = fmt.round(value)
    assert fmt.contains(value) == (math.isnan(value) or rounded == value)
    assert fmt.contains(rounded)


def test_what_is_no_number_of_the_format_is_refused() -> None:
    with pytest.raises(UsageError, match="0x10000 is no bit pattern of binary16: give one of 16 bits"):
        BINARY16.decode(0x10000)
    with pytest.raises(UsageError, match=r"0\.1 is not a number of bfloat16: round it first"):
        BFLOAT16.encode(0.1)


@pytest.mark.parametrize(
    ("name", "fmt"),
    [
        ("binary64", BINARY64), ("float64", BINARY64), ("torch.float64", BINARY64), ("fp64", BINARY64),
        ("double", BINARY64), ("float32", BINARY32), ("torch.float", BINARY32), ("fp32", BINARY32),
        ("half", BINARY16), ("numpy.float16", BINARY16), ("fp16", BINARY16), ("bf16", BFLOAT16),
        ("torch.bfloat16", BFLOAT16), ("e4m3", E4M3), ("float8_e4m3fn", E4M3), ("torch.float8_e5m2", E5M2),
    ],
)  # fmt: skip
def test_names(name: str, fmt: Format) -> None:
    assert named(name) is fmt


def test_an_unknown_name_is_an_error_with_the_choices() -> None:
    with pytest.raises(UsageError) as caught:
        named("float128")
    assert str(caught.value) == (
        "unknown format 'float128': choose one of binary64, binary32, binary16, bfloat16, e5m2, e4m3"
    )


@pytest.mark.parametrize("fmt", EVERY, ids=by_name)
def test_decode_reads_torch_tensors(fmt: Format) -> None:
    values = [[1.5, -0.0, fmt.smallest_subnormal], [fmt.largest, -2.0, 0.25]]
    found, read = decode(torch.tensor(values, dtype=torch.float64).to(dtype(fmt)).requires_grad_())
    assert found is fmt
    assert read == values
    assert math.copysign(1, read[0][1]) == -1


def test_decode_reads_parameters_and_other_subclasses_of_tensors() -> None:
    class Mine(torch.Tensor):
        pass

    for tensor in (torch.nn.Parameter(torch.ones(2)), torch.ones(2).as_subclass(Mine)):
        assert decode(tensor) == (BINARY32, [1.0, 1.0])


@pytest.mark.parametrize("real", [np.float64, np.float32, np.float16])
def test_decode_reads_numpy_arrays(real: type) -> None:
    found, read = decode(np.array([0.1, -2.5], dtype=real))
    assert found is named(np.dtype(real).name)
    assert read == [float(real(0.1)), -2.5]


def test_decode_reads_nested_sequences_as_binary64() -> None:
    assert decode([[1, 2.5], (0.1,)]) == (BINARY64, [[1.0, 2.5], [0.1]])


def test_decode_refuses_what_is_no_format() -> None:
    with pytest.raises(UsageError, match=r"unknown format 'torch.int64'"):
        decode(torch.tensor([1]))
    with pytest.raises(UsageError, match="unknown format 'int32'"):
        decode(np.array([1], dtype=np.int32))

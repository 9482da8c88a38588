"""Numbers as texts: what is written is read back to the last bit, and an answer means one number or none."""

from __future__ import annotations

import math
import random
import struct

import pytest

from polyref.errors import UsageError
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, E4M3, FORMATS, Dyadic, Format
from polyref.vectors.numbers import answered, hexadecimal, pattern, read_exact, read_number


def some(fmt: Format, count: int) -> list[float]:
    rng = random.Random(f"numbers {fmt.name}")
    found = [fmt.decode(rng.getrandbits(fmt.bits)) for _ in range(count)]
    edges = [0.0, -0.0, fmt.largest, fmt.smallest_subnormal, -fmt.smallest_normal, 1.0, fmt.after(1.0)]
    return [v for v in found if math.isfinite(v)] + edges


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)
def test_every_number_comes_back(fmt: Format) -> None:
    for value in some(fmt, 300):
        text = hexadecimal(value)
        assert float.fromhex(text).hex() == value.hex()
        assert read_number(text).hex() == value.hex()
        assert not text.partition("p")[0].endswith(("0", ".")) or value in (0.0, -0.0)
        assert answered(text, fmt).hex() == value.hex()
        assert answered(pattern(value, fmt), fmt).hex() == value.hex()
    for value in (math.inf, -math.inf):
        assert read_number(hexadecimal(value)) == value
    assert math.isnan(read_number(hexadecimal(math.nan)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "0x1.8p+0"),
        (-0.0, "-0x0p+0"),
        (Dyadic(0, 7), "0x0p+0"),
        (Dyadic(3, 10**18), f"0x1.8p+{10**18 + 1}"),
        (Dyadic(-(2**100) - 1, -(10**18)), f"-0x1.{'0' * 24}1p{100 - 10**18}"),
        (Dyadic(12, -2), "0x1.8p+1"),
    ],
)
def test_texts(value: float | Dyadic, text: str) -> None:
    assert hexadecimal(value) == text
    exact = Dyadic.from_float(value) if isinstance(value, float) else value
    assert read_exact(text).compare(exact) == 0


def test_patterns_are_those_of_the_machine() -> None:
    for value in some(BINARY32, 100):
        assert pattern(value, BINARY32) == f"0x{struct.unpack('<I', struct.pack('<f', value))[0]:08x}"
    for value in some(BINARY64, 100):
        assert pattern(value, BINARY64) == f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016x}"
    assert pattern(1.0, E4M3) == "0x38"


@pytest.mark.parametrize(
    ("given", "fmt", "value"),
    [
        (1, BINARY32, 1.0),
        ("0.1", BINARY32, BINARY32.round(0.1)),
        ("0.100000001", BINARY32, BINARY32.round(0.1)),
        ("1e-50", BINARY32, 0.0),
        ("1e400", BINARY64, math.inf),
        ("1e999999999999", BFLOAT16, math.inf),
        # As it stands: a program may be more accurate than the format.
        ("0x1.999999999999ap-4", BINARY32, 0.1),
        ("0X1.8P+1", BINARY32, 3.0),
        (" -0x1p-1 ", BINARY16, -0.5),
        ("0x40400000", BINARY32, 3.0),
        ("0x3F80", BFLOAT16, 1.0),
        ("0x3c00", BINARY16, 1.0),
        ("nan", BINARY32, math.nan),
        ("-nan", BINARY32, math.nan),
        ("nan(0x400000)", BINARY32, math.nan),
        ("0x7fc00000", BINARY32, math.nan),
        ("inf", BINARY32, math.inf),
        ("-Infinity", BINARY32, -math.inf),
        # Halfway, and a little above: decimals are rounded once, ties to even.
        ("2049", BINARY16, 2048.0),
        ("2049.00000000000000000000000000000000000001", BINARY16, 2050.0),
        (12345678901234567890123, BINARY64, 1.2345678901234568e22),
    ],
)
def test_an_answer_is_one_number(given: object, fmt: Format, value: float) -> None:
    assert repr(answered(given, fmt)) == repr(value)


@pytest.mark.parametrize(
    "given",
    ["", "x", "1,5", "0x", "0x4040000", "0x404000000", "0x10", "-0x40400000", "0x1.8", "0xp1", True, [1], {}, "1 2"],
)
def test_what_is_none_is_refused_with_the_rule(given: object) -> None:
    with pytest.raises(UsageError, match=r"write a number, .* the bit pattern 0x with 8 digits, 'nan', 'inf', or null"):
        answered(given, BINARY32)


@pytest.mark.parametrize("text", ["1.5", "0x2p+0", "0x1.8", "0x1.8p0", "0x1.Fp+0", "inf", "0x1p+" + "9" * 21])
def test_only_what_was_written_is_read(text: str) -> None:
    with pytest.raises(UsageError):
        read_exact(text)


@pytest.mark.parametrize("text", ["0x1p+99999", "0x1p-99999", "0x1.00000000000001p+0"])
def test_no_number_of_any_format(text: str) -> None:
    with pytest.raises(UsageError, match="is no number of any format"):
        read_number(text)

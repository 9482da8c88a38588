"""Binary floating-point formats as data: exact decoding, correct rounding, ulps.

Every format here is a subset of binary64, so an exact value of any of them travels as a Python float and no
information is ever lost. Results wider than binary64 (a probability of exp(-1e38), a 1,000-digit loss) are
:class:`Dyadic` numbers, integers times powers of two with unbounded exponents.

Sources: IEEE 754-2019 section 3.3 for binary16, binary32, binary64; the OCP 8-bit floating point specification 1.0
for e4m3 and e5m2; bfloat16 as the upper half of binary32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from polyref.errors import UsageError

if TYPE_CHECKING:
    import numpy
    import torch


class Dyadic(NamedTuple):
    """The number ``man * 2**exp``, exact, with an exponent of any size."""

    man: int
    exp: int

    @classmethod
    def from_float(cls, value: float) -> Dyadic:
        """The exact dyadic value of a finite float."""
        numerator, denominator = value.as_integer_ratio()
        return cls(numerator, 1 - denominator.bit_length())

    @property
    def magnitude(self) -> int:
        """The integer e with ``2**(e-1) <= |value| < 2**e``; meaningless for zero."""
        return self.man.bit_length() + self.exp

    def __float__(self) -> float:
        """The nearest binary64 value, ties to even; overflows to an infinity."""
        return BINARY64.round(self)

    def compare(self, other: Dyadic) -> int:
        """-1, 0 or 1 as ``self`` is below, equal to or above ``other``; cheap however far the exponents lie apart."""
        a, b = self, other
        sign_a, sign_b = (a.man > 0) - (a.man < 0), (b.man > 0) - (b.man < 0)
        if sign_a != sign_b:
            return 1 if sign_a > sign_b else -1
        if sign_a == 0:
            return 0
        if a.magnitude != b.magnitude:
            return sign_a if a.magnitude > b.magnitude else -sign_a
        low = min(a.exp, b.exp)
        left, right = a.man << (a.exp - low), b.man << (b.exp - low)
        return (left > right) - (left < right)

    def plus(self, other: Dyadic) -> Dyadic:
        """The exact sum; its size is the distance between the exponents, so callers keep that distance bounded."""
        if self.man == 0 or other.man == 0:
            return other if self.man == 0 else self
        low = min(self.exp, other.exp)
        return Dyadic((self.man << (self.exp - low)) + (other.man << (other.exp - low)), low)

    def negated(self) -> Dyadic:
        """The number with the other sign."""
        return Dyadic(-self.man, self.exp)

    def absolute(self) -> Dyadic:
        """The magnitude of the number."""
        return Dyadic(abs(self.man), self.exp)


@dataclass(frozen=True)
class Format:
    """One binary floating-point format.

    Attributes:
        name: the standard's name.
        bits: storage width.
        precision: significand bits, the implicit one included.
        emax: exponent of the largest binade.
        largest: the largest finite value.
        overflow: what a value beyond the range becomes under round to nearest, an infinity or NaN.
        torch_name: the attribute of ``torch`` that names the dtype.
    """

    name: str
    bits: int
    precision: int
    emax: int
    largest: float
    overflow: Literal["infinity", "nan"]
    torch_name: str

    @cached_property
    def emin(self) -> int:
        """Exponent of the smallest normal number."""
        exponent_bits = self.bits - self.precision
        return 2 - (1 << (exponent_bits - 1))

    @property
    def unit_roundoff(self) -> float:
        """u = 2**-precision, the largest relative error of a rounding to nearest in the normal range."""
        return math.ldexp(1.0, -self.precision)

    @property
    def smallest_normal(self) -> float:
        """The smallest positive normal number."""
        return math.ldexp(1.0, self.emin)

    @property
    def smallest_subnormal(self) -> float:
        """The smallest positive number, the spacing of every number at or below the smallest normal."""
        return math.ldexp(1.0, self.emin - self.precision + 1)

    @property
    def ceiling(self) -> Dyadic:
        """The number after the largest finite one, were the exponent range wider: where results saturate."""
        largest = Dyadic.from_float(self.largest)
        return largest.plus(Dyadic(1, self.emax - self.precision + 1))

    def ulp(self, value: float | Dyadic) -> Dyadic:
        """The spacing of the format's numbers in the binade of ``value``.

        It bottoms out at the smallest subnormal and goes on beyond the overflow threshold as if the exponent range
        were unbounded, so an error in ulps has no jump at either end.
        """
        exact = value if isinstance(value, Dyadic) else Dyadic.from_float(value)
        exponent = self.emin if exact.man == 0 else max(exact.magnitude - 1, self.emin)
        return Dyadic(1, exponent - self.precision + 1)

    def round(self, value: float | Fraction | Dyadic) -> float:
        """The format's number nearest to ``value``, ties to even (IEEE 754-2019 section 4.3.1)."""
        if isinstance(value, float):
            if not math.isfinite(value):
                return value if self.overflow == "infinity" or math.isnan(value) else math.nan
            if value == 0.0:
                return value
            value = Dyadic.from_float(value)
        if isinstance(value, Fraction):
            value = _sticky(value, self.precision + 4)
        man, exp = value
        if man == 0:
            return 0.0
        sign, man = (-1.0, -man) if man < 0 else (1.0, man)
        quantum = max(man.bit_length() + exp - self.precision, self.emin - self.precision + 1)
        shift = quantum - exp
        if shift > man.bit_length() + 1:
            return sign * 0.0
        if shift > 0:
            quotient, rest = man >> shift, man & ((1 << shift) - 1)
            half = 1 << (shift - 1)
            man = quotient + (rest > half or (rest == half and quotient & 1 == 1))
            exp = quantum
        if man.bit_length() + exp > self.emax + 1 or Dyadic(man, exp).compare(Dyadic.from_float(self.largest)) > 0:
            return sign * math.inf if self.overflow == "infinity" else math.nan
        return sign * math.ldexp(man, exp)

    def contains(self, value: float) -> bool:
        """Whether ``value`` is a number of this format (NaN is; an infinity only where the format has one)."""
        if not math.isfinite(value):
            return math.isnan(value) or self.overflow == "infinity"
        if self.bits == 64:
            return True
        # Every number of a case is checked here, so this does without the integers of round().
        quantum = max(math.frexp(value)[1] - self.precision, self.emin - self.precision + 1)
        return abs(value) <= self.largest and math.ldexp(value, -quantum).is_integer()

    def decode(self, pattern: int) -> float:
        """The value of a bit pattern, ``0 <= pattern < 2**bits``.

        Raises:
            UsageError: if the pattern does not fit into the format's width.
        """
        if not 0 <= pattern < 1 << self.bits:
            raise UsageError(f"{pattern:#x} is no bit pattern of {self.name}: give one of {self.bits} bits")
        mantissa_bits = self.precision - 1
        sign = -1.0 if pattern >> (self.bits - 1) else 1.0
        mantissa = pattern & ((1 << mantissa_bits) - 1)
        biased = (pattern >> mantissa_bits) & ((1 << (self.bits - self.precision)) - 1)
        if biased == 0:
            return sign * math.ldexp(mantissa, self.emin - mantissa_bits)
        exponent = biased + self.emin - 1
        if self.overflow == "infinity" and exponent > self.emax:
            return sign * math.inf if mantissa == 0 else math.nan
        value = math.ldexp((1 << mantissa_bits) + mantissa, exponent - mantissa_bits)
        return math.nan if value > self.largest else sign * value

    def encode(self, value: float) -> int:
        """The bit pattern of a value of the format; NaN gives the quiet one with an empty payload.

        Raises:
            UsageError: if the value is not a number of this format.
        """
        mantissa_bits = self.precision - 1
        exponent_bits = self.bits - self.precision
        if math.isnan(value):
            fill = (1 << mantissa_bits) - 1 if self.overflow == "nan" else 1 << (mantissa_bits - 1)
            return (((1 << exponent_bits) - 1) << mantissa_bits) | fill
        if not self.contains(value):
            raise UsageError(f"{value!r} is not a number of {self.name}: round it first")
        sign = int(math.copysign(1.0, value) < 0) << (self.bits - 1)
        if math.isinf(value):
            return sign | (((1 << exponent_bits) - 1) << mantissa_bits)
        if abs(value) < self.smallest_normal:
            return sign | int(math.ldexp(abs(value), mantissa_bits - self.emin))
        _, exponent = math.frexp(abs(value))
        mantissa = int(math.ldexp(abs(value), mantissa_bits - (exponent - 1))) - (1 << mantissa_bits)
        return sign | ((exponent - self.emin) << mantissa_bits) | mantissa

    def after(self, value: float) -> float:
        """The next number towards plus infinity; the largest finite one is followed by infinity where there is one."""
        if math.isnan(value) or value == math.inf:
            return value
        if value == 0.0:
            return self.smallest_subnormal
        if value == self.largest:
            return math.inf if self.overflow == "infinity" else value
        pattern = self.encode(value)
        return self.decode(pattern + 1 if value > 0 else pattern - 1)

    def before(self, value: float) -> float:
        """The next number towards minus infinity."""
        return -self.after(-value)


def _sticky(value: Fraction, bits: int) -> Dyadic:
    """``value`` cut to ``bits`` bits, the last one set if anything was cut: rounds like the exact value."""
    numerator, denominator = abs(value.numerator), value.denominator
    # Every format's exponents fit into this many extra bits, so subnormal results keep their sticky bit too.
    shift = max(bits - numerator.bit_length() + denominator.bit_length() + 1, 0)
    quotient, rest = divmod(numerator << shift, denominator)
    quotient = (quotient << 1) | (rest != 0)
    return Dyadic(-quotient if value < 0 else quotient, -shift - 1)


BINARY64 = Format("binary64", 64, 53, 1023, 1.7976931348623157e308, "infinity", "float64")
BINARY32 = Format("binary32", 32, 24, 127, 3.4028234663852886e38, "infinity", "float32")
BINARY16 = Format("binary16", 16, 11, 15, 65504.0, "infinity", "float16")
BFLOAT16 = Format("bfloat16", 16, 8, 127, 3.3895313892515355e38, "infinity", "bfloat16")
E5M2 = Format("e5m2", 8, 3, 15, 57344.0, "infinity", "float8_e5m2")
E4M3 = Format("e4m3", 8, 4, 8, 448.0, "nan", "float8_e4m3fn")

#: Every format, widest first.
FORMATS: dict[str, Format] = {f.name: f for f in (BINARY64, BINARY32, BINARY16, BFLOAT16, E5M2, E4M3)}

_ALIASES = {f.torch_name: f.name for f in FORMATS.values()} | {
    "fp64": "binary64",
    "double": "binary64",
    "fp32": "binary32",
    "float": "binary32",
    "fp16": "binary16",
    "half": "binary16",
    "bf16": "bfloat16",
    "e4m3fn": "e4m3",
}


def named(name: str) -> Format:
    """The format of that name; the names of torch and numpy dtypes and the usual short ones are understood too.

    Raises:
        UsageError: for a name that is not known.
    """
    key = name.removeprefix("torch.").removeprefix("numpy.")
    found = FORMATS.get(_ALIASES.get(key, key))
    if found is None:
        raise UsageError(f"unknown format {name!r}: choose one of {', '.join(FORMATS)}")
    return found


def decode(array: torch.Tensor | numpy.ndarray[Any, Any] | Sequence[Any]) -> tuple[Format, Any]:
    """The format of a torch tensor or numpy array and its exact values as (nested lists of) Python floats.

    Nested sequences of Python numbers are taken as binary64.

    Raises:
        UsageError: for a dtype that is no format of this module.
    """
    dtype = getattr(array, "dtype", None)
    if dtype is None:
        return BINARY64, _as_floats(array)
    found = named(str(dtype))
    if any(c.__module__.partition(".")[0] == "torch" for c in type(array).__mro__):  # subclasses of tensors too
        return found, array.detach().cpu().double().tolist()  # type: ignore[union-attr]
    # numpy's own dtypes and those of ml_dtypes (bfloat16, float8) widen to float64 without rounding.
    return found, array.astype("float64").tolist()  # type: ignore[union-attr]


def _as_floats(values: Any) -> Any:
    return [_as_floats(v) for v in values] if isinstance(values, Sequence) else float(values)

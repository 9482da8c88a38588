"""An enclosure: a midpoint and a radius that certainly contain the exact result.

Both are dyadic with unbounded exponents, so exp(-1e38) and 1 - 1e-300 are as ordinary as 0.5, and neither engine's
number type leaks out of the reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cmp_to_key

from mpmath.libmp import (
    MPZ,
    from_int,
    from_man_exp,
    mpf_div,
    mpf_mul,
    mpf_pow_int,
    mpf_sub,
    round_ceiling,
    round_floor,
    round_up,
    to_str,
)

from polyref.formats import Dyadic, Format

#: Radii more than this many binary places below their midpoint are widened to it, and midpoints that far below their
#: radius are moved to zero, so that sums stay small.
_GAP = 1 << 16

ZERO = Dyadic(0, 0)

_TEN = from_int(10)


@dataclass(frozen=True)
class Enclosure:
    """The set of numbers within ``rad`` of ``mid``; or, with ``special`` set, exactly that infinity or NaN.

    An exact result is infinite where an impossible class is the target, and undefined (NaN) where a mean has nothing
    to divide by.
    """

    mid: Dyadic
    rad: Dyadic
    special: float | None = None

    def __post_init__(self) -> None:
        if self.mid.man and self.rad.man and self.rad.magnitude < self.mid.magnitude - _GAP:
            object.__setattr__(self, "rad", Dyadic(1, self.mid.magnitude - _GAP))
        if self.mid.man and self.rad.man and self.mid.magnitude < self.rad.magnitude - _GAP:
            object.__setattr__(self, "rad", Dyadic(1, self.rad.magnitude + 1))
            object.__setattr__(self, "mid", ZERO)

    @classmethod
    def exactly(cls, value: float) -> Enclosure:
        """The enclosure that holds one float and nothing else."""
        if math.isfinite(value):
            return cls(Dyadic.from_float(value), ZERO)
        return cls(ZERO, ZERO, value)

    @property
    def lower(self) -> Dyadic:
        """The smallest number in the enclosure, exact."""
        return self.mid.plus(self.rad.negated())

    @property
    def upper(self) -> Dyadic:
        """The largest number in the enclosure, exact."""
        return self.mid.plus(self.rad)

    def overlaps(self, other: Enclosure) -> bool:
        """Whether the two have a number in common, as two enclosures of one exact result must."""
        if self.special is not None or other.special is not None:
            return repr(self.special) == repr(other.special)
        return self.lower.compare(other.upper) <= 0 and other.lower.compare(self.upper) <= 0

    def contains(self, value: Fraction | float) -> bool:
        """Whether a rational number lies in the enclosure."""
        if self.special is not None:
            return repr(float(value)) == repr(self.special)
        return _compare(self.lower, Fraction(value)) <= 0 <= _compare(self.upper, Fraction(value))

    def rounded(self, fmt: Format) -> float | None:
        """The exact result rounded correctly to a format, or None while a rounding boundary lies in the enclosure."""
        if self.special is not None:
            return fmt.round(self.special)
        low, high = fmt.round(self.lower), fmt.round(self.upper)
        return low if low == high or (math.isnan(low) and math.isnan(high)) else None

    def bits(self) -> float:
        """How many bits of the midpoint are certain: -log2(rad / |mid|); infinite for an exact result."""
        if self.special is not None or self.rad.man == 0:
            return math.inf
        if self.mid.man == 0:
            return -math.inf
        return self.mid.magnitude - self.rad.magnitude

    def __float__(self) -> float:
        """The midpoint rounded to binary64: for charts and messages, never for a verdict."""
        return self.special if self.special is not None else float(self.mid)

    def decimal(self, digits: int) -> tuple[str, str]:
        """Midpoint and radius in decimal; the radius covers the rounding of the midpoint to ``digits`` too.

        The midpoint is printed to exactly ``digits`` significant digits, trailing zeros kept.
        """
        if self.special is not None:
            return str(self.special), "0"
        if self.mid.man == 0:
            return "0.0", _decimal_up(self.rad)
        exact = from_man_exp(self.mid.man, self.mid.exp)
        mid = to_str(exact, digits, strip_zeros=False).replace(".e", "e").removesuffix(".")
        precision = max(self.mid.man.bit_length(), 4 * digits) + 64
        number, _, exponent = mid.partition("e")
        whole, _, part = number.partition(".")
        exp = int(exponent or "0") - len(part)
        shown = from_int(int(MPZ(whole + part)))  # gmpy2's; int() itself refuses a text of 4,300 digits
        # 10**|exp| lies between these two, and is both of them where it fits; the rest is rounded away from zero.
        low, high = (mpf_pow_int(_TEN, abs(exp), precision, way) for way in (round_floor, round_ceiling))
        if exp < 0:
            gaps = [mpf_div(mpf_sub(shown, mpf_mul(exact, ten)), low, precision, round_up) for ten in (low, high)]
        else:
            gaps = [mpf_sub(mpf_mul(shown, ten), exact, precision, round_up) for ten in (low, high)]
        cut = max((Dyadic(int(gap[1]), int(gap[2])) for gap in gaps), key=cmp_to_key(Dyadic.compare))
        return mid, _decimal_up(self.rad.plus(cut))


def ulp_error(observed: float, exact: Enclosure, fmt: Format) -> float:
    """The distance of ``observed`` from the exact result in ulps of ``fmt`` at the exact result, fractional.

    Results beyond the range saturate at the number after the largest finite one, so an overflow that is right costs
    nothing and one that is wrong costs what it should. NaN is infinitely far from everything but NaN.
    """
    return float(error_over(observed, exact, fmt, None))


def error_over(observed: float, exact: Enclosure, fmt: Format, radius: float | None) -> float:
    """|observed - exact| in units of ``radius``, or in ulps where it is None; upper bound over the enclosure.

    0 where the radius is infinite, as then nothing is known; infinite for a NaN in the place of a number.
    """
    special = exact.special
    undefined = special is not None and math.isnan(special)
    if radius == math.inf and not undefined:
        return 0.0  # nothing is bounded: a NaN is allowed too
    if math.isnan(observed) or undefined:
        return 0.0 if math.isnan(observed) and undefined else math.inf
    ceiling = fmt.ceiling
    truth = _saturate(_with_sign(ceiling, special) if special is not None else exact.mid, ceiling)
    seen = _saturate(_with_sign(ceiling, observed) if math.isinf(observed) else Dyadic.from_float(observed), ceiling)
    # Nothing that saturates is farther away than twice the ceiling.
    widest = Dyadic(1, ceiling.magnitude + 1)
    rad = min(exact.rad, widest, key=cmp_to_key(Dyadic.compare)) if special is None and truth == exact.mid else ZERO
    floor = fmt.emin - 4 * fmt.precision - 64  # far below the smallest subnormal: as good as zero, and sums stay small
    truth_kept = truth if truth.man and truth.magnitude > floor else ZERO
    rad_kept = rad if rad.man == 0 or rad.magnitude > floor - 64 else Dyadic(1, floor - 64)
    error = seen.plus(truth_kept.negated()).absolute().plus(rad_kept)
    if error.man == 0:
        return 0.0
    if radius is None:
        unit = fmt.ulp(truth)
        return float(Dyadic(error.man, error.exp - unit.exp))
    if radius == 0.0:
        return math.inf
    scale = Dyadic.from_float(radius)
    shift = scale.man.bit_length() + 64
    return float(Dyadic((error.man << shift) // scale.man, error.exp - scale.exp - shift))


def _with_sign(value: Dyadic, sign: float) -> Dyadic:
    return value if sign > 0 else value.negated()


def _saturate(value: Dyadic, ceiling: Dyadic) -> Dyadic:
    if value.absolute().compare(ceiling) <= 0:
        return value
    return ceiling if value.man > 0 else ceiling.negated()


def _decimal_up(value: Dyadic) -> str:
    """Three significant digits, at least the value."""
    if value.man == 0:
        return "0"
    return str(to_str(from_man_exp(value.man * 129, value.exp - 7), 3))  # 129/128 exceeds the rounding to 3 digits


def _compare(bound: Dyadic, value: Fraction) -> int:
    """-1, 0 or 1 as the bound is below, equal to or above a rational number, however far its exponent."""
    return Dyadic(bound.man * value.denominator, bound.exp).compare(Dyadic(value.numerator, 0))

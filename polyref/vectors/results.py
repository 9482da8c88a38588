"""What is exact about one case: enclosures that decide every rounding, tolerances in ulps, the regime."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from polyref.case import Case
from polyref.errors import PolyrefError
from polyref.formats import Dyadic, Format
from polyref.grades import in_ulps, log_odds_of
from polyref.reference import ball
from polyref.reference.enclosure import ZERO, Enclosure, error_over
from polyref.reference.model import Tolerance, cancellation_free, reference_for, textbook
from polyref.regimes import REGIMES, regime_of

#: Bits of an enclosure beyond those of the format, and the most that a rounding may take to decide.
_MORE_BITS, _MOST_BITS = 64, 4096
#: 2 to this is far below every format.
_TINIEST = -100_000
#: Significant digits of a tolerance.
_DIGITS = 4

_A = TypeVar("_A")
_B = TypeVar("_B")


class Undecided(PolyrefError):
    """A result lies so near to a rounding boundary that no precision within the limit has told the side."""


class Outputs(NamedTuple, Generic[_A]):
    """Something about every number of a result.

    Attributes:
        value: for each value: one a row (an element under the sigmoid link), or a single one when reduced.
        gradient: for each derivative, N rows of C.
    """

    value: tuple[_A, ...]
    gradient: tuple[tuple[_A, ...], ...]

    def map(self, function: Callable[[_A], _B]) -> Outputs[_B]:
        """The same about what ``function`` makes of it."""
        return Outputs(tuple(map(function, self.value)), tuple(tuple(map(function, row)) for row in self.gradient))

    @property
    def slopes(self) -> tuple[_A, ...]:
        """The gradient, row after row."""
        return tuple(v for row in self.gradient for v in row)

    @property
    def all(self) -> tuple[_A, ...]:
        """One after the other, the value first."""
        return (*self.value, *self.slopes)


class Results(NamedTuple):
    """The exact results of a case.

    Attributes:
        exact: enclosures, each narrow enough to say how its result rounds.
        rounded: the results rounded correctly to the case's format.
        tolerance: the reach of correct textbook evaluations, in ulps of the result.
        accurate: the same for the cancellation-free algorithm.
    """

    exact: Outputs[Enclosure]
    rounded: Outputs[float]
    tolerance: Outputs[float]
    accurate: Outputs[float]


def results(case: Case) -> Results:
    """The exact results of a case.

    Raises:
        Undecided: for a result whose rounding cannot be decided.
    """
    exact = enclosures(case)
    balls = reference_for(case)

    def radii(found: Tolerance) -> Outputs[float]:
        def scaled(radius: float, about: Enclosure) -> float:
            return _up(in_ulps(radius, about, case.format))

        value = tuple(map(scaled, found.value, exact.value))
        return Outputs(
            value, tuple(tuple(map(scaled, r, e)) for r, e in zip(found.gradient, exact.gradient, strict=True))
        )

    return Results(
        exact,
        exact.map(lambda e: rounded(e, case.format)),
        radii(textbook(case, exact=balls)),
        radii(cancellation_free(case, exact=balls)),
    )


def enclosures(case: Case) -> Outputs[Enclosure]:
    """Enclosures of the results of a case, with no more digits than it takes to be useful.

    Raises:
        Undecided: for a result whose rounding cannot be decided.
    """
    fmt = case.format
    bits = fmt.precision + _MORE_BITS
    while bits <= _MOST_BITS:
        found = ball.evaluate(case, bits=bits + 8, floor=fmt.emin - bits)
        cut = Outputs(found.value, found.gradient).map(lambda e, b=bits: _shortened(e, b))  # type: ignore[misc]
        if all(e.rounded(fmt) is not None for e in cut.all):
            return cut
        bits *= 2
    raise Undecided(f"a result is within 2^-{_MOST_BITS} of a rounding boundary of {fmt.name}")


def rounded(exact: Enclosure, fmt: Format) -> float:
    """The exact result rounded to a format; a result that may be zero has no sign."""
    found = exact.rounded(fmt)
    if found is None:
        raise Undecided(f"a rounding boundary of {fmt.name} lies in an enclosure")
    return found if found != 0.0 or not exact.contains(0.0) else 0.0


def _shortened(exact: Enclosure, bits: int) -> Enclosure:
    """An enclosure with at most so many bits in its midpoint, and what they leave out in its radius.

    What is far below every format, with hundreds of digits in its exponent perhaps, is only known to be so.
    """
    if exact.special is not None:
        return exact
    tiny = Dyadic(1, _TINIEST)
    if exact.mid.man and exact.upper.absolute().compare(tiny) < 0 and exact.lower.absolute().compare(tiny) < 0:
        below = Dyadic(1, _TINIEST - 1)
        signed = exact.lower.man > 0 or exact.upper.man < 0
        return Enclosure(below if exact.mid.man > 0 else below.negated(), below) if signed else Enclosure(ZERO, tiny)
    spare = exact.mid.man.bit_length() - bits
    if spare <= 0:
        return exact
    mid = Dyadic(exact.mid.man >> spare, exact.mid.exp + spare)
    cut = exact.mid.plus(mid.negated())
    return Enclosure(mid, _few_bits(exact.rad.plus(cut)))


def _few_bits(radius: Dyadic) -> Dyadic:
    spare = radius.man.bit_length() - 8
    return radius if spare <= 0 else Dyadic((radius.man >> spare) + 1, radius.exp + spare)


def excess(observed: float, exact: Enclosure, fmt: Format, tolerance: float) -> float:
    """The error of a number over its tolerance in ulps; infinite for a NaN or an infinity in the place of a number."""
    if not math.isfinite(observed):
        return 0.0 if exact.rounded(fmt) == observed else math.inf
    if math.isinf(tolerance):
        return 0.0
    ulps = error_over(observed, exact, fmt, None)
    if tolerance == 0.0:
        return math.inf if ulps else 0.0
    return ulps / tolerance


def _up(value: float) -> float:
    """A tolerance with few digits, no smaller than it is."""
    if value == 0.0 or not math.isfinite(value):
        return value
    text = float(f"{value:.{_DIGITS - 1}e}")
    if text >= value:
        return text
    digits, _, exponent = f"{text:.{_DIGITS - 1}e}".partition("e")
    return float(f"{round(float(digits) * 10 ** (_DIGITS - 1)) + 1}e{int(exponent) - _DIGITS + 1}")


def regime(case: Case) -> str:
    """The regime of the smallest Pt in a case: where a row has soft labels, that of its likeliest class."""
    places = []
    for i, target in enumerate(case.target):
        if case.ignored(i):
            continue
        likeliest = max(range(case.classes), key=target.__getitem__) if isinstance(target, tuple) else target
        row = replace(case, logits=(case.logits[i],), target=(likeliest,), ignore_index=-100)
        places.append(log_odds_of(row))
    return regime_of(min(places)) if places else REGIMES[-1][0]


def nearness_to_halfway(exact: Enclosure, fmt: Format) -> float:
    """How far a result is from the middle between two numbers of a format, in ulps: from 0 to 1/2."""
    shift = exact.mid.exp - fmt.ulp(exact.mid).exp
    if exact.special is not None or shift >= 0 or shift < -4096:
        return 0.5
    part = abs(exact.mid.man) & ((1 << -shift) - 1)
    return abs(float(Dyadic(part - (1 << (-shift - 1)), shift)))

"""Floating-point arithmetic as balls: every operation returns all the results that a correct one could have.

An operation of a format with unit roundoff u is the exact one times [1 +- c u], plus [+- smallest subnormal] where the
result may underflow. That is gradual underflow; where a library makes zeros of subnormal numbers it is [+- smallest
normal], and sums lose as much, and so do operands that are no results (the logits, which enter sums first).

c is 1 for +, -, * and /; for elementary functions it is twice the library's documented error in ulps, as an ulp is at
most 2 u of the value. A sum of n terms in any order has the factor 1 +- gamma_(n-1), gamma_k = k u / (1 - k u).

Source: N. J. Higham, Accuracy and Stability of Numerical Algorithms, SIAM 2002, sections 2.2, 3.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

from flint import arb

from polyref.formats import FORMATS, Format
from polyref.reference.ball import rational, remainder


@dataclass(frozen=True)
class Library:
    """The documented errors, in ulps, of a library's elementary functions, and whether subnormals become zeros."""

    name: str
    exp: float
    log: float
    log1p: float
    expm1: float
    pow: float
    flushes: bool = False


#: Vectorised torch on the CPU uses SLEEF's 1.0-ulp functions, its scalar paths the C library's (below 1 ulp).
TORCH_CPU = Library("torch CPU: SLEEF u10 and the C library", exp=1, log=1, log1p=1, expm1=1, pow=1)


#: The same bounds with subnormal numbers made zero, as XLA and TensorFlow have it on the CPU.
FLUSHING_CPU = replace(TORCH_CPU, name="CPU, subnormals flushed to zero", flushes=True)


class Arithmetic:
    """The operations of one format with one library, on Arb balls at the caller's working precision.

    ``overflowed`` becomes True when a checked intermediate may have left the format's range: what follows from an
    infinity cannot be bounded.
    """

    def __init__(self, fmt: Format, library: Library = TORCH_CPU) -> None:
        self.format = fmt
        self.library = library
        self.overflowed = False
        self._u = fmt.unit_roundoff
        self._tiny = arb(0, fmt.smallest_normal if library.flushes else fmt.smallest_subnormal)
        # Of a sum: the result, and both operands.
        self._lost = arb(0, 3 * fmt.smallest_normal) if library.flushes else arb(0)
        self._one = arb(1, self._u)
        self._exp = arb(1, 2 * library.exp * self._u)
        self._log = arb(1, 2 * library.log * self._u)
        self._log1p = arb(1, 2 * library.log1p * self._u)
        self._expm1 = arb(1, 2 * library.expm1 * self._u)
        self._largest = fmt.largest

    def add(self, a: arb, b: arb) -> arb:
        """a + b; with gradual underflow sums and differences are exact where they are subnormal."""
        return (a + b) * self._one + self._lost

    def sub(self, a: arb, b: arb) -> arb:
        """a - b."""
        return (a - b) * self._one + self._lost

    def complement(self, q: arb) -> arb:
        """1 - q of an entry of a soft target; exact for the entries of a hard one."""
        return arb(1) - q if q.is_zero() or q == 1 else self.sub(arb(1), q)

    def mul(self, a: arb, b: arb) -> arb:
        """a b; zero times a number is zero."""
        if a.is_zero() or b.is_zero():
            return a * b
        return a * b * self._one + self._tiny

    def div(self, a: arb, b: arb) -> arb:
        """a / b; zero over a number is zero."""
        if a.is_zero():
            return a / b
        return a / b * self._one + self._tiny

    def exp(self, a: arb) -> arb:
        """exp(a)."""
        return a.exp() * self._exp + self._tiny

    def log(self, a: arb) -> arb:
        """log(a), a > 0; exactly zero at one, as every library has it."""
        return a.log() * self._log

    def log1p(self, a: arb) -> arb:
        """log(1 + a)."""
        return a.log1p() * self._log1p + self._tiny

    def expm1(self, a: arb) -> arb:
        """exp(a) - 1."""
        return a.expm1() * self._expm1 + self._tiny

    def power(self, a: arb, exponent: Fraction) -> arb:
        """a**exponent for a >= 0, by the library's function or, for a whole exponent, by repeated multiplication."""
        numerator, denominator = exponent.as_integer_ratio()
        if not numerator:
            return arb(1)
        if numerator == denominator:
            return a
        # The ball of 1 - p may reach below zero where the number itself cannot.
        low, high = a.lower().max(arb(0)), a.upper().max(arb(0))
        e = rational(exponent)
        if numerator < 0:
            if low.is_zero():
                return arb(0, 1) / 0
            result = (low**e).union(high**e)
        else:
            result = (low**e if not low.is_zero() else arb(0)).union(high**e if not high.is_zero() else arb(0))
        steps = 2 * self.library.pow
        if denominator == 1:
            steps = max(steps, abs(numerator) - 1)
        return self.perturbed(result, steps)

    def whole_power(self, a: arb, exponent: int) -> arb:
        """a**exponent for an a of either sign and a whole exponent, at least 0."""
        if exponent < 2:
            return a if exponent else arb(1)
        # Arb's own power of a ball about zero is NaN.
        return self.perturbed(prod([a] * exponent, start=arb(1)), max(exponent - 1, 2 * self.library.pow))

    def sum(self, terms: Sequence[arb]) -> arb:
        """The sum of the terms in any order."""
        if len(terms) < 2:
            return terms[0] if terms else arb(0)
        gamma = self._gamma(len(terms) - 1)
        total = arb(0)
        for t in terms:
            total += t * gamma + self._lost
        return total

    def remainder(self, x: arb, start: int) -> arb:
        """R_(start-1)(x) = sum_{j>=start} x^j / j, not rounded; by its monotone end points."""
        low = x.lower().max(arb(0))
        return (arb(0) if low.is_zero() else remainder(low, start)).union(remainder(x.upper(), start))

    def either(self, x: arb, small: Callable[[], arb], large: Callable[[], arb]) -> arb:
        """What an algorithm computes that has one formula for x below 1/2 and another one from there on."""
        return small() if float(x.abs_upper()) < 0.5 else large()

    def perturbed(self, a: arb, steps: float) -> arb:
        """``a`` after so many roundings of unspecified kind, none of which enlarges an underflow before it."""
        return a * self._gamma(steps) + self._tiny * steps

    def _gamma(self, steps: float) -> arb:
        ku = steps * self._u
        if ku >= 1:  # the classical bound says nothing any more
            self.overflowed = True
            return arb(1)
        return arb(1, ku / (1 - ku) * (1 + 2.0**-40))

    def parameter(self, value: Fraction) -> arb:
        """A parameter as the format holds it or as it was given, whichever the implementation uses."""
        rounded = _rounded(self.format.name, *value.as_integer_ratio())
        return rational(value) if rounded is None else rational(value).union(arb(rounded))

    def holds(self, value: Fraction) -> bool:
        """Whether a number is one of the format."""
        return _rounded(self.format.name, *value.as_integer_ratio()) is None

    def checked(self, a: arb) -> arb:
        """``a``, noting whether it may have left the range."""
        if not abs(float(a.abs_upper())) <= self._largest:
            self.overflowed = True
        return a

    def rounded_to(self, fmt: Format, a: arb) -> arb:
        """The result of a computation in this format, stored in another."""
        if fmt is self.format or a.is_zero():
            return a
        rounded = a * arb(1, fmt.unit_roundoff)
        if a.abs_lower() >= fmt.smallest_normal:
            return rounded
        return rounded + arb(0, fmt.smallest_normal if self.library.flushes else fmt.smallest_subnormal / 2)


@lru_cache(maxsize=1 << 14)
def _rounded(name: str, numerator: int, denominator: int) -> float | None:
    """The number that a format holds for this one, None where that is the number itself."""
    value = Fraction(numerator, denominator)  # not the argument: to look a fraction up takes as long as to round it
    rounded = FORMATS[name].round(value)
    return None if rounded == value else rounded


class Pass(NamedTuple):
    """One run of an algorithm: two arithmetics, so that an overflow is charged to the pass that it spoils.

    Attributes:
        forward: what computes the values.
        backward: what computes the gradients.
        upstream: the gradient that the reduction hands back to each loss.
        shared: what the algorithms of one set have in common, by row: the first of them leaves it for the others.
    """

    forward: Arithmetic
    backward: Arithmetic
    upstream: arb
    shared: dict[int, Any]


class RowResult(NamedTuple):
    """What an algorithm makes of one row: its values (one, or one an element) and its gradient."""

    values: list[arb]
    gradient: list[arb]

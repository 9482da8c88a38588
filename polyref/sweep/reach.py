"""The rounding model over whole cells of margins at once, in binary64 with every bound rounded outwards.

A :class:`Reach` stands for what an algorithm may make of one intermediate quantity, for all margins of a cell: the
exact value v lies in [low, high], and the ball that :class:`~polyref.reference.arithmetic.Arithmetic` computes
contains [v - down, v + up] and lies in [v - outer, v + outer]. All of them are propagated through every operation, so
at the end the model's radius is known to lie between two numbers without a ball for each margin.

Balls are symmetric and functions are not, so what a ball contains is told for both sides (after 1 - p, say, it reaches
far above an x that is nearly 0, and no further than 0 below it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from polyref.formats import Format
from polyref.reference.arithmetic import Arithmetic

Numbers = NDArray[np.float64]

#: Every operation's bounds are made wider by this once, at its end: far more than numpy errs, far less than matters.
_SLACK = 2.0**-43
_LEAST = 1e-300
#: Arb takes the exponential of, and divides, balls that are wider than this relative to their middle by end points of
#: about 24 bits; its figures are that much larger than what the operations themselves can make of their operands.
_WIDE, _OF_EXP, _OF_DIV = 2.0**-21, 2.0**-21, 2.0**-24
#: Terms of sum_{j>N} x^j / j that matter for x of at most 1/2.
_TERMS = 60


class Reach:
    """What an algorithm may make of one quantity, cell by cell; see the module."""

    __slots__ = ("down", "high", "low", "outer", "up")

    def __init__(self, low: Any, high: Any, down: Any = 0.0, up: Any = 0.0, outer: Any = 0.0) -> None:
        self.low, self.high, self.down, self.up, self.outer = low, high, down, up, outer

    @classmethod
    def between(cls, low: Any, high: Any, down: Any, up: Any, outer: Any) -> Reach:
        """With bounds that were computed in binary64, and are made wider for that."""
        return cls(
            low - abs(low) * _SLACK - _LEAST,
            high + abs(high) * _SLACK + _LEAST,
            down * (1 - _SLACK),
            up * (1 - _SLACK),
            outer * (1 + _SLACK),
        )

    @property
    def least(self) -> Any:
        """The smallest magnitude that the ball is sure to reach."""
        return np.maximum(np.maximum(self.low + self.up, self.down - self.high), 0.0)

    @property
    def most(self) -> Any:
        """The largest magnitude of the exact value."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def is_zero(self) -> bool:
        """Never known of all cells; balls ask it of themselves to leave a rounding out."""
        return False

    def __neg__(self) -> Reach:
        return Reach(-self.high, -self.low, self.up, self.down, self.outer)

    def __rmul__(self, factor: arb) -> Reach:
        return _times(_reach(factor), self)


def _reach(a: Reach | arb) -> Reach:
    """An exact constant as cells have it."""
    if isinstance(a, Reach):
        return a
    middle, radius = float(a.mid()), float(a.rad())
    return Reach.between(middle - radius, middle + radius, 0.0, 0.0, 2 * radius)


def _times(a: Reach, b: Reach) -> Reach:
    down, up = 0.0, 0.0
    for alpha, beta in product((-a.down, a.up), (-b.down, b.up)):
        # (v + alpha) (w + beta) - v w, at the ends of the cell, where a bilinear function has its extremes.
        ends = [(v * beta, w * alpha) for v, w in ((a.low, b.low), (a.high, b.high))]
        both = alpha * beta
        up = np.maximum(up, _smaller(ends[0][0], ends[1][0]) + _smaller(ends[0][1], ends[1][1]) + both)
        down = np.maximum(down, -(_larger(ends[0][0], ends[1][0]) + _larger(ends[0][1], ends[1][1]) + both))
    outer = a.most * b.outer + b.most * a.outer + a.outer * b.outer
    low, high = _ends(a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high)
    return Reach(low, high, down, up, outer)


_smaller, _larger = np.minimum, np.maximum


def _ends(*corners: Any) -> tuple[Any, Any]:
    every = np.array(np.broadcast_arrays(*corners))
    return every.min(0), every.max(0)


class CellArithmetic(Arithmetic):
    """The operations of a format on :class:`Reach`; what may have overflowed is told cell by cell.

    Attributes:
        surely: the cells where an intermediate has left the range for every margin.
        maybe: those where it may have for some.
    """

    def __init__(self, fmt: Format) -> None:
        super().__init__(fmt)
        self._least = fmt.smallest_subnormal
        self.surely: Any = False
        self.maybe: Any = False

    def _rounded(self, a: Reach, c: float, tiny: float = 0.0) -> Reach:
        """``a`` times [1 +- c], plus [+- tiny]."""
        wider = c * a.least + tiny
        return Reach.between(a.low, a.high, a.down + wider, a.up + wider, a.outer + c * (a.most + a.outer) + tiny)

    def add(self, a: Any, b: Any) -> Any:
        # Constants stay what they are, and a zero stays exact.
        if isinstance(a, arb) and isinstance(b, arb):
            return super().add(a, b)
        return self._rounded(_plus(_reach(a), _reach(b)), self._u)

    def sub(self, a: Any, b: Any) -> Any:
        return self.add(a, -b)

    def mul(self, a: Any, b: Any) -> Any:
        if (isinstance(a, arb) and a.is_zero()) or (isinstance(b, arb) and b.is_zero()):
            return arb(0)
        return self._rounded(_times(_reach(a), _reach(b)), self._u, self._least)

    def div(self, a: Any, b: Any) -> Any:
        if isinstance(a, arb) and a.is_zero():
            return arb(0)
        a, b = _reach(a), _reach(b)  # b is positive: a sum of exponentials
        down, up = 0.0, 0.0
        for alpha, beta in product((-a.down, a.up), (-b.down, b.up)):
            # (v + alpha) / (w + beta) - v / w = (alpha w - beta v) / (w (w + beta))
            scale = b.high * (b.high + np.maximum(beta, 0.0))
            low = _smaller(alpha * b.low, alpha * b.high) + _smaller(-beta * a.low, -beta * a.high)
            high = _larger(alpha * b.low, alpha * b.high) + _larger(-beta * a.low, -beta * a.high)
            up, down = np.maximum(up, low / scale), np.maximum(down, -high / scale)
        room = b.low - b.outer
        with np.errstate(divide="ignore", invalid="ignore"):
            outer = np.where(room > 0, (a.outer + a.most * b.outer / b.low) / room, np.inf)
        outer += np.where(outer > _WIDE * a.most / b.high, _OF_DIV * a.most / b.low, 0.0)
        low, high = _ends(a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high)
        return self._rounded(Reach(low, high, down, up, outer), self._u, self._least)

    def exp(self, a: Any) -> Any:
        a = _reach(a)
        bent = _exponential(a, np.exp(a.low), np.exp(a.high))
        return self._rounded(bent, 2 * self.library.exp * self._u, self._least)

    def expm1(self, a: Any) -> Any:
        a = _reach(a)
        bent = _exponential(a, np.expm1(a.low), np.expm1(a.high))
        return self._rounded(bent, 2 * self.library.expm1 * self._u, self._least)

    def log(self, a: Any) -> Any:
        a = _reach(a)
        bent = Reach(np.log(a.low), np.log(a.high), *_logarithm(a, a.low, a.high))
        return self._rounded(bent, 2 * self.library.log * self._u)

    def log1p(self, a: Any) -> Any:
        a = _reach(a)
        bent = Reach(np.log1p(a.low), np.log1p(a.high), *_logarithm(a, 1 + a.low, 1 + a.high))
        return self._rounded(bent, 2 * self.library.log1p * self._u, self._least)

    def power(self, a: Any, exponent: Fraction) -> Any:
        if exponent == 0:
            return arb(1)
        if exponent == 1:
            return a
        a, e = _reach(a), float(exponent)
        low, high = np.maximum(a.low, _LEAST), np.maximum(a.high, _LEAST)
        with np.errstate(divide="ignore", invalid="ignore"):
            sides = _of_power(low, high, a, e)
        bent = Reach(*_ends(low**e, high**e), *sides)
        steps = 2 * self.library.pow
        if exponent.denominator == 1:
            steps = max(steps, abs(exponent.numerator) - 1)
        return self.perturbed(bent, steps)

    def sum(self, terms: Sequence[Any]) -> Any:
        if len(terms) < 2 or all(isinstance(t, arb) for t in terms):
            return super().sum(terms)
        steps = (len(terms) - 1) * self._u
        first, *rest = (self._rounded(_reach(t), steps / (1 - steps)) for t in terms)
        for each in rest:
            first = _plus(first, each)
        return Reach.between(first.low, first.high, first.down, first.up, first.outer)

    def remainder(self, x: Any, start: int) -> Any:
        low, high = np.clip(x.low, 0.0, 0.5), np.clip(x.high, 0.0, 0.5)
        # The slope of R_N, x^N / (1 - x), is convex: its mean lies between that in the middle and that of the ends.
        below, above = _smaller(x.down, low), _smaller(x.up, 0.5 - low)
        down, up = below * _slope(low - below / 2, start), above * _slope(low + above / 2, start)
        far = np.clip(x.high + x.outer, 0.0, 0.5)
        outer = x.outer * (_slope(high, start) + _slope(far, start)) / 2
        return Reach(_remainder(low, start), _remainder(high, start), down, up, outer)

    def either(self, x: Any, small: Callable[[], Any], large: Callable[[], Any]) -> Any:
        a, b = _reach(small()), _reach(large())
        one, other = (x.most + x.outer) * (1 + _SLACK) < 0.5, x.least * (1 - _SLACK) >= 0.5

        def chosen(name: str, when_open: Any) -> Any:
            u, v = getattr(a, name), getattr(b, name)
            return np.where(one, u, np.where(other, v, when_open(u, v)))

        ends = chosen("low", _smaller), chosen("high", _larger)
        return Reach(*ends, chosen("down", _smaller), chosen("up", _smaller), chosen("outer", _larger))

    def perturbed(self, a: Any, steps: float) -> Any:
        ku = steps * self._u
        if ku >= 1:  # the classical bound says nothing any more
            self.surely = self.maybe = True
            return a
        return self._rounded(_reach(a), ku / (1 - ku), self._least * steps)

    def parameter(self, value: Fraction) -> Any:
        off = float(Fraction(self.format.round(value)) - value)
        return Reach.between(float(value), float(value), max(-off, 0.0), max(off, 0.0), abs(off))

    def checked(self, a: Any) -> Any:
        r = _reach(a)
        self.surely |= r.least * (1 - _SLACK) > self._largest
        self.maybe |= ~((r.most + r.outer) * (1 + _SLACK) <= self._largest)
        return a


def _plus(a: Reach, b: Reach) -> Reach:
    return Reach(a.low + b.low, a.high + b.high, a.down + b.down, a.up + b.up, a.outer + b.outer)


def _exponential(a: Reach, low: Any, high: Any) -> Reach:
    least, most = np.exp(a.low), np.exp(a.high)
    outer = _beyond(a.high, most, a.outer) + np.where(a.outer > _WIDE, _OF_EXP * most, 0.0)
    return Reach(low, high, least * -np.expm1(-a.down), _beyond(a.low, least, a.up), outer)


def _beyond(v: Any, of_v: Any, by: Any) -> Any:
    """exp(v + by) - exp(v), without 0 times an infinity where v is far below 0 and ``by`` as large."""
    return np.where(by < 1, of_v * np.expm1(np.minimum(by, 1.0)), np.exp(v + by) - of_v)


def _logarithm(a: Reach, low: Any, high: Any) -> tuple[Any, Any, Any]:
    """How far a logarithm reaches whose argument lies in [low, high]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        outer = np.where(a.outer < low, -np.log1p(-np.minimum(a.outer / low, 1.0)), np.inf)
        down = np.where(a.down < high, -np.log1p(-np.minimum(a.down / high, 1.0)), np.inf)
    return down, np.log1p(a.up / high), outer


def _grown(v: Any, by: Any, e: float) -> Any:
    """(v + by)^e - v^e."""
    return np.where(by < v, v**e * np.expm1(e * np.log1p(np.minimum(by / v, 1.0))), (v + by) ** e - v**e)


def _shrunk(v: Any, by: Any, e: float) -> Any:
    """v^e - max(v - by, 0)^e."""
    return np.where(by < v, v**e * -np.expm1(e * np.log1p(-np.minimum(by / v, 1.0))), v**e if e > 0 else -np.inf)


def _of_power(low: Any, high: Any, a: Reach, e: float) -> tuple[Any, Any, Any]:
    """How far v^e reaches below and above, at least, and on either side, at most; v from ``low`` to ``high``."""
    if e >= 1:  # both grow with v; a ball of 1 - p may reach below zero, where the number itself cannot be
        return _shrunk(low, a.down, e), _grown(low, a.up, e), _grown(high, a.outer, e)
    if e > 0:  # above, less with a larger v; below too, but where all of v is in reach
        below = _shrunk(high, a.down, e)
        down = np.where(a.down < low, below, _smaller(below, low**e))
        return (
            down,
            _grown(high, a.up, e),
            _larger(
                _grown(low, a.outer, e),
                _larger(_shrunk(low, a.outer, e), np.where(a.outer < low, 0.0, _smaller(a.outer, high) ** e)),
            ),
        )
    return -_grown(high, a.up, e), -_shrunk(high, a.down, e), np.where(a.outer < low, -_shrunk(low, a.outer, e), np.inf)


def _slope(x: Any, start: int) -> Any:
    """The derivative of the remainder."""
    return x ** (start - 1) / (1 - x)


def _remainder(x: Any, start: int) -> Any:
    """sum_{j >= start} x^j / j for x of at most 1/2."""
    total = np.zeros_like(x)
    for j in range(start + _TERMS, start - 1, -1):
        total = total * x + 1 / j
    return total * x**start

"""One class's loss as a series about Pt = 1, on intervals: its value and its derivatives of any order."""

from __future__ import annotations

import math
from fractions import Fraction
from math import comb, factorial

from mpmath.libmp import fhalf

from polyref.errors import UsageError
from polyref.reference._intervals import Interval, Reals, falling
from polyref.reference.enclosure import Enclosure
from polyref.spec import Response

#: An interval, or the float infinity or NaN that the exact result is.
Extended = Interval | float

_POLE = "the enclosure of Pt reaches a pole of the loss: give a narrower one"


def plus(a: Extended, b: Extended) -> Extended:
    """The sum; an infinity swallows what is finite, and opposite ones make NaN."""
    if isinstance(a, float):
        return a + b if isinstance(b, float) else a
    return b if isinstance(b, float) else a + b


def times(a: Extended, b: Interval | int) -> Extended:
    """The product with an integer, or with an interval of positive numbers."""
    if isinstance(a, float):
        return a * b if isinstance(b, int) else a
    return a * b


def enclosure(reals: Reals, value: Extended) -> Enclosure:
    """What is known of a value, in the reference's own type."""
    return Enclosure.exactly(value) if isinstance(value, float) else reals.enclosure(value)


class Expansion:
    """One response at one precision: its value and derivatives in x."""

    def __init__(self, response: Response, reals: Reals) -> None:
        self.response = response
        self.reals = reals
        self._degree = len(response.coefficients) - 1
        self._near: dict[tuple[int, int], list[tuple[int, Interval]]] = {}

    def jet(self, x: Interval, pt: Interval, orders: tuple[int, ...]) -> list[Extended]:
        """The derivatives d^i l / dx^i for the orders given; x and Pt = 1 - x enclose the same point."""
        reals, log_weight = self.reals, self.response.log_weight
        if reals.is_zero(pt) and log_weight:
            return [math.copysign(math.inf, log_weight)] * len(orders)
        if reals.at_most(x, fhalf):
            return self._explicit(x, orders)
        if reals.reaches_zero(x) or (reals.reaches_zero(pt) and log_weight):
            raise UsageError(_POLE)
        return [self._reduced(x, pt, i) for i in orders]

    def _explicit(self, x: Interval, orders: tuple[int, ...]) -> list[Extended]:
        """sum_j (A/j + C_j) (gamma+j)_i x^(gamma+j-i), the terms beyond the polynomial's from the tail kernel."""
        reals, gamma, log_weight = self.reals, self.response.gamma, self.response.log_weight
        # An integer gamma makes the first few falling factorials vanish; the tail starts at a term that is not 0.
        start = max(self._degree + 1, math.ceil(max(orders) - gamma) if gamma.denominator == 1 else 0)
        tails = reals.tail_sums(x, start, gamma, orders) if log_weight else [reals.zero] * len(orders)
        result: list[Extended] = []
        for order, tail in zip(orders, tails, strict=True):
            pairs = self._coefficients(order, start)
            if not pairs and not log_weight:
                result.append(reals.zero)
                continue
            lowest = pairs[0][0] if pairs else start
            exponent = gamma + lowest - order
            if exponent < 0 and reals.reaches_zero(x):
                if not reals.is_zero(x):
                    raise UsageError(_POLE)
                leading = self.response.series_coefficient(lowest) * falling(gamma + lowest, order)
                result.append(math.copysign(math.inf, leading))
                continue
            total, power, reached = reals.zero, reals.one, lowest
            for j, coefficient in pairs:
                power = power * reals.power(x, Fraction(j - reached))
                reached = j
                total = total + coefficient * power
            if log_weight:
                total = total + reals.rational(log_weight) * reals.power(x, Fraction(start - lowest)) * tail
            result.append(total * reals.power(x, exponent))
        return result

    def _coefficients(self, order: int, start: int) -> list[tuple[int, Interval]]:
        """The index and (A/j + C_j) (gamma+j)_order for each j < start where it is not 0."""
        key = order, start
        if key not in self._near:
            exact = (
                (j, self.response.series_coefficient(j) * falling(self.response.gamma + j, order)) for j in range(start)
            )
            self._near[key] = [(j, self.reals.rational(value)) for j, value in exact if value]
        return self._near[key]

    def _reduced(self, x: Interval, pt: Interval, order: int) -> Interval:
        """Leibniz for x^gamma H with H = A (-log Pt) + Q, where d^i(-log Pt)/dx^i = (i-1)! / Pt^i for i >= 1."""
        reals, gamma, log_weight = self.reals, self.response.gamma, self.response.log_weight
        total = reals.zero
        for i in range(order + 1):
            factor = comb(order, i) * falling(gamma, order - i)
            if factor == 0:
                continue
            inner = reals.zero
            for j, c in enumerate(self.response.coefficients):
                if c and j >= i:
                    inner = inner + reals.rational(c * falling(Fraction(j), i)) * reals.power(x, Fraction(j - i))
            if log_weight:
                log = reals.neglog(pt) if i == 0 else factorial(i - 1) / reals.power(pt, Fraction(i))
                inner = inner + reals.rational(log_weight) * log
            total = total + reals.rational(factor) * reals.power(x, gamma - (order - i)) * inner
        return total

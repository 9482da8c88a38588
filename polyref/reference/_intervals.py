"""Intervals at one precision, and the explicit series that the series engine is made of.

The four operations are mpmath's interval operations on a private context: each end is the exact result rounded
outward. mpmath's exp and log are not used: they are accurate, but nothing proves the side on which they err. They are
summed here instead, in integers scaled by 2^wp, once rounded down and once rounded up at every step, and what is cut
off is bounded on paper (:func:`tail_sums`, :func:`log2`, :func:`exponential`).

Exponents are unbounded, so exp(-3e308) is an ordinary number here.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import isqrt
from typing import Any

from mpmath.ctx_iv import MPIntervalContext
from mpmath.libmp import (
    MPZ,
    fone,
    from_int,
    from_man_exp,
    fzero,
    mpf_add,
    mpf_div,
    mpf_ge,
    mpf_le,
    mpf_neg,
    mpf_sign,
    mpf_sub,
    round_ceiling,
    round_floor,
    round_nearest,
)

from polyref.formats import Dyadic
from polyref.reference.enclosure import ZERO, Enclosure

#: An interval of mpmath, ``lower, upper = interval._mpi_``; mpmath has no types of its own to name.
Interval = Any
#: One end of it, mpmath's (sign, mantissa, exponent, bit count).
Float = Any
#: gmpy2's integers where mpmath found them, Python's otherwise.
Integer = Any

_RADIUS_BITS = 32


def falling(top: Fraction, count: int) -> Fraction:
    """The falling factorial top (top - 1) ... (top - count + 1)."""
    product = Fraction(1)
    for i in range(count):
        product *= top - i
    return product


def _scaled(value: Float, wp: int, *, up: bool) -> Integer:
    """``value * 2**wp`` for a value >= 0, rounded down or up to an integer."""
    _, man, exp, size = value
    shift = int(exp) + wp
    if shift >= 0:
        return man << shift
    if -shift > size:  # a shift by the whole exponent of exp(-1e308) would not fit into a machine word
        return MPZ(1 if up and man else 0)
    return -(-man >> -shift) if up else man >> -shift


@lru_cache(maxsize=256)
def log2(wp: int) -> tuple[Integer, Integer]:
    """Integers around ``log(2) * 2**wp``, from -log(1 - 1/2) = sum_{j>=1} 2^-j / j.

    Each of the first wp terms is rounded down by less than 1, and the rest is below 2^-wp / (wp + 1), less than 1.
    """
    one = MPZ(1) << wp
    low = sum(((one >> j) // j for j in range(1, wp + 1)), MPZ(0))
    return low, low + wp + 1


def tail_sums(x: Interval, start: int, gamma: Fraction, orders: tuple[int, ...], wp: int) -> list[tuple[Any, Any]]:
    """Integers around ``2**wp`` times the tail of the loss's series and of its derivatives, for 0 <= x <= 1/2.

    For each order d, with (a)_d the falling factorial a (a-1) ... (a-d+1),

        S_d = sum_{j >= start} t_j,    t_j = (gamma+j)_d / j * x^(j-start),

    so that A x^(gamma+start-d) S_d is the d-th derivative of sum_{j>=start} A x^(gamma+j) / j. At least one term is
    summed. Where it stops at j = M, every factor of (gamma+M)_d is positive, and for all j >= M

        t_(j+1) / t_j = x * j/(j+1) * (gamma+j+1)/(gamma+j+1-d) <= rho = x (gamma+M+1)/(gamma+M+1-d),

    for the last fraction falls as j grows. The rest is therefore between 0 and t_M / (1 - rho) once rho < 1. For d = 0
    this is the bound 0 <= R_M <= x^(M+gamma+1) / ((M+1)(1-x)) on the loss itself.
    """
    lower, upper = x._mpi_
    x_low, x_high = _scaled(lower, wp, up=False), _scaled(upper, wp, up=True)
    g_top, g_bottom = MPZ(gamma.numerator), MPZ(gamma.denominator)
    highest = max(orders)
    one = MPZ(1) << wp
    low_power = high_power = one
    low, high = [MPZ(0) for _ in orders], [MPZ(0) for _ in orders]
    j = start
    while True:
        last = low_power == 0 and j > start and _converges(x_high, one, g_top + (j + 1) * g_bottom, g_bottom * highest)
        for i, order in enumerate(orders):
            top, bottom = MPZ(1), MPZ(j)
            for step in range(order):
                top *= g_top + (j - step) * g_bottom
                bottom *= g_bottom
            small, large = (low_power, high_power) if top >= 0 else (high_power, low_power)
            if last:
                after = g_top + (j + 1) * g_bottom
                high[i] += _rest(top * large, bottom, x_high * after, one * (after - order * g_bottom))
            else:
                low[i] += top * small // bottom
                high[i] -= -top * large // bottom
        if last:
            return list(zip(low, high, strict=True))
        low_power = low_power * x_low >> wp
        high_power = (high_power * x_high >> wp) + 1
        j += 1


def _converges(x_high: Integer, one: Integer, after: Integer, drop: Integer) -> bool:
    """Whether every factor is positive from here on and rho <= 3/4, in the notation of :func:`tail_sums`."""
    reach = after - drop
    return bool(reach > 0 and 4 * x_high * after <= 3 * one * reach)


def _rest(top: Integer, bottom: Integer, ratio_top: Integer, ratio_bottom: Integer) -> Integer:
    """t_M / (1 - rho) rounded up, for t_M = top/bottom and rho = ratio_top/ratio_bottom < 1."""
    return -(-top * ratio_bottom // (bottom * (ratio_bottom - ratio_top)))


def exponential(r_low: Integer, r_high: Integer, wp: int, halvings: int) -> tuple[Integer, Integer]:
    """Integers around ``2**wp * exp(r)`` for 0 <= r <= 1 between r_low and r_high, these times ``2**wp`` too.

    With s = r / 2^halvings the Taylor series, the sum of the s^n / n!, is taken and squared as often. After the term
    t_n every ratio is at most s/(n+1) <= 1/2, so the rest is at most 2 t_n.
    """
    low_term = high_term = low = high = MPZ(1) << wp
    shift, n = wp + halvings, 0
    while low_term:
        n += 1
        low_term = (low_term * r_low >> shift) // n
        high_term = ((high_term * r_high >> shift) + 1) // n + 1
        low, high = low + low_term, high + high_term
    high += 2 * high_term
    for _ in range(halvings):
        low, high = low * low >> wp, (high * high >> wp) + 1
    return low, high


class Reals:
    """Interval arithmetic at ``prec`` bits. Nothing in an instance changes, so threads may share it."""

    def __init__(self, prec: int) -> None:
        self.prec = prec
        # Room for the rounding of about prec terms, each by one unit.
        self.wp = prec + prec.bit_length() + 8
        self._context = MPIntervalContext()
        self._context.prec = prec
        self.zero: Interval = self._context.make_mpf((fzero, fzero))
        self.one: Interval = self._context.make_mpf((fone, fone))

    @staticmethod
    @lru_cache(maxsize=32)
    def at(prec: int) -> Reals:
        """The arithmetic of that precision."""
        return Reals(prec)

    def hull(self, lower: Float, upper: Float) -> Interval:
        """The interval with these ends, kept as they are."""
        return self._context.make_mpf((lower, upper))

    def scaled(self, low: Integer, high: Integer, exp: int) -> Interval:
        """[low, high] * 2**exp, rounded outward."""
        return self.hull(
            from_man_exp(low, exp, self.prec, round_floor), from_man_exp(high, exp, self.prec, round_ceiling)
        )

    def rational(self, value: Fraction) -> Interval:
        """A rational number, exact where it is an integer."""
        top = from_int(value.numerator)
        if value.denominator == 1:
            return self.hull(top, top)
        bottom = from_int(value.denominator)
        return self.hull(mpf_div(top, bottom, self.prec, round_floor), mpf_div(top, bottom, self.prec, round_ceiling))

    def enclosed(self, value: Enclosure) -> Interval:
        """The interval that an enclosure stands for, rounded outward; exact where the enclosure is."""
        mid, rad = from_man_exp(*value.mid), from_man_exp(*value.rad)
        if value.rad.man == 0:
            return self.hull(mid, mid)
        return self.hull(mpf_sub(mid, rad, self.prec, round_floor), mpf_add(mid, rad, self.prec, round_ceiling))

    def enclosure(self, value: Interval) -> Enclosure:
        """The interval with a midpoint and a radius; the radius covers the rounding of the midpoint."""
        lower, upper = value._mpi_
        if lower == upper:
            return Enclosure(_dyadic(lower), ZERO)
        twice = mpf_add(lower, upper, self.prec, round_nearest)
        mid = (twice[0], twice[1], twice[2] - 1, twice[3]) if twice[1] else fzero
        above = mpf_sub(upper, mid, _RADIUS_BITS, round_ceiling)
        below = mpf_sub(mid, lower, _RADIUS_BITS, round_ceiling)
        return Enclosure(_dyadic(mid), _dyadic(above if mpf_ge(above, below) else below))

    def clip(self, value: Interval) -> Interval:
        """The part of the interval inside [0, 1], for what is known to lie there."""
        lower, upper = value._mpi_
        return self.hull(lower if mpf_sign(lower) > 0 else fzero, fone if mpf_ge(upper, fone) else upper)

    @staticmethod
    def is_zero(value: Interval) -> bool:
        """Whether the interval is exactly {0}."""
        return bool(value._mpi_ == (fzero, fzero))

    @staticmethod
    def reaches_zero(value: Interval) -> bool:
        """Whether an interval of numbers >= 0 contains 0."""
        return bool(mpf_sign(value._mpi_[0]) <= 0)

    @staticmethod
    def at_most(value: Interval, bound: Float) -> bool:
        """Whether every number of the interval is at most ``bound``."""
        return bool(mpf_le(value._mpi_[1], bound))

    def tail_sums(self, x: Interval, start: int, gamma: Fraction, orders: tuple[int, ...]) -> list[Interval]:
        """The sums S_d of :func:`tail_sums`."""
        return [self.scaled(low, high, -self.wp) for low, high in tail_sums(x, start, gamma, orders, self.wp)]

    def neglog(self, p: Interval) -> Interval:
        """-log p for p in (0, 1], after the exact reduction of its upper end u = 2^-k q, 1/2 < q <= 1.

        -log u = k log 2 + (1-q) sum_{j>=1} (1-q)^(j-1) / j, and the lower end v adds log(u/v) <= (u-v)/v.
        """
        lower, upper = p._mpi_
        _, man, exp, size = upper
        k = -int(exp) - (0 if man == 1 else size)
        q = (0, man, int(exp) + k, size)
        y = self._context.make_mpf((mpf_sub(fone, q),) * 2)
        result = y * self.tail_sums(y, 1, Fraction(0), (0,))[0] if not self.is_zero(y) else self.zero
        if k:
            wp = self.wp + k.bit_length()
            low, high = log2(wp)
            result = result + self.scaled(k * low, k * high, -wp)
        width = mpf_sub(upper, lower, self.prec, round_ceiling)
        if width == fzero:
            return result
        start, end = result._mpi_
        slack = mpf_div(width, lower, self.prec, round_ceiling)
        return self.hull(start, mpf_add(end, slack, self.prec, round_ceiling))

    def exp(self, d: Float) -> Interval:
        """exp(d) for an exact d <= 0: d = r - k log 2, with k the first integer that makes r > 0.

        Then 0 < r < 1 even with log 2 rounded, and r is enclosed from the exact d.
        """
        if d == fzero:
            return self.one
        d = mpf_neg(d)
        halvings = isqrt(self.prec)
        wp = self.wp + 2 * halvings  # each squaring doubles the error
        size = max(int(d[2]) + d[3], 0)
        low2, high2 = log2(wp + size)
        d_low, d_high = _scaled(d, wp, up=False), _scaled(d, wp, up=True)
        k = (d_high << size) // low2 + 1
        r_low, r_high = (k * low2 >> size) - d_high, (k * high2 >> size) + 1 - d_low
        low, high = exponential(max(r_low, MPZ(0)), r_high, wp, halvings)
        return self.scaled(low, high, -wp - int(k))

    def power(self, x: Interval, exponent: Fraction) -> Interval:
        """x**exponent for x inside [0, 1]; 0**0 is 1, and a negative power of an interval at 0 has no upper end."""
        if exponent < 0:
            return self.one / self.power(x, -exponent)
        if exponent.denominator == 1:
            result, square, left = self.one, x, exponent.numerator
            while left:
                if left & 1:
                    result = result * square if result is not self.one else square
                left >>= 1
                if left:
                    square = square * square
            return result
        if self.is_zero(x):
            return self.zero
        lower, upper = x._mpi_
        if lower == fzero:  # log has no end there, and the power is increasing
            return self.hull(fzero, self.power(self.hull(upper, upper), exponent)._mpi_[1])
        low, high = (self.neglog(x) * self.rational(exponent))._mpi_
        return self.hull(self.exp(mpf_neg(high))._mpi_[0], self.exp(mpf_neg(low))._mpi_[1])


def _dyadic(value: Float) -> Dyadic:
    sign, man, exp, _ = value
    return Dyadic(-int(man) if sign else int(man), int(exp))

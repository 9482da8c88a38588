"""The ball engine: every step in Arb balls (python-flint), so the enclosure is certified by construction.

Nothing cancels that need not. With m the largest logit and e_k = exp(z_k - m),

    S = sum_k e_k        Pt = e_y / S        x = 1 - Pt = (sum_{k != y} e_k) / S
    -log Pt = log1p(sum_{k != y} e_k)  where z_y = m,   else  (m - z_y) + log S

and the response A x^gamma (-log Pt) + x^gamma sum_i C_i x^i is evaluated, for small x, as

    x^gamma [ A R_N + C_0 + sum_{i=1..N} (A/i + C_i) x^i ],     R_N = sum_{j>N} x^j / j,

with the coefficients exact rationals: eps_1 = -1 leaves R_1 and not the difference of two nearly equal numbers. The
gradient uses c = Pt dl/dx, which is x^gamma Q + gamma x^(gamma-1) Pt P with Q = sum_i D_i x^i, D_0 = A + C_1,
D_i = (i+1) C_{i+1} - i C_i; where Pt is small, Q = A + Pt sum_i i C_i x^(i-1). Then dl/dz_k = c p_k and
dl/dz_y = -c x, never p - 1.

What cancellation remains (a root of the loss, a soft target equal to the prediction) is met with more precision.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from flint import arb, ctx, fmpq

from polyref.case import Case, Row
from polyref.formats import Dyadic
from polyref.reference.enclosure import ZERO, Enclosure
from polyref.reference.result import Result
from polyref.spec import Link, Response

#: Below this x the remainder R_N comes from its own series; above it the logarithm loses at most 8 (N + 1) bits.
_SMALL = 2.0**-8

_NAN = Enclosure(ZERO, ZERO, math.nan)


@dataclass(frozen=True)
class Balls:
    """The results of one case as Arb balls: the form that the rounding models take, before any conversion.

    ``value`` is None where a mean has nothing to divide by.
    """

    value: list[arb] | None
    gradient: list[list[arb]]
    pt: list[list[arb]]
    pt_gradient: list[arb | None]
    bits: int = 0


def evaluate(case: Case, *, bits: int = 120, floor: int | None = None, max_bits: int = 1 << 16) -> Result:
    """Certified value and gradients of a case.

    Args:
        case: the exact input.
        bits: every output's radius is at most 2**-bits of its magnitude ...
        floor: ... or at most 2**floor, if given: then exact zeros cost nothing.
        max_bits: the precision at which to stop; a wider, still certain enclosure is returned then.

    Returns:
        value: one enclosure a row (softmax) or an element (sigmoid), or a single one when reduced;
        gradient: N x C, of the reduced loss, or of the sum where the reduction is none.
    """
    balls = evaluate_balls(case, bits=bits, floor=floor, max_bits=max_bits)
    undefined = balls.value is None
    return Result(
        value=(_NAN,) if balls.value is None else tuple(enclosure(v) for v in balls.value),
        gradient=tuple(tuple(_NAN if undefined else enclosure(g) for g in row) for row in balls.gradient),
        pt=tuple(tuple(enclosure(p) for p in row) for row in balls.pt),
        pt_gradient=tuple(None if g is None else enclosure(g) for g in balls.pt_gradient),
        engine="ball",
        bits=balls.bits,
    )


def evaluate_balls(case: Case, *, bits: int = 120, floor: int | None = None, max_bits: int = 1 << 16) -> Balls:
    """As :func:`evaluate`, without leaving Arb's numbers."""
    precision = bits + 32
    # A difference of logits is exact only with as many bits as their exponents lie apart; guess half of that once.
    widest = max(abs(z) for row in case.logits for z in row if math.isfinite(z))
    if widest > 2.0**32:
        precision += math.frexp(widest)[1]
    while True:
        with ctx.workprec(precision):
            balls = _evaluate(case)
        if precision >= max_bits or all(_narrow(v, bits, floor) for v in _outputs(balls)):
            return replace(balls, bits=precision)
        precision = min(2 * precision, max_bits)


def _outputs(balls: Balls) -> list[arb]:
    found = list(balls.value or ())
    for row in (*balls.gradient, *balls.pt):
        found += row
    found += [g for g in balls.pt_gradient if g is not None]
    return found


def _narrow(v: arb, bits: int, floor: int | None) -> bool:
    if v.rel_accuracy_bits() >= bits or v.is_exact() or _is_infinite(v):
        return True
    if floor is None or not v.is_finite():
        return False
    man, exp = v.rad().man_exp()
    return int(man).bit_length() + int(exp) <= floor


def _is_infinite(v: arb) -> bool:
    """Whether this is an infinity, and not a ball that reaches from one to the other; its radius means nothing."""
    return not v.is_finite() and bool(v > 0 or v < 0)


def enclosure(v: arb) -> Enclosure:
    """An Arb ball in the reference's own type.

    Raises:
        ArithmeticError: for a ball that bounds nothing, which no precision up to the limit has narrowed.
    """
    if not v.is_finite():
        if not _is_infinite(v):
            raise ArithmeticError("the ball engine found no bound within its limit of precision")
        return Enclosure(ZERO, ZERO, math.inf if v > 0 else -math.inf)
    mid_man, mid_exp = v.mid().man_exp()
    rad_man, rad_exp = v.rad().man_exp()
    return Enclosure(Dyadic(int(mid_man), int(mid_exp)), Dyadic(int(rad_man), int(rad_exp)))


# --- one case ---------------------------------------------------------------------------------------------------


class Point(NamedTuple):
    """One class's probability, its complement and its negative logarithm, each with full relative accuracy."""

    pt: arb
    x: arb
    nll: arb


def _evaluate(case: Case) -> Balls:
    spec, classes = case.spec, case.classes
    softmax = spec.link is Link.SOFTMAX
    responses = spec.responses(case.weight, classes)
    values: list[arb] = []
    gradients: list[list[arb]] = []
    pts: list[list[arb]] = []
    pt_gradients: list[arb | None] = []
    for i, logits in enumerate(case.logits):
        pt_gradient: arb | None = None
        if case.ignored(i):
            values += [arb(0)] * (1 if softmax else classes)
            gradients.append([arb(0)] * classes)
            pts.append([])
            pt_gradients.append(None)
            continue
        q, target = case.distribution(i), case.target[i]
        if softmax:
            p, points = softmax_points(logits, [k for k, v in enumerate(q) if v])
            value, gradient, pt_gradient = _softmax_row(p, points, q, responses.positive)
            if responses.mixed:
                elements = [_element(sigmoid_points(z), q[k], responses.mixed[k]) for k, z in enumerate(logits)]
                value += sum((e[0] for e in elements), arb(0)) / classes
                gradient = [g + e[1] / classes for g, e in zip(gradient, elements, strict=True)]
                pt_gradient = None
            values.append(value)
            pts.append([p[target]] if isinstance(target, int) else p)
        else:
            signed = list(zip(responses.positive, responses.negative, strict=True))
            sides = [sigmoid_points(z) for z in logits]
            elements = [_element(sides[k], q[k], signed[k]) for k in range(classes)]
            values += [e[0] for e in elements]
            gradient = [e[1] for e in elements]
            pts.append([side[not (case.soft or k == target)].pt for k, side in enumerate(sides)])
        gradients.append(gradient)
        pt_gradients.append(None if case.soft or spec.smoothing else pt_gradient)
    return _reduced(case, values, gradients, pts, pt_gradients)


def softmax_points(logits: Row, wanted: Collection[int]) -> tuple[list[arb], dict[int, Point]]:
    """All probabilities of a row of logits, and the points of the wanted classes (formulas at the head)."""
    m = max(logits)
    top = arb(m)
    differences = [arb(z) - top if z > -math.inf else None for z in logits]
    e = [arb(0) if d is None else d.exp() for d in differences]
    total = sum(e, arb(0))
    p = [v / total for v in e]
    points: dict[int, Point] = {}
    before = arb(0)  # the sum over the classes below k; taking e_k from the total instead would cancel
    log_total: arb | None = None
    for k in range(len(e)):
        if k in wanted:
            others = sum(e[k + 1 :], before)
            d = differences[k]
            if logits[k] == m:
                nll = others.log1p()
            elif d is None:
                nll = arb.pos_inf()
            else:
                log_total = total.log() if log_total is None else log_total
                nll = log_total - d
            points[k] = Point(p[k], others / total, nll)
        before = before + e[k]
    return p, points


def sigmoid_points(z: float) -> tuple[Point, Point]:
    """The points of sigma(z) and of sigma(-z)."""
    e = (-abs(arb(z))).exp() if z > -math.inf else arb(0)
    large, small = 1 / (1 + e), e / (1 + e)
    near = e.log1p()
    far = abs(arb(z)) + near if z > -math.inf else arb.pos_inf()
    likely, unlikely = Point(large, small, near), Point(small, large, far)
    return (likely, unlikely) if z >= 0 else (unlikely, likely)


def _softmax_row(
    p: list[arb], points: dict[int, Point], q: Sequence[Fraction], responses: Sequence[Response]
) -> tuple[arb, list[arb], arb | None]:
    """The expectation over q of the classes' losses, its gradient, and dl/dPt where there is one target only.

    dl/dz_k = p_k sum_{y != k} q_y c_y - q_k c_k x_k.
    """
    value = arb(0)
    slopes: dict[int, arb] = {}
    for y, point in points.items():
        loss, c = loss_and_slope(responses[y], point)
        share = rational(q[y])
        value += loss if q[y] == 1 else share * loss
        slopes[y] = c if q[y] == 1 else share * c
    gradient = []
    for k, p_k in enumerate(p):
        others = sum((c for y, c in slopes.items() if y != k), arb(0))
        gradient.append(p_k * others - slopes[k] * points[k].x if k in slopes else p_k * others)
    if len(points) != 1:
        return value, gradient, None
    ((y, point),) = points.items()
    if point.x.is_zero() or point.pt.is_zero():
        return value, gradient, _end_slope(responses[y], point)
    return value, gradient, -slopes[y] / point.pt


def _end_slope(response: Response, point: Point) -> arb:
    """The one-sided limit of dl/dPt at Pt = 1 (x = 0) or Pt = 0 (x = 1)."""
    a, gamma, c = response.log_weight, response.gamma, response.coefficients
    if point.pt.is_zero():
        if a:
            return arb.neg_inf() if a > 0 else arb.pos_inf()
        return -rational(sum((gamma + i) * v for i, v in enumerate(c)) + Fraction(0))
    if gamma == 0:
        return -rational(slope_coefficients(response)[0])
    if gamma > 1 or c[0] == 0:
        return arb(0)
    if gamma == 1:
        return -rational(c[0])
    return arb.neg_inf() if c[0] > 0 else arb.pos_inf()


def _element(sides: tuple[Point, Point], q: Fraction, responses: tuple[Response, Response]) -> tuple[arb, arb]:
    """Loss and derivative in z of one logit under the sigmoid link: q l(sigma(z)) + (1 - q) l(sigma(-z))."""
    value, slope = arb(0), arb(0)
    for point, share, response, sign in zip(sides, (q, 1 - q), responses, (-1, 1), strict=True):
        if share == 0:
            continue
        loss, c = loss_and_slope(response, point)
        factor = rational(share)
        value += factor * loss
        slope += sign * factor * c * point.x
    return value, slope


def loss_and_slope(response: Response, point: Point) -> tuple[arb, arb]:
    """The loss l at a point and c = Pt dl/dx."""
    pt, x, nll = point
    a, gamma = response.log_weight, response.gamma
    coefficients = response.coefficients
    if x.is_zero():
        return (rational(coefficients[0]) if gamma == 0 else arb(0)), arb(0)
    # A response without a logarithm must not meet an infinite one: 0 * inf is undefined.
    certain_wrong = pt.is_zero()
    if a == 0:
        inner = _polynomial([rational(v) for v in coefficients], x)
    elif float(x.mid()) < _SMALL:
        inner = _polynomial([rational(response.series_coefficient(i)) for i in range(len(coefficients))], x)
        inner += rational(a) * remainder(x, len(coefficients))
    else:
        inner = rational(a) * nll + _polynomial([rational(v) for v in coefficients], x)
    # c = Q(x) = A + Pt sum_i i C_i x^(i-1): the first cancels nothing where x is small, the second where Pt is.
    if float(pt.mid()) < _SMALL:
        slope = rational(a) + pt * _polynomial([i * rational(v) for i, v in enumerate(coefficients)][1:], x)
    else:
        slope = _polynomial([rational(d) for d in slope_coefficients(response)], x)
    if gamma == 0:
        return inner, slope
    # Pt P, with its limit where Pt = 0: Pt log Pt -> 0.
    weighted = arb(0) if certain_wrong else pt * inner
    power = x ** int(gamma) if gamma.denominator == 1 else x ** rational(gamma)
    return power * inner, power * slope + rational(gamma) * power / x * weighted


def remainder(x: arb, start: int) -> arb:
    """R_(start-1) = sum_{j>=start} x^j / j for 0 < x < 1/2, summed until the proven tail is below the precision.

    The tail after the terms up to M is at most x^(M+1) / ((M+1)(1-x)).
    """
    top, exp = x.abs_upper().man_exp()
    # x < 2**-bits_per_term, so this many terms leave a tail below one unit in the last place.
    bits_per_term = -(int(top).bit_length() + int(exp))
    count = ctx.prec // bits_per_term + 2
    total = arb(0)
    for j in range(start + count - 1, start - 1, -1):
        total = total * x + arb(1) / j
    last = start + count
    total *= x**start
    bound = (x**last / (last * (1 - x))).abs_upper()
    return total + bound / 2 * arb(1, 1)


def _polynomial(coefficients: Sequence[arb], x: arb) -> arb:
    """sum_i coefficients[i] x^i by Horner's rule; exact zeros at the low end stay exact."""
    result = arb(0)
    for c in reversed(coefficients):
        result = result * x + c
    return result


@lru_cache(maxsize=4096)
def slope_coefficients(response: Response) -> tuple[Fraction, ...]:
    """D_0, ..., D_N of Q(x) = sum_i D_i x^i, exact: D_0 = A + C_1 is zero where eps_1 = -1 under the whole-loss law."""
    c = response.coefficients
    following = (*c[1:], Fraction(0))
    d = [(i + 1) * following[i] - i * c[i] for i in range(len(c))]
    d[0] += response.log_weight
    return tuple(d)


def rational(value: Fraction) -> arb:
    """The ball of a rational number, exact where it is dyadic and fits into the working precision."""
    if value.denominator == 1:
        return arb(value.numerator)
    return arb(fmpq(value.numerator, value.denominator))


def _reduced(
    case: Case,
    values: list[arb],
    gradients: list[list[arb]],
    pts: list[list[arb]],
    pt_gradients: list[arb | None],
) -> Balls:
    denominator = case.denominator
    if denominator is None:
        return Balls(values, gradients, pts, pt_gradients)
    if denominator == 0:
        return Balls(None, gradients, pts, pt_gradients)
    scale = rational(1 / denominator)
    return Balls([sum(values, arb(0)) * scale], [[g * scale for g in row] for row in gradients], pts, pt_gradients)

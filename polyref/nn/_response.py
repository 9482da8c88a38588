"""One probability's loss and slope, as functions of x = 1 - Pt that lose no digits anywhere in [0, 1].

With L = -log Pt and C_j = eps_j (Leng et al., PolyLoss, ICLR 2022, arXiv 2204.12511), the loss is x^gamma P with

    P(x) = L + sum_{j=1..N} eps_j x^j = sum_{j=1..N} (1/j + eps_j) x^j + R_N(x),     R_N(x) = sum_{j>N} x^j / j.

eps_j = -1/j leaves R_N, of order x^(N+1), and L + sum eps_j x^j would cancel down to it. So for small x the second form
is used. Its remainder is a sum of positive terms: with s = x/(2 - x), so that L = 2 atanh(s) = 2 sum_{j odd} s^j/j,

    R_N = x^N H_N,   H_N = s Q_N(s) / 2^N + 2 (2 - x)^-N sum_{j>N, j odd} s^(j-N) / j,

where Q_N is a polynomial with nonnegative rational coefficients. Proof by induction: Q_0 = 0, and taking the next
x^j/j = (2s)^j (1+s)^-j / j away (and, for odd j, moving 2 s^j/j out of the sum) gives

    s Q_j(s) = (1+s) Q_{j-1}(s) + [j odd] (2/j) (1+s)^j - 2^j / j.

Only the constant coefficient is lowered, and that one becomes 0 because R_j = O(s^(j+1)).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb, inf, log2

import torch
from torch import Tensor


def remainder_polynomial(n: int) -> tuple[Fraction, ...]:
    """The coefficients of Q_n, constant first, by the recurrence above; all are at least 0."""
    q: list[Fraction] = []
    for j in range(1, n + 1):
        size = max(len(q) + 1, j + 1 if j % 2 else 0, 1)
        following = [Fraction(0)] * size
        for i, value in enumerate(q):
            following[i] += value
            following[i + 1] += value
        if j % 2:
            for i in range(j + 1):
                following[i] += Fraction(2, j) * comb(j, i)
        following[0] -= Fraction(2**j, j)
        if following[0] != 0:
            raise AssertionError(f"Q_{j} does not divide by s")
        q = following[1:]
    return tuple(q)


def crossover(n: int, bits: int) -> float:
    """Below this x the series is used, above it L + sum eps_j x^j.

    At eps_j = -1/j the direct form amplifies rounding by L/R_N, about (N+1) x^-N. The work here is done in binary64.
    For results of 24 bits an amplification of (N+1) 2^20 costs less than 2^-5 of their unit roundoff, and leaves the
    series where it has a term or two. For 53 bits it is 3.6 at x = 1/2 for N = 1, 10 for N = 2 and 26 for N = 3; at
    x = 3/4 it is 2.2, 3.9 and 6.5.
    """
    if bits <= 24:
        return min(0.5, 2.0 ** (-20 / n)) if n else 0.5
    return 0.75


def series_terms(n: int, bits: int) -> int:
    """How many terms of the sum over odd j > n leave out less than 2^-(bits+5) of R_n for every x below the crossover.

    The part left out grows with x relative to R_n, so the crossover is the worst x. There R_n >= x^(n+1)/(n+1), and
    from j on the tail is at most 2 s^j / (j (1 - s^2)), geometric with ratio s^2.
    """
    x = crossover(n, bits)
    s = x / (2 - x)
    terms, j = 0, n + 1 + n % 2
    floor = (n + 1) * log2(x) - log2(n + 1) - (bits + 5)
    while 1 + j * log2(s) - log2(j * (1 - s * s)) > floor:
        terms, j = terms + 1, j + 2
    return max(terms, 1)  # for large n the polynomial alone would do


@dataclass(frozen=True)
class Tables:
    """What is computed once for each epsilon: coefficient lists, constant first, each rounded once.

    Attributes:
        direct: eps_1, ..., eps_N, with the zeros at the end cut off.
        series: 1 + eps_1, ..., 1/N + eps_N.
        q: the coefficients of Q_N / 2^N.
        odd: 2/j for the odd j > N.
        near: the coefficients of Pt dP/dx in powers of x: 1 + C_1, then (i+1) C_{i+1} - i C_i.
        far: j eps_j, for Pt dP/dx = 1 + Pt sum_j j eps_j x^(j-1).
        crossover: between the series and the direct form; 0 if the latter cancels nowhere.
        bend: between near and far; 0 or 1 if the one or the other is a sum of positive terms.
    """

    direct: tuple[float, ...]
    series: tuple[float, ...]
    q: tuple[float, ...]
    odd: tuple[float, ...]
    near: tuple[float, ...]
    far: tuple[float, ...]
    crossover: float
    bend: float


@lru_cache(maxsize=256)
def tables(epsilon: tuple[float, ...], bits: int) -> Tables:
    """The tables for eps_1, ..., eps_N and results of ``bits`` significant bits."""
    n = max((j for j, e in enumerate(epsilon, start=1) if e != 0), default=0)
    c = [Fraction(0), *(Fraction(e) for e in epsilon[:n]), Fraction(0)]
    first = n + 1 + n % 2
    near = tuple(float((i + 1) * c[i + 1] - i * c[i] + (i == 0)) for i in range(n + 1))
    far = tuple(float(j * c[j]) for j in range(1, n + 1))
    # For small x the direct form amplifies rounding by about (1 + |eps_1|) / |1 + eps_1|; binary64 has bits to spare.
    spare = bits <= 24 and n > 0 and abs(1 + c[1]) * 2**12 >= 1 + abs(c[1])
    return Tables(
        direct=epsilon[:n],
        series=tuple(float(Fraction(1, j) + c[j]) for j in range(1, n + 1)),
        q=tuple(float(v / 2**n) for v in remainder_polynomial(n)),
        odd=tuple(2.0 / j for j in range(first, first + 2 * series_terms(n, bits), 2)) if n else (),
        near=near,
        far=far,
        crossover=0.0 if spare or all(e >= 0 for e in epsilon) else crossover(n, bits),
        bend=0.0 if all(v >= 0 for v in far) else 1.0 if all(v >= 0 for v in near) else 0.5,
    )


def horner(coefficients: tuple[float, ...], x: Tensor, inner: Tensor | None = None) -> Tensor:
    """The polynomial with these coefficients, constant first; ``inner`` is added to the last one. A new tensor."""
    rest = coefficients[:-1]
    if inner is not None:
        result = inner + coefficients[-1]
    elif rest:
        result, rest = torch.mul(x, coefficients[-1]).add_(rest[-1]), rest[:-1]
    else:
        result = torch.mul(x, 0.0).add_(coefficients[-1])  # 0 * x keeps NaN
    for c in reversed(rest):
        result = result.mul_(x).add_(c)
    return result


def respond(
    x: Tensor, pt: Tensor, log: Tensor, *, epsilon: tuple[float, ...], gamma: float, bits: int
) -> tuple[Tensor, Tensor]:
    """The loss x^gamma P and the slope Pt d(loss)/dx, elementwise.

    The slope is what the gradient with respect to the logits needs: slope * p_k for the other classes, -slope * x for
    the target. For gamma > 0 it is x^gamma (gamma Pt P/x + Pt dP/dx): P/x has a finite limit at 0, so x^(gamma-1),
    which is infinite there for gamma < 1, is never formed.

    Args:
        x: 1 - Pt, accurate in the relative sense, any shape.
        pt: Pt, the same shape.
        log: -log Pt, the same shape.
        epsilon: eps_1, ..., eps_N; any N.
        gamma: the focal exponent, at least 0.
        bits: the significant bits that the caller keeps of the result.

    Returns:
        Two tensors of that shape; the first may be ``log`` itself.
    """
    t = tables(epsilon, bits)
    if len(t.direct) == 1:
        poly = torch.add(log, x, alpha=t.direct[0])
    else:
        poly = horner(t.direct, x).mul_(x).add_(log) if t.direct else log
    ratio: Tensor | None = None
    if gamma:
        # Pt is 0 wherever the logarithm is infinite; a finite one keeps their product 0.
        ratio = poly.clamp(max=torch.finfo(poly.dtype).max) / x
    if t.crossover:
        far = 2 - x
        s = x / far
        square = s * s
        tail = far.reciprocal_() ** len(t.direct)
        tail.mul_(horner(t.odd, square)).mul_(s if len(t.direct) % 2 == 0 else square)
        # With s = x/2 + x s/2 the largest part of s Q_N, the constant of Q_N times x/2, is rounded once at most.
        first = x * (0.5 * t.q[0])
        rest = first if len(t.q) == 1 else horner(t.q[1:], s).mul_(s).add_(first)
        near = horner(t.series, x, torch.mul(rest, s).add_(tail).add_(first))
        small = x < t.crossover
        ratio = None if ratio is None else torch.where(small, near, ratio)
        poly = torch.where(small, near.mul_(x), poly) if ratio is None else torch.where(small, x * near, poly)
    elif ratio is not None:
        # The limit, 0/0 above.
        ratio.masked_fill_(x == 0, 1 + sum(t.direct[:1]))
    slope = _slope(t, x, pt)
    if ratio is None:
        return poly, slope
    power = x.pow(gamma)
    return power * poly, power.mul_(slope.add_(ratio.mul_(pt).mul_(gamma)))


def _slope(t: Tables, x: Tensor, pt: Tensor) -> Tensor:
    """Pt dP/dx, a new tensor."""
    near = horner(t.near, x) if t.bend else None
    if near is not None and t.bend == 1.0:
        return near
    if len(t.far) == 1:
        far = torch.mul(pt, t.far[0]).add_(1)
    else:
        far = (horner(t.far, x).mul_(pt) if t.far else torch.mul(x, 0.0)).add_(1)
    return far if near is None else torch.where(x < t.bend, near, far)


def slopes(epsilon: tuple[float, ...], gamma: float) -> tuple[float, float]:
    """Bounds of the slope Pt d(loss)/dx over [0, 1]; 0 and infinity where it is no sum of positive terms."""
    t = tables(epsilon, 24)
    if gamma or t.bend not in {0.0, 1.0}:
        return 0.0, inf
    return (1.0, 1 + sum(t.far)) if t.bend == 0.0 else (t.near[0], sum(t.near))

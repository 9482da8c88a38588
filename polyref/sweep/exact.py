"""Losses of two classes in binary64, cancellation-free, each with a bound of its error.

With d = z_o - z_y, the log-odds against the target, t = exp(-|d|), and P = -log Pt + sum_j eps_j x^j:

    x = t / (1 + t) where the target is the more likely class, else 1 / (1 + t);      Pt the other one
    -log Pt = max(d, 0) + log1p(t)
    P = sum_j (1/j + eps_j) x^j + R_N(x) where x < 1/16 and terms of the sum above cancel
    value = x^gamma P,      dl/dz_o = -dl/dz_y = x^(gamma+1) Q + gamma x^gamma Pt P
    Q = Pt dP/dx = sum_i D_i x^i where x < 1/2, else 1 + Pt sum_j j eps_j x^(j-1)

d is the rounded difference; what its rounding left off, exact as well, enters t and -log Pt to first order. Counted in
units of u = 2^-53: exp, log1p and pow err by 2 ulps (4 u), which is twice what SLEEF and CUDA document; t by 6, x and
Pt by 14, -log Pt by 12, the term of x^j by 15 j + 2 N + 3, x^gamma by 14 gamma + 4. So each result errs by at most
(48 + 20 N + 16 gamma) u times the sum of the magnitudes of its terms. The bound is held against the balls by tests.

Where the prediction is hopelessly wrong, the value is d + sum_j eps_j but for a power of t, and those are numbers with
few bits that often lie half-way between two of the format. There the value is that sum, its error the first term of the
expansion in t and what the sum's own rounding left off, and their sign tells on which side the exact value lies.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb, exp, inf
from typing import NamedTuple

import torch
from torch import Tensor

from polyref.reference.ball import slope_coefficients
from polyref.spec import Spec

_U = 2.0**-53
#: Below every number of the formats that are swept, above every underflow of binary64.
_UNDERFLOW = 1e-290
#: Log-odds from which the expansion in t is looked at; from the second on it has one term for any epsilon in use.
_NEAR, _FAR = 12.0, 40.0
#: A leading coefficient that is told from 0 in spite of rounding.
_CLEAR = 1e-3
_SERIES_BELOW = 1 / 16
#: (1/16)^15 is below u.
_TERMS = 15


class Exact(NamedTuple):
    """Results of a row of inputs, and how far each may be off.

    Attributes:
        value: the losses.
        value_error: their absolute error, at most.
        slope: the derivatives in the other class's logit, which are those in the target's with the other sign.
        slope_error: their absolute error, at most.
    """

    value: Tensor
    value_error: Tensor
    slope: Tensor
    slope_error: Tensor


class Losses:
    """The losses of one spec.

    Args:
        spec: of the softmax link, without smoothing.

    Attributes:
        gamma: the focal exponent.
        cancels: whether terms of the value's sum cancel somewhere.
        unit: the error of a result over the sum of the magnitudes of its terms, at most.
    """

    def __init__(self, spec: Spec) -> None:
        response = spec.responses(None, 2).positive[0]
        exact = response.epsilon
        self.gamma = spec.gamma
        self._epsilon = [float(e) for e in exact]
        self._series = [float(Fraction(1, j) + e) for j, e in enumerate(exact, start=1)]
        self._slope = [float(d) for d in slope_coefficients(response)]
        self._slope_far = [j * e for j, e in enumerate(self._epsilon, start=1)]
        self.cancels = any(e < 0 for e in exact)
        self._total = float(sum(exact, Fraction(0)))
        self._order, self._factor, self._from = _leading(exact, rounded=self._total)
        if spec.gamma:
            self._order, self._factor, self._from = 1, 1.0 - sum(self._slope_far), max(self._from, _FAR)
        self.unit = (48 + 20 * len(exact) + 16 * spec.gamma) * _U

    @property
    def coefficients(self) -> tuple[list[float], list[float], list[float], list[float]]:
        """The eps_j, the 1/j + eps_j, the D_i, and the j eps_j."""
        return self._epsilon, self._series, self._slope, self._slope_far

    def of(self, margin: Tensor, rest: Tensor, *, slope: bool) -> Exact:
        """Evaluate them.

        Args:
            margin: z_o - z_y, rounded to binary64.
            rest: what the rounding left off.
            slope: whether the derivatives are wanted too.
        """
        likely = margin <= 0
        t = torch.exp(-margin.abs())
        t = t - t * torch.where(likely, -rest, rest)
        log = torch.log1p(t) + torch.where(likely, 0.0, rest)
        small, large = t / (1 + t), 1 / (1 + t)
        x = torch.where(likely, small, large)
        nll = margin.clamp(min=0) + log
        p, terms = self._sum(x, nll)
        focal = x**self.gamma if self.gamma else None
        value, value_terms = (p, terms) if focal is None else (p * focal, terms * focal)
        value_error = (value_terms * self.unit).add_(_UNDERFLOW)
        if not slope:
            return Exact(value, value_error, value, value_error)
        pt = torch.where(likely, large, small)
        q, q_terms = self._slopes(x, pt)
        g, g_terms = q * x, q_terms * x
        if focal is not None:
            g, g_terms = g * focal, g_terms * focal
            g, g_terms = g + self.gamma * pt * value, g_terms + self.gamma * pt * value_terms
        return Exact(value, value_error, g, (g_terms * self.unit).add_(_UNDERFLOW))

    def refined(self, margin: Tensor, rest: Tensor, value: Tensor, error: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values, errors, and on which side of them the exact values lie (-1, 1, or 0 where that is not known).

        Hopeless predictions by the leading terms, all others as they are.
        """
        t = torch.exp(-margin.abs())
        main = margin + self._total
        back = main - margin
        left = (margin - (main - back)) + (self._total - back) + rest
        # The next term is at most half as large as this one, which underflows to a number that has its sign.
        power = t
        for _ in range(self._order - 1):
            power = power * t
        factor = self._factor - self.gamma * main if self.gamma else torch.full_like(main, self._factor)
        term = factor * power + torch.sign(factor) * _UNDERFLOW
        low, high = left + 0.5 * term, left + 1.5 * term
        most = torch.maximum(low.abs(), high.abs()) * (1 + 2.0**-50)
        # Telling the side is worth a bound that is somewhat wider than that of the sum.
        taken = (margin > self._from) & (most < 16 * error) & (factor.abs() > _CLEAR)
        side = torch.sign(low)
        lean = torch.where(taken & (side == torch.sign(high)), side, 0.0)
        return torch.where(taken, main, value), torch.where(taken, most, error), lean

    def _sum(self, x: Tensor, nll: Tensor) -> tuple[Tensor, Tensor]:
        """P, and the sum of the magnitudes of its terms."""
        if not self._epsilon:
            return nll, nll
        poly, magnitude = _powers(self._epsilon, x)
        p, terms = nll + poly, nll + magnitude
        if not self.cancels:
            return p, terms
        n = len(self._epsilon)
        tail = torch.full_like(x, 1 / (n + _TERMS))
        for k in range(n + _TERMS - 1, n, -1):
            tail = tail * x + 1 / k
        for _ in range(n + 1):
            tail = tail * x
        poly, magnitude = _powers(self._series, x)
        near = x < _SERIES_BELOW
        return torch.where(near, poly + tail, p), torch.where(near, magnitude + tail, terms)

    def _slopes(self, x: Tensor, pt: Tensor) -> tuple[Tensor, Tensor]:
        """Q, and the sum of the magnitudes of its terms."""
        if not self._epsilon:
            return torch.ones_like(x), torch.ones_like(x)
        near, near_terms = _polynomial(self._slope, x)
        far, far_terms = _polynomial(self._slope_far, x)
        half = x < 0.5
        return torch.where(half, near, 1 + pt * far), torch.where(half, near_terms, 1 + pt * far_terms)


def _leading(epsilon: tuple[Fraction, ...], *, rounded: float) -> tuple[int, float, float]:
    """The first term a t^k of log(1 + t) + sum_j eps_j ((1 + t)^-j - 1): k, a, and the d from which it leads.

    It leads where the rest of the expansion is at most half of it; nowhere if the sum of the eps_j is no number of
    binary64, as then the value has no exact leading term.
    """
    if Fraction(rounded) != sum(epsilon, Fraction(0)):
        return 1, 0.0, inf
    terms = [
        Fraction((-1) ** (k + 1), k)
        + sum((e * (-1) ** k * comb(j + k - 1, k) for j, e in enumerate(epsilon, start=1)), Fraction(0))
        for k in range(1, 24)
    ]
    order = next(k for k, a in enumerate(terms, start=1) if a)
    first, rest = abs(float(terms[order - 1])), [abs(float(a)) for a in terms[order:]]
    near = exp(-_NEAR)
    leads = 2 * sum(a * near**k for k, a in enumerate(rest, start=1)) < first
    return order, float(terms[order - 1]), _NEAR if leads else _FAR


def _polynomial(coefficients: list[float], x: Tensor) -> tuple[Tensor, Tensor]:
    """sum_i c_i x^i, and the sum of the magnitudes of the terms."""
    *rest, last = coefficients
    total, magnitude = torch.full_like(x, last), torch.full_like(x, abs(last))
    for c in reversed(rest):
        total, magnitude = total * x + c, magnitude * x + abs(c)
    return total, magnitude


def _powers(coefficients: list[float], x: Tensor) -> tuple[Tensor, Tensor]:
    """sum_j c_j x^j for j from 1, and the sum of the magnitudes of the terms."""
    total, magnitude = _polynomial(coefficients, x)
    return total * x, magnitude * x


def difference(logits: Tensor) -> tuple[Tensor, Tensor]:
    """z_o - z_y of rows of two logits in binary64, and what its rounding left off.

    Source: T. J. Dekker, A floating-point technique for extending the available precision, Numer. Math. 18 (1971), and
    D. E. Knuth's form of it without a comparison.
    """
    target, other = logits[:, 0], logits[:, 1]
    margin = other - target
    back = margin - other
    return margin, (other - (margin - back)) - (target + back)

"""The mathematics of one PolyLoss, without a dtype in it.

With Pt the probability that the link gives to the target, x = 1 - Pt and w the target's class weight,

    l = w [ -x^gamma log Pt + sum_{j=1..N} eps_j x^(gamma+j) ]            (Leng et al., ICLR 2022, arXiv 2204.12511)

is the whole-loss law, ``weighting="both"``. The other laws that are met in the wild are

    ce_only      -w x^gamma log Pt + sum_j eps_j x^(gamma+j)
    rescaled_p   -w x^gamma log Pt + sum_j eps_j x^gamma (1 - Pt w/mu)^j,     mu the mean of the weight vector.

All of them are one :class:`Response` with three factors in it, and the reference evaluates Responses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from functools import cached_property, lru_cache
from math import comb
from typing import TypeVar

from polyref.errors import UsageError


class Link(StrEnum):
    """How logits become probabilities."""

    SOFTMAX = "softmax"
    #: Every logit is its own two-class problem: Pt is p for the target class and 1 - p for the others.
    SIGMOID = "sigmoid"


class Weighting(StrEnum):
    """Which parts of the loss the class weight multiplies."""

    BOTH = "both"
    CE_ONLY = "ce_only"
    RESCALED_P = "rescaled_p"


class Reduction(StrEnum):
    """What becomes of the losses of a batch."""

    NONE = "none"
    SUM = "sum"
    #: torch's mean. Softmax with index targets: sum w l / sum w; with soft targets: divide by the number of rows.
    #: Sigmoid: divide by the number of elements, as binary_cross_entropy_with_logits does.
    MEAN = "mean"
    #: Divide by the number of rows that are not ignored, weights or not.
    MEAN_OVER_SAMPLES = "mean_over_samples"


_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True)
class Response:
    """One class's loss as a function of Pt:  A x^gamma (-log Pt) + B x^gamma sum_j eps_j (1 - r Pt)^j.

    Attributes:
        log_weight: A, the factor on the logarithm.
        poly_weight: B, the factor on the polynomial.
        rescale: r, the factor on Pt inside the polynomial; 1 but for the rescaled law.
        epsilon: eps_1, ..., eps_N.
        gamma: the focal exponent, at least 0.
        before_alpha: what A is without alpha, where there is one; else 0. It changes no exact result.
    """

    log_weight: Fraction
    poly_weight: Fraction
    rescale: Fraction
    epsilon: tuple[Fraction, ...]
    gamma: Fraction
    before_alpha: Fraction = Fraction(0)

    @cached_property
    def exponents(self) -> tuple[Fraction, ...]:
        """gamma + j for j = 0, ..., N."""
        return tuple(self.gamma + j for j in range(len(self.epsilon) + 1))

    @cached_property
    def plain(self) -> bool:
        """Whether Pt enters the polynomial as it is: r = 1."""
        return self.rescale == 1

    @cached_property
    def alpha_may_come_late(self) -> bool:
        """Whether the logarithm may be weighted by another number than 1 before alpha is applied."""
        return self.before_alpha not in (0, 1)

    @cached_property
    def coefficients(self) -> tuple[Fraction, ...]:
        """C_0, ..., C_N with  B sum_j eps_j (1 - r Pt)^j = sum_i C_i x^i,  exact.

        With r = 1 this is C_i = B eps_i; otherwise 1 - r Pt = (1 - r) + r x is expanded by the binomial theorem.
        """
        r = self.rescale
        result = [Fraction(0)] * (len(self.epsilon) + 1)
        for j, eps in enumerate(self.epsilon, start=1):
            if r == 1:
                result[j] += self.poly_weight * eps
                continue
            for i in range(j + 1):
                result[i] += self.poly_weight * eps * comb(j, i) * (1 - r) ** (j - i) * r**i
        return tuple(result)

    def series_coefficient(self, j: int) -> Fraction:
        """The coefficient of x^(gamma+j) in the expansion of the loss about Pt = 1: A/j + C_j."""
        c = self.coefficients[j] if j < len(self.coefficients) else Fraction(0)
        return c if j == 0 else c + self.log_weight / j


@dataclass(frozen=True)
class Responses:
    """The responses of every class of one case.

    Attributes:
        positive: C responses of a class that is the target.
        negative: C responses of a sigmoid element that is not.
        mixed: where the polynomial has a link of its own, the C pairs (positive, negative) of its elements, whose
            mean is added; ``positive`` is then the logarithm alone. Else empty.
    """

    positive: tuple[Response, ...]
    negative: tuple[Response, ...]
    mixed: tuple[tuple[Response, Response], ...] = ()


@dataclass(frozen=True)
class Spec:
    """One loss of the PolyLoss family.

    Attributes:
        link: softmax or sigmoid.
        epsilon: eps_1, ..., eps_N; empty for plain cross-entropy.
        gamma: the focal exponent, finite and at least 0.
        weighting: which parts the class weight multiplies.
        smoothing: label smoothing in [0, 1], as torch defines it: the target becomes a soft one.
        reduction: none, sum, mean or mean_over_samples.
        alpha: for the sigmoid link, the factor on the logarithm for the target class, 1 - alpha for the others
            (Lin et al., ICCV 2017); None for no such factor.
        alpha_on_polynomial: whether alpha multiplies the polynomial too.
        polynomial_link: the link of the polynomial where it is not the logarithm's; then the polynomial is the mean
            over classes of its elements. No paper's loss, but published code does it.
        polynomial_gamma: the focal exponent of such a polynomial where it does not follow gamma.

    Raises:
        UsageError: for a parameter outside its range.
    """

    link: Link = Link.SOFTMAX
    epsilon: tuple[float, ...] = (1.0,)
    gamma: float = 0.0
    weighting: Weighting = Weighting.BOTH
    smoothing: float = 0.0
    reduction: Reduction = Reduction.NONE
    alpha: float | None = None
    alpha_on_polynomial: bool = False
    polynomial_link: Link | None = None
    polynomial_gamma: float | None = None

    def __post_init__(self) -> None:
        # Names and whole numbers are welcome, and kept as the members and floats that they stand for.
        self._keep("link", _member(Link, self.link))
        self._keep("weighting", _member(Weighting, self.weighting))
        self._keep("reduction", _member(Reduction, self.reduction))
        self._keep("epsilon", tuple(map(float, self.epsilon)))
        self._keep("gamma", float(self.gamma))
        self._keep("smoothing", float(self.smoothing))
        if self.alpha is not None:
            self._keep("alpha", float(self.alpha))
        if self.polynomial_link is not None:
            self._keep("polynomial_link", _member(Link, self.polynomial_link))
        if self.polynomial_gamma is not None:
            self._keep("polynomial_gamma", float(self.polynomial_gamma))
        if not math.isfinite(self.gamma) or self.gamma < 0:
            raise UsageError(f"gamma {self.gamma!r} is not allowed: give a finite number, at least 0")
        for j, eps in enumerate(self.epsilon, start=1):
            if not math.isfinite(eps):
                raise UsageError(f"epsilon_{j} is {eps!r}: give a finite number")
        if self.alpha is not None and not math.isfinite(self.alpha):
            raise UsageError(f"alpha {self.alpha!r} is not allowed: give a finite number")
        if self.polynomial_gamma is not None and not (self.mixed and 0 <= self.polynomial_gamma < math.inf):
            raise UsageError(
                f"polynomial_gamma {self.polynomial_gamma!r} is not allowed here: give a finite number, at least 0, "
                "beside a polynomial_link that is not the link"
            )
        if not 0 <= self.smoothing <= 1:
            raise UsageError(f"smoothing {self.smoothing!r} is not allowed: give a number from 0 to 1")

    def _keep(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def response(self, weight: Fraction, mean_weight: Fraction, *, positive: bool = True) -> Response:
        """The response of a class with this weight; ``positive`` is False for a sigmoid element that is no target.

        Raises:
            UsageError: for the rescaled law with weights whose mean is zero.
        """
        log_weight, before_alpha = weight, Fraction(0)
        poly_weight = weight if self.weighting is Weighting.BOTH else Fraction(1)
        if self.alpha is not None:
            before_alpha = weight
            share = Fraction(self.alpha) if positive else 1 - Fraction(self.alpha)
            log_weight *= share
            poly_weight *= share if self.alpha_on_polynomial else 1
        rescale = Fraction(1)
        if self.weighting is Weighting.RESCALED_P:
            if mean_weight == 0:
                raise UsageError("the weights have mean 0, and the rescaled law divides by it: give other weights")
            rescale = weight / mean_weight
        epsilon = () if self.mixed else tuple(Fraction(e) for e in self.epsilon)
        return Response(log_weight, poly_weight, rescale, epsilon, Fraction(self.gamma), before_alpha)

    @property
    def mixed(self) -> bool:
        """Whether the polynomial has a link of its own."""
        return self.polynomial_link is not None and self.polynomial_link is not self.link

    @lru_cache(maxsize=4096)  # noqa: B019 - specs are small values, and the same few are asked for millions of times
    def responses(self, weight: tuple[float, ...] | None, classes: int) -> Responses:
        """The responses of all classes under a weight vector (None: all ones).

        Raises:
            UsageError: for a polynomial link that polyref does not know how to combine with the link, and for the
                rescaled law with weights whose mean is zero.
        """
        weights = tuple(Fraction(w) for w in weight) if weight is not None else (Fraction(1),) * classes
        mean = sum(weights, Fraction(0)) / classes
        positive = tuple(self.response(w, mean) for w in weights)
        negative = tuple(self.response(w, mean, positive=False) for w in weights)
        if not self.mixed:
            return Responses(positive, negative)
        if self.link is not Link.SOFTMAX:
            raise UsageError("polynomial_link is understood beside link softmax only: leave it out")
        gamma = self.gamma if self.polynomial_gamma is None else self.polynomial_gamma
        polynomial = replace(
            self, link=Link.SIGMOID, gamma=gamma, alpha=None, polynomial_link=None, polynomial_gamma=None
        )

        def alone(w: Fraction) -> Response:
            return replace(polynomial.response(w, mean), log_weight=Fraction(0))

        return Responses(positive, negative, tuple((alone(w), alone(w)) for w in weights))


def _member(kind: type[_Choice], value: str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        choices = ", ".join(kind)
        raise UsageError(f"{kind.__name__.lower()} {value!r} is not known: choose one of {choices}") from None

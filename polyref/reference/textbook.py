"""The textbook algorithms of the rounding model, forward and backward, one row at a time.

All take the logarithm from log_softmax (max, subtract, exp, sum, log, subtract). Pt comes from

    subtract   softmax (exp, sum, divide), and x = 1 - Pt;
    once       the same log_softmax, Pt = exp(log Pt), and x = 1 - Pt, which is 1 - exp(-CE) too;
    expm1      the same log_softmax, and x = -expm1(log Pt).

The backward passes are those that automatic differentiation derives: of log_softmax g - exp(log p) sum(g), of softmax
p (g - sum(g p)), of x^e e x^(e-1), of expm1 g (expm1 + 1). The last makes Pt of 1 - x, with an absolute error of u that
a large g shows: under the focal factor g grows with -log Pt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

from flint import arb

from polyref.case import Case
from polyref.reference.arithmetic import Arithmetic, Pass, RowResult
from polyref.reference.ball import rational
from polyref.spec import Link, Response

Way = Literal["subtract", "once", "expm1"]


def subtract(case: Case, i: int, run: Pass) -> RowResult:
    """One row with Pt from softmax and x = 1 - Pt."""
    return _row(case, i, run, "subtract")


def once(case: Case, i: int, run: Pass) -> RowResult:
    """One row with Pt = exp(log Pt) and x = 1 - Pt."""
    return _row(case, i, run, "once")


def expm1(case: Case, i: int, run: Pass) -> RowResult:
    """One row with x = -expm1(log Pt)."""
    return _row(case, i, run, "expm1")


def _row(case: Case, i: int, run: Pass, way: Way) -> RowResult:
    """One row of an algorithm under either link, or under both where the polynomial has its own."""
    forward, backward, upstream, _ = run
    responses = case.spec.responses(case.weight, case.classes)
    logits = case.logits[i]
    if case.spec.link is Link.SIGMOID:
        q = [soft_entry(case, forward, v) for v in case.distribution(i)]
        signed = list(zip(responses.positive, responses.negative, strict=True))
        elements = [_element(z, q[k], signed[k], run, way) for k, z in enumerate(logits)]
        return RowResult([e[0] for e in elements], [e[1] for e in elements])
    q, logs = _prepared(case, i, run)
    value, gradient = _of_logarithms(logs, q, responses.positive, run, way)
    if responses.mixed:
        count = arb(case.classes)
        each = backward.div(upstream, count)
        elements = [
            _element(z, q[k], responses.mixed[k], run._replace(upstream=each), way) for k, z in enumerate(logits)
        ]
        value = forward.add(value, forward.div(forward.sum([e[0] for e in elements]), count))
        gradient = [backward.add(g, e[1]) for g, e in zip(gradient, elements, strict=True)]
    return RowResult([value], gradient)


def soft_entry(case: Case, ar: Arithmetic, q: Fraction) -> arb:
    """An entry of the soft target: given as it is, or made by smoothing ((1 - s) q + s / C, four operations)."""
    return rational(q) if case.spec.smoothing == 0 or q in (0, 1) else ar.perturbed(rational(q), 4)


class _Logarithms(NamedTuple):
    """The part of a softmax row that all algorithms compute alike.

    Attributes:
        e: exp(z - max z), zero for an impossible class.
        total: their sum.
        logp: log_softmax, None for an impossible class.
        soft: exp(logp), what the backward of log_softmax recomputes.
    """

    e: list[arb]
    total: arb
    logp: list[arb | None]
    soft: list[arb]

    @classmethod
    def of(cls, d: Sequence[arb | None], forward: Arithmetic) -> _Logarithms:
        """Of the logits less their maximum, None for an impossible class."""
        e = [arb(0) if v is None else forward.exp(v) for v in d]
        total = forward.sum(e)
        log_total = forward.log(total)
        logp = [None if v is None else forward.sub(v, log_total) for v in d]
        return cls(e, total, logp, [arb(0) if v is None else forward.exp(v) for v in logp])


def _prepared(case: Case, i: int, run: Pass) -> tuple[list[arb], _Logarithms]:
    """The soft target and the logarithms of a row; the next algorithm of a set finds those of the one before."""
    forward = run.forward
    before, forward.overflowed = forward.overflowed, False
    if i not in run.shared:
        logits = case.logits[i]
        top = arb(max(logits))
        q = [soft_entry(case, forward, v) for v in case.distribution(i)]
        logs = _Logarithms.of([forward.sub(arb(z), top) if z > -math.inf else None for z in logits], forward)
        run.shared[i] = q, logs, forward.overflowed
    q, logs, overflowed = run.shared[i]
    forward.overflowed = before or overflowed
    return q, logs


def of_shifted(
    d: Sequence[arb | None],
    q: Sequence[arb],
    responses: Sequence[Response],
    run: Pass,
    way: Way,
) -> tuple[arb, list[arb]]:
    """Value and gradient of one row, by the forward and the backward that automatic differentiation would run.

    Args:
        d: the logits less their maximum, None for an impossible class.
        q: the soft target.
        responses: those of the classes.
        run: the arithmetics, and what arrives from the reduction.
        way: the algorithm.
    """
    return _of_logarithms(_Logarithms.of(d, run.forward), q, responses, run, way)


def _of_logarithms(
    logs: _Logarithms,
    q: Sequence[arb],
    responses: Sequence[Response],
    run: Pass,
    way: Way,
) -> tuple[arb, list[arb]]:
    forward, backward, upstream, _ = run
    e, total, logp, soft = logs
    classes = range(len(e))
    p = [forward.div(v, total) for v in e] if way == "subtract" else soft

    losses: list[arb] = []
    to_logp: dict[int, arb] = {}  # dl/dlog p_k from the logarithm
    to_p: dict[int, arb] = {}  # dl/dp_k from powers of x = 1 - p_k
    through: dict[int, arb] = {}  # dp_k/dlog p_k
    for k in classes:
        if q[k].is_zero():
            continue
        log_k = logp[k]
        nll = arb.pos_inf() if log_k is None else -log_k
        if way == "expm1" and log_k is not None and responses[k].plain:
            x = -forward.expm1(log_k)
            through[k] = backward.sub(arb(1), x)
        else:
            x = forward.sub(arb(1), p[k])
            through[k] = p[k]
        losses.append(
            forward.mul(q[k], _loss(responses[k], p[k], x, nll, forward))
            if q[k] != 1
            else _loss(responses[k], p[k], x, nll, forward)
        )
        weight = backward.mul(q[k], upstream) if q[k] != 1 else upstream
        slope_log, slope_p = _slopes(responses[k], p[k], x, nll, backward, upstream=weight)
        to_logp[k] = -backward.mul(weight, slope_log)
        to_p[k] = backward.mul(weight, slope_p)

    value = forward.sum(losses)
    zero = arb(0)
    if way != "subtract":
        into = {k: backward.add(to_logp[k], backward.mul(to_p[k], through[k])) for k in to_p}
        return value, _log_softmax_backward(into, soft, backward)
    log_part = _log_softmax_backward(to_logp, soft, backward)
    dot = backward.sum([backward.mul(g, p[k]) for k, g in to_p.items()])
    poly_part = [backward.mul(p[k], backward.sub(to_p.get(k, zero), dot)) for k in classes]
    return value, [backward.add(a, b) for a, b in zip(log_part, poly_part, strict=True)]


def _log_softmax_backward(into: dict[int, arb], soft: Sequence[arb], ar: Arithmetic) -> list[arb]:
    total = ar.sum(list(into.values()))
    zero = arb(0)
    return [ar.sub(into.get(k, zero), ar.mul(v, total)) for k, v in enumerate(soft)]


def _element(
    z: float,
    q: arb,
    responses: tuple[Response, Response],
    run: Pass,
    way: Way,
) -> tuple[arb, arb]:
    """One logit under the sigmoid link: q l(sigma(z)) + (1 - q) l(sigma(-z)) and its derivative.

    The logarithm is torch's: log sigma(z) = min(z, 0) - log1p(exp(-|z|)), and z - log sigma(z) for the other class.
    """
    forward, backward, upstream, _ = run
    exact_z = arb(z) if z > -math.inf else arb.neg_inf()
    tail = forward.exp(-abs(exact_z)) if z > -math.inf else arb(0)
    log_sigmoid = forward.sub(arb(min(z, 0.0)) if z > -math.inf else exact_z, forward.log1p(tail))
    p = forward.div(arb(1) if z >= 0 else tail, forward.add(arb(1), tail))
    if -z > math.log(forward.format.largest):
        p = p.union(arb(0))  # 1 / (1 + exp(-z)), whose exponential is an infinity
    complement = forward.sub(arb(1), p)
    values, slopes = [], []
    negative_nll = forward.sub(exact_z, log_sigmoid) if z > -math.inf else arb(0)
    rest = forward.complement(q)
    sides = ((q, -log_sigmoid, p, responses[0], -1), (rest, negative_nll, complement, responses[1], 1))
    for share, nll, side, response, sign in sides:
        if share.is_zero():
            continue
        pt = forward.exp(-nll) if way != "subtract" and nll.is_finite() else side
        x = forward.sub(arb(1), pt)
        through = pt
        if way == "expm1" and nll.is_finite() and response.plain:
            x = -forward.expm1(-nll)
            through = backward.sub(arb(1), x)
        loss = _loss(response, pt, x, nll, forward)
        values.append(loss if share == 1 else forward.mul(share, loss))
        weight = upstream if share == 1 else backward.mul(share, upstream)
        slope_log, slope_p = _slopes(response, pt, x, nll, backward, upstream=weight)
        # dnll/dz is p - 1 for the target class and p for the other.
        along_log = backward.sub(p, arb(1)) if sign < 0 else p
        if way != "subtract":
            inner = backward.sub(slope_log, backward.mul(slope_p, through))
            slopes.append(backward.mul(backward.mul(weight, inner), along_log))
            continue
        slopes.append(backward.mul(backward.mul(weight, slope_log), along_log))
        along_p = backward.mul(backward.mul(backward.mul(weight, slope_p), complement), p)
        slopes.append(-sign * along_p)
    return forward.sum(values), backward.sum(slopes)


def _loss(response: Response, pt: arb, x: arb, nll: arb, ar: Arithmetic) -> arb:
    """A x^gamma (-log Pt) + B sum_j eps_j x^gamma (1 - r Pt)^j, the weight distributed over both parts."""
    gamma, exponents = response.gamma, response.exponents
    focal = ar.power(x, gamma)
    parts = []
    if response.log_weight:
        log = ar.mul(focal, ar.checked(nll)) if gamma else ar.checked(nll)
        parts.append(log if response.log_weight == 1 else ar.checked(ar.mul(log_factor(response, ar), log)))
        _check_before_alpha(response, log, ar)
    else:
        ar.checked(nll)  # 0 times a logarithm that has overflowed is NaN
    terms = []
    for j, eps in enumerate(response.epsilon, start=1):
        if response.plain:
            power = ar.power(x, exponents[j])
        else:
            y = ar.sub(arb(1), _rescaled(response, pt, ar))
            power = ar.whole_power(y, j)
            power = ar.mul(focal, power) if gamma else power
        terms.append(ar.mul(ar.parameter(eps), power))
    if terms and response.poly_weight:
        poly = ar.sum(terms)
        parts.append(poly if response.poly_weight == 1 else ar.mul(_factor(response.poly_weight, ar), poly))
    return ar.checked(ar.sum(parts)) if parts else arb(0)


def _slopes(response: Response, pt: arb, x: arb, nll: arb, ar: Arithmetic, *, upstream: arb) -> tuple[arb, arb]:
    """(dl/dnll, dl/dPt through every power of x) as the backward of :func:`_loss` computes them.

    ``upstream`` is what arrives from above, 1 over the sum of the weights say; a backward multiplies by it first, and
    it may be what carries a product beyond the range.
    """
    gamma, exponents = response.gamma, response.exponents
    focal = ar.power(x, gamma)
    slope_log = arb(0)
    towards_pt = []
    if response.log_weight:
        factor = log_factor(response, ar)
        slope_log = ar.mul(factor, focal) if gamma else factor
        if gamma:
            lower = ar.mul(ar.parameter(gamma), ar.power(x, gamma - 1))
            # The backward multiplies by the weight first, which may overflow where the value itself does not.
            weighted = ar.checked(ar.mul(factor, ar.checked(nll)))
            ar.checked(upstream * weighted)
            towards_pt.append(-ar.mul(weighted, lower))
            _check_before_alpha(response, nll, ar)
    elif gamma:
        # A weight of zero times what is unbounded, or has overflowed, is NaN in a product and in this one too.
        lower = ar.mul(ar.parameter(gamma), ar.power(x, gamma - 1))
        towards_pt.append(ar.mul(arb(0), ar.mul(ar.checked(nll), lower)))
    for j, eps in enumerate(response.epsilon, start=1):
        if not response.poly_weight:
            break
        weight = ar.mul(_factor(response.poly_weight, ar), ar.parameter(eps))
        if response.plain:
            lower = ar.mul(ar.parameter(exponents[j]), ar.power(x, exponents[j - 1]))
            towards_pt.append(-ar.mul(weight, lower))
            continue
        y = ar.sub(arb(1), _rescaled(response, pt, ar))
        inner = ar.mul(arb(j), ar.whole_power(y, j - 1))
        along_y = ar.perturbed(rational(response.rescale), 2)
        towards_pt.append(-ar.mul(ar.mul(weight, ar.mul(focal, inner) if gamma else inner), along_y))
        if gamma:
            lower = ar.mul(ar.parameter(gamma), ar.power(x, gamma - 1))
            towards_pt.append(-ar.mul(ar.mul(weight, ar.whole_power(y, j)), lower))
    slope_p = ar.checked(ar.sum(towards_pt)) if towards_pt else arb(0)
    for slope in (slope_log, slope_p):
        ar.checked(upstream * slope)
    return ar.checked(slope_log), slope_p


def _check_before_alpha(response: Response, log: arb, ar: Arithmetic) -> None:
    """The weight may come before alpha, and its product with the logarithm overflow where that with both does not."""
    if response.alpha_may_come_late:
        ar.checked(ar.mul(rational(response.before_alpha), log))


def log_factor(response: Response, ar: Arithmetic) -> arb:
    """The weight on the logarithm."""
    return _factor(response.log_weight, ar)


def _factor(weight: Fraction, ar: Arithmetic) -> arb:
    """A weight; a product with alpha is rounded as the format holds it."""
    exact = rational(weight)
    return exact if ar.holds(weight) else ar.perturbed(exact, 4)


def _rescaled(response: Response, pt: arb, ar: Arithmetic) -> arb:
    """Pt w / mu: a product, a division, and the mean of the weights."""
    return ar.perturbed(pt * rational(response.rescale), 4)

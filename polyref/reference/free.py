"""The cancellation-free algorithm of the rounding model, forward and backward, one row at a time.

No 1 - Pt and no p - 1 anywhere: the formulas of :mod:`polyref.reference.ball`, with a rounding at every operation.
What "accurate" means as a grade.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from flint import arb

from polyref.case import Case, Row
from polyref.reference.arithmetic import Arithmetic, Pass, RowResult
from polyref.reference.ball import rational, slope_coefficients
from polyref.reference.textbook import log_factor, soft_entry
from polyref.spec import Link, Response


def free(case: Case, i: int, run: Pass) -> RowResult:
    """One row without 1 - Pt or p - 1 anywhere; the formulas of :mod:`polyref.reference.ball`, rounded."""
    forward, backward, upstream, _ = run
    responses = case.spec.responses(case.weight, case.classes)
    logits = case.logits[i]
    q = [soft_entry(case, forward, v) for v in case.distribution(i)]
    if case.spec.link is Link.SIGMOID or responses.mixed:
        pairs = responses.mixed or list(zip(responses.positive, responses.negative, strict=True))
        each = backward.div(upstream, arb(case.classes)) if responses.mixed else upstream
        elements = [_free_element(z, q[k], pairs[k], run._replace(upstream=each)) for k, z in enumerate(logits)]
        if not responses.mixed:
            return RowResult([e[0] for e in elements], [e[1] for e in elements])
    value, gradient = _free_softmax(logits, q, responses.positive, run)
    if responses.mixed:
        mean = forward.div(forward.sum([e[0] for e in elements]), arb(case.classes))
        value = forward.add(value, mean)
        gradient = [backward.add(g, e[1]) for g, e in zip(gradient, elements, strict=True)]
    return RowResult([value], gradient)


def _free_softmax(
    logits: Row,
    q: Sequence[arb],
    responses: Sequence[Response],
    run: Pass,
) -> tuple[arb, list[arb]]:
    m = max(logits)
    d = [run.forward.sub(arb(z), arb(m)) if z > -math.inf else None for z in logits]
    return free_of_shifted(d, [z == m for z in logits], q, responses, run)


def free_of_shifted(
    d: Sequence[arb | None],
    largest: Sequence[bool],
    q: Sequence[arb],
    responses: Sequence[Response],
    run: Pass,
) -> tuple[arb, list[arb]]:
    """Value and gradient of one row.

    Args:
        d: the logits less their maximum, None for an impossible class.
        largest: which of them are the maximum.
        q: the soft target.
        responses: those of the classes.
        run: the arithmetics, and what arrives from the reduction.
    """
    forward, backward, upstream, _ = run
    e = [arb(0) if v is None else forward.exp(v) for v in d]
    total = forward.sum(e)
    p = [forward.div(v, total) for v in e]
    losses, slopes, complements = [], {}, {}
    for k, share in enumerate(q):
        if share.is_zero():
            continue
        rest = e[:k] + e[k + 1 :]
        others = forward.sum(rest) if rest else arb(0)
        x = forward.div(others, total)
        d_k = d[k]
        if largest[k]:
            nll = forward.log1p(others)
        else:
            nll = arb.pos_inf() if d_k is None else forward.sub(forward.log(total), d_k)
        loss, c = _free_loss(responses[k], p[k], x, nll, run)
        losses.append(loss if share == 1 else forward.mul(share, loss))
        slopes[k] = backward.mul(c, upstream) if share == 1 else backward.mul(backward.mul(c, share), upstream)
        complements[k] = x
    gradient = []
    for k, p_k in enumerate(p):
        rest = [c for y, c in slopes.items() if y != k]
        g = backward.mul(p_k, backward.sum(rest)) if rest else arb(0)
        if k in slopes:
            own = backward.mul(slopes[k], complements[k])
            g = backward.sub(g, own) if rest else -own
        gradient.append(g)
    return forward.sum(losses), gradient


def _free_element(z: float, q: arb, responses: tuple[Response, Response], run: Pass) -> tuple[arb, arb]:
    forward, backward, upstream, _ = run
    tail = forward.exp(-abs(arb(z))) if z > -math.inf else arb(0)
    total = forward.add(arb(1), tail)
    large, small = forward.div(arb(1), total), forward.div(tail, total)
    near = forward.log1p(tail)
    far = forward.add(abs(arb(z)), near) if z > -math.inf else arb.pos_inf()
    likely, unlikely = (large, small, near), (small, large, far)
    sides = (likely, unlikely) if z >= 0 else (unlikely, likely)
    values, slopes = [], []
    for (pt, x, nll), share, response, sign in zip(sides, (q, forward.complement(q)), responses, (-1, 1), strict=True):
        if share.is_zero():
            continue
        loss, c = _free_loss(response, pt, x, nll, run)
        values.append(loss if share == 1 else forward.mul(share, loss))
        weighted = backward.mul(c, upstream) if share == 1 else backward.mul(backward.mul(c, share), upstream)
        slopes.append(sign * backward.mul(weighted, x))
    return forward.sum(values), backward.sum(slopes)


def _free_loss(response: Response, pt: arb, x: arb, nll: arb, run: Pass) -> tuple[arb, arb]:
    """The loss and c = Pt dl/dx. The remainder's own evaluation (a short positive series) is given eight roundings."""
    ar, backward = run.forward, run.backward
    a, gamma, coefficients = response.log_weight, response.gamma, response.coefficients

    def of_series() -> arb:
        factors = [response.series_coefficient(i) for i in range(len(coefficients))]
        tail = arb(0) if x.is_zero() else ar.perturbed(ar.remainder(x, len(coefficients)), 8)
        return ar.add(_horner(factors, x, ar), tail if a == 1 else ar.mul(log_factor(response, ar), tail))

    def of_logarithm() -> arb:
        log = ar.checked(nll if a == 1 else ar.mul(log_factor(response, ar), nll))
        return ar.add(_horner(coefficients, x, ar), log)

    inner = ar.either(x, of_series, of_logarithm) if a else _horner(coefficients, x, ar)
    slope = _horner(slope_coefficients(response), x, backward)
    if gamma == 0:
        return inner, slope
    power = ar.power(x, gamma)
    if x.is_zero():
        return arb(0), arb(0)
    weighted = backward.mul(pt, backward.checked(inner))
    lower = backward.mul(backward.parameter(gamma), backward.power(x, gamma - 1))
    return ar.mul(power, inner), backward.add(backward.mul(power, slope), backward.mul(lower, weighted))


def _horner(coefficients: Sequence[Fraction], x: arb, ar: Arithmetic) -> arb:
    """Horner's rule with coefficients that are themselves rounded twice; zero coefficients cost nothing."""
    result = arb(0)
    started = False
    for c in reversed(coefficients):
        if started:
            result = ar.mul(result, x)
        if c:
            factor = rational(c) if ar.holds(c) else ar.perturbed(rational(c), 2)
            result = ar.add(result, factor) if started else factor
            started = True
    return result

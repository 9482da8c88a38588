"""The Hessian of a loss times a vector, in float64 and without the cancellations of the direct form.

With s_k = q_k w_k, and f_k = p_k dl/dx at x_k the slope of class k, the gradient is
g_j = sum_k s_k f_k (p_j - [j = k]). With a_k = sum_j p_j v_j - v_k its product with v is sum_k s_k f_k a_k, and that
has the derivatives

    sum_{k != j} h_k p_j - x_j h_j + F p_j (v_j - sum_i p_i v_i),    h_k = s_k p_k f_k' a_k,    F = sum_k s_k f_k.

Near certainty a_k is of the order of x_k for the top class t. So all v are measured from v_t, and a_t is the sum of
p_i (v_i - v_t) over the others; then h_t is (x f') p s (a_t / x_t), where the last is a mean of v_i - v_t and not 0/0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from polyref.nn._kernel import Parameters
from polyref.nn._response import respond, tables
from polyref.nn._soft import Distribution, Target, grouped_sum, row_factors, sums_of_others


def bend(d: Distribution, epsilon: tuple[float, ...], gamma: float) -> tuple[Tensor, Tensor]:
    """The slope f = Pt dl/dx of l = x^gamma P, and x Pt df/dx.

    With R = P/x and M = Pt dP/dx, a polynomial, f = x^gamma (gamma Pt R + M), and

        x df/dx = x^gamma (gamma (gamma - 1) Pt R + 2 gamma M - gamma P + x dM/dx).
    """
    poly, m = respond(d.x, d.p, d.log, epsilon=epsilon, gamma=0.0, bits=53)
    near = tables(epsilon, 53).near
    derivative = torch.zeros_like(d.x)
    for i in range(len(near) - 1, 0, -1):
        derivative = derivative * d.x + i * near[i]
    derivative = derivative * d.x
    if not gamma:
        return m, derivative * d.p
    first = 1 + (epsilon[0] if epsilon else 0.0)
    # Pt is 0 wherever P is infinite; a finite P keeps their product 0.
    poly = poly.nan_to_num(nan=torch.nan, posinf=torch.finfo(poly.dtype).max)
    ratio = torch.where(d.x > 0, poly / d.x, first)
    power = d.x**gamma
    bent = gamma * (gamma - 1) * d.p * ratio + 2 * gamma * m - gamma * poly + derivative
    return power * (gamma * d.p * ratio + m), power * (d.p * bent)


def curvature(
    vector: Tensor, grad: Tensor, logits: Tensor, target: Tensor, weight: Tensor | None, parameters: Parameters
) -> tuple[Tensor, Tensor]:
    """The derivatives of <vector, gradient> with respect to the logits and to the incoming gradient.

    Args:
        vector: of the logits' shape, (N, C) or (N, C, D).
        grad: the incoming gradient of the loss.
        logits, target, weight, parameters: of the loss; the target is an index or probabilities.

    Returns:
        Tensors of the shapes and dtypes of the logits and of ``grad``.
    """
    d, wanted = Distribution.of(logits), Target.of(target, weight, logits.shape, parameters)
    slope, bent = bend(d, parameters.epsilon, parameters.gamma)
    v = vector.double()
    v = v - v.gather(1, d.top)
    moment = (d.e * v).sum(1, keepdim=True)  # v is 0 at the top class: a sum over the others
    others = d.e.scatter(1, d.top, 0.0).sum(1, keepdim=True)
    mean = moment * d.p.gather(1, d.top)  # e is 1 at the top class, so p_top is 1 / S
    ratio = (mean - v) / d.x
    ratio = ratio.scatter(1, d.top, torch.where(others > 0, moment / others, 0.0))
    share = wanted.share
    absent = share == 0
    h = torch.where(absent, 0.0, share * bent * ratio)
    pulled = torch.where(absent, 0.0, share * slope)
    largest = h.abs().argmax(1, keepdim=True)
    hessian = sums_of_others(h, largest) * d.p - h * d.x + pulled.sum(1, keepdim=True) * d.p * (v - mean)
    # (mean - v) of the top class is the mean itself, since its v is 0: nothing is subtracted there.
    dot = (pulled * (mean - v)).sum(1)
    factors = row_factors(grad, target, weight, parameters)
    hessian = hessian * factors.unsqueeze(1)
    if wanted.ignored is not None:
        hessian = hessian.masked_fill(wanted.ignored.unsqueeze(1), 0.0)
        dot = dot.masked_fill(wanted.ignored, 0.0)
    if parameters.reduction != "none":
        one = row_factors(torch.ones_like(grad), target, weight, parameters)
        dot = grouped_sum(dot * one, parameters.groups)
    return hessian.to(logits.dtype), dot.to(grad.dtype)

"""The loss for class probabilities and smoothed labels: the expectation sum_k q_k w_k l_k of the index losses.

Every class has its own x_k = 1 - p_k here. At most one p_k exceeds 1/2, that of the largest logit; its x_k is the
sum of the other exponentials, and every other x_k loses no digits as (S - e_k)/S. Likewise -log p_k = (max z - z_k) +
log S for all k, with log S = log1p of the exponentials but the largest. All of it is computed in float64.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polyref.nn._rows import Options, class_dim, exponentials, reduce, refuse_second_derivative


def sums_of_others(values: Tensor, dim: int) -> Tensor:
    """For each class the sum of all values but its own; for values of one sign nothing cancels.

    The largest one is left out of the sum, not subtracted from it; taking away one that is no larger than another left
    inside costs at most one bit.
    """
    top = values.abs().argmax(dim, keepdim=True)
    rest = values.scatter(dim, top, 0.0).sum(dim, keepdim=True)
    return (rest - values).add_(values.gather(dim, top)).scatter_(dim, top, rest)


def shares(values: Tensor, target: Tensor, weight: Tensor | None, options: Options, dim: int) -> Tensor:
    """q_k w_k v_k for every class, 0 where q_k is 0 whatever v_k is; ``target`` is the index or the probabilities."""
    weighted = values if weight is None else values * weight
    smoothing, classes = options.label_smoothing, values.shape[dim]
    if target.is_floating_point():
        q = target.double() * (1 - smoothing) + smoothing / classes
        return torch.where(q == 0, 0.0, q * weighted)
    own = weighted.gather(dim, target) * (1 - smoothing)
    return (weighted * (smoothing / classes)).scatter_add_(dim, target, own)


class SoftLoss(torch.autograd.Function):
    """The loss for targets that are distributions; the gradient is computed with the value and saved."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, weight: Tensor | None, options: Options) -> Tensor:
        """The reduced loss in the dtype of the logits."""
        dim = class_dim(logits)
        z = logits.double()
        highest = z.amax(dim, keepdim=True)
        e = exponentials(z, highest)
        others = sums_of_others(e, dim)
        log_total = others.amin(dim, keepdim=True).log1p()
        total = e.sum(dim, keepdim=True)
        p, x = e / total, others / total
        value, slope = options.respond(x, p, log_total + (highest - z), logits.dtype)

        per_class = None if weight is None else weight.double().view([-1 if i == dim else 1 for i in range(z.dim())])
        ignored: Tensor | None = None
        index = target
        if not target.is_floating_point():
            ignored = target == options.ignore_index
            index = target.masked_fill(ignored, 0).unsqueeze(dim)
        loss = shares(value, index, per_class, options, dim).sum(dim)
        denominator: Tensor | None = None
        if options.reduction == "mean":
            counted = torch.ones_like(loss)
            if ignored is not None:
                if weight is not None:
                    counted = weight.double()[index.squeeze(dim)]
                counted = counted.masked_fill(ignored, 0.0)
            # torch: the weights divide only for index targets, class probabilities are averaged over the rows.
            denominator = counted.sum()
        if ignored is not None:
            loss = loss.masked_fill(ignored, 0.0)
        if ctx.needs_input_grad[0]:
            share = shares(slope, index, per_class, options, dim)
            gradient = sums_of_others(share, dim).mul_(p).sub_(share.mul_(x))
            if denominator is not None:
                gradient /= denominator
            if ignored is not None:
                gradient.masked_fill_(ignored.unsqueeze(dim), 0.0)
            ctx.save_for_backward(gradient)
            ctx.dim, ctx.dtype, ctx.per_row = dim, logits.dtype, options.reduction == "none"
        return reduce(loss, options.reduction, denominator).to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """The saved gradient times the incoming one."""
        refuse_second_derivative()
        (gradient,) = ctx.saved_tensors
        grad = grad.double()
        return (gradient * (grad.unsqueeze(ctx.dim) if ctx.per_row else grad)).to(ctx.dtype), None, None, None

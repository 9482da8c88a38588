"""From logits to x = 1 - Pt and -log Pt without cancellation, and the loss of a row with an index target.

The exponentials of a row are computed in the compute dtype, float32 for inputs of 16 and 32 bits. What there is only
one of for each row is computed in float64: it costs little beside the classes, it cannot overflow where the result is
representable, and sums over the batch are rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polyref.nn._response import respond


@dataclass(frozen=True)
class Options:
    """The parameters of a loss, checked: eps_1, ..., eps_N, the focal exponent, and torch's own."""

    epsilon: tuple[float, ...]
    gamma: float
    reduction: str
    ignore_index: int
    label_smoothing: float

    def respond(self, x: Tensor, pt: Tensor, log: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The loss and its slope for results of this dtype; x = 1 - Pt and log = -log Pt."""
        bits = 53 if dtype == torch.float64 else 24
        return respond(x, pt, log, epsilon=self.epsilon, gamma=self.gamma, bits=bits)


def class_dim(z: Tensor) -> int:
    """Where the classes lie: torch's convention, (C,) or (N, C, ...)."""
    return 0 if z.dim() == 1 else 1


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the exponentials: 16-bit inputs are computed in float32 and rounded once, at the end."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def difference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``a - b`` rounded, and what the rounding left out (Knuth's TwoSum; 0 where the difference is not finite)."""
    d = a - b
    back = d - a
    rest = torch.sub(d, back)
    torch.sub(a, rest, out=rest)
    rest.sub_(back.add_(b))
    return d, rest.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)


def exponentials(z: Tensor, highest: Tensor) -> Tensor:
    """``exp(z - highest)``; the rounding of the difference, 10 to 34 u of the result, is multiplied back in."""
    d, rest = difference(z, highest)
    e = d.exp_()
    return e.addcmul_(e, rest)


class IndexLoss(torch.autograd.Function):
    """The loss for index targets; one tensor of the logits' shape, two numbers a row and the targets are saved."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, weight: Tensor | None, options: Options) -> Tensor:
        """The reduced loss in the dtype of the logits."""
        dim = class_dim(logits)
        z = logits.to(compute_dtype(logits.dtype))
        highest = z.amax(dim, keepdim=True)
        e = exponentials(z, highest)

        ignored = target == options.ignore_index
        index = target.masked_fill(ignored, 0).unsqueeze(dim)
        # The target is taken out of the sum: S - e_y would have no digits left for Pt near 1.
        others = e.scatter_(dim, index, 0.0).sum(dim).double()
        d, rest = difference(z.gather(dim, index).squeeze(dim).double(), highest.squeeze(dim).double())
        own = d.exp()
        own.addcmul_(own, rest)
        total = others + own
        x = others / total
        log = torch.where(d == 0, others.log1p(), total.log() - d)
        value, slope = options.respond(x, own / total, log, logits.dtype)

        factor = None if weight is None else weight.double()[index.squeeze(dim)]
        loss = (value if factor is None else value * factor).masked_fill(ignored, 0.0)
        denominator: Tensor | None = None
        if options.reduction == "mean":
            counted = torch.ones_like(x) if factor is None else factor
            denominator = counted.masked_fill(ignored, 0.0).sum()
        if ctx.needs_input_grad[0]:
            if factor is not None:
                slope = slope * factor
            if denominator is not None:
                slope = slope / denominator
            # An ignored row contributes nothing, NaN or not.
            e.masked_fill_(ignored.unsqueeze(dim), 0.0)
            scale = (slope / total).masked_fill_(ignored, 0.0)
            target_scale = (slope * x).masked_fill_(ignored, 0.0)
            ctx.save_for_backward(e, scale, target_scale, index)
            ctx.dim, ctx.dtype = dim, logits.dtype
        return reduce(loss, options.reduction, denominator).to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """slope * p_k for the other classes, -slope * x for the target: never p - 1."""
        e, scale, target_scale, index = ctx.saved_tensors
        refuse_second_derivative()
        grad = grad.double()
        result = e * (grad * scale).to(e.dtype).unsqueeze(ctx.dim)
        result.scatter_(ctx.dim, index, (-grad * target_scale).to(e.dtype).unsqueeze(ctx.dim))
        return result.to(ctx.dtype), None, None, None


def refuse_second_derivative() -> None:
    """Stop a backward pass that is itself to be differentiated (gradients are enabled in it only then).

    torch's once_differentiable lets it pass when the incoming gradient is a constant, and the dependence on the logits
    would be dropped in silence.

    Raises:
        RuntimeError: under ``create_graph=True``.
    """
    if torch.is_grad_enabled():
        raise RuntimeError("the loss has no second derivative: differentiate it without create_graph=True")


def reduce(loss: Tensor, reduction: str, denominator: Tensor | None) -> Tensor:
    """The losses of the rows, their sum, or the sum over the denominator."""
    if reduction == "none":
        return loss
    return loss.sum() if denominator is None else loss.sum() / denominator

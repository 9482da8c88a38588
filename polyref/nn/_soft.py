"""The loss for class probabilities and smoothed labels: the expectation sum_k q_k w_k l_k of the index losses.

Every class has its own x_k = 1 - p_k here. At most one p_k exceeds 1/2, that of the largest logit; its x_k is the
sum of the other exponentials, and every other x_k loses no digits as (S - e_k)/S. Likewise -log p_k = (max z - z_k) +
log S for all k, with log S = log1p of the exponentials but the largest. All of it is computed in float64, in chunks of
rows, so that the memory it takes is the gradient's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from polyref.nn._kernel import Parameters, ones
from polyref.nn._response import respond

#: Elements of a chunk: the dozen float64 tensors of that size stay in a cache of a few megabytes.
_CHUNK = 1 << 15


@dataclass(frozen=True, slots=True)
class Distribution:
    """What the logits say of each class, in float64 and the logits' shape.

    Attributes:
        top: the index of the largest logit, with the class dimension kept.
        e: exp(z - max z).
        p: the probabilities.
        x: 1 - p, accurate in the relative sense.
        log: -log p.
    """

    top: Tensor
    e: Tensor
    p: Tensor
    x: Tensor
    log: Tensor

    @classmethod
    def of(cls, logits: Tensor) -> Distribution:
        """The distribution of logits (N, C, ...)."""
        z = logits.double()
        top = z.argmax(1, keepdim=True)
        highest = z.gather(1, top)
        distance, rest = difference(highest, z)
        e = (-distance).exp()
        e = e - e * rest
        others = e.scatter(1, top, 0.0).sum(1, keepdim=True)
        total = e.sum(1, keepdim=True)
        p = e / total
        log = distance + others.log1p() + 0 * total  # a row with +inf is NaN in every class
        # Only the likeliest class can have a p above 1/2: for the others 1 - p cancels nothing.
        return cls(top, e, p, (1 - p).scatter(1, top, others / total), log)


def difference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``a - b`` rounded, and what the rounding left out (Knuth's TwoSum; 0 where the difference is not finite)."""
    d = a - b
    back = d - a
    return d, ((a - (d - back)) - (b + back)).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def sums_of_others(values: Tensor, top: Tensor) -> Tensor:
    """For each class the sum of all values but its own; for values of one sign nothing cancels.

    The value at ``top``, the largest, is left out of the sum, not subtracted from it; taking away one that is no larger
    than another left inside costs at most one bit.
    """
    rest = values.scatter(1, top, 0.0).sum(1, keepdim=True)
    return ((rest - values) + values.gather(1, top)).scatter(1, top, rest)


@dataclass(frozen=True, slots=True)
class Target:
    """What the target asks of each class: q_k w_k, and how a row counts.

    Attributes:
        share: q_k w_k with label smoothing, float64, of the logits' shape; 0 in ignored rows.
        ignored: the rows that contribute nothing; None for class probabilities.
        counted: what a row adds to the denominator of a mean; None if that is 1 for all.
    """

    share: Tensor
    ignored: Tensor | None
    counted: Tensor | None

    @classmethod
    def of(cls, target: Tensor, weight: Tensor | None, shape: torch.Size, parameters: Parameters) -> Target:
        """For index targets or probabilities of rows of logits of this shape."""
        smoothing, classes = parameters.label_smoothing, shape[1]
        each = None if weight is None else weight.double()
        column = None if each is None else each.view([-1 if i == 1 else 1 for i in range(len(shape))])
        if target.is_floating_point():
            q = target.double() * (1 - smoothing) + smoothing / classes
            return cls(q if column is None else q * column, None, None)
        ignored = target == parameters.ignore_index
        index = target.masked_fill(ignored, 0)
        own = torch.ones_like(index, dtype=torch.float64) if each is None else each[index]
        base = torch.full(shape, smoothing / classes, dtype=torch.float64, device=target.device)
        share = base if column is None else base * column
        share = share.scatter_add(1, index.unsqueeze(1), (own * (1 - smoothing)).unsqueeze(1))
        return cls(share.masked_fill(ignored.unsqueeze(1), 0.0), ignored, own.masked_fill(ignored, 0.0))


def denominator(target: Tensor, weight: Tensor | None, parameters: Parameters) -> Tensor | None:
    """What a mean divides by, () or (groups,); None for other reductions.

    torch's rule: the weights divide only for index targets; class probabilities are averaged over the rows.
    """
    if parameters.reduction != "mean":
        return None
    if target.is_floating_point():
        rows = target.numel() // max(target.shape[1], 1) / max(parameters.groups, 1)
        return torch.full(
            (parameters.groups,) if parameters.groups else (), rows, dtype=torch.float64, device=target.device
        )
    ignored = target == parameters.ignore_index
    if weight is None:
        return grouped_sum((~ignored).double(), parameters.groups)
    return grouped_sum(weight.double()[target.masked_fill(ignored, 0)].masked_fill(ignored, 0.0), parameters.groups)


def grouped_sum(rows: Tensor, groups: int) -> Tensor:
    """The sum of what the rows give, or one for each group of them."""
    return rows.reshape(groups, -1).sum(1) if groups else rows.sum()


def row_factors(grad: Tensor, target: Tensor, weight: Tensor | None, parameters: Parameters) -> Tensor:
    """The incoming gradient of each row's loss: (N,) or (N, D), float64."""
    if parameters.reduction == "none":
        return grad.double()
    below = denominator(target, weight, parameters)
    each = grad.double() if below is None else grad.double() / below
    shape = (*target.shape[:1], *target.shape[2:]) if target.is_floating_point() else target.shape
    if not parameters.groups:
        return each.expand(shape)
    rows = each.unsqueeze(1).expand(-1, shape[0] // parameters.groups).reshape(shape[0])
    return rows.view([-1] + [1] * (len(shape) - 1)).expand(shape)


def _chunks(logits: Tensor) -> Iterator[slice]:
    rows = max(1, _CHUNK * logits.shape[0] // max(logits.numel(), 1))
    return (slice(start, start + rows) for start in range(0, logits.shape[0], rows))


def _row_losses(
    logits: Tensor, target: Tensor, weight: Tensor | None, parameters: Parameters, *, factors: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The loss of each row, and its gradient times a factor for each row where factors are given."""
    bits = 53 if logits.dtype == torch.float64 else 24
    d, wanted = Distribution.of(logits), Target.of(target, weight, logits.shape, parameters)
    value, slope = respond(d.x, d.p, d.log, epsilon=parameters.epsilon, gamma=parameters.gamma, bits=bits)
    # A class that is not asked for contributes nothing, even where its loss is infinite.
    absent = wanted.share == 0
    loss = torch.where(absent, 0.0, value * wanted.share).sum(1)
    share = torch.where(absent, 0.0, slope * wanted.share)
    if weight is not None:
        # ... unless its weight is 0: as in torch, 0 times an infinite loss is NaN.
        asked = Target.of(target, None, logits.shape, parameters).share != 0
        loss = torch.where(absent & asked, value * 0.0, torch.zeros_like(value)).sum(1) + loss
    if wanted.ignored is not None:
        loss = loss.masked_fill(wanted.ignored, 0.0)
    if factors is None:
        return loss, None
    gradient = sums_of_others(share, share.abs().argmax(1, keepdim=True)) * d.p - share * d.x
    gradient *= factors.unsqueeze(1)
    return loss, gradient if wanted.ignored is None else gradient.masked_fill(wanted.ignored.unsqueeze(1), 0.0)


def forward(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    parameters: Parameters,
    *,
    gradient: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """As :meth:`polyref.nn._kernel.Kernel.forward`; the target may be probabilities of the logits' shape."""
    check_range(target, logits.shape[1], parameters.ignore_index)
    reduced = parameters.reduction != "none"
    out = torch.empty_like(logits) if gradient and reduced else None
    below = denominator(target, weight, parameters)
    factors = None
    if out is not None:
        shape = (parameters.groups,) if parameters.groups else ()
        one = torch.ones(shape, dtype=torch.float64, device=logits.device)
        factors = row_factors(one, target, weight, parameters)
    losses = torch.empty((*logits.shape[:1], *logits.shape[2:]), dtype=torch.float64, device=logits.device)
    for rows in _chunks(logits):
        part = None if factors is None else factors[rows]
        losses[rows], unit = _row_losses(logits[rows], target[rows], weight, parameters, factors=part)
        if out is not None and unit is not None:
            out[rows] = unit
    loss = grouped_sum(losses, parameters.groups) if reduced else losses
    return (loss if below is None else loss / below).to(dtype), logits.new_empty((0,)) if out is None else out


def backward_(
    out: Tensor,
    grad: Tensor,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    parameters: Parameters,
    *,
    filled: bool,
) -> None:
    """As :meth:`polyref.nn._kernel.Kernel.backward_`."""
    if filled and out.device.type == "cpu" and ones(grad):
        return
    factors = row_factors(grad, target, weight, parameters)
    for rows in _chunks(logits):
        part = _row_losses(logits[rows], target[rows], weight, parameters, factors=factors[rows])[1]
        if part is not None:
            out[rows] = part


def target_gradient(
    grad: Tensor, logits: Tensor, target: Tensor, weight: Tensor | None, parameters: Parameters
) -> Tensor:
    """The gradient with respect to the probabilities q: w_k l_k for every class, infinite where the loss is."""
    bits = 53 if logits.dtype == torch.float64 else 24
    factors = row_factors(grad, target, weight, parameters) * (1 - parameters.label_smoothing)
    out = torch.empty_like(target)
    column = None if weight is None else weight.double().view([-1 if i == 1 else 1 for i in range(logits.dim())])
    for rows in _chunks(logits):
        d = Distribution.of(logits[rows])
        value, _ = respond(d.x, d.p, d.log, epsilon=parameters.epsilon, gamma=parameters.gamma, bits=bits)
        out[rows] = (value if column is None else value * column) * factors[rows].unsqueeze(1)
    return out


def check_range(target: Tensor, classes: int, ignore_index: int) -> None:
    """Indices within the classes, or ignored.

    Only on the CPU: on an accelerator, where looking would wait for the device, its own index check stops the program,
    as with torch.

    Raises:
        IndexError: for an index out of range.
    """
    if target.is_floating_point() or target.device.type != "cpu":
        return
    wrong = target[((target < 0) | (target >= classes)) & (target != ignore_index)]
    if wrong.numel():
        raise IndexError(
            f"Target {wrong[0].item()} is out of bounds: with {classes} classes give 0 to {classes - 1}, "
            f"or ignore_index {ignore_index}"
        )

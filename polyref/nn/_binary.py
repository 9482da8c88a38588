"""The loss of the sigmoid link, where every logit is a two-class problem of its own: the kernels, on plain tensors.

All of it is computed in float64 and rounded once, for logits of 16 and 32 bits too: the two sides of a label between 0
and 1 cancel in the gradient near the minimum, and only the wider format leaves digits there. The work goes in pieces
that stay in the cache, so that no temporary has the size of the logits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from polyref.nn._binary_narrow import Narrow
from polyref.nn._binary_sides import Sides

Index = tuple[int | slice, ...]

#: Elements of a piece: on the CPU, for each thread, the grain in which torch shares an operation between threads; the
#: float64 temporaries of one are 2 MiB. Other devices want pieces large enough to fill them.
CPU_PIECE, DEVICE_PIECE = 1 << 15, 1 << 22


@dataclass(frozen=True, slots=True)
class BinaryParameters:
    """The parameters of a loss, checked.

    Attributes:
        epsilon: eps_1, ..., eps_N.
        gamma: the focal exponent, at least 0.
        reduction: 'none', 'mean' or 'sum'.
        lanes: how many dimensions at the front hold independent losses, each reduced by itself; the loss then has their
            shape. Without meaning for 'none'.
    """

    epsilon: tuple[float, ...]
    gamma: float = 0.0
    reduction: str = "mean"
    lanes: int = 0

    def divisor(self, shape: torch.Size) -> int:
        """What the sum over a lane's elements is divided by."""
        return math.prod(shape[self.lanes :]) if self.reduction == "mean" else 1


class Operands(NamedTuple):
    """The tensors of a loss; target, weight and pos_weight broadcast to the logits' shape."""

    logits: Tensor
    target: Tensor
    weight: Tensor | None
    pos_weight: Tensor | None

    def piece(self, index: Index) -> Operands:
        """The part of each of them, which have one shape, at ``index``."""
        logits, target, weight, pos_weight = self
        return Operands(
            logits[index],
            target[index],
            None if weight is None else weight[index],
            None if pos_weight is None else pos_weight[index],
        )


class Evaluator:
    """The elementwise loss and its derivatives, piece by piece, for results of one dtype."""

    def __init__(self, parameters: BinaryParameters, logits: Tensor, dtype: torch.dtype) -> None:
        self.parameters = parameters
        self.nothing = logits.new_empty(0)
        wide = torch.float64 in (dtype, logits.dtype)
        self.narrow = None if wide else Narrow(parameters.epsilon, parameters.gamma, logits.device)

    def __call__(
        self, data: Operands, index: Index, *, value: bool, derivative: bool, divisor: int
    ) -> tuple[Tensor, Tensor]:
        """The loss, and its derivative over ``divisor``; one that is not wanted is empty."""
        logits, target, weight, pos_weight = data.piece(index)
        if self.narrow is not None:
            loss, slope = self.narrow(logits, target, pos_weight, value=value, derivative=derivative, scale=1 / divisor)
            infinite, wrong = self.narrow.infinite, self.narrow.wrong
        else:
            sides = Sides.of(logits, target, pos_weight)
            loss, slope = sides.response(self.parameters.epsilon, self.parameters.gamma)
            slope.mul_(sides.sign).div_(divisor)
            infinite, wrong = sides.infinite, sides.wrong
        if weight is not None:
            for result in (loss, slope):
                if result is not None:
                    result.mul_(weight)
        if loss is not None and infinite is not None:
            loss = torch.where(infinite & (wrong != 0), loss * math.inf, loss)
        return self.nothing if loss is None else loss, self.nothing if slope is None else slope

    def curvature(self, data: Operands, index: Index) -> Tensor:
        """The second derivative."""
        logits, target, weight, pos_weight = data.piece(index)
        result = Sides.of(logits, target, pos_weight).curvature(self.parameters.epsilon, self.parameters.gamma)
        return result if weight is None else result.mul_(weight)


def forward(
    data: Operands, parameters: BinaryParameters, *, gradient: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The loss in ``dtype``, and its gradient for an incoming gradient of 1.

    The gradient has the shape and dtype of the logits. It has the shape (0,) where it is not wanted, and for 'none',
    where an incoming gradient of 1 is rare.
    """
    shape, lanes = data.logits.shape, parameters.lanes
    reduced, divisor = parameters.reduction != "none", parameters.divisor(shape)
    grad = torch.empty_like(data.logits) if gradient and reduced else None
    each = None if reduced else torch.empty_like(data.logits, dtype=dtype)
    total = data.logits.new_zeros(shape[:lanes], dtype=torch.float64)
    evaluator = Evaluator(parameters, data.logits, dtype)
    views, (out_grad, out_each) = aligned(data, [grad, each], lanes)
    for index in pieces(views.logits.shape, views.logits.device):
        value, slope = evaluator(views, index, value=True, derivative=grad is not None, divisor=divisor)
        if out_each is not None:
            out_each[index] = value
        else:
            add_to_lanes(total, value, index, lanes)
        if out_grad is not None:
            out_grad[index] = slope
    return (
        (total / divisor).to(dtype) if each is None else each,
        data.logits.new_empty(0) if grad is None else grad,
    )


def derivative(
    factor: Tensor, data: Operands, parameters: BinaryParameters, *, order: int, dtype: torch.dtype
) -> Tensor:
    """``factor`` times the first or second derivative, for a mean over the number of elements, in ``dtype``.

    ``factor`` has the shape of the loss, the result that of the logits.
    """
    shape, lanes = data.logits.shape, parameters.lanes
    divisor = 1
    if parameters.reduction != "none":
        divisor = parameters.divisor(shape)
        factor = factor.reshape(shape[:lanes] + (1,) * (len(shape) - lanes))
    result = torch.empty_like(data.logits, dtype=dtype)
    evaluator = Evaluator(parameters, data.logits, dtype)
    views, (scale, out) = aligned(data, [factor, result], lanes)
    for index in pieces(views.logits.shape, views.logits.device):
        if order == 1:
            _, values = evaluator(views, index, value=False, derivative=True, divisor=divisor)
        else:
            values = evaluator.curvature(views, index).div_(divisor)
        # A float32 factor of float64 arithmetic is converted on the way, and nothing is rounded before the end.
        out[index] = values.mul_(scale[index])
    return result


def aligned(data: Operands, others: Sequence[Tensor | None], lanes: int) -> tuple[Operands, list[Any]]:
    """Views of the tensors, all expanded to the logits' shape, with the fewest dimensions that they have in common.

    Dimensions behind the lanes are put in the order of the logits' memory, and neighbours that are one run of memory in
    every tensor become one dimension.
    """
    shape, tensors = data.logits.shape, [*data, *others]
    # A weight without dimensions may be on the CPU, as in torch.
    given = [t.to(data.logits.device).expand(shape) for t in tensors if t is not None]
    order = [*range(lanes), *sorted(range(lanes, len(shape)), key=given[0].stride, reverse=True)]
    given = [v.permute(order) for v in given]
    sizes: list[int] = []
    for d, size in enumerate(given[0].shape):
        joins = d > lanes and all(
            v.stride(d - 1) == v.stride(d) * size or size == 1 or v.shape[d - 1] == 1 for v in given
        )
        if joins:
            sizes[-1] *= size
        else:
            sizes.append(size)
    joined = iter([v.view(sizes) for v in given])
    views = [None if t is None else next(joined) for t in tensors]
    return Operands(*views[:4]), views[4:]  # type: ignore[arg-type]


def pieces(shape: torch.Size, device: torch.device) -> Iterator[Index]:
    """Indices that cut a tensor into pieces of a size that suits the device: numbers, then at most one slice."""
    size = DEVICE_PIECE if device.type != "cpu" else CPU_PIECE * torch.get_num_threads()
    if 0 in shape:
        return
    behind = math.prod(shape)
    for cut, length in enumerate(shape):
        behind //= length
        if behind <= size:
            step = math.ceil(length / math.ceil(length / max(1, size // behind)))
            for lead in itertools.product(*(range(n) for n in shape[:cut])):
                for start in range(0, length, step):
                    yield *lead, slice(start, start + step)
            return
    yield ()


def add_to_lanes(total: Tensor, values: Tensor, index: Index, lanes: int) -> None:
    """Add the values of a piece to the sums of the lanes that they belong to."""
    if lanes >= len(index) and index:
        kept = lanes - len(index) + 1  # the dimension of the slice is a lane's, as are these
        total[index] += values.flatten(kept).sum(-1) if values.dim() > kept else values
    else:
        total[index[:lanes]] += values.sum()

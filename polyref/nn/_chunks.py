"""Chunks of a batch of rows: how it is cut, what a row is multiplied with, and how the losses are added up.

Logits have the shape (N, C, D) here and what there is one of for each row (N, D); D = 1 where there are no dimensions
behind the classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polyref.nn._exponentials import widest
from polyref.nn._kernel import Parameters

#: Bytes of a chunk's exponentials: for each thread of a CPU, and on other devices.
_CPU_CHUNK = 1 << 18
_DEVICE_CHUNK = 1 << 25

#: Losses are summed in blocks of so many rows. Chunks of rows of up to _FEW classes end where blocks end; the loss of
#: a longer row is kept by itself, it is small beside the row.
_BLOCK = 64
_FEW = 512


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows a, ..., b - 1 at the places p, ..., q - 1."""

    a: int
    b: int
    p: int
    q: int

    def of(self, values: Tensor) -> Tensor:
        """This part of (N, D) or (N, C, D); of (N, 1) the rows."""
        return values[self.a : self.b, ..., self.p : self.q] if values.shape[-1] != 1 else values[self.a : self.b]


def chunk_elements(dtype: torch.dtype, device: torch.device) -> int:
    """About how many elements a chunk has."""
    size = _CPU_CHUNK * torch.get_num_threads() if device.type == "cpu" else _DEVICE_CHUNK
    return size // dtype.itemsize


def chunks(shape: Sequence[int], elements: int) -> Iterator[Chunk]:
    """The chunks of logits (N, C, D), of about so many elements; the first one is the largest."""
    n, classes, places = shape
    if n * places == 0:
        return
    if places > 1 and classes * places > elements:
        step = max(elements // classes // _BLOCK, 1) * _BLOCK
        for a in range(n):
            for p in range(0, places, step):
                yield Chunk(a, a + 1, p, min(p + step, places))
        return
    step = max(elements // (classes * places), 1)
    if places == 1 and classes <= _FEW:
        step = max(step // _BLOCK, 1) * _BLOCK
    for a in range(0, n, step):
        yield Chunk(a, min(a + step, n), 0, places)


@dataclass(frozen=True, slots=True)
class Labels:
    """What the rows of a chunk are asked for and multiplied with; tensors are (n, P), (n, 1) or scalars.

    Attributes:
        index: the target's class, (n, P); 0 in ignored rows.
        ignored: the rows that contribute nothing, (n, P); None for no row.
        weight: of the target, (n, P); None for 1.
        below: the denominator of a mean; None for 1.
        grad: the incoming gradient; None for 1.
    """

    index: Tensor
    ignored: Tensor | None
    weight: Tensor | None
    below: float | Tensor | None
    grad: Tensor | None

    def losses(self, values: Tensor) -> Tensor:
        """The losses times their weight; it may be the same tensor."""
        if self.weight is not None:
            values = values * self.weight
        return values if self.ignored is None else values.masked_fill(self.ignored, 0.0)

    def scaled_(self, values: Tensor) -> Tensor:
        """A part of the gradient times all the factors, in place."""
        if self.weight is not None:
            values.mul_(self.weight)
        if self.grad is not None:
            values.mul_(self.grad)
        if self.below is not None:
            values.div_(self.below)
        return values if self.ignored is None else values.masked_fill_(self.ignored, 0.0)

    def selected(self, mask: Tensor) -> Labels:
        """The same for k rows that a mask (n, P) selects, as (k, 1)."""

        def pick(values: Tensor | None) -> Tensor | None:
            if values is None or values.dim() == 0:
                return values
            return values.expand(mask.shape)[mask].unsqueeze(1)

        below = pick(self.below) if isinstance(self.below, Tensor) else self.below
        return Labels(self.index[mask].unsqueeze(1), pick(self.ignored), pick(self.weight), below, pick(self.grad))


@dataclass(frozen=True, slots=True)
class Factors:
    """What the rows of a batch are multiplied with.

    Attributes:
        ignore_index: rows that contribute nothing; None where there are none.
        weight: class weights in the widest dtype; None for 1.
        below: the denominator of a mean: a number, a scalar, or (groups,); None for 1.
        grad: the incoming gradient: a scalar, (groups,) or (N, D); None for 1.
        rows: N over the groups.
    """

    ignore_index: int | None
    weight: Tensor | None
    below: float | Tensor | None
    grad: Tensor | None
    rows: int

    @classmethod
    def of(
        cls, target: Tensor, weight: Tensor | None, parameters: Parameters, *, grad: Tensor | None, ignoring: bool
    ) -> Factors:
        """For targets (N, D) and a gradient of the loss's shape; without ``ignoring`` no row is ignored."""
        dtype = widest(target.device)
        each = None if weight is None else weight.to(dtype)
        below: float | Tensor | None = None
        ignore_index = parameters.ignore_index if ignoring else None
        if parameters.reduction == "mean":
            if each is not None:
                # A mean does not change with the scale of the weights, but the sum of the largest ones is not finite.
                huge = each.abs().amax() > 2.0**-80 * torch.finfo(dtype).max
                each = torch.where(huge, each * 2.0**-80, each)
            below = _denominator(target, each, ignore_index, parameters.groups)
        if grad is not None:
            grad = grad.to(dtype)
            if parameters.reduction == "none" and grad.dim() == 1:
                grad = grad.unsqueeze(1)
        return cls(ignore_index, each, below, grad, target.shape[0] // max(parameters.groups, 1))

    def labels(self, chunk: Chunk, target: Tensor) -> Labels:
        """Those of a chunk, with its part of the targets."""
        index, ignored, weight = target, None, None
        if self.ignore_index is not None:
            ignored = target == self.ignore_index
            index = target.masked_fill(ignored, 0)
        if self.weight is not None:
            weight = self.weight.index_select(0, index.reshape(-1)).view(index.shape)
        below = self._part(chunk, self.below) if isinstance(self.below, Tensor) else self.below
        return Labels(index, ignored, weight, below, None if self.grad is None else self._part(chunk, self.grad))

    def _part(self, chunk: Chunk, values: Tensor) -> Tensor:
        if values.dim() == 1:
            group = torch.arange(chunk.a, chunk.b, device=values.device) // self.rows
            return values.index_select(0, group).unsqueeze(1)
        return values if values.dim() == 0 else chunk.of(values)


def _denominator(target: Tensor, weight: Tensor | None, ignore_index: int | None, groups: int) -> float | Tensor:
    """The sum of the weights of the rows that are not ignored: a number, a scalar, or (groups,)."""
    if weight is None and ignore_index is None:
        return float(target.numel() // max(groups, 1))
    flat = target.reshape(-1)
    ignored = torch.zeros((), dtype=torch.bool, device=flat.device) if ignore_index is None else flat == ignore_index
    if weight is None:
        counted = (~ignored).view(groups or 1, -1).sum(1).to(widest(target.device))
        return counted if groups else counted[0]
    each = weight.index_select(0, flat if ignore_index is None else flat.masked_fill(ignored, 0))
    each.masked_fill_(ignored, 0.0)
    return each.view(groups, -1).sum(1) if groups else total(each)


def blocks(values: Tensor, classes: int) -> Tensor:
    """Sums of blocks of the losses (n, P) of a chunk; which losses share a block does not depend on the chunk."""
    n, p = values.shape
    if p == 1:
        if classes > _FEW:
            return values.view(-1)
        values = values.view(1, n)
    elif p < _BLOCK:
        return values.sum(1)
    length = values.shape[1]
    full = length // _BLOCK * _BLOCK
    parts = values[:, :full].reshape(len(values), full // _BLOCK, _BLOCK).sum(2)
    if full < length:
        parts = torch.cat([parts, values[:, full:].sum(1, keepdim=True)], 1)
    return parts.view(-1)


def total(values: Tensor) -> Tensor:
    """The sum of a vector, in blocks: torch's own sum of a long one depends on the number of threads."""
    while values.numel() > _BLOCK * _BLOCK:
        values = blocks(values.unsqueeze(1), 1)
    result: Tensor = values.sum()
    return result

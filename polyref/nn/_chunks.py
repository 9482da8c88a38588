"""Chunks of a batch of rows: how it is cut, what a row is multiplied with, and how the losses are added up.

Logits have the shape (N, C) or (N, C, D), and what there is one of for each row (N,) or (N, D).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polyref.nn._exponentials import widest
from polyref.nn._kernel import Parameters

#: Bytes of a chunk's exponentials, for each thread of a CPU but for two at least, and on other devices. 4 MiB are more
#: than the cache of a core holds, but a chunk costs some sixty calls of 1 to 2 microseconds: for (4096, 1000) chunks of
#: 0.5, 1, 2, 4 and 8 MiB took 5.7, 4.8, 4.3, 4.3 and 4.5 ms on one thread, and of 1, 2, 4 and 8 MiB 12.2, 3.0, 2.6 and
#: 2.7 ms on two.
_CPU_CHUNK = 1 << 21
_DEVICE_CHUNK = 1 << 25

#: Bytes of the numbers of a row while they are computed, of which there are ten.
_ROW = 80

#: What a chunk needs for them, and for exponentials that cannot be computed where the gradient will be, is at most this
#: part of the logits, but between these two in bytes.
_SCRATCH = 1 / 16
_LEAST_SCRATCH = 1 << 20
_MOST_SCRATCH = 1 << 21

#: Losses are summed in blocks of so many rows. Chunks of rows of up to _FEW classes end where blocks end; the loss of
#: a longer row is kept by itself, it is small beside the row.
_BLOCK = 64
_FEW = 512


@dataclass(slots=True)
class Chunk:
    """Rows a, ..., b - 1, and of these the places p, ..., q - 1; q = 0 for all."""

    a: int
    b: int
    p: int = 0
    q: int = 0

    def of(self, values: Tensor) -> Tensor:
        """This part of (N,), (N, D), (N, C) or (N, C, D)."""
        if self.a == 0 and self.b == len(values) and self.q == 0:
            return values
        part = values[self.a : self.b]
        return part if self.q == 0 else part[..., self.p : self.q]


def chunk_elements(logits: Tensor, dtype: torch.dtype, *, scratch: bool) -> int:
    """About how many elements a chunk has whose exponentials have this dtype, and perhaps need scratch."""
    if logits.device.type != "cpu":
        return _DEVICE_CHUNK // dtype.itemsize
    most = _CPU_CHUNK * max(torch.get_num_threads(), 2) // dtype.itemsize
    each = _ROW / max(logits.shape[1], 1) + (dtype.itemsize if scratch else 0)
    return min(most, int(min(_MOST_SCRATCH, max(_SCRATCH * logits.nbytes, _LEAST_SCRATCH)) / each))


def chunks(shape: Sequence[int], elements: int) -> Iterator[Chunk]:
    """The chunks of logits of a shape, of about so many elements; the first one is the largest."""
    n, classes, *behind = shape
    places = behind[0] if behind else 1
    if n * places == 0:
        return
    if behind and classes * places > elements:
        step = max(elements // classes // _BLOCK, 1) * _BLOCK
        for a in range(n):
            for p in range(0, places, step):
                yield Chunk(a, a + 1, p, min(p + step, places))
        return
    step = max(elements // (classes * places), 1)
    if not behind and classes <= _FEW:
        step = max(step // _BLOCK, 1) * _BLOCK
    for a in range(0, n, step):
        yield Chunk(a, min(a + step, n))


@dataclass(slots=True)
class Labels:
    """What the rows of a chunk are asked for and multiplied with; tensors have one number for each row, or fit.

    Attributes:
        index: the target's class; 0 in ignored rows.
        ignored: the rows that contribute nothing; None for no row.
        weight: of the target; None for 1.
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
        """The same for the k rows that a mask selects, as (k,)."""

        def pick(values: Tensor | None) -> Tensor | None:
            if values is None or values.dim() == 0:
                return values
            return values.expand(mask.shape)[mask]

        below = pick(self.below) if isinstance(self.below, Tensor) else self.below
        return Labels(self.index[mask], pick(self.ignored), pick(self.weight), below, pick(self.grad))


@dataclass(slots=True)
class Factors:
    """What the rows of a batch are multiplied with.

    Attributes:
        ignore_index: rows that contribute nothing; None where there are none.
        weight: class weights in the widest dtype; None for 1.
        below: the denominator of a mean: a number, a scalar, or (groups,); None for 1.
        grad: the incoming gradient: a scalar, (groups,), or one for each row; None for 1.
        groups: what is (groups,) in these; 0 for none.
    """

    ignore_index: int | None
    weight: Tensor | None
    below: float | Tensor | None
    grad: Tensor | None
    groups: int

    @classmethod
    def of(
        cls, target: Tensor, weight: Tensor | None, parameters: Parameters, *, grad: Tensor | None, ignoring: bool
    ) -> Factors:
        """For targets and a gradient of the loss's shape; without ``ignoring`` no row is ignored."""
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
        groups = 0 if parameters.reduction == "none" else parameters.groups
        return cls(ignore_index, each, below, None if grad is None else grad.to(dtype), groups)

    def labels(self, chunk: Chunk, target: Tensor) -> Labels:
        """Those of a chunk of the targets."""
        index, ignored, weight = chunk.of(target), None, None
        if self.ignore_index is not None:
            ignored = index == self.ignore_index
            index = index.masked_fill(ignored, 0)
        if self.weight is not None:
            weight = self.weight.index_select(0, index.reshape(-1)).view(index.shape)
        below = self._part(chunk, target, self.below) if isinstance(self.below, Tensor) else self.below
        grad = None if self.grad is None else self._part(chunk, target, self.grad)
        return Labels(index, ignored, weight, below, grad)

    def _part(self, chunk: Chunk, target: Tensor, values: Tensor) -> Tensor:
        """What belongs to a chunk of the targets."""
        if values.dim() == 0:
            return values
        if not self.groups:
            return chunk.of(values)
        group = torch.arange(chunk.a, chunk.b, device=values.device) // (target.shape[0] // self.groups)
        each = values.index_select(0, group)
        return each if target.dim() == 1 else each.unsqueeze(1)


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


def keeps_losses(rows: int, classes: int) -> bool:
    """Whether the loss of each row is kept until the end: few rows, or each of them long beside its loss."""
    return rows <= _BLOCK * _BLOCK or classes > _FEW


def blocks(values: Tensor) -> Tensor:
    """Sums of blocks of the losses of a chunk; which losses share a block does not depend on the chunk."""
    if values.dim() == 1:
        values = values.unsqueeze(0)
    n, length = values.shape
    full = length // _BLOCK * _BLOCK
    parts = values[:, :full].reshape(n, full // _BLOCK, _BLOCK).sum(2)
    if full < length:
        parts = torch.cat([parts, values[:, full:].sum(1, keepdim=True)], 1)
    return parts.view(-1)


def total(values: Tensor) -> Tensor:
    """The sum of a vector, in blocks: torch's own sum of a long one depends on the number of threads."""
    while values.numel() > _BLOCK * _BLOCK:
        values = blocks(values)
    result: Tensor = values.sum()
    return result

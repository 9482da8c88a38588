"""The losses of index targets in torch operations, on any device.

The logits are taken in chunks that stay in the cache: of rows, or of pixels where there are dimensions behind the
classes. A chunk's exponentials are computed where its gradient will be, and become it by one product; only dtypes of 16
bits, and a gradient that replaces the logits, need scratch, of one chunk. A result depends neither on the size of the
chunks nor on the number of threads: a row's numbers are its own, and losses are added up in blocks of fixed length.

On the CPU data may be looked at, and what is not needed is left out. Elsewhere looking would wait for the device, and
every row is computed as the most difficult one would be.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import torch
from torch import Tensor

from polyref.nn._chunks import Chunk, Factors, Labels, blocks, chunk_elements, chunks, keeps_losses, total
from polyref.nn._exponentials import TINY, Rows, compute_dtype, minus_one, narrow, wide, widest
from polyref.nn._kernel import Parameters, ones
from polyref.nn._pages import advise_large_pages
from polyref.nn._response import respond, slopes

#: Wide exponentials are multiplied by 2^58 and the factor of the gradient by 2^-58: the factor then stays finite
#: wherever the product does. Both are exact.
_HEADROOM = 2.0**58


def forward(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    parameters: Parameters,
    *,
    gradient: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """As :meth:`polyref.nn._kernel.Kernel.forward`."""
    ignoring = check_range(target, logits.shape[1], parameters.ignore_index)
    factors = Factors.of(target, weight, parameters, grad=None, ignoring=ignoring)
    if parameters.reduction == "none":
        loss = torch.empty(target.shape, dtype=dtype, device=logits.device)
        for chunk, values in _pass(logits, target, parameters, factors, None):
            chunk.of(loss).copy_(values)
        return loss, logits.new_empty((0,))
    out = advise_large_pages(torch.empty_like(logits)) if gradient else None
    groups = parameters.groups
    # Groups come from transforms, and none is so long that its losses are not to be kept.
    kept = groups > 0 or keeps_losses(target.numel(), logits.shape[1])
    parts = [
        values.reshape(-1) if kept else blocks(values) for _, values in _pass(logits, target, parameters, factors, out)
    ]
    losses = parts[0] if len(parts) == 1 else torch.cat(parts or [_no_losses(logits.device)])
    loss = losses.view(groups, -1).sum(1) if groups else total(losses)
    if factors.below is not None:
        loss = loss / factors.below
    return loss.to(dtype), logits.new_empty((0,)) if out is None else out


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
    ignoring = check_range(target, logits.shape[1], parameters.ignore_index)
    factors = Factors.of(target, weight, parameters, grad=grad, ignoring=ignoring)
    for _ in _pass(logits, target, parameters, factors, out):
        pass


def _no_losses(device: torch.device) -> Tensor:
    return torch.empty(0, dtype=widest(device), device=device)


def check_range(target: Tensor, classes: int, ignore_index: int) -> bool:
    """Whether rows are ignored; where looking would wait for the device, whether they may be.

    Raises:
        IndexError: for an index out of range that is not ignored, on the CPU.
    """
    if target.device.type != "cpu":
        return True
    if target.numel() == 0:
        return False
    bottom, top = (int(v.item()) for v in target.aminmax())
    within = 0 <= bottom <= top < classes
    if within and not bottom <= ignore_index <= top:
        return False
    ignored = target == ignore_index
    if not within:
        wrong = target[((target < 0) | (target >= classes)) & ~ignored]
        if wrong.numel():
            raise IndexError(
                f"Target {wrong[0].item()} is out of bounds: with {classes} classes give 0 to {classes - 1}, "
                f"or ignore_index {ignore_index}"
            )
    return bool(ignored.any())


def _pass(
    logits: Tensor, target: Tensor, parameters: Parameters, factors: Factors, out: Tensor | None
) -> Iterator[tuple[Chunk, Tensor]]:
    """The weighted losses (n, P) of chunk after chunk; the gradient goes into ``out``, if given."""
    if logits.device.type == "cpu":
        yield from _narrow_pass(logits, target, parameters, factors, out)
        return
    for chunk in chunks(logits.shape, chunk_elements(logits, widest(logits.device), scratch=True)):
        labels = factors.labels(chunk, target)
        yield chunk, _wide(chunk.of(logits), labels, parameters, None if out is None else chunk.of(out))


def _narrow_pass(
    logits: Tensor, target: Tensor, parameters: Parameters, factors: Factors, out: Tensor | None
) -> Iterator[tuple[Chunk, Tensor]]:
    """The same on the CPU: first narrow, and the rows for which that will not do once more, wide."""
    dtype, classes = compute_dtype(logits.dtype), logits.shape[1]
    places = logits.shape[2] if logits.dim() == 3 else 1
    direct = out is not None and out.dtype == dtype and out.data_ptr() != logits.data_ptr()
    flat = logits.view(-1)
    scratch = None if out is None or not direct else out.view(-1)
    bounds = _bounds(parameters, factors)
    grid = minus = None
    plain = True
    for chunk in chunks(logits.shape, chunk_elements(logits, dtype, scratch=not direct)):
        z, labels, part = chunk.of(logits), factors.labels(chunk, target), None if out is None else chunk.of(out)
        if scratch is None:
            scratch = torch.empty(z.numel(), dtype=dtype)
        if grid is None:
            minus = minus_one(z, dtype)
        if grid is None or grid.shape != labels.index.shape:
            grid = _grid(labels.index, classes, places)
        # Positions from the chunk's first element on; the places of a chunk lie closer together in scratch.
        first = chunk.a * classes * places + chunk.p
        position = torch.add(grid, labels.index, alpha=places).view(-1)
        own = (flat[first:] if first else flat).index_select(0, position).view(labels.index.shape)
        if direct and part is not None:
            e, target_of = part, scratch[first:] if first else scratch
        else:
            e, target_of = scratch[: z.numel()].view(z.shape), scratch
            if chunk.q:
                position = torch.add(grid, labels.index, alpha=chunk.q - chunk.p).view(-1)
        rows = narrow(z, own, e, target_of, position, minus, plain=plain)
        # Logits that had to be shifted, or looked at, are likely to be followed by others.
        plain = rows.least > 0
        yield chunk, _finish(rows, z, labels, parameters, target_of, position, part, bounds)


def _bounds(parameters: Parameters, factors: Factors) -> tuple[float, float]:
    """Between which the factor of the gradient lies, times the total; 0 and infinity where that is not known."""
    if factors.weight is not None or factors.grad is not None or factors.ignore_index is not None:
        return 0.0, inf
    least, most = slopes(parameters.epsilon, parameters.gamma)
    if isinstance(factors.below, Tensor):
        return 0.0, inf
    return (least / factors.below, most / factors.below) if factors.below else (least, most)


def _grid(index: Tensor, classes: int, places: int) -> Tensor:
    """Where the rows of a chunk begin in it: its first class, in memory, for targets (n,) or (n, P)."""
    rows = torch.arange(0, len(index) * classes * places, classes * places)
    return rows if index.dim() == 1 else rows.unsqueeze(1) + torch.arange(index.shape[1])


def _finish(
    rows: Rows,
    z: Tensor,
    labels: Labels,
    parameters: Parameters,
    flat: Tensor,
    position: Tensor,
    part: Tensor | None,
    bounds: tuple[float, float],
) -> Tensor:
    """The losses of a chunk, and its gradient if ``part`` is given: the exponentials times a factor for each row."""
    losses, slope = _response(rows, labels, parameters, z.dtype)
    scale = None if part is None else labels.scaled_(slope.div_(rows.total))
    again = rows.again if scale is None or rows.normal(*bounds) else _unusable(rows, z, scale)
    # Read before the gradient may replace it.
    rest = None if again is None else z.movedim(1, -1)[again]
    if part is not None and scale is not None:
        # The target's gradient is minus the sum of the others'.
        flat.put_(position, rows.others.neg_().to(rows.e.dtype))
        rows.e.mul_(scale.to(rows.e.dtype).unsqueeze(1))
        if rows.e is not part:
            part.copy_(rows.e)
    if again is None or rest is None:
        return losses
    gradient = None if part is None else torch.empty_like(rest)
    losses = losses.masked_scatter(again, _wide(rest, labels.selected(again), parameters, gradient))
    if part is not None and gradient is not None:
        part.movedim(1, -1)[again] = gradient
    return losses


def _unusable(rows: Rows, z: Tensor, scale: Tensor) -> Tensor | None:
    """The rows whose gradient is to be computed wide, a mask, or None if there are none.

    A factor of the gradient that is not a normal number in the dtype of the exponentials has lost its digits; one above
    1 would raise exponentials to normal numbers that are none themselves.
    """
    tiny = TINY[rows.e.dtype]
    size = scale.abs()
    bottom, top = (v.item() for v in size.aminmax())
    if tiny <= bottom and top <= 1:
        return rows.again
    again = (size < tiny) & (size > 0)
    if not top <= 1:
        again |= ~(size <= 1) & (~(size <= 2.0**-30 / tiny) | rows.vanishing(z))
    if rows.again is not None:
        again |= rows.again
    return again if bool(again.any()) else None


def _wide(z: Tensor, labels: Labels, parameters: Parameters, part: Tensor | None) -> Tensor:
    """The losses of a chunk of any logits, and its gradient into ``part``, if given."""
    index = labels.index.unsqueeze(1)
    rows = wide(z, z.gather(1, index).squeeze(1), labels.index)
    losses, slope = _response(rows, labels, parameters, z.dtype)
    if part is None:
        return losses
    scale = labels.scaled_(slope.div_(rows.total).mul_(1 / _HEADROOM))
    gradient = rows.e.scatter_(1, index, rows.others.neg_().unsqueeze(1)).mul_(_HEADROOM).mul_(scale.unsqueeze(1))
    if labels.ignored is not None:
        gradient.masked_fill_(labels.ignored.unsqueeze(1), 0.0)
    part.copy_(gradient)
    return losses


def _response(rows: Rows, labels: Labels, parameters: Parameters, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The weighted losses and the slopes of the rows, for results of a dtype."""
    bits = 53 if dtype == torch.float64 else 24
    value, slope = respond(rows.x, rows.pt, rows.log, epsilon=parameters.epsilon, gamma=parameters.gamma, bits=bits)
    return labels.losses(value), slope

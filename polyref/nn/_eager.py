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

import torch
from torch import Tensor

from polyref.nn._chunks import Chunk, Factors, Labels, blocks, chunk_elements, chunks, total
from polyref.nn._exponentials import Rows, compute_dtype, minus_one, narrow, wide, widest
from polyref.nn._kernel import Parameters
from polyref.nn._response import respond

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
    factors = Factors.of(_two(target), weight, parameters, grad=None, ignoring=ignoring)
    if parameters.reduction == "none":
        loss = torch.empty(target.shape, dtype=dtype, device=logits.device)
        for chunk, values in _pass(logits, target, parameters, factors, None):
            chunk.of(_two(loss)).copy_(values)
        return loss, logits.new_empty((0,))
    out = torch.empty_like(logits) if gradient else None
    groups, classes = parameters.groups, logits.shape[1]
    parts = [
        values.reshape(-1) if groups else blocks(values, classes)
        for _, values in _pass(logits, target, parameters, factors, out)
    ]
    losses = torch.cat(parts or [torch.empty(0, dtype=widest(logits.device), device=logits.device)])
    # Groups come from transforms, and none is so long that its losses are not to be kept.
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
    if filled and out.device.type == "cpu" and bool((grad == 1).all()):
        return
    ignoring = check_range(target, logits.shape[1], parameters.ignore_index)
    factors = Factors.of(_two(target), weight, parameters, grad=grad, ignoring=ignoring)
    for _ in _pass(logits, target, parameters, factors, out):
        pass


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


def _two(values: Tensor) -> Tensor:
    return values if values.dim() == 2 else values.unsqueeze(1)


def _pass(
    logits: Tensor, target: Tensor, parameters: Parameters, factors: Factors, out: Tensor | None
) -> Iterator[tuple[Chunk, Tensor]]:
    """The weighted losses (n, P) of chunk after chunk; the gradient goes into ``out``, if given."""
    if logits.dim() == 2:
        logits = logits.unsqueeze(2)
        out = None if out is None else out.unsqueeze(2)
    target = _two(target)
    if logits.device.type == "cpu":
        yield from _narrow_pass(logits, target, parameters, factors, out)
        return
    for chunk in chunks(logits.shape, chunk_elements(widest(logits.device), logits.device)):
        labels = factors.labels(chunk, chunk.of(target))
        yield chunk, _wide(chunk.of(logits), labels, parameters, None if out is None else chunk.of(out))


def _narrow_pass(
    logits: Tensor, target: Tensor, parameters: Parameters, factors: Factors, out: Tensor | None
) -> Iterator[tuple[Chunk, Tensor]]:
    """The same on the CPU: first narrow, and the rows for which that will not do once more, wide."""
    dtype, (_, classes, places) = compute_dtype(logits.dtype), logits.shape
    direct = out is not None and out.dtype == dtype and out.data_ptr() != logits.data_ptr()
    flat = None if out is None or not direct else out.view(-1)
    grid = minus = None
    for chunk in chunks(logits.shape, chunk_elements(dtype, logits.device)):
        z, part = chunk.of(logits), None if out is None else chunk.of(out)
        labels = factors.labels(chunk, chunk.of(target))
        n, p = labels.index.shape
        if grid is None or grid.shape != (n, p):
            grid = torch.arange(n).mul_(classes * places).unsqueeze(1) + torch.arange(p)
        if flat is None:
            flat = torch.empty(z.numel(), dtype=dtype)
        if chunk.a == chunk.p == 0:
            minus = minus_one(n, classes, p, dtype, logits.device)
        position = torch.add(grid, labels.index, alpha=places).add_(chunk.a * classes * places + chunk.p).view(-1)
        own = logits.view(-1).index_select(0, position).view(n, p)
        if direct and part is not None:
            e = part
        else:
            e = flat[: z.numel()].view(z.shape)
            position.sub_(chunk.a * classes * places + chunk.p)
            if p != places:
                position = labels.index.mul(p).add_(torch.arange(p)).view(-1)
        rows = narrow(z, own, e, flat, position, minus)
        yield chunk, _finish(rows, z, labels, parameters, e, flat, position, part)


def _finish(
    rows: Rows,
    z: Tensor,
    labels: Labels,
    parameters: Parameters,
    e: Tensor,
    flat: Tensor,
    position: Tensor,
    part: Tensor | None,
) -> Tensor:
    """The losses of a chunk, and its gradient if ``part`` is given: the exponentials e times a factor for each row."""
    losses, slope = _response(rows, labels, parameters, z.dtype)
    scale = None if part is None else labels.scaled_(slope / rows.total)
    again = rows.again if scale is None else _unusable(rows, z, scale)
    # Read before the gradient may replace it.
    rest = None if again is None else z.movedim(1, -1)[again].unsqueeze(2)
    if part is not None and scale is not None:
        pull = labels.scaled_(slope.mul(rows.x).neg_())
        e.mul_(scale.to(e.dtype).unsqueeze(1))
        flat.scatter_(0, position, pull.to(e.dtype).view(-1))
        if e is not part:
            part.copy_(e)
    if again is None or rest is None:
        return losses
    gradient = None if part is None else torch.empty_like(rest)
    losses = losses.masked_scatter(again, _wide(rest, labels.selected(again), parameters, gradient))
    if part is not None and gradient is not None:
        part.movedim(1, -1)[again] = gradient.squeeze(2)
    return losses


def _unusable(rows: Rows, z: Tensor, scale: Tensor) -> Tensor | None:
    """The rows whose gradient is to be computed wide, a mask (n, P), or None if there are none.

    A factor of the gradient that is not a normal number in the dtype of the exponentials has lost its digits; one above
    1 would raise exponentials to normal numbers that are none themselves.
    """
    limits = torch.finfo(rows.e.dtype)
    size = scale.abs()
    bottom, top = (v.item() for v in size.aminmax())
    if limits.tiny <= bottom and top <= 1:
        return rows.again
    again = (size < limits.tiny) & (size > 0)
    if not top <= 1:
        again |= ~(size <= 1) & (~(size <= limits.max * 2.0**-30) | rows.vanishing(z))
    if rows.again is not None:
        again |= rows.again
    return again if bool(again.any()) else None


def _wide(z: Tensor, labels: Labels, parameters: Parameters, part: Tensor | None) -> Tensor:
    """The losses of a chunk (n, C, P) of any logits, and its gradient into ``part``, if given."""
    own = z.gather(1, labels.index.unsqueeze(1)).squeeze(1)
    rows = wide(z, own, labels.index)
    losses, slope = _response(rows, labels, parameters, z.dtype)
    if part is None:
        return losses
    scale = labels.scaled_((slope / rows.total).mul_(1 / _HEADROOM))
    pull = labels.scaled_(slope.mul(rows.x).neg_())
    gradient = rows.e.mul_(_HEADROOM).mul_(scale.unsqueeze(1))
    gradient.scatter_(1, labels.index.unsqueeze(1), pull.unsqueeze(1))
    if labels.ignored is not None:
        gradient.masked_fill_(labels.ignored.unsqueeze(1), 0.0)
    part.copy_(gradient)
    return losses


def _response(rows: Rows, labels: Labels, parameters: Parameters, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The weighted losses and the slopes of the rows, for results of a dtype."""
    bits = 53 if dtype == torch.float64 else 24
    value, slope = respond(rows.x, rows.pt, rows.log, epsilon=parameters.epsilon, gamma=parameters.gamma, bits=bits)
    return labels.losses(value), slope

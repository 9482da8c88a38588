"""From logits to x = 1 - Pt and -log Pt without cancellation, row by row, with torch operations.

Two ways lead there, and which one a row takes depends on nothing but its logits and the factor of its gradient.

**narrow**, in float32 for logits of 16 and 32 bits, in float64 for those of 64. What costs digits in exp(z - m), with m
the largest logit, is the rounding of the difference, up to 64 u of the result in float32. So nothing is subtracted that
cannot be subtracted exactly: no shift at all for -8 <= m <= LIMIT, where exp(z) does not overflow, and is a normal
number wherever it brings digits into a result above 2^12 times the smallest normal one; and ceil(m) below: then
z - ceil(m) is a multiple of the last place of z and no larger than z, hence exact. (Logits of 16 bits are shifted by m
where they must be: what that rounds in float32 is below a hundredth of their last place.) That no shift is needed shows
in the sums already, mostly, and the largest logits are looked for only where it does not.

**wide**, in float64 for all, for the rows that remain: larger logits, those that are not finite, and gradients whose
factor leaves the format though the products may not. Logits of 64 bits, and all on a device that has no float64, are
shifted by m and the rounding of the difference is multiplied back in. Where looking at the data would make the host
wait for the device, every row goes this way.

Measured for 256 rows of 1000 classes, two threads of a CPU with AVX-512, torch 2.13, in microseconds: a pass of
arithmetic over a chunk in the cache 20, exp in float32 150, in float64 700; Knuth's error of the difference would be
five passes and the product with 1 + error a sixth. The exponential that log_softmax's backward pass contains takes 68.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

#: A row is not shifted if its largest logit lies between these, the second by the dtype of the exponentials. exp(LIMIT)
#: leaves the sum of 2^60 classes finite, and a factor of the gradient that is divided by it normal for 2^20 rows.
_LEAST = -8.0
_LIMIT = {torch.float32: 44.0, torch.float64: 300.0}

#: The smallest normal and the largest numbers of the dtypes of exponentials.
TINY = {dtype: torch.finfo(dtype).tiny for dtype in _LIMIT}
_LARGEST = {dtype: torch.finfo(dtype).max for dtype in _LIMIT}

#: Exponentials of what is above this are normal numbers.
_NORMAL = {torch.float32: -80.0, torch.float64: -700.0}

#: Where exp(d) of the target is so small that the quotient by it may overflow.
_FAR = {torch.float32: -60.0, torch.float64: -600.0}

#: Rows of at least this many float32 classes take the exponential out of log_softmax's backward pass.
_LONG = 200

#: Exponentials of rows up to this many classes are added up in the wide dtype.
_SHORT = 768

#: So many elements at a time are done of what needs memory for it.
_PIECE = 1 << 17


@dataclass(slots=True)
class Rows:
    """What a row's loss and gradient are made of; one number each is float64 (float32 where there is no float64).

    Attributes:
        e: the exponentials (n, C, ...), 0 for the target.
        others: their sum, (n, ...).
        total: the sum with the target's exponential.
        x: 1 - Pt, accurate in the relative sense.
        pt: Pt.
        log: -log Pt.
        shift: what was subtracted from the logits before their exponentials were taken; None for nothing.
        again: a mask of the rows whose numbers are of no use, because of their logits; None for no row.
        least: of the totals, where they are known to lie between this and the next; else 0.
        most: of the totals; else infinite.
    """

    e: Tensor
    others: Tensor
    total: Tensor
    x: Tensor
    pt: Tensor
    log: Tensor
    shift: Tensor | None = None
    again: Tensor | None = None
    least: float = 0.0
    most: float = math.inf

    def normal(self, least: float, most: float) -> bool:
        """Whether factors between these, over the totals, are known to be normal numbers and at most 1."""
        return least >= self.most * TINY[self.e.dtype] and most <= self.least

    def vanishing(self, z: Tensor) -> Tensor:
        """Rows where an exponential of the logits z is not a normal number, a mask (n, ...)."""
        lowest = z.amin(1).to(self.e.dtype)
        return (lowest if self.shift is None else lowest - self.shift) < _NORMAL[self.e.dtype]


def widest(device: torch.device) -> torch.dtype:
    """float64, but on devices that have none."""
    return torch.float32 if device.type == "mps" else torch.float64


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of narrow exponentials."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def difference(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """``a - b`` rounded, and what the rounding left out (Knuth's TwoSum; 0 where the difference is not finite)."""
    d = a - b
    back = d - a
    rest = torch.sub(d, back)
    torch.sub(a, rest, out=rest)
    rest.sub_(back.add_(b))
    return d, rest.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)


def exp(z: Tensor, out: Tensor, minus: Tensor | None) -> None:
    """exp(z), within 1 ulp; ``out`` may be z.

    The derivative of log_softmax is g - exp(y) sum(g): with -1 for the first class's g and 0 for the others, all
    entries but the first are the exponentials of y. It is torch's fastest accurate exponential, for long rows on CPUs.

    Args:
        z: (n, C, ...).
        out: where it goes.
        minus: these g, or None for torch.exp.
    """
    if minus is None:
        torch.exp(z, out=out)
        return
    first = z[:, 0].exp()
    step = len(minus)
    for a in range(0, len(z), step):
        part = z[a : a + step]
        torch._log_softmax_backward_data(minus[: len(part)], part, 1, z.dtype, out=out[a : a + step])
    out[:, 0] = first


def minus_one(z: Tensor, dtype: torch.dtype) -> Tensor | None:
    """What :func:`exp` takes for rows like those of z, in the dtype; None where torch.exp is as good."""
    if z.dim() != 2 or z.shape[1] < _LONG or dtype != torch.float32:
        return None
    minus = torch.zeros(min(len(z), max(_PIECE // z.shape[1], 1)), z.shape[1])
    minus[:, 0] = -1.0
    return minus


def narrow(
    z: Tensor, own: Tensor, e: Tensor, flat: Tensor, position: Tensor, minus: Tensor | None, *, plain: bool
) -> Rows:
    """Rows whose exponentials need no wider format; for the CPU alone, because it looks at the data.

    Args:
        z: logits (n, C) or (n, C, P).
        own: the targets' logits (n,) or (n, P), a copy.
        e: where the exponentials go, of the shape of z, in their dtype; it must not share memory with ``z``.
        flat: the one-dimensional tensor that ``e`` is part of.
        position: of the targets in ``flat``.
        minus: what :func:`exp` takes.
        plain: try without a shift first, which costs an exponential where one is needed.
    """
    half = z.dtype != e.dtype
    own = own.to(torch.float64)
    limit, largest = _LIMIT[e.dtype], _LARGEST[e.dtype]
    if plain:
        exp(z if not half else e.copy_(z), e, minus)
        rows = _narrow_rows(e, own, flat, position, half=half)
        rows.least, rows.most = (v.item() for v in rows.total.aminmax())
        # The largest exponential is at most the total, and at least its C-th part.
        if e.shape[1] * math.exp(_LEAST) <= rows.least and rows.most <= math.exp(limit):
            return rows
    if half:
        z = e.copy_(z)
    highest = z.amax(1)
    bottom, top = (v.item() for v in highest.aminmax())
    shift = again = None
    if not _LEAST <= bottom <= top <= limit:
        if half:
            shift = torch.where((highest >= _LEAST) & (highest <= limit), 0.0, highest)
            limit = largest
        else:
            shift = torch.where(highest < _LEAST, highest.ceil(), 0.0)
        if not -largest <= bottom <= top <= limit:
            again = ~((highest >= -largest) & (highest <= limit))
        z = torch.sub(z, shift.unsqueeze(1), out=e)
        own = own - shift
    exp(z, e, minus)
    rows = _narrow_rows(e, own, flat, position, half=half)
    rows.shift, rows.again = shift, again
    return rows


def _narrow_rows(e: Tensor, own: Tensor, flat: Tensor, position: Tensor, *, half: bool) -> Rows:
    """The rows of narrow exponentials and of the targets' logits less the shift."""
    flat.index_fill_(0, position, 0.0)
    # 16 bits do not need the digits.
    exact = e.dtype == torch.float64 or (e.shape[1] <= _SHORT and not half)
    sums = _sum(e, own.dtype) if exact else e.sum(1).to(own.dtype)
    return _rows(e, sums, own, own.exp(), look=True)


def wide(z: Tensor, own: Tensor, index: Tensor) -> Rows:
    """Rows of any logits; nothing is looked at.

    Args:
        z: logits (n, C) or (n, C, P).
        own: the targets' logits (n,) or (n, P).
        index: the targets.
    """
    dtype = widest(z.device)
    narrower = z.dtype.itemsize < dtype.itemsize
    z, own = z.to(dtype), own.to(dtype)
    highest = z.amax(1)
    if narrower:
        e = (z - highest.unsqueeze(1)).exp_()
    else:
        e, rest = difference(z, highest.unsqueeze(1))
        e = e.exp_().addcmul_(e, rest)
    # The rounding of this difference costs 1 u: below the largest logit Pt is as small as the difference is large.
    d = own - highest
    e.scatter_(1, index.unsqueeze(1), 0.0)
    return _rows(e, e.sum(1) if narrower else _sum(e, dtype), d, d.exp(), look=False)


def _sum(e: Tensor, dtype: torch.dtype) -> Tensor:
    """The sums over the classes in float64, from float64 or float32, within 1 u; it takes memory: so a piece at a time.

    torch adds up short rows one by one, and longer ones in blocks. In the dtype of the exponentials, that brought 8.6
    ulps into the loss of epsilon -1 of float32 logits and 8.4 into that of float64, with 10 to 500 classes.
    """
    add = _two_part_sum if e.dtype == dtype else partial(torch.sum, dim=1, dtype=dtype)
    if e.numel() <= _PIECE:
        return add(e)
    if e.dim() == 2 or len(e) > 1:
        return torch.cat([add(part) for part in e.split(max(_PIECE // e[0].numel(), 1))])
    return torch.cat([add(part) for part in e.split(max(_PIECE // e.shape[1], 1), dim=2)], 1)


def _two_part_sum(e: Tensor) -> Tensor:
    """The sums over the classes of nonnegative numbers, rounded little more than once.

    Each number is split into a multiple of the last place of a common power of two, above every sum, and a rest. The
    sum of the first parts is exact, and the rounding of the other's is of second order.
    """
    common = torch.frexp(e.amax(1, keepdim=True)).exponent
    common = torch.ldexp(torch.full_like(e[:, :1], 2.0 * e.shape[1]), common)
    high = (e + common).sub_(common)
    return high.sum(1).add_((e - high).sum(1))


def _rows(e: Tensor, sums: Tensor, d: Tensor, own: Tensor, *, look: bool) -> Rows:
    """The row's numbers; d is the target's logit less the shift, own its exponential."""
    total = sums + own
    odds = sums / own
    x = sums / total
    if e.dtype == torch.float64:
        # x = odds - odds x: for small x, where epsilon -1 doubles its error, the rounding of the total is out of it.
        x = torch.where(x < 0.5, torch.addcmul(odds, odds, x, value=-1.0), x)
    log = odds.log1p_()
    far = _FAR[d.dtype]
    if not (look and d.min().item() >= far):
        # NaN in the row goes the second way, and is NaN in the total.
        log = torch.where(d >= far, log, total.log() - d)
    return Rows(e, sums, total, x, own.div_(total), log)

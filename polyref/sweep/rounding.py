"""Results in binary64, with a bound of their error, beside numbers of a narrower format: rounding, errors in ulps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from polyref.formats import Format

#: The exponent bits of a binary64 pattern, and how they count.
_EXPONENT, _BIAS = 52, 1023


class Offsets(NamedTuple):
    """How far observed numbers lie from exact ones.

    Attributes:
        least: the distance, at least.
        most: the distance, at most.
        ulps_least: the same in ulps of the exact number.
        ulps_most: the same.
        below: whether the distance is less than ``most``, and not that itself.
    """

    least: Tensor
    most: Tensor
    ulps_least: Tensor
    ulps_most: Tensor
    below: Tensor


class Look(NamedTuple):
    """What a first look at observed numbers tells.

    Attributes:
        correct: whether the number is certainly the correctly rounded one.
        faithful: whether it is certainly another one, and less than one ulp off.
        most: its distance from the exact one, at most.
        ulps_most: the same in ulps.
    """

    correct: Tensor
    faithful: Tensor
    most: Tensor
    ulps_most: Tensor


def look(observed: Tensor, exact: Tensor, error: Tensor, fmt: Format) -> Look:
    """What can be said in few operations; :func:`offsets` and :func:`rounded` say more, of fewer numbers."""
    ceiling = float(fmt.ceiling)
    kept, seen = exact.clamp(-ceiling, ceiling), observed.clamp(-ceiling, ceiling)
    # The ulp of the smallest number that the exact one may be: just below a power of two it is half as large, and the
    # rounding to multiples of that is the same, as the error is far below it.
    per_ulp = _per_ulp(kept.abs() - error, fmt)
    scaled = kept * per_ulp
    whole = scaled.round()
    sure = (scaled - whole).abs_().add_(error * per_ulp) < 0.5
    most = (seen - kept).abs_().mul_(1 + 2.0**-52).add_(error)
    same, ulps_most = seen == whole.div_(per_ulp), most * per_ulp
    faithful = sure & ~same & (ulps_most < 1) & observed.isfinite()  # an infinity is not a matter of distance
    return Look(sure & same, faithful, most, ulps_most)


def offsets(observed: Tensor, exact: Tensor, error: Tensor, lean: Tensor, fmt: Format) -> Offsets:
    """Compare numbers with exact ones.

    Beyond the largest number both count as the number that would follow it, as in
    :func:`polyref.reference.enclosure.error_over`. NaN stays NaN.

    Args:
        observed: the numbers.
        exact: what is known of the exact ones.
        error: how far these may be off.
        lean: on which side of it the exact number lies, -1 or 1, or 0 where that is not known.
        fmt: the format of the ulps.
    """
    ceiling = float(fmt.ceiling)
    kept, seen = exact.clamp(-ceiling, ceiling), observed.clamp(-ceiling, ceiling)
    signed = seen - kept
    back = signed - seen
    whole = (kept == exact) & ((seen - (signed - back)) - (kept + back) == 0)  # the subtraction did not round
    apart, side = signed.abs(), torch.sign(signed) * lean
    towards, away = whole & (side > 0), whole & (side < 0)
    most = torch.where(towards, apart, apart * (1 + 2.0**-52) + error)
    least = torch.where(away, apart, (apart * (1 - 2.0**-52) - error).clamp(min=0))
    size = kept.abs()
    return Offsets(least, most, least * _per_ulp(size + error, fmt), most * _per_ulp(size - error, fmt), towards)


def _per_ulp(size: Tensor, fmt: Format) -> Tensor:
    """1 over the spacing of the format's numbers at magnitudes up to its ceiling; below 0 as at 0."""
    # The sign is the first bit, so what is negative shifts to a negative number.
    exponent = (size.view(torch.int64) >> _EXPONENT).clamp_(min=fmt.emin + _BIAS)
    return exponent.neg_().add_(fmt.precision - 1 + 2 * _BIAS).bitwise_left_shift_(_EXPONENT).view(torch.float64)


def rounded(exact: Tensor, error: Tensor, lean: Tensor, fmt: Format) -> tuple[Tensor, Tensor]:
    """The format's numbers nearest to exact ones, ties to even, and whether the error leaves no other choice.

    Args:
        exact: what is known of the exact numbers.
        error: how far these may be off.
        lean: on which side of it the exact number lies, -1 or 1, or 0 where that is not known.
        fmt: the format.
    """
    ceiling = float(fmt.ceiling)
    kept = exact.clamp(-ceiling, ceiling)
    per_ulp = _per_ulp(kept.abs() - error, fmt)
    scaled = kept * per_ulp
    whole = scaled.round()
    apart, room = scaled - whole, error * per_ulp
    sure = 0.5 - apart.abs() > room
    tie = (apart.abs() == 0.5) & (lean != 0) & (room < 0.25)  # half-way, but for what the lean tells
    whole = torch.where(tie, (scaled + 0.25 * lean).round(), whole)
    sure |= tie
    result = whole / per_ulp
    return torch.where(
        result.abs() > fmt.largest, torch.copysign(torch.full_like(result, torch.inf), result), result
    ), sure

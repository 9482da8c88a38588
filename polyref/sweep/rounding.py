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
    """

    least: Tensor
    most: Tensor
    ulps_least: Tensor
    ulps_most: Tensor


def offsets(observed: Tensor, exact: Tensor, error: Tensor, fmt: Format) -> Offsets:
    """Compare numbers with exact ones that are known up to ``error``.

    Beyond the largest number both count as the number that would follow it, as in
    :func:`polyref.reference.enclosure.error_over`. NaN stays NaN.
    """
    ceiling = float(fmt.ceiling)
    kept = exact.clamp(-ceiling, ceiling)
    apart = (observed.clamp(-ceiling, ceiling) - kept).abs()
    most = apart * (1 + 2.0**-52) + error
    least = (apart * (1 - 2.0**-52) - error).clamp(min=0)
    size = kept.abs()
    return Offsets(least, most, least * _per_ulp(size + error, fmt), most * _per_ulp(size - error, fmt))


def _per_ulp(size: Tensor, fmt: Format) -> Tensor:
    """1 over the spacing of the format's numbers at magnitudes that are at most its ceiling."""
    exponent = (size.view(torch.int64) >> _EXPONENT) - _BIAS
    exponent = torch.where(size > 0, exponent, fmt.emin).clamp(min=fmt.emin)
    return ((fmt.precision - 1 - exponent + _BIAS) << _EXPONENT).view(torch.float64)


def rounded(exact: Tensor, error: Tensor, lean: Tensor | None, fmt: Format) -> tuple[Tensor, Tensor]:
    """The format's numbers nearest to exact ones, ties to even, and whether the error leaves no other choice.

    Args:
        exact: what is known of the exact numbers.
        error: how far these may be off.
        lean: on which side of it the exact number lies, -1 or 1, or 0 where that is not known.
        fmt: the format.
    """
    ceiling = float(fmt.ceiling)
    kept = exact.clamp(-ceiling, ceiling)
    per_ulp = _per_ulp(kept.abs(), fmt)
    scaled = kept * per_ulp
    whole = scaled.round()
    apart, room = scaled - whole, error * per_ulp
    sure = 0.5 - apart.abs() > room
    if lean is not None:
        tie = (apart.abs() == 0.5) & (lean != 0) & (room < 0.25)  # half-way, but for what the lean tells
        whole = torch.where(tie, (scaled + 0.25 * lean).round(), whole)
        sure |= tie
    result = whole / per_ulp
    return torch.where(
        result.abs() > fmt.largest, torch.copysign(torch.full_like(result, torch.inf), result), result
    ), sure

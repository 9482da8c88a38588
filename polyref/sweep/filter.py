"""The filter: what can be proven of a subject's results from binary64 results with a bound, without a ball.

Every mask is certain: an input whose figures could fall on either side of a line (its correct rounding, one ulp, the
textbook tolerance, that of the cancellation-free algorithm) is in neither of two, and its grade is unsure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from polyref.formats import Format
from polyref.grades import Grade
from polyref.sweep.rounding import Offsets, offsets, rounded

GRADES = list(Grade)


@dataclass
class Bounds:
    """The two bounds of a radius for each input of a part."""

    inner: Tensor
    outer: Tensor

    def at(self, cells: Tensor) -> Bounds:
        """The bounds of the inputs that lie in these cells."""
        return Bounds(self.inner[cells], self.outer[cells])


#: What a subject returned, the exact number, its error, and on which side of it the truth lies (0: not known).
Observed = tuple[Tensor, Tensor, Tensor, Tensor]


class Number(NamedTuple):
    """What the filter knows of one number of each input; every mask is certain."""

    off: Offsets
    exact_rounding: Tensor
    other_number: Tensor
    within: Tensor
    beyond: Tensor
    sharp: Tensor
    blunt: Tensor
    ratio: Tensor
    lost: Tensor
    wrong_sign: Tensor
    open_sign: Tensor
    unsure: Tensor


def filtered(number: Observed, fmt: Format, textbook: Bounds, free: Bounds) -> Number:
    """What is certain of one number of each input."""
    observed, exact, error, lean = number
    off = offsets(observed, exact, error, lean, fmt)
    nearest, sure = rounded(exact, error, lean, fmt)
    same = observed == nearest
    finite_there = nearest.isfinite()
    lost = ~observed.isfinite() & finite_there & sure
    within, beyond = off.most <= textbook.inner, off.least > textbook.outer
    sign_known = exact.abs() > error
    otherwise = observed * exact < 0
    wrong_sign, open_sign = otherwise & sign_known & (nearest != 0), otherwise & ~sign_known
    exact_rounding, other_number = same & sure, (sure & ~same) | (off.ulps_least > 0.5)
    unsure = ~(within | beyond) | ~(exact_rounding | other_number) | (~observed.isfinite() & ~sure)
    sharp, blunt = off.most <= free.inner, off.least > free.outer
    ratio = (off.most / textbook.inner).nan_to_num(nan=math.inf, posinf=math.inf)
    return Number(
        off,
        exact_rounding,
        other_number,
        within,
        beyond,
        sharp,
        blunt,
        ratio,
        lost,
        wrong_sign,
        open_sign,
        unsure & ~lost,
    )


def graded(seen: list[Number]) -> tuple[Tensor, Tensor]:
    """The grade of each input by its place in the list of grades, and where that is not certain."""

    def every(masks: list[Tensor]) -> Tensor:
        return torch.stack(masks).all(0)

    def some(masks: list[Tensor]) -> Tensor:
        return torch.stack(masks).any(0)

    broken = some([n.lost for n in seen])
    beyond = some([n.beyond for n in seen]) & ~broken
    broken |= beyond & some([n.wrong_sign for n in seen])
    correct = every([n.exact_rounding for n in seen])
    below_one = every([(n.off.ulps_most < 1) | (n.off.below & (n.off.ulps_most == 1)) for n in seen])
    from_one = some([n.off.ulps_least >= 1 for n in seen])
    sharp, blunt = every([n.sharp for n in seen]), some([n.blunt for n in seen])
    unsure = some([n.unsure for n in seen]) | (beyond & some([n.open_sign for n in seen]))
    open_ulp = ~correct & ~(below_one | from_one)
    open_radius = ~correct & from_one & ~(sharp | blunt)
    unsure |= ~beyond & (open_ulp | open_radius)
    unsure &= ~broken
    grade = torch.full_like(correct, GRADES.index(Grade.TEXTBOOK), dtype=torch.int64)
    for mask, name in (
        (sharp, Grade.ACCURATE),
        (below_one, Grade.FAITHFUL),
        (correct, Grade.CORRECTLY_ROUNDED),
        (beyond, Grade.DEGRADED),
        (broken, Grade.BROKEN),
    ):
        grade = torch.where(mask, GRADES.index(name), grade)
    return grade, unsure

"""The first look at a part of a sweep, which is cheap and decides what is easy.

Torch operations decide what is rounded correctly or less than one ulp off. On the CPU, where it is built, one pass of
native code decides the same, and most of what is further off and within the textbook tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from polyref import native
from polyref.regimes import REGIMES
from polyref.sweep.exact import difference
from polyref.sweep.judge import Judge
from polyref.sweep.radii import BASE, CELLS, SHIFT
from polyref.sweep.rounding import look


class Found(NamedTuple):
    """What the first look finds of one quantity; inputs are named by their rows in the part.

    Attributes:
        counts: by grade, best first, and in it by regime; for the grades that it tells.
        first: the first row of each of these grades, or -1.
        open: the rows that it does not decide.
        high: the rows that it decides and whose bounds exceed a floor.
        ulps: the bounds of their errors in ulps.
        ratios: the bounds of their errors over the textbook tolerance.
    """

    counts: list[list[int]]
    first: list[int]
    open: Tensor
    high: Tensor
    ulps: Tensor
    ratios: Tensor


class Look(NamedTuple):
    """What it finds of a part: the rows in which a logit is no number, and the value and gradient of the others."""

    strange: Tensor
    quantities: list[Found]


#: For each quantity, the bounds in ulps and over the tolerance from which on an input is named as high.
Floors = Sequence[tuple[float, float]]


def implementation(device: str) -> str:
    """Which code looks first here: its bounds, though not what is decided from them, may differ in their last bits."""
    return "native" if device == "cpu" and native.available() else "torch"


def first_look(judge: Judge, logits: Tensor, value: Tensor, gradient: Tensor | None, floors: Floors) -> Look:
    """Look at one part.

    Args:
        judge: of the spec.
        logits: (N, 2), exact, in binary64.
        value: (N,), what the subject returned, in binary64.
        gradient: (N, 2), or None where there is none.
        floors: of the value, and of the gradient where there is one.
    """
    looks = _native if implementation(logits.device.type) == "native" else _torch
    return looks(judge, logits, value, gradient, floors)


def _native(judge: Judge, logits: Tensor, value: Tensor, gradient: Tensor | None, floors: Floors) -> Look:
    fmt, losses = judge.space.format, judge.losses
    strange, counts, first, lists = torch.ops.polyref_native.first_look.default(
        logits.contiguous(),
        value.contiguous(),
        None if gradient is None else gradient.contiguous(),
        *losses.coefficients,
        losses.gamma,
        losses.unit,
        losses.cancels,
        fmt.precision,
        fmt.emin,
        float(fmt.ceiling),
        [
            t
            for textbook, free in zip(judge.textbook, judge.free, strict=True)
            for t in (textbook.inner, free.inner, free.outer)
        ],
        SHIFT,
        BASE,
        CELLS,
        judge.regime_ends.tolist(),
        [floor for pair in floors for floor in pair],
    )
    found = zip(counts.tolist(), first.tolist(), strict=True)
    return Look(strange, [Found(*both, *lists[4 * i : 4 * i + 4]) for i, both in enumerate(found)])


def _torch(judge: Judge, logits: Tensor, value: Tensor, gradient: Tensor | None, floors: Floors) -> Look:
    margin, rest = difference(logits)
    usual = margin.isfinite()
    strange = (~usual).nonzero().flatten()
    if len(strange):
        margin, rest = torch.where(usual, margin, 0.0), torch.where(usual, rest, 0.0)
    exact = judge.losses.of(margin, rest, slope=gradient is not None)
    cells = judge.cells(margin)
    regimes = judge.regimes(margin, cells)
    seen = [[(value, exact.value, exact.value_error)]]
    if gradient is not None:
        slopes = (gradient[:, 0], -exact.slope), (gradient[:, 1], exact.slope)
        seen.append([(*pair, exact.slope_error) for pair in slopes])
    fmt, found = judge.space.format, []
    for numbers, columns, floor in zip(seen, ((0,), (1, 2))[: len(seen)], floors, strict=True):
        looks = [look(*number, fmt) for number in numbers]
        radii = [judge.textbook[c].inner[cells] for c in columns]
        ulps, ratios = looks[0].ulps_most, looks[0].most / radii[0]
        correct, decided = looks[0].correct, looks[0].correct | looks[0].faithful
        for other, radius in zip(looks[1:], radii[1:], strict=True):
            ulps, ratios = torch.maximum(ulps, other.ulps_most), torch.maximum(ratios, other.most / radius)
            correct, decided = correct & other.correct, decided & (other.correct | other.faithful)
        correct = correct & usual & ratios.isfinite()  # where nothing is known of the tolerance, the next look decides
        decided = decided & (ratios <= 1) & usual | correct
        high = (((ulps > floor[0]) | (ratios > floor[1])) & decided).nonzero().flatten()
        graded = [mask.nonzero().flatten() for mask in (correct, decided & ~correct)]
        found.append(
            Found(
                [torch.bincount(regimes[rows], minlength=len(REGIMES)).tolist() for rows in graded],
                [int(rows[0]) if len(rows) else -1 for rows in graded],
                (usual & ~decided).nonzero().flatten(),
                high,
                ulps[high],
                ratios[high],
            )
        )
    return Look(strange, found)

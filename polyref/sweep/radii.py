"""Tables of the model's radii over the margins of two classes: bounds that hold for every margin of a cell.

The row algorithms of the model see two logits only through their difference, so the radius of a case is a function of
|z_y - z_o| and of which of the two is larger. The magnitudes are cut into cells by the leading bits of their binary64
patterns, and :class:`~polyref.sweep.reach.CellArithmetic` runs the model's own algorithms on all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from polyref.formats import Format
from polyref.reference.arithmetic import Pass
from polyref.reference.free import free_of_shifted
from polyref.reference.textbook import Way, of_shifted
from polyref.spec import Response, Spec
from polyref.sweep.reach import CellArithmetic, Reach

Numbers = NDArray[np.float64]

#: Cells a binade: 2^LEADING.
LEADING = 9
#: The binades that are told apart: below the first a margin is as good as 0 to a 32-bit format.
_FIRST, _LAST = -30, 130
#: Bits of a binary64 pattern below those that tell the cell.
SHIFT = 52 - LEADING
#: The cell number of the smallest magnitude that is told apart.
BASE = (_FIRST + 1023) << LEADING
CELLS = ((_LAST - _FIRST) << LEADING) + 1
#: Cells at a time, so that a core's cache holds the numbers of one algorithm.
_BLOCK = 1 << 14
#: Arb bounds its own errors generously where they are small; its radius exceeds the ideal one by less than this.
_ARB = 2.0**-12


@dataclass(frozen=True)
class Radii:
    """Bounds of the radii of one quantity: [side, cell], side 1 where the target's logit is the larger one."""

    inner: Numbers
    outer: Numbers


@dataclass(frozen=True)
class Tables:
    """The radii of a spec in a format, of the textbook algorithms and of the cancellation-free one.

    Attributes:
        textbook: of the value, the target's derivative and the other class's.
        free: the same.
    """

    textbook: tuple[Radii, Radii, Radii]
    free: tuple[Radii, Radii, Radii]


def edges() -> Numbers:
    """The ends of the cells: 0, then 2^-30 and so on; the last cell has no end."""
    bits = (np.arange(CELLS, dtype=np.int64) + BASE) << SHIFT
    return np.concatenate(([0.0], bits[1:].view(np.float64), [2.0**200]))


@lru_cache(maxsize=16)
def tables(spec: Spec, fmt: Format, least: float = 0.0, most: float = np.inf) -> Tables:
    """The radii of a spec's losses of two classes, target first, without weights.

    Args:
        spec: of the softmax link.
        fmt: of at most 32 bits.
        least: the smallest magnitude of a margin that will be asked for.
        most: the largest; of the cells beyond these two nothing is said (at least 0, at most infinity).
    """
    response = spec.responses(None, 2).positive[0]
    ends = edges()
    first, last = (min(int(np.searchsorted(ends, m, side="right")), CELLS) - 1 for m in (least, most))
    blocks = [
        _block(ends[i : min(i + _BLOCK, last + 1)], ends[i + 1 : min(i + _BLOCK, last + 1) + 1], response, fmt)
        for i in range(first, last + 1, _BLOCK)
    ]
    around = first, CELLS - last - 1
    return Tables(*(tuple(_joined([b[m][q] for b in blocks], around) for q in range(3)) for m in range(2)))  # type: ignore[arg-type]


def radii_at(spec: Spec, fmt: Format, magnitudes: Numbers) -> Tables:
    """The radii at these very margins, each a cell of its own: (side, margin)."""
    found = _block(magnitudes, magnitudes, spec.responses(None, 2).positive[0], fmt)
    return Tables(*(tuple(model) for model in found))  # type: ignore[arg-type]


def _block(low: Numbers, high: Numbers, response: Response, fmt: Format) -> list[list[Radii]]:
    """The radii of some cells, of the textbook algorithms and of the cancellation-free one."""
    ways: tuple[Way, ...] = ("subtract", "once", "expm1")
    textbook, free = [], []
    for d, largest in _shifted(low[: len(high)], high, fmt.unit_roundoff):
        textbook.append(_radii(fmt, [_textbook(d, response, way) for way in ways], len(high)))
        free.append(_radii(fmt, [_free(d, largest, response)], len(high)))
    return [[_stacked([side[q] for side in sides]) for q in range(3)] for sides in (textbook, free)]


def _shifted(low: Numbers, high: Numbers, u: float) -> list[tuple[list[Any], list[bool]]]:
    """The two logits less their maximum, by side, and which is the maximum."""
    near, far = low * u * (1 - _ARB), high * u * (1 + _ARB)
    other = Reach(-high, -low, near, near, far)
    return [([other, arb(0)], [False, True]), ([arb(0), other], [True, False])]


_Results = tuple[Any, list[Any]]
_Run = Callable[[Pass], _Results]


def _textbook(d: list[Any], response: Response, way: Way) -> _Run:
    return lambda run: of_shifted(d, [arb(1), arb(0)], [response, response], run, way)


def _free(d: list[Any], largest: list[bool], response: Response) -> _Run:
    return lambda run: free_of_shifted(d, largest, [arb(1), arb(0)], [response, response], run)


def _radii(fmt: Format, algorithms: Iterable[_Run], cells: int) -> list[Radii]:
    """The largest radii of some algorithms: of the value, the target's derivative and the other's."""
    best = [Radii(np.zeros(cells), np.zeros(cells)) for _ in range(3)]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for algorithm in algorithms:
            forward, backward = CellArithmetic(fmt), CellArithmetic(fmt)
            value, gradient = algorithm(Pass(forward, backward, arb(1), {}))
            forward.checked(value)
            for g in gradient:
                backward.checked(g)
            for i, (quantity, ar) in enumerate(((value, forward), *((g, backward) for g in gradient))):
                inner = np.where(ar.surely, np.inf, np.maximum(quantity.down, quantity.up)) * (1 - _ARB)
                outer = np.where(ar.maybe, np.inf, quantity.outer) * (1 + _ARB)
                # Not a number: an infinity met its opposite, and nothing is known.
                inner, outer = (
                    np.nan_to_num(inner, nan=0.0, posinf=np.inf),
                    np.nan_to_num(outer, nan=np.inf, posinf=np.inf),
                )
                best[i] = Radii(np.maximum(best[i].inner, inner), np.maximum(best[i].outer, outer))
    return best


def _joined(blocks: list[Radii], around: tuple[int, int]) -> Radii:
    """The radii of neighbouring cells, and of those before and after them, of which nothing is known."""

    def whole(parts: list[Numbers], unknown: float) -> Numbers:
        return np.pad(np.concatenate(parts, 1), ((0, 0), around), constant_values=unknown)

    return Radii(whole([b.inner for b in blocks], 0.0), whole([b.outer for b in blocks], np.inf))


def _stacked(sides: list[Radii]) -> Radii:
    return Radii(np.stack([s.inner for s in sides]), np.stack([s.outer for s in sides]))

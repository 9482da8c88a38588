"""Which points of a scatter chart need to be drawn: those that differ in the picture.

Marks that lie on each other look like one. So the picture is cut into cells about half as wide as a mark, and of the
points in a cell the one that is worst for its tolerance stands for all. What no picture may lose is kept besides: the
largest error, and the points beyond their tolerance, up to a bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

#: Of the points beyond their tolerance, the worst of each series that are kept wherever they lie.
BEYOND = 200


class Point(NamedTuple):
    """One error: its place in the picture, its size and its tolerance in ulps, and the number of its row."""

    x: float
    y: float
    ulp: float
    radius: float
    row: int

    @property
    def ratio(self) -> float:
        """Error over tolerance; 0 where nothing is bounded, infinite for a NaN in the place of a number."""
        if self.radius == math.inf:
            return 0.0
        if math.isnan(self.ulp) or math.isnan(self.radius):
            return math.inf
        if self.ulp <= 0 or self.radius <= 0:
            return math.inf if self.ulp > 0 else 0.0
        return self.ulp / self.radius


def thin(points: Sequence[Point], *, cell: tuple[float, float], most: int) -> list[Point]:
    """The points to draw, the worst for its tolerance last, so that it lies on top.

    Args:
        points: of one series.
        cell: width and height of a cell, in units of x and y; they are doubled until few enough points are left.
        most: how many points may be left, beside those that are always kept.
    """
    width, height = cell
    kept = _worst_of_cells(points, width, height)
    while len(kept) > most:
        width, height = 2 * width, 2 * height
        kept = _worst_of_cells(kept, width, height)
    beyond = sorted((p for p in points if p.ratio > 1), key=_badness)
    largest = max(points, key=lambda p: (_infinite_if_nan(p.ulp), p.ratio), default=None)
    always = [*beyond[-BEYOND:], *([largest] if largest else [])]
    return sorted({p.row: p for p in (*kept, *always)}.values(), key=_badness)


def envelope(points: Iterable[Point], *, most: int, span: int) -> list[tuple[float, float]]:
    """The largest tolerance along x as steps: where each begins, and its height; the last entry is the end.

    A step spans as many points as any other, ``span`` at the least, so that none is empty and there are no more than
    ``most`` of them.
    """
    ordered = sorted(points, key=lambda p: p.x)
    each = max(span, math.ceil(len(ordered) / most))
    steps = [
        (ordered[i].x, max(_infinite_if_nan(p.radius) for p in ordered[i : i + each]))
        for i in range(0, len(ordered), each)
    ]
    return [*steps, (ordered[-1].x, steps[-1][1])] if steps else []


def _worst_of_cells(points: Iterable[Point], width: float, height: float) -> list[Point]:
    worst: dict[tuple[int, int], Point] = {}
    for p in points:
        place = (math.floor(p.x / width), math.floor(p.y / height))
        if place not in worst or _badness(p) > _badness(worst[place]):
            worst[place] = p
    return list(worst.values())


def _badness(p: Point) -> tuple[float, float, int]:
    return p.ratio, _infinite_if_nan(p.ulp), p.row


def _infinite_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value

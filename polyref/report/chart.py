"""The geometry of one chart: for each regime the worst error over tolerance, a mark for each format.

A row is a regime, the axis is logarithmic, and the tolerance is the line at 1. What is infinite stands in a column of
its own at the right end. All numbers are computed here; the template only draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from polyref.report.document import Grade
from polyref.report.words import number, raised

WIDTH = 440.0
_LABELS = 122.0
_RIGHT = 14.0
_INFINITY = 30.0
_TOP = 22.0
_LONGEST_LABEL = 20


@dataclass(frozen=True)
class Mark:
    """One format in one regime: an outline around its place, a series number for the colour, and a tooltip."""

    path: str
    series: int
    text: str


@dataclass(frozen=True)
class Row:
    """One regime."""

    label: str
    name: str
    y: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Tick:
    """A labelled place on the axis."""

    x: float
    label: str


@dataclass(frozen=True)
class Chart:
    """One picture; ``one`` is where the tolerance lies, ``legend`` the marks of the formats in a 12 by 12 box."""

    title: str
    description: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    one: float
    ticks: tuple[Tick, ...]
    rows: tuple[Row, ...]
    legend: tuple[tuple[str, Mark], ...]


def chart(title: str, grades: Sequence[Grade], formats: Sequence[str], *, scale: Sequence[Grade]) -> Chart | None:
    """The chart of these grades, each of a single regime; None when there is nothing to draw.

    The axis covers the grades in ``scale``, so that charts side by side can be compared.
    """
    if not grades:
        return None
    regimes = list(dict.fromkeys(g.regime for g in grades))
    by_place = {(g.regime, g.format): g for g in grades}
    shown = [f for f in formats if any(g.format == f for g in grades)]
    low, high = _decades([g.max_ratio for g in scale])
    endless = any(not math.isfinite(g.max_ratio) for g in scale)
    right = WIDTH - _RIGHT - (_INFINITY if endless else 0)

    def x(value: float) -> float:
        if not math.isfinite(value):
            return WIDTH - _RIGHT
        power = low if value <= 0 else min(max(math.log10(value), low), high)
        return _LABELS + (right - _LABELS) * (power - low) / (high - low)

    pitch = 8.0
    height = max(24.0, pitch * len(shown) + 10)
    rows = []
    for i, regime in enumerate(regimes):
        middle = _TOP + height * (i + 0.5)
        marks = []
        for k, format in enumerate(shown):
            grade = by_place.get((regime, format))
            if grade is None:
                continue
            y = middle + pitch * (k - (len(shown) - 1) / 2)
            text = f"{regime}, {format}: {number(grade.max_ratio)} times the tolerance, {number(grade.max_ulp)} ulp"
            marks.append(Mark(outline(k, x(grade.max_ratio), y), k % 6, text))
        label = regime if len(regime) <= _LONGEST_LABEL else regime[: _LONGEST_LABEL - 1] + "…"
        rows.append(Row(label, regime, middle, tuple(marks)))
    bottom = _TOP + height * len(regimes)
    ticks = [Tick(x(10.0**p), _power(p)) for p in range(low, high + 1) if p % _step(high - low) == 0]
    if endless:
        ticks.append(Tick(WIDTH - _RIGHT, "∞"))
    worst = max(grades, key=lambda g: math.inf if math.isnan(g.max_ratio) else g.max_ratio)
    description = (
        f"The worst error as a multiple of the tolerance, on a logarithmic axis, in {len(regimes)} regimes of Pt for"
        f" {', '.join(shown)}. The largest is {number(worst.max_ratio)}, in {worst.format} where {worst.regime}."
    )
    return Chart(
        title=title,
        description=description,
        width=WIDTH,
        height=bottom + 6,
        left=_LABELS,
        right=WIDTH - _RIGHT,
        top=_TOP,
        bottom=bottom,
        one=x(1.0),
        ticks=tuple(ticks),
        rows=tuple(rows),
        legend=tuple((f, Mark(outline(k, 6, 6), k % 6, f)) for k, f in enumerate(shown)),
    )


def _decades(ratios: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that the axis spans: all of the finite ratios above 1e-3, and always some way around 1."""
    powers = [math.log10(r) for r in ratios if math.isfinite(r) and r > 0]
    low = max(min([math.floor(p) for p in powers], default=-1), -3)
    high = max([math.ceil(p) for p in powers], default=1)
    return min(low, -1), max(high, 1)


def _step(decades: int) -> int:
    """Decades between two labels, so that there are at most seven."""
    return next((s for s in (1, 2, 3, 5, 10, 20, 50) if decades <= 6 * s), 100)


def _power(p: int) -> str:
    return {-2: "0.01", -1: "0.1", 0: "1", 1: "10", 2: "100"}.get(p) or f"10{raised(p)}"


def outline(k: int, x: float, y: float) -> str:
    """A circle, square, triangle, diamond, bar or hexagon: the shape tells the formats apart without the colour."""
    if k % 6 == 0:
        return f"M{x - 3.6:.1f} {y:.1f}a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0Z"
    shapes: dict[int, Sequence[tuple[float, float]]] = {
        1: ((-3.2, -3.2), (3.2, -3.2), (3.2, 3.2), (-3.2, 3.2)),
        2: ((0, -4.2), (4.1, 3.2), (-4.1, 3.2)),
        3: ((0, -4.5), (4.5, 0), (0, 4.5), (-4.5, 0)),
        4: ((-1.6, -4.2), (1.6, -4.2), (1.6, 4.2), (-1.6, 4.2)),
        5: ((-2, -3.8), (2, -3.8), (4.2, 0), (2, 3.8), (-2, 3.8), (-4.2, 0)),
    }
    return "M" + "L".join(f"{x + dx:.1f} {y + dy:.1f}" for dx, dy in shapes[k % 6]) + "Z"

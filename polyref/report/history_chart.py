"""The geometry of one chart of a history: the worst error of one series, run after run, as a line of steps.

The axis is logarithmic, and 1 is a line of its own: one ulp, and the tolerance. Where a column stands for several runs
the line is the worst of them, and a band reaches down to the best. What is infinite or NaN stands in a row at the top.
All numbers are computed here; the template only draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from polyref.report.history import Course, Series, Shift
from polyref.report.history_terminal import changes, place
from polyref.report.words import count, number, visible

WIDTH = 440.0
_LEFT = 46.0
_RIGHT = 6.0
_TOP = 22.0
_HEIGHT = 104.0
_BELOW = 18.0
_INFINITY = 16.0


@dataclass(frozen=True)
class Tick:
    """A labelled place on the axis."""

    y: float
    label: str


@dataclass(frozen=True)
class Line:
    """One error: a number for its colour and dash, the steps, and the band under them, empty where there is none."""

    series: int
    path: str
    band: str


@dataclass(frozen=True)
class Mark:
    """A run in another environment than the one before: its place, and a tooltip."""

    x: float
    text: str


@dataclass(frozen=True)
class Chart:
    """One picture; ``one`` is where 1 lies."""

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
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    since: str
    until: str


def chart(series: Series) -> Chart:
    """The chart of a series."""
    courses = (series.ulp, series.ratio)
    values = [float(v) for course in courses for pair in course.trend for v in pair]
    low, high = _decades(values)
    endless = any(not math.isfinite(v) for v in values)
    top, bottom, right = _TOP + (_INFINITY if endless else 0), _TOP + _HEIGHT, WIDTH - _RIGHT

    def y(value: float) -> float:
        if not math.isfinite(value):
            return _TOP + 4
        power = low if value <= 0 else min(max(math.log10(value), low), high)
        return bottom - (bottom - top) * (power - low) / (high - low)

    columns = len(series.ulp.trend)

    def x(column: float) -> float:
        return _LEFT + (right - _LEFT) * column / columns

    step = next(s for s in (1, 2, 3, 5, 10, 20, 50, 100, 1000) if high - low <= 4 * s)
    ticks = [Tick(y(10.0**p), _power(p)) for p in range(low, high + 1) if p % step == 0]
    if endless:
        ticks.append(Tick(_TOP + 4, "∞"))
    return Chart(
        title=place(series),
        description=_described(series),
        width=WIDTH,
        height=bottom + _BELOW,
        left=_LEFT,
        right=right,
        top=_TOP,
        bottom=bottom,
        one=y(1.0),
        ticks=tuple(ticks),
        lines=tuple(_line(k, course, x, y) for k, course in enumerate(courses)),
        marks=tuple(Mark(x(shift.column), _shifted(shift)) for shift in series.shifts),
        since=visible(series.since[:10]),
        until=visible(series.until[:10]),
    )


def _line(k: int, course: Course, x: Callable[[float], float], y: Callable[[float], float]) -> Line:
    lows, highs = ([y(float(pair[i])) for pair in course.trend] for i in (0, 1))
    band = ""
    if any(a != b for a, b in zip(lows, highs, strict=True)):
        back = "".join(f"L{x(i + 1):.1f} {lows[i]:.1f}L{x(i):.1f} {lows[i]:.1f}" for i in reversed(range(len(lows))))
        band = f"{_steps(highs, x)}{back}Z"
    return Line(k, _steps(highs, x), band)


def _steps(heights: Sequence[float], x: Callable[[float], float]) -> str:
    """Level over each column, upright between two; a level that goes on needs no point."""
    parts = [f"M{x(0):.1f} {heights[0]:.1f}"]
    for i, height in enumerate(heights):
        if i and height != heights[i - 1]:
            parts.append(f"H{x(i):.1f}V{height:.1f}")
    return "".join([*parts, f"H{x(len(heights)):.1f}"])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that the axis spans: all finite values above 1e-6, and always 1."""
    powers = [math.log10(v) for v in values if math.isfinite(v) and v > 0]
    low = max(min([math.floor(p) for p in powers], default=-1), -6)
    high = max([math.ceil(p) for p in powers], default=1)
    return min(low, -1), max(high, 1)


def _power(p: int) -> str:
    return f"{10.0**p:g}" if -3 <= p <= 3 else number(10.0**p, superscript=True)[5:]


def _shifted(shift: Shift) -> str:
    return f"run {shift.run}: {changes(shift.changed)}"


def _described(series: Series) -> str:
    def told(course: Course, unit: str) -> str:
        first, last, worst = (number(v, superscript=True) for v in (course.first, course.last, course.worst))
        return f"{first} {unit} at first, {last} at last, {worst} at worst"

    return (
        f"The worst error over {count(series.runs, 'run')}, from {series.since[:10]} to {series.until[:10]}, on a"
        f" logarithmic axis: {told(series.ulp, 'ulp')}; {told(series.ratio, 'times the tolerance')}."
    )

"""The charts of error in ulps against Pt: what is drawn, as the JSON that the page's script reads.

A place in a picture is (asinh(log-odds / 20), log10(ulps)). Both axes are logarithmic, the first one towards either
end: log-odds themselves are log Pt and -log(1 - Pt) there. They are bent because binary64 reaches 700 of them, and
all that happens between 1e-10 and 1 - 1e-10 would have the thirtieth part of a straight axis.

uPlot draws. It is 50 KB, where Bokeh, ECharts and Vega are 1 MB and more and Plotly 4.7 MB: every page holds a copy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from polyref.report.chart import outline
from polyref.report.document import Document, Quantity, Sample
from polyref.report.structs import jsonable
from polyref.report.thinning import Point, envelope, thin
from polyref.report.words import visible

#: Log-odds at which the axis begins to bend.
BEND = 20.0
#: A cell of the picture in pixels, half a mark, and what a picture is taken to measure.
_CELL, _WIDTH, _HEIGHT = 3.5, 880.0, 360.0
#: How many logits a page may hold: they are most of what it weighs.
_NUMBERS = 60_000
#: Of a row with more classes than this only so many logits go along.
_WIDEST = 20
#: Steps of a tolerance at the most, and points that each spans at the least.
_STEPS, _SPAN = 32, 4
#: The decades of ulps that every picture shows; what is smaller is drawn at the lower one.
_LOW, _HIGH = -3, 3


@dataclass(frozen=True)
class Scatter:
    """One chart: its title, the formats by number and name, and how many rows there are, drawn and beyond."""

    quantity: Quantity
    title: str
    formats: tuple[tuple[int, str], ...]
    graded: int
    drawn: int
    beyond: int


@dataclass(frozen=True)
class Scatters:
    """All charts of a document: what stands around them, and the data, escaped for a script element."""

    charts: tuple[Scatter, ...]
    data: Markup


def scatters(document: Document, formats: Sequence[str], quantities: Sequence[Quantity]) -> Scatters | None:
    """A chart for each quantity and device that rows were graded on, or None where there is no row."""
    names = list(dict.fromkeys([*formats, *(s.format for s in document.series)]))
    devices = list(dict.fromkeys(s.device for s in document.series))
    pool = _Pool(document)
    charts, data = [], []
    for quantity in quantities:
        for device in devices:
            title = quantity.capitalize() + (f" on {device}" if len(devices) > 1 else "")
            picture = _Picture(document, quantity, device)
            if picture.samples:
                chart, drawn = _chart(picture, quantity, title, names, pool)
                charts.append(chart)
                data.append(drawn)
    if not charts:
        return None
    whole = {
        "bend": BEND,
        "formats": [{"name": visible(name), "shape": outline(k, 0, 0)} for k, name in enumerate(names)],
        "specs": [_spec(spec) for spec in document.specs],
        "rows": pool.rows,
        "charts": data,
    }
    return Scatters(tuple(charts), _script(whole))


class _Pool:
    """The rows that are drawn, each once for all quantities."""

    def __init__(self, document: Document) -> None:
        self.rows: list[list[Any]] = []
        self._places: dict[int, int] = {}
        lengths = [min(len(s.logits), _WIDEST) for series in document.series for s in series.samples]
        pictures = 2 * max(len(document.series), 1)
        mean = max(1.0, sum(lengths) / max(len(lengths), 1))
        #: How many points each series of each chart may have.
        self.most = max(20, int(_NUMBERS / (pictures * mean)))

    def place(self, sample: Sample) -> int:
        """The number of a row."""
        if id(sample) not in self._places:
            self._places[id(sample)] = len(self.rows)
            logits = list(sample.logits[:_WIDEST])
            row = [_rounded(sample.log_odds, 6), sample.spec, sample.target, len(sample.logits), logits]
            if sample.target >= _WIDEST:
                row.append(sample.logits[sample.target])
            self.rows.append(row)
        return self._places[id(sample)]


class _Picture:
    """The rows of one chart, and its extent."""

    def __init__(self, document: Document, quantity: Quantity, device: str) -> None:
        self.samples = [
            (series, sample, error)
            for series in document.series
            if series.device == device
            for sample in series.samples
            if (error := sample.error(quantity)) is not None
        ]
        ends = [_bent(s.log_odds) for _, s, _ in self.samples if math.isfinite(s.log_odds)]
        low, high = min([*ends, -0.25]), max([*ends, 0.25])
        margin = 0.025 * (high - low)
        #: Where the axis begins and ends, and where infinite log-odds are drawn.
        self.left, self.right = low - 2 * margin, high + 2 * margin
        self.first, self.last = low - margin, high + margin
        powers = [math.log10(e.ulp) for _, _, e in self.samples if 0 < e.ulp < math.inf]
        self.high = max(_HIGH, math.ceil(max(powers, default=_HIGH)))
        #: The rows of errors of 0 and of infinite ones lie apart from the decades.
        apart = max(1.0, (self.high - _LOW) / 12)
        self.zero, self.infinite = _LOW - apart, self.high + apart
        self.bottom, self.top = self.zero - 0.6 * apart, self.infinite + 0.6 * apart

    def ends(self) -> list[tuple[float, str]]:
        """The places of infinite log-odds, if there are any, and their labels."""
        found = {s.log_odds for _, s, _ in self.samples}
        places = ((-math.inf, self.first, "0"), (math.inf, self.last, "1"))
        return [(_rounded(at, 5), label) for end, at, label in places if end in found]

    def cell(self) -> tuple[float, float]:
        """The size of a cell in units of the axes."""
        return _CELL * (self.right - self.left) / _WIDTH, _CELL * (self.top - self.bottom) / _HEIGHT

    def points(self, name: str) -> tuple[list[Point], list[Sample]]:
        """The points of one format, and their samples."""
        found = [(sample, error) for series, sample, error in self.samples if series.format == name]
        points = [
            Point(self._x(sample.log_odds), self._y(error.ulp), error.ulp, error.radius, i)
            for i, (sample, error) in enumerate(found)
        ]
        return points, [sample for sample, _ in found]

    def _x(self, log_odds: float) -> float:
        if math.isnan(log_odds):
            return 0.0
        return min(max(_bent(log_odds), self.first), self.last)

    def _y(self, ulp: float) -> float:
        if not ulp < math.inf:
            return self.infinite
        return max(_LOW, math.log10(ulp)) if ulp > 0 else self.zero


def _chart(
    picture: _Picture, quantity: Quantity, title: str, names: Sequence[str], pool: _Pool
) -> tuple[Scatter, dict[str, Any]]:
    series, drawn, beyond, formats = [], 0, 0, []
    for k, name in enumerate(names):
        points, samples = picture.points(name)
        if not points:
            continue
        kept = thin(points, cell=picture.cell(), most=pool.most)
        formats.append((k, name))
        drawn += len(kept)
        beyond += sum(p.ratio > 1 for p in points)
        steps = envelope(points, most=_STEPS, span=_SPAN)
        series.append(
            {
                "format": k,
                "beyond": sum(p.ratio > 1 for p in kept),
                "points": [[pool.place(samples[p.row]), _rounded(p.ulp, 4), _rounded(p.radius, 4)] for p in kept],
                "envelope": [[_rounded(x, 5), _rounded(radius, 4)] for x, radius in steps],
            }
        )
    chart = Scatter(quantity, title, tuple(formats), len(picture.samples), drawn, beyond)
    extent = {
        "x": [_rounded(picture.left, 5), _rounded(picture.right, 5)],
        "left": _rounded(picture.first, 5),
        "right": _rounded(picture.last, 5),
        "ends": picture.ends(),
        "y": [picture.bottom, picture.top],
        "low": _LOW,
        "high": picture.high,
        "zero": picture.zero,
        "infinite": picture.infinite,
    }
    return chart, {**extent, "series": series}


def _bent(log_odds: float) -> float:
    return math.asinh(log_odds / BEND)


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _spec(spec: dict[str, Any]) -> str:
    """``ε = 1, γ = 2``: what a spec says, without what says nothing."""
    given = spec.get("epsilon")
    epsilon = given if isinstance(given, list) else [given]
    parts = [f"ε = {_list(epsilon)}", f"γ = {_text(spec.get('gamma'))}"]
    for key, name in (("alpha", "α"), ("smoothing", "smoothing")):
        if _text(spec.get(key)) not in {"0", "None"}:
            parts.append(f"{name} = {_text(spec[key])}")
    return ", ".join(parts)


def _list(values: Iterable[Any]) -> str:
    texts = [_text(v) for v in values]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _text(value: Any) -> str:
    """A number of a spec, which is written in hexadecimal; anything else as it is."""
    try:
        return repr(float.fromhex(value)).removesuffix(".0")
    except (TypeError, ValueError, OverflowError):
        return visible(str(value))


def _script(value: Any) -> Markup:
    """JSON that nothing in it can end: neither a tag nor a comment of HTML can appear."""
    text = json.dumps(jsonable(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))

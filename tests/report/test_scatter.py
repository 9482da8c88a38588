"""The data of the charts: every number in it is the document's, and nothing in it ends its element."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import msgspec
import pytest

from polyref.report import html, summary
from polyref.report.document import Document, Error, Sample, Series
from polyref.report.scatter import scatters
from polyref.report.thinning import BEYOND

from .example import build, series
from .hostile import hostile

ALL = ("binary64", "binary32", "binary16", "bfloat16")


def data(document: Document) -> dict[str, Any]:
    made = scatters(document, summary.formats_of(document), summary.QUANTITIES)
    assert made is not None
    found = json.loads(str(made.data))
    assert isinstance(found, dict)
    return found


def sample(
    log_odds: float = 0.0, ulp: float = 0.5, radius: float = 2.0, logits: tuple[float, ...] = (0.0, 1.0)
) -> Sample:
    return Sample(log_odds, 0, 0, list(logits), Error(ulp, radius), None)


def one(*samples: Sample) -> dict[str, Any]:
    return data(build(series=[Series(format="binary32", device="cpu", samples=list(samples))]))


def observations(rows: int, classes: tuple[int, ...] = (2, 3, 5, 10)) -> Document:
    """A document of four formats with this many rows in each, value and gradient measured: twice as many errors."""
    rng = random.Random(rows)

    def error() -> Error:
        return Error(rng.lognormvariate(0, 3), rng.lognormvariate(3, 2))

    def row(i: int) -> Sample:
        width = rng.choice(classes)
        logits = [rng.gauss(0, 30) for _ in range(width)] if width < 100 else [0.1] * width
        return Sample(round(rng.uniform(-700, 700), 4), i % 2, 0, logits, error(), error())

    made = [Series(format=f, device="cpu", samples=[row(i) for i in range(rows)]) for f in ALL]
    return build(formats=ALL, series=made)


def test_every_sample_is_there_with_its_exact_logits() -> None:
    document = build()
    found = data(document)
    rows = [(s.target, len(s.logits), s.logits) for each in document.series for s in each.samples]
    assert sorted((t, c, z) for _, _, t, c, z in found["rows"]) == sorted(rows)
    value, gradient = found["charts"]
    assert [len(s["points"]) for s in value["series"]] == [14, 14]
    assert [len(s["points"]) for s in gradient["series"]] == [13, 13]
    assert [f["name"] for f in found["formats"]] == ["binary32", "bfloat16"]
    assert found["specs"] == ["ε = 1, γ = 0", "ε = -1, γ = 0"]
    [beyond] = gradient["series"][0]["points"][-gradient["series"][0]["beyond"] :]
    assert beyond[1] == "inf"
    assert found["rows"][beyond[0]][4] == document.series[0].samples[-1].logits


def test_axes_hold_all_that_is_drawn() -> None:
    chart = one(sample(-700.0, 0.0), sample(math.inf, math.inf), sample(-math.inf, 1e30), sample(math.nan, 1e-80))[
        "charts"
    ][0]
    assert chart["x"][0] < chart["left"] < math.asinh(-35) < chart["right"] < chart["x"][1]
    assert [label for _, label in chart["ends"]] == ["0", "1"]
    assert chart["y"][0] < chart["zero"] < chart["low"] == -3
    assert chart["high"] == 30
    assert chart["high"] < chart["infinite"] < chart["y"][1]


def test_the_largest_error_and_the_largest_ratio_are_drawn() -> None:
    document = observations(3000)
    for chart, quantity in zip(data(document)["charts"], summary.QUANTITIES, strict=True):
        for drawn, given in zip(chart["series"], document.series, strict=True):
            errors = [e for s in given.samples if (e := s.error(quantity)) is not None]
            assert max(p[1] for p in drawn["points"]) == pytest.approx(max(e.ulp for e in errors), rel=1e-3)
            ratio = max(p[1] / p[2] for p in drawn["points"])
            assert ratio == pytest.approx(max(e.ulp / e.radius for e in errors), rel=1e-3)
            assert drawn["beyond"] <= sum(e.ulp > e.radius for e in errors)
            assert drawn["beyond"] >= min(BEYOND, sum(e.ulp > e.radius for e in errors))


def test_a_wide_row_is_cut_and_keeps_its_target() -> None:
    logits = [float(i) for i in range(1000)]
    row = Sample(0.0, 0, 777, logits, Error(0.5, 2.0), None)
    [found] = one(row)["rows"]
    assert found == [0.0, 0, 777, 1000, logits[:20], 777.0]


@pytest.mark.parametrize("classes", [(2, 3, 5, 10), (2,), (1000,)])
def test_a_page_does_not_grow_without_bound(classes: tuple[int, ...]) -> None:
    document = observations(6250 if classes != (1000,) else 1000, classes)
    page = html.render(document)
    assert len(page.encode()) < 3e6
    drawn = sum(len(s["points"]) for chart in data(document)["charts"] for s in chart["series"])
    assert f"{4 * len(document.series[0].samples):,} rows were graded; " in page
    assert drawn > 1000


def test_nothing_in_the_data_ends_its_element() -> None:
    made = scatters(hostile(), ["<!--<script>", "</script>&amp;"], summary.QUANTITIES)
    assert made is not None
    assert not set("<>&") & set(made.data)
    assert json.loads(str(made.data))["formats"][0]["name"] == "<!--<script>"


def test_infinities_and_negative_zero_survive() -> None:
    found = one(sample(1e300, math.nan, math.inf, (-0.0, math.inf, math.nan)))
    assert found["rows"][0][4][1:] == ["inf", "nan"]
    assert math.copysign(1.0, found["rows"][0][4][0]) == -1.0
    assert found["charts"][0]["series"][0]["points"] == [[0, "nan", "inf"]]


def test_specs_in_words() -> None:
    specs = [
        {"epsilon": ["0x1p+0", "-0x1p-1"], "gamma": "0x1p+1", "alpha": "0x1p-2", "smoothing": "0x1.999999999999ap-4"},
        {"epsilon": "<b>", "gamma": None},
        {},
    ]
    texts = data(build(specs=specs))["specs"]
    assert texts == ["ε = (1, -0.5), γ = 2, α = 0.25, smoothing = 0.1", "ε = <b>, γ = None", "ε = None, γ = None"]


def test_no_rows_no_chart() -> None:
    document = build(series=[])
    assert scatters(document, ["binary32"], summary.QUANTITIES) is None
    assert "uPlot" not in html.render(document)
    assert scatters(build(series=[msgspec.structs.replace(series("binary32"), samples=[])]), [], ("value",)) is None

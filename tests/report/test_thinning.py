"""Thinning keeps what a picture may not lose, and the envelope covers every tolerance."""

from __future__ import annotations

import math
import random

import pytest

from polyref.report.thinning import BEYOND, Point, envelope, thin


def points(n: int, *, worst: float = 0.9) -> list[Point]:
    rng = random.Random(n)
    return [Point(rng.uniform(-4, 4), rng.uniform(-3, 3), rng.random() * worst, 1.0, i) for i in range(n)]


def test_points_apart_are_all_kept_and_the_worst_is_last() -> None:
    given = [Point(float(i), 0.0, 0.1 * (i % 3), 1.0, i) for i in range(9)]
    kept = thin(given, cell=(0.5, 0.5), most=100)
    assert sorted(p.row for p in kept) == list(range(9))
    assert [p.ratio for p in kept] == sorted(p.ratio for p in kept)


def test_of_points_on_each_other_the_worst_for_its_tolerance_stays() -> None:
    given = [Point(0.1, 0.1, 0.5, 2.0, 0), Point(0.2, 0.1, 0.4, 1.0, 1), Point(0.1, 0.2, 0.3, 1.0, 2)]
    assert [p.row for p in thin(given, cell=(1.0, 1.0), most=100)] == [0, 1]  # the first has the largest error


@pytest.mark.parametrize("n", [1, 999, 20_000])
def test_the_bound_holds_and_every_point_has_a_near_and_worse_one(n: int) -> None:
    given, cell = points(n), (0.01, 0.01)
    kept = thin(given, cell=cell, most=500)
    assert 0 < len(kept) <= 501
    assert max(p.ratio for p in kept) == max(p.ratio for p in given)
    fine = thin(given, cell=(0.05, 0.05), most=10**6)
    for p in given[:300]:
        assert any(abs(q.x - p.x) <= 0.05 and abs(q.y - p.y) <= 0.05 and q.ratio >= p.ratio for q in fine)


def test_points_beyond_the_tolerance_are_kept_wherever_they_lie_up_to_a_bound() -> None:
    beyond = [Point(0.0, 0.0, 2.0 + i, 1.0, i) for i in range(BEYOND + 50)]
    kept = thin([*beyond, Point(0.0, 0.0, 0.1, 1.0, 9999)], cell=(1.0, 1.0), most=10)
    assert {p.row for p in kept} == set(range(50, BEYOND + 50))


def test_nothing() -> None:
    assert thin([], cell=(1.0, 1.0), most=10) == []
    assert envelope([], most=4, span=1) == []


@pytest.mark.parametrize(
    ("ulp", "radius", "ratio"),
    [
        (1.0, 2.0, 0.5),
        (0.0, 0.0, 0.0),
        (1.0, 0.0, math.inf),
        (math.inf, 2.0, math.inf),
        (math.nan, 2.0, math.inf),
        (math.inf, math.inf, 0.0),
        (math.nan, math.inf, 0.0),
        (1.0, math.nan, math.inf),
    ],
)
def test_the_ratio(ulp: float, radius: float, ratio: float) -> None:
    assert Point(0.0, 0.0, ulp, radius, 0).ratio == ratio


@pytest.mark.parametrize("n", [1, 7, 100, 3001])
def test_the_envelope_is_above_every_tolerance(n: int) -> None:
    rng = random.Random(n)
    given = [Point(rng.uniform(-4, 4), 0.0, 0.1, rng.choice((1.0, 5.0, 40.0)), i) for i in range(n)]
    steps = envelope(given, most=32, span=4)
    assert len(steps) <= 33
    for p in given:
        begun = [radius for x, radius in steps[:-1] if x <= p.x]
        assert begun[-1] >= p.radius
    assert (steps[0][0], steps[-1][0]) == (min(p.x for p in given), max(p.x for p in given))


def test_an_infinite_tolerance_stays_infinite_in_its_step() -> None:
    given = [Point(float(i), 0.0, 0.1, math.inf if i == 5 else math.nan if i == 11 else 1.0, i) for i in range(16)]
    assert [radius for _, radius in envelope(given, most=4, span=1)] == [1.0, math.inf, math.inf, 1.0, 1.0]

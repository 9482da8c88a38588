"""The two engines share no arithmetic and no formulas, and every one of their enclosures must overlap."""

from __future__ import annotations

import pytest
from cases import cases
from hypothesis import HealthCheck, given, seed, settings

from polyref.case import Case
from polyref.formats import BINARY64
from polyref.reference import ball, series
from polyref.reference.enclosure import Enclosure
from polyref.reference.result import Result
from polyref.spec import Spec

ALL_CHECKS = list(HealthCheck)


def enclosures(result: Result) -> list[tuple[str, Enclosure | None]]:
    """Everything that an engine says of a case, with a name for the failure message."""
    named: list[tuple[str, Enclosure | None]] = [(f"value {i}", v) for i, v in enumerate(result.value)]
    for i, row in enumerate(result.gradient):
        named += [(f"gradient {i},{k}", g) for k, g in enumerate(row)]
    for i, row in enumerate(result.pt):
        named += [(f"pt {i},{k}", p) for k, p in enumerate(row)]
    return named + [(f"dl/dPt {i}", g) for i, g in enumerate(result.pt_gradient)]


def check(case: Case, *, bits: int, floor: int | None) -> None:
    first = series.evaluate(case, bits=bits, floor=floor)
    second = ball.evaluate(case, bits=bits, floor=floor)
    for (name, a), (same, b) in zip(enclosures(first), enclosures(second), strict=True):
        assert name == same
        assert (a is None) == (b is None), f"{name}: series {a}, ball {b}, {case.to_json()}"
        if a is not None and b is not None:
            assert a.overlaps(b), f"{name}: series {a}, ball {b}, {case.to_json()}"


@given(cases())
@settings(max_examples=750, deadline=None, derandomize=True, database=None, suppress_health_check=ALL_CHECKS)
def test_engines_overlap(case: Case) -> None:
    check(case, bits=100, floor=-400)


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(10))
def test_engines_overlap_on_100_000_cases(chunk: int) -> None:
    @seed(chunk)
    @given(cases())
    @settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=ALL_CHECKS)
    def run(case: Case) -> None:
        nonlocal tried
        tried += 1
        check(case, bits=100, floor=-400)

    tried = 0
    run()
    assert tried >= 10_000


def test_every_output_is_compared() -> None:
    case = Case(Spec(), BINARY64, ((1.0, 0.0),), (1,))
    names = [name for name, _ in enclosures(ball.evaluate(case))]
    assert names == ["value 0", "gradient 0,0", "gradient 0,1", "pt 0,0", "dl/dPt 0"]

"""Grading answers: right ones pass, wrong ones fail, and the failures of a defect point at that defect."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from polyref.formats import Dyadic
from polyref.grades import Grade
from polyref.report import vectors as doc
from polyref.report import vectors_terminal
from polyref.report.screen import plain
from polyref.vectors import rivals, specs
from polyref.vectors.answers import Expected, Golden, Said
from polyref.vectors.check import check

from .conftest import FORMATS, committed

#: Some of every theme.
PLANTED = (
    "squared-term",
    "polynomial-of-pt",
    "epsilon-ignored",
    "only-the-last-term",
    "polynomial-detached",
    "weight-on-cross-entropy-only",
    "weight-twice-in-the-mean",
    "sum-is-mean",
    "ignored-rows-in-the-denominator",
    "smoothing-in-cross-entropy-only",
    "soft-labels-made-indices",
    "exponent-gamma",
    "exp-without-max",
    "probability-clamped",
    "denormals-flushed",
)


def right(expected: Expected) -> Said:
    return Said(expected.vector.id, 1, expected.rounded.value, expected.rounded.slopes)


def graded(golden: Golden, said: Sequence[Said]) -> doc.Check:
    return check(golden, said, file="v.jsonl", results="a.jsonl")


@pytest.mark.parametrize("name", FORMATS)
def test_the_right_answers_are_correctly_rounded(name: str) -> None:
    golden = committed(name)
    found = graded(golden, [right(e) for e in golden.vectors.values()])
    assert (found.exit_code, found.failed, found.answered) == (0, 0, golden.header.vectors)
    assert {t.grade for t in found.grades} == {"correctly rounded"}
    assert not any((found.failures, found.suspects, found.missing, found.duplicate, found.unknown, found.declined))
    assert doc.loads(doc.dumps(found)) == found


@pytest.mark.parametrize("name", FORMATS)
def test_right_implementations_are_within_the_tolerance(name: str, one_thread: None) -> None:
    """The textbook and polyref.nn: nothing that is right may be accused."""
    from polyref.nn import PolyCrossEntropyLoss
    from polyref.subject.local import LocalSubject
    from polyref_properties.mutants import CONVENTION
    from polyref_properties.mutants.base import Textbook

    golden = committed(name)
    for who in (Textbook, PolyCrossEntropyLoss):
        subject = LocalSubject(who, convention=CONVENTION)
        said = []
        for e in golden.vectors.values():
            seen = subject.observe(e.case)
            assert seen.gradient is not None
            said.append(Said(e.vector.id, 1, seen.value, tuple(g for row in seen.gradient for g in row)))
        found = graded(golden, said)
        assert found.exit_code == 0, (who, found.failures[0])


@pytest.fixture(scope="module")
def mutants() -> dict[str, rivals.Rival]:
    return {r.name: r for r in rivals.rivals([specs.parse("epsilon=1")])}


@pytest.mark.parametrize("name", PLANTED)
def test_a_defect_is_found_and_named(name: str, golden: Golden, mutants: dict[str, rivals.Rival]) -> None:
    said = []
    for e in golden.vectors.values():
        answer = mutants[name].answer(e.case)
        assert answer is not None
        slopes = None if answer.gradient is None else tuple(g for row in answer.gradient for g in row)
        said.append(Said(e.vector.id, 1, None if answer.value is None else tuple(answer.value), slopes))
    found = graded(golden, said)
    assert found.exit_code == 1
    likeliest = found.suspects[0].likeness
    assert likeliest > 0.9
    # Some defects spoil the same results: the mean for the sum, and N times the sum.
    assert name in {s.name for s in found.suspects if s.likeness == likeliest}
    # The vectors that are there for it are among those that fail, and the worst failure comes first.
    there_for_it = {v for v, e in golden.vectors.items() if any(c.startswith(f"{name}: ") for c in e.vector.catches)}
    assert there_for_it
    assert there_for_it <= {f.id for f in found.failures}
    assert [f.ratio for f in found.failures] == sorted((f.ratio for f in found.failures), reverse=True)


def test_one_answer_that_is_off(golden: Golden) -> None:
    every = list(golden.vectors.values())
    tol = next(e for e in every if e.vector.rows == 1 and e.vector.tolerance.value[0] not in (None, 0.0))
    unit = golden.format.ulp(tol.exact.value[0].mid)

    def off(times: float) -> float:
        radius = Dyadic.from_float(times * tol.tolerance.value[0])
        return float(tol.exact.value[0].mid.plus(Dyadic(radius.man, radius.exp + unit.exp)))

    for times, grade in ((0.9, Grade.TEXTBOOK), (1.1, Grade.DEGRADED)):
        said = [Said(e.vector.id, 1, (off(times),) if e is tol else e.rounded.value, None) for e in every]
        found = graded(golden, said)
        assert found.exit_code == int(times > 1)
        mine = next(t for t in found.grades if (t.quantity, t.regime) == ("value", "all"))
        assert mine.grade in (grade, Grade.ACCURATE)
        assert mine.max_ratio == pytest.approx(times, rel=1e-3)
        assert mine.beyond == int(times > 1)
        assert {t.quantity for t in found.grades} == {"value"}
    (failure,) = found.failures
    assert (failure.id, failure.quantity, failure.place) == (tol.vector.id, "value", "value")
    assert failure.catches == tol.vector.catches
    assert float.fromhex(failure.observed_hex) == off(1.1)
    assert float.fromhex(failure.expected_hex) == tol.rounded.value[0]
    # No defect spoils this one result alone.
    text = plain(lambda console: vectors_terminal.render(found, console))
    assert "Nearest" in text
    assert "No defect that these vectors were tried on looks like the failures." in text


def test_nan_and_infinity_are_broken_even_where_nothing_is_bounded(golden: Golden) -> None:
    every = list(golden.vectors.values())
    free = next(e for e in every if None in (r for row in e.vector.tolerance.gradient for r in row))
    place = free.tolerance.slopes.index(math.inf)
    for wrong, code in ((math.nan, 1), (math.inf, 1), (0.75, 0)):
        slopes = tuple(wrong if i == place else g for i, g in enumerate(free.rounded.slopes))
        said = [Said(e.vector.id, 1, e.rounded.value, slopes if e is free else e.rounded.slopes) for e in every]
        found = graded(golden, said)
        assert found.exit_code == code
        if code:
            (failure,) = found.failures
            assert failure.grade == "broken"
            assert failure.place == f"gradient[{place // free.vector.classes}][{place % free.vector.classes}]"
            assert (failure.observed, failure.observed_hex) == (repr(wrong), "")
            assert failure.ratio == math.inf


def test_another_number_of_numbers_is_broken(golden: Golden) -> None:
    every = list(golden.vectors.values())
    said = [right(e) for e in every]
    said[0] = said[0]._replace(value=(1.0, 2.0, 3.0))
    found = graded(golden, said)
    (failure,) = found.failures
    assert (failure.observed, failure.grade, failure.place) == ("3 numbers in the place of 1", "broken", "value")


def test_what_is_missing_twice_unknown_or_declined_is_named(golden: Golden) -> None:
    said = [right(e) for e in golden.vectors.values()]
    ids = [s.id for s in said]
    nothing = Said(ids[0], 1, None, None)
    assert graded(golden, [nothing, *said[1:]]).exit_code == 0
    assert graded(golden, [nothing, *said[1:]]).declined == [ids[0]]
    for answers, field, names in (
        (said[2:], "missing", ids[:2]),
        ([*said, said[3], said[3]], "duplicate", [ids[3]]),
        ([*said, Said("other-001", 9, (1.0,), None)], "unknown", ["other-001"]),
    ):
        found = graded(golden, answers)
        assert found.exit_code == 1
        assert getattr(found, field) == names
        text = plain(lambda console, found=found: vectors_terminal.render(found, console))  # type: ignore[misc]
        assert all(name in text for name in names)
    # The first answer counts.
    wrong = said[3]._replace(value=(1e30,))
    assert not graded(golden, [*said, wrong]).failures
    assert graded(golden, [wrong, *said]).failures


def test_nothing_measured_is_no_success(golden: Golden) -> None:
    for answers in ([], [Said(v, 1, None, None) for v in golden.vectors], [Said("x", 1, (1.0,), None)]):
        found = graded(golden, answers)
        assert found.exit_code == 3
        assert "nothing was measured" in plain(lambda console, f=found: vectors_terminal.render(f, console))  # type: ignore[misc]


def test_a_part_of_the_numbers_is_graded_alone(golden: Golden) -> None:
    e = next(e for e in golden.vectors.values() if e.vector.rows == 1 and e.vector.classes == 3)
    said = [Said(e.vector.id, 1, None, (None, e.rounded.slopes[1], None))]
    found = graded(golden, said)
    assert [(t.quantity, t.vectors, t.grade) for t in found.grades if t.regime == "all"] == [
        ("gradient", 1, "correctly rounded")
    ]
    found = graded(golden, [Said(e.vector.id, 1, None, (None, -3 * e.rounded.slopes[1] - 1, None))])
    assert found.failures[0].place == "gradient[0][1]"


def test_the_terminal(golden: Golden, mutants: dict[str, rivals.Rival]) -> None:
    said = []
    for e in golden.vectors.values():
        answer = mutants["sign-flipped"].answer(e.case)
        assert answer is not None
        assert answer.value is not None
        said.append(Said(e.vector.id, 1, tuple(answer.value), None))
    found = graded(golden, said)
    text = plain(lambda console: vectors_terminal.render(found, console), width=100)
    assert max(map(len, text.splitlines())) <= 100
    flat = " ".join(text.split())
    worst = found.failures[0]
    assert f"✗ 60 of 60 vectors of binary32 answered, {found.failed} beyond the tolerance" in flat
    assert f"Worst {worst.place} of {worst.id}: {worst.about}" in flat
    assert f"Observed {worst.observed} ({worst.observed_hex})" in flat
    assert f"Expected {worst.expected} ({worst.expected_hex})" in flat
    assert "Points at sign-flipped: - eps (1 - Pt) (fails on all" in flat
    assert "more: --json FILE has them all" in flat

"""Grading what a program answered, and finding the defect that its failures look like."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from polyref.formats import Format
from polyref.grades import Errors, Grade, grade_of
from polyref.reference.enclosure import Enclosure, error_over
from polyref.regimes import REGIMES
from polyref.report import vectors as doc
from polyref.report.structs import Quantity
from polyref.vectors.answers import Expected, Given, Golden, Said
from polyref.vectors.numbers import hexadecimal
from polyref.vectors.results import excess
from polyref.verdict import describe

QUANTITIES: tuple[Quantity, ...] = ("value", "gradient")
#: Defects that are shown, the likest first.
_SUSPECTS = 3
_DIGITS = 17


class Judged(NamedTuple):
    """One quantity of one vector.

    Attributes:
        expected: the vector.
        quantity: value or gradient.
        grade: of its worst number.
        ulp: the largest error in ulps.
        ratio: the largest error over the tolerance.
        place: of the number that is farthest beyond the tolerance.
        seen: what the program said; None for each number that it does not give.
    """

    expected: Expected
    quantity: Quantity
    grade: Grade
    ulp: float
    ratio: float
    place: int
    seen: tuple[float | None, ...]

    @property
    def failed(self) -> bool:
        """Whether it is beyond the tolerance."""
        return self.grade in (Grade.DEGRADED, Grade.BROKEN)


def check(golden: Golden, said: Sequence[Said], *, file: str, results: str) -> doc.Check:
    """Hold answers against golden vectors.

    Args:
        golden: the vectors.
        said: the answers.
        file: what to call the vectors.
        results: what to call the answers.
    """
    first = {s.id: s for s in reversed(said) if s.id in golden.vectors}
    often = Counter(s.id for s in said)
    judged = [j for name, e in golden.vectors.items() if name in first for j in _judged(e, first[name], golden.format)]
    answered = {j.expected.vector.id for j in judged}
    failures = sorted((j for j in judged if j.failed), key=lambda j: (-j.ratio, -j.ulp))
    return doc.Check(
        file=file,
        results=results,
        format=golden.format.name,
        vectors=len(golden.vectors),
        answered=len(answered),
        grades=list(_tallies(judged)),
        failures=[_failure(j) for j in failures],
        suspects=_suspects(golden, judged) if failures else [],
        missing=[name for name in golden.vectors if name not in first],
        duplicate=[name for name in golden.vectors if often[name] > 1],
        unknown=list(dict.fromkeys(s.id for s in said if s.id not in golden.vectors)),
        declined=[name for name in golden.vectors if name in first and name not in answered],
    )


def _judged(expected: Expected, answer: Said, fmt: Format) -> Iterator[Judged]:
    each: tuple[tuple[Quantity, Given, Sequence[Enclosure], Sequence[float], Sequence[float]], ...] = (
        ("value", answer.value, expected.exact.value, expected.tolerance.value, expected.accurate.value),
        ("gradient", answer.gradient, expected.exact.slopes, expected.tolerance.slopes, expected.accurate.slopes),
    )
    for quantity, seen, exact, tolerance, accurate in each:
        if seen is None:
            continue
        if len(seen) != len(exact):
            yield Judged(expected, quantity, Grade.BROKEN, math.inf, math.inf, 0, seen)
            continue
        given = [i for i, v in enumerate(seen) if v is not None]
        numbers = [v for v in seen if v is not None]
        about = [exact[i] for i in given]
        ulps = [error_over(v, e, fmt, None) for v, e in zip(numbers, about, strict=True)]
        ratios = [excess(v, exact[i], fmt, tolerance[i]) for v, i in zip(numbers, given, strict=True)]
        sharpest = max(excess(v, exact[i], fmt, accurate[i]) for v, i in zip(numbers, given, strict=True))
        grade = grade_of(numbers, about, fmt, Errors(max(ulps), max(ratios), sharpest))
        worst = max(range(len(given)), key=lambda i: (ratios[i], ulps[i]))
        yield Judged(expected, quantity, grade, max(ulps), max(ratios), given[worst], seen)


def _tallies(judged: Sequence[Judged]) -> Iterator[doc.Tally]:
    order = list(Grade)
    for quantity in QUANTITIES:
        for regime in ("all", *(name for name, _ in REGIMES)):
            mine = [j for j in judged if j.quantity == quantity and regime in ("all", j.expected.vector.regime)]
            if mine:
                yield doc.Tally(
                    quantity=quantity,
                    regime=regime,
                    vectors=len(mine),
                    beyond=sum(j.failed for j in mine),
                    grade=max((j.grade for j in mine), key=order.index).value,
                    max_ulp=max(j.ulp for j in mine),
                    max_ratio=max(j.ratio for j in mine),
                )


def _failure(judged: Judged) -> doc.Failure:
    expected, vector = judged.expected, judged.expected.vector
    several = judged.quantity == "gradient" or len(expected.exact.value) > 1
    row, column = divmod(judged.place, vector.classes)
    index = "" if not several else f"[{judged.place}]" if judged.quantity == "value" else f"[{row}][{column}]"
    exact, right = (
        (expected.exact.value, expected.rounded.value)
        if judged.quantity == "value"
        else (expected.exact.slopes, expected.rounded.slopes)
    )
    seen = judged.seen[judged.place] if len(judged.seen) == len(exact) else None
    return doc.Failure(
        id=vector.id,
        about=vector.about,
        regime=vector.regime,
        case=describe(expected.case),
        quantity=judged.quantity,
        place=judged.quantity + (index if seen is not None else ""),
        grade=judged.grade.value,
        expected=exact[judged.place].decimal(_DIGITS)[0],
        expected_hex=hexadecimal(right[judged.place]),
        observed=f"{len(judged.seen)} numbers in the place of {len(exact)}" if seen is None else repr(seen),
        observed_hex="" if seen is None or not math.isfinite(seen) else hexadecimal(seen),
        ulp=judged.ulp,
        ratio=judged.ratio,
        catches=list(vector.catches),
    )


def _suspects(golden: Golden, judged: Sequence[Judged]) -> list[doc.Suspect]:
    """The defects that spoil the results which failed, and no others, as far as may be."""
    failed = {(j.expected.vector.id, j.quantity) for j in judged if j.failed}
    spoilt: list[set[tuple[str, Quantity]]] = [set() for _ in golden.header.defects]
    for j in judged:
        vector = j.expected.vector
        for place in vector.beyond.value if j.quantity == "value" else vector.beyond.gradient:
            spoilt[place].add((vector.id, j.quantity))
    found = [
        doc.Suspect(
            name=defect.name,
            defect=defect.defect,
            shows=len(mine),
            failed=len(mine & failed),
            others=len(failed - mine),
        )
        for defect, mine in zip(golden.header.defects, spoilt, strict=True)
    ]
    found = sorted((s for s in found if s.failed), key=lambda s: -s.likeness)
    return found[:_SUSPECTS]

"""Grades: how accurate a subject is, for one quantity and format, regime by regime of Pt.

The rows are drawn for a format by a seed, as many for each regime, from certainly wrong to certainly right. Each row
is judged by itself: its error in ulps, over the textbook tolerance, and over that of the cancellation-free algorithm.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple, cast

from polyref.case import Case
from polyref.formats import Dyadic, Format
from polyref.reference.arithmetic import FLUSHING_CPU, TORCH_CPU
from polyref.reference.enclosure import Enclosure, error_over
from polyref.reference.model import cancellation_free
from polyref.regimes import REGIMES, regime_of
from polyref.spec import Link, Reduction
from polyref.subject.dialect import Dialect
from polyref.subject.observation import Observation
from polyref.subject.runner import Exhausted, Runner
from polyref.verdict import Truth


class Grade(StrEnum):
    """How accurate a subject is, best first."""

    CORRECTLY_ROUNDED = "correctly rounded"
    FAITHFUL = "faithful"
    ACCURATE = "accurate"
    TEXTBOOK = "textbook"
    DEGRADED = "degraded"
    BROKEN = "broken"


#: Upper bounds, in ulps, of the bars of an error distribution.
BOUNDS = (0.5, 1.0, 2.0, 4.0, 16.0, 256.0, 65536.0, math.inf)


@dataclass
class Tally:
    """What the rows of one group have shown so far."""

    examples: int = 0
    max_ulp: float = 0.0
    max_ratio: float = 0.0
    grade: Grade = Grade.CORRECTLY_ROUNDED
    case: Case | None = None
    histogram: list[int] = field(default_factory=lambda: [0] * len(BOUNDS))

    def add(self, case: Case, ulp: float, ratio: float, grade: Grade) -> None:
        """One more row."""
        self.examples += 1
        order = list(Grade)
        worse = order.index(grade) > order.index(self.grade)
        if self.case is None or worse or (grade is self.grade and (ratio, ulp) > (self.max_ratio, self.max_ulp)):
            self.case = case
        self.grade = max(self.grade, grade, key=order.index)
        self.max_ulp, self.max_ratio = max(self.max_ulp, ulp), max(self.max_ratio, ratio)
        self.histogram[next(i for i, bound in enumerate(BOUNDS) if ulp <= bound)] += 1


class Error(NamedTuple):
    """One row's error in one quantity: that of the number which is the most ulps off, or, if one of them is beyond the
    tolerance, which is farthest beyond it; and the tolerance of that number in ulps."""

    ulp: float
    radius: float


class Row(NamedTuple):
    """One row that was graded: log(Pt / (1 - Pt)), and what was measured of it."""

    case: Case
    log_odds: float
    errors: dict[str, Error]


@dataclass
class Graded:
    """What the rows of one format have shown; iterates as (quantity, regime, tally), regime "all" first."""

    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[str, str, Tally]]:
        for quantity in dict.fromkeys(q for q, _ in self.tallies):
            for regime in ("all", *(name for name, _ in REGIMES)):
                if (quantity, regime) in self.tallies:
                    yield quantity, regime, self.tallies[quantity, regime]


def log_odds_of(case: Case) -> float:
    """log(Pt / (1 - Pt)) of the first row's target, to about 15 digits; of a sigmoid row, that of its smallest Pt."""
    row, target = case.logits[0], case.target[0]
    others = [z for k, z in enumerate(row) if k != target]
    if case.spec.link is Link.SIGMOID:
        return min((row[cast(int, target)], *(-z for z in others)))
    top = max(others, default=-math.inf)
    if top == -math.inf:
        return math.inf
    return row[cast(int, target)] - top - math.log(sum(math.exp(z - top) for z in others))


def grade_format(
    runner: Runner, dialect: Dialect, fmt: Format, *, rows: int, seed: int, again: Sequence[Case] = ()
) -> Graded:
    """Grade a subject in one format; nothing that was not measured is in the result.

    Args:
        runner: the subject.
        dialect: the law that it is judged by.
        fmt: the format.
        rows: how many rows for each regime.
        seed: of the rows.
        again: rows that are graded beside them.
    """
    graded = Graded()
    drawn = [*_cases(runner, dialect, fmt, rows, seed), *again]
    cases = [c for c in dict.fromkeys(drawn) if runner.convention.supports(c)]
    try:
        answers = runner.observe_all(cases)
    except Exhausted as e:
        answers = list(e.seen)
    for case, seen in zip(cases, answers, strict=False):
        _judge(graded, dialect, case, seen)
    return graded


def _cases(runner: Runner, dialect: Dialect, fmt: Format, rows: int, seed: int) -> Iterator[Case]:
    """Single rows, so that each is judged by itself whatever the subject makes of a batch."""
    rng = random.Random(f"{seed} {fmt.name}")
    convention = runner.convention
    reduction = next(r for r in Reduction if str(r) in convention.reductions)
    given = convention.default("gamma")
    default_gamma = float(given) if isinstance(given, int | float) and given >= 0 else 0.0
    # A little further than the format has numbers for Pt and 1 - Pt: a regime beyond that has no rows.
    reach = 1.05 * math.log(2) * (fmt.precision - fmt.emin)
    starts = (-math.inf, *(upper for _, upper in REGIMES[:-1]))
    for (_, above), below in zip(REGIMES, starts, strict=True):
        lower, upper = max(below, -reach), min(above, reach)
        if lower >= upper:
            continue
        for _ in range(rows):
            classes = convention.classes or rng.choice((2, 3, 3, 10) if convention.few_shapes else (2, 3, 5, 10))
            target = rng.randrange(classes)
            others = [fmt.round(rng.gauss(0, 2)) for _ in range(classes)]
            rest = [z for k, z in enumerate(others) if k != target] or [0.0]
            log_sum = max(rest) + math.log(sum(math.exp(z - max(rest)) for z in rest))
            others[target] = fmt.round(log_sum + rng.uniform(lower, upper))
            epsilon = dialect.spec.epsilon
            if "epsilon" in dialect.settable:
                epsilon = (rng.choice((1.0, -1.0, 0.5, 2.0)),)
            gamma = default_gamma if "gamma" in dialect.settable else dialect.spec.gamma
            spec = replace(dialect.spec, epsilon=epsilon, gamma=gamma, reduction=reduction)
            yield Case(spec, fmt, (tuple(others),), (target,))


def _judge(graded: Graded, dialect: Dialect, case: Case, seen: Observation) -> None:
    own = dialect.own(case)
    flushed = own.format.name in dialect.flushes
    truth = Truth.of(own, flushed=flushed)
    free = cancellation_free(own, library=FLUSHING_CPU if flushed else TORCH_CPU, exact=truth.balls)
    row = Row(case, log_odds_of(own), {})
    graded.rows.append(row)

    def add(quantity: str, observed: Sequence[float], exact: Sequence[Enclosure], *radii: Sequence[float]) -> None:
        ulps, ratios, grade = judged(observed, exact, own.format, *radii)
        for key in ("all", regime_of(row.log_odds)):
            graded.tallies.setdefault((quantity, key), Tally()).add(case, max(ulps), max(ratios), grade)
        worst = max(range(len(ulps)), key=lambda i: (max(ratios[i], 1.0), ulps[i]))
        row.errors[quantity] = Error(ulps[worst], in_ulps(radii[0][worst], exact[worst], own.format))

    exact_values = [truth.value(i) for i in range(truth.values)]
    if seen.value is None or len(seen.value) == len(exact_values):
        # Where nothing came back, NaN stands for each number that was due.
        values = (math.nan,) * len(exact_values) if seen.value is None else seen.value
        add("value", values, exact_values, truth.tolerance.value, free.value)
    if seen.gradient is not None:
        exact_gradient = [truth.gradient(0, k) for k in range(own.classes)]
        add("gradient", seen.gradient[0], exact_gradient, truth.tolerance.gradient[0], free.gradient[0])


def judged(
    observed: Sequence[float], exact: Sequence[Enclosure], fmt: Format, textbook: Sequence[float], free: Sequence[float]
) -> tuple[list[float], list[float], Grade]:
    """One row's errors in ulps and over the textbook tolerance, number by number, and its grade.

    Args:
        observed: what the subject returned.
        exact: the exact results.
        fmt: the format.
        textbook: the tolerances of the textbook algorithms.
        free: those of the cancellation-free algorithm.
    """
    units: tuple[Sequence[float | None], ...] = ((None,) * len(exact), textbook, free)
    ulps, ratios, sharpest = (
        [error_over(o, e, fmt, unit) for o, e, unit in zip(observed, exact, each, strict=True)] for each in units
    )
    return ulps, ratios, grade_of(observed, exact, fmt, Errors(max(ulps), max(ratios), max(sharpest)))


def in_ulps(radius: float, exact: Enclosure, fmt: Format) -> float:
    """A tolerance in ulps of the exact result."""
    if not math.isfinite(radius) or exact.special is not None:
        return radius
    scaled = Dyadic.from_float(radius)
    return float(Dyadic(scaled.man, scaled.exp - fmt.ulp(exact.mid).exp))


class Errors(NamedTuple):
    """One row's largest errors: in ulps, over the textbook tolerance, over the cancellation-free algorithm's."""

    ulp: float
    ratio: float
    sharpest: float


def grade_of(observed: Sequence[float], exact: Sequence[Enclosure], fmt: Format, errors: Errors) -> Grade:
    """The grade of one row, by the definitions of the six words."""
    for o, e in zip(observed, exact, strict=True):
        rounded = e.rounded(fmt)
        # Even where no correct evaluation is bounded, a NaN or an infinity in the place of a number helps nobody.
        lost = not math.isfinite(o) and (rounded is None or math.isfinite(rounded))
        if lost or (
            errors.ratio > 1 and math.copysign(1.0, o) != math.copysign(1.0, float(e)) and o != 0.0 and rounded != 0.0
        ):
            return Grade.BROKEN
    if errors.ratio > 1:
        return Grade.DEGRADED
    if all(e.rounded(fmt) == o for o, e in zip(observed, exact, strict=True)):
        return Grade.CORRECTLY_ROUNDED
    if errors.ulp < 1:
        return Grade.FAITHFUL
    return Grade.ACCURATE if errors.sharpest <= 1 else Grade.TEXTBOOK

"""What a sweep has found so far: counts and worst cases that merge in any order to the same result."""

from __future__ import annotations

import math

import msgspec

from polyref.report.structs import Real

#: How many of the worst cases are kept.
KEPT = 3


class Worst(msgspec.Struct, frozen=True):
    """One input and how far its result is off.

    Attributes:
        size: the error, in ulps or over the textbook tolerance, as the balls found it.
        place: the input's place in its space.
        observed: what the subject returned, one number for a value and two for a gradient.
    """

    size: Real
    place: int
    observed: list[Real]

    @property
    def rank(self) -> tuple[float, int]:
        """Worse ones first, the same everywhere."""
        return -self.size, self.place


class Special(msgspec.Struct):
    """How often one law of logits that are no numbers was kept and broken.

    Attributes:
        kept: inputs that kept it.
        broken: inputs that broke it.
        first: the place of the first that broke it.
    """

    kept: int = 0
    broken: int = 0
    first: int | None = None

    def merged(self, other: Special) -> Special:
        """Both parts as one."""
        return Special(self.kept + other.kept, self.broken + other.broken, earlier(self.first, other.first))


class Tally(msgspec.Struct):
    """One quantity, value or gradient, over a part of the inputs.

    Attributes:
        counts: by grade, best first, and in it by regime of Pt from certainly wrong to certainly right.
        ulps: the worst inputs by their error in ulps.
        ulps_at_most: no input is further off than this.
        ratios: the worst inputs by their error over the textbook tolerance.
        ratios_at_most: no input with a finite tolerance is further off than this.
        first: the first place of each grade.
        filtered: how many inputs the filter decided.
        by_balls: how many it left to the balls.
        special: the laws of NaN and infinite logits.
    """

    counts: list[list[int]]
    ulps: list[Worst]
    ulps_at_most: Real
    ratios: list[Worst]
    ratios_at_most: Real
    first: list[int | None]
    filtered: int
    by_balls: int
    special: dict[str, Special]

    @property
    def judged(self) -> int:
        """How many inputs were judged against the exact result."""
        return self.filtered + self.by_balls

    @property
    def counted(self) -> int:
        """How many inputs there were, those included that were judged by a law."""
        return self.judged + sum(s.kept + s.broken for s in self.special.values())

    def count(self, grade: int, by_regime: list[int], first: int) -> None:
        """Count inputs of one grade, the first of which is at a place."""
        self.counts[grade] = [a + b for a, b in zip(self.counts[grade], by_regime, strict=True)]
        self.first[grade] = earlier(self.first[grade], first)

    def keep(self, place: int, observed: list[float], ulps: float, ratio: float) -> None:
        """Keep an input that was certified, if it is among the worst."""
        self.ulps = worst([*self.ulps, Worst(ulps, place, observed)])
        self.ratios = worst([*self.ratios, Worst(ratio, place, observed)])

    def merged(self, other: Tally) -> Tally:
        """Both parts as one."""
        special = {
            name: self.special.get(name, Special()).merged(other.special.get(name, Special()))
            for name in sorted(self.special | other.special)
        }
        return Tally(
            counts=[
                [a + b for a, b in zip(*rows, strict=True)] for rows in zip(self.counts, other.counts, strict=True)
            ],
            ulps=worst([*self.ulps, *other.ulps]),
            ulps_at_most=max(self.ulps_at_most, other.ulps_at_most),
            ratios=worst([*self.ratios, *other.ratios]),
            ratios_at_most=max(self.ratios_at_most, other.ratios_at_most),
            first=[earlier(a, b) for a, b in zip(self.first, other.first, strict=True)],
            filtered=self.filtered + other.filtered,
            by_balls=self.by_balls + other.by_balls,
            special=special,
        )


def empty(grades: int, regimes: int) -> Tally:
    """A tally of nothing."""
    counts = [[0] * regimes for _ in range(grades)]
    return Tally(counts, [], 0.0, [], 0.0, [None] * grades, 0, 0, {})


def worst(found: list[Worst]) -> list[Worst]:
    """The worst of them, each input once."""
    kept = {w.place: w for w in sorted(found, key=lambda w: w.rank)}
    return sorted(kept.values(), key=lambda w: w.rank)[:KEPT]


def earlier(a: int | None, b: int | None) -> int | None:
    """The first of two places, or the only one."""
    return min((p for p in (a, b) if p is not None), default=None)


def finite(size: float) -> float:
    """An error as a finite number, or an infinity for what is not a number."""
    return math.inf if math.isnan(size) else size

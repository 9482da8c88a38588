"""Deviations: which wrong steps explain what a subject answered, and under which conditions.

Every single choice is tried, then every pair; then, where the right loss explains a part of the answers, choices that
explain the rest under a condition (where gamma is 0, where labels are soft, ...). Nearly every hypothesis fails at the
first answer that it is held against, so all of them cost little.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from polyref.case import Case
from polyref.spec import Link, Reduction
from polyref.subject.dialect import Dialect
from polyref.subject.hypotheses import CHOICES, Choice, Formula
from polyref.subject.questions import Sample
from polyref.subject.rows import Array, Rows, evaluate

_ALL_STEPS = frozenset(choice.step for choice in CHOICES)
#: Steps whose pairs are tried under conditions too.
_WEIGHT_STEPS = frozenset({"weight of the logarithm", "weight of the polynomial"})
#: Steps that make sense where every logit is a problem of its own.
_OF_ELEMENTS = frozenset(
    {"power", "polynomial", "coefficient", "focal", "logarithm", "factor", "given weights"} | _WEIGHT_STEPS
)
#: The loss with every step done right.
RIGHT_LOSS = Formula()
#: The most formulas that are compared where several explain the first answers.
_RIVALS = 8
#: From how many numbers a number is measured at least: one fixes it, and the others agree by accident hardly once in
#: 10^7 each, while hundreds of choices and conditions are tried.
_MEASURED_FROM = 3
#: How many answers are looked at to see whether a choice changes anything.
_LOOKED_AT = 24
#: Places at which a number is first looked for.
_GRID = 25
#: The most different defects that are told apart by their conditions.
_PARTS = 3


@dataclass(frozen=True, eq=False)
class Item:
    """A sample as arrays, in the dialect that it is compared with."""

    rows: Rows
    answer: Array
    size: int
    soft: bool

    @classmethod
    def of(cls, sample: Sample, dialect: Dialect) -> Item:
        own = dialect.own(sample.case)
        return cls(Rows.of(own), np.array(sample.value), len(own.logits), own.soft)


@dataclass(frozen=True, eq=False)
class Explained:
    """A formula that explains the answers under a condition.

    Attributes:
        formula: the right loss with some steps chosen otherwise.
        condition: where it is followed, in words; empty where it always is.
        dialect: the member of the family whose settings it has.
        base: what is done otherwise everywhere, and said of another one: the formula's first choices.
    """

    formula: Formula
    condition: str
    dialect: Dialect
    base: Formula = RIGHT_LOSS

    @property
    def own(self) -> tuple[tuple[Choice, float], ...]:
        """The choices that are told of this one."""
        return self.formula.chosen[len(self.base.chosen) :]

    @property
    def defect(self) -> str:
        """What is wrong, in sentences."""
        told = " ".join(_filled(choice.defect, c) for choice, c in self.own)
        return f"Where {self.condition}: {told}" if self.condition else told

    @property
    def remedy(self) -> str:
        """What mends it, in sentences."""
        return " ".join(dict.fromkeys(_filled(choice.remedy, c) for choice, c in self.own))

    def acts_on(self, case: Case) -> bool:
        """Whether this formula gives a case another value than the right one, to half of the digits of its format."""
        own = self.dialect.own(case)
        item = Item(Rows.of(own), np.array([]), len(own.logits), own.soft)
        holds = dict(CONDITIONS)
        if not all(holds[words](item) for words in self.condition.split(" and ") if words):
            return False
        right = _value(RIGHT_LOSS, item.rows)
        return not distance(self.formula, item.rows, right) <= math.sqrt(case.format.unit_roundoff)


def _filled(text: str, c: float) -> str:
    return text.replace("{c}", number(c))


def number(value: float) -> str:
    """A measured number as people write it: 1 + 2^-10, 1e-07, 0.05."""
    if 0 < value < 1e-6 and math.frexp(value)[0] == 0.5:
        return f"2^{math.frexp(value)[1] - 1}"
    for power in range(6, 41):
        for sign in (1, -1):
            if value == 1 + sign * 2.0**-power:
                return f"(1 {'+' if sign > 0 else '-'} 2^-{power})"
    return f"{value:.7g}"


def tidy(value: float) -> float:
    """The plain number that a measured one stands for, if there is one so near that rounding explains the distance."""
    if value == 0 or not math.isfinite(value):
        return value
    candidates = [float(f"{value:.2g}"), float(Fraction(value).limit_denominator(1000))]
    if value > 0:
        candidates.append(2.0 ** round(math.log2(value)))
    offset = value - 1
    if offset:
        candidates.append(1 + math.copysign(2.0 ** round(math.log2(abs(offset))), offset))
    near = min(candidates, key=lambda c: abs(c - value))
    return near if near and abs(near - value) <= 1e-6 * min(abs(value), max(abs(value - 1), 1e-5)) else value


# --- conditions ---------------------------------------------------------------------------------------------------

#: Where a part of the answers may follow another formula: words, and whether an answer belongs to it.
CONDITIONS: tuple[tuple[str, Callable[[Item], bool]], ...] = (
    ("labels are indices, not smoothed", lambda i: not i.soft and not i.rows.smoothing),
    ("labels are soft or smoothed", lambda i: i.soft or i.rows.smoothing > 0),
    ("labels are soft", lambda i: i.soft),
    ("labels are indices", lambda i: not i.soft),
    ("gamma is 0", lambda i: i.rows.gamma == 0),
    ("gamma is above 0", lambda i: i.rows.gamma > 0),
    ("there is one epsilon", lambda i: len(i.rows.epsilon) == 1),
    ("there are several epsilons", lambda i: len(i.rows.epsilon) > 1),
    ("epsilon is -1", lambda i: i.rows.epsilon == (-1.0,)),
    ("epsilon is not 0", lambda i: any(i.rows.epsilon)),
    ("labels are smoothed", lambda i: i.rows.smoothing > 0),
    ("labels are not smoothed", lambda i: i.rows.smoothing == 0),
    ("reduction is mean", lambda i: i.rows.reduction in (Reduction.MEAN, Reduction.MEAN_OVER_SAMPLES)),
    ("reduction is sum", lambda i: i.rows.reduction is Reduction.SUM),
    ("reduction is none", lambda i: i.rows.reduction is Reduction.NONE),
    ("the batch has several rows", lambda i: i.size > 1),
    ("the batch has one row", lambda i: i.size == 1),
    ("there are as many rows as classes", lambda i: i.size == i.rows.z.shape[1]),
    ("there are two classes", lambda i: i.rows.z.shape[1] == 2),
    ("class weights are given", lambda i: bool((i.rows.w != 1).any())),
    ("rows are ignored", lambda i: not i.rows.kept.all()),
    ("no rows are ignored", lambda i: bool(i.rows.kept.all())),
)


def _conditions(failing: Sequence[Item]) -> Iterator[tuple[str, Callable[[Item], bool]]]:
    """The conditions that every failing answer meets, single ones and then pairs."""
    met = [(words, holds) for words, holds in CONDITIONS if all(map(holds, failing))]
    yield from met
    for (first, a), (second, b) in itertools.combinations(met, 2):
        yield f"{first} and {second}", _both(a, b)


def _both(a: Callable[[Item], bool], b: Callable[[Item], bool]) -> Callable[[Item], bool]:
    return lambda item: a(item) and b(item)


#: Where a soft label differs from an index, the narrower words first.
_SOFT = ("labels are soft", "labels are smoothed", "labels are soft or smoothed")


# --- the search ---------------------------------------------------------------------------------------------------


class Search:
    """Looks for what explains the answers.

    Args:
        dialect: the member of the family that the answers are held against.
        samples: the answers.
        limit: the relative difference up to which an answer counts as explained.
        base: the formula that is begun with: the right loss, or one with steps that are done otherwise everywhere.
    """

    def __init__(self, dialect: Dialect, samples: Sequence[Sample], limit: float, base: Formula = RIGHT_LOSS) -> None:
        self.dialect, self.samples, self.limit, self.base = dialect, samples, limit, base
        alone = dialect.spec.link is Link.SIGMOID
        self.choices = [c for c in CHOICES if c.step not in base and (not alone or c.step in _OF_ELEMENTS)]
        self.items = [Item.of(s, dialect) for s in samples]
        self._off = {i: distance(base, i.rows, i.answer) for i in self.items}
        self.failing = [i for i, off in self._off.items() if not off <= limit]
        self.passing = [i for i, off in self._off.items() if off <= limit]

    def everywhere(self, *, pairs: bool) -> list[Explained]:
        """The formulas that explain every answer: those of one choice, or else those of two."""
        failing = self._told_apart(self.failing)
        formulas = self._pairs(failing, _ALL_STEPS) if pairs else self._singles(failing)
        explain = (f for f in formulas if all(self._explains(f, i) for i in self.passing))
        return [self._explained(f, self._of_soft_labels(f, self.failing)) for f in itertools.islice(explain, _RIVALS)]

    def by_condition(self, begun: Explained | None = None) -> list[Explained]:
        """Formulas that explain the answers under conditions, as far as there are some.

        Args:
            begun: a formula that is known to explain a part of the answers.
        """
        if begun is not None and (relative := self._beside(begun)) is not None:
            return relative
        if not self.passing:  # what never is right is not right under conditions
            return [] if begun is None else [begun]
        left, found = self.failing, []
        if begun is not None:
            inside = [i for i in left if self._explains(begun.formula, i)]
            condition = self._where(begun.formula, inside)
            found = [replace(begun, condition=condition or "")]
            left = [i for i in left if not self._explains(begun.formula, i)]
        while left and len(found) < _PARTS:
            part = self._part(left)
            if part is None:
                break
            explained, left = part
            if not found and explained.condition and (relative := self._beside(explained)) is not None:
                return relative
            found.append(explained)
        return found

    def _beside(self, begun: Explained) -> list[Explained] | None:
        """The formula everywhere, and the rest told relative to it, where that explains all answers."""
        if any(not self._explains(begun.formula, i) for i in self.passing):
            return None
        relative = Search(self.dialect, self.samples, self.limit, begun.formula)
        parts = relative.by_condition() if relative.passing else []
        if relative.unexplained(parts) is not None:
            return None
        changed = [i for i in self.failing if self._explains(begun.formula, i)]
        return [replace(begun, condition=self._of_soft_labels(begun.formula, changed)), *parts]

    def _explained(self, formula: Formula, condition: str) -> Explained:
        return Explained(formula, condition, self.dialect, self.base)

    def left(self, found: Explained) -> int:
        """How many of the answers a formula does not explain, of those that the right loss does not either."""
        return sum(not self._explains(found.formula, i) for i in self.failing)

    def residual(self, found: Sequence[Explained]) -> float:
        """The largest relative difference that the formulas leave among the answers that they explain."""
        formulas = [self.base, *(e.formula for e in found)]
        nearest = (min(distance(f, i.rows, i.answer) for f in formulas) for i in self.items)
        return max((d for d in nearest if d <= self.limit), default=0.0)

    def unexplained(self, found: Sequence[Explained]) -> str | None:
        """Where answers are that none of the formulas explains, in words (empty: here and there); None if nowhere."""
        left = [i for i in self.failing if not any(self._explains(e.formula, i) for e in found)]
        if not left:
            return None
        rest = [i for i in self.items if not any(i is other for other in left)]
        # The condition that leaves the fewest others in, in the fewest words.
        met = [(sum(map(holds, rest)), len(words), words) for words, holds in _conditions(left)]
        return min(met, default=(0, 0, ""))[2]

    def _part(self, failing: Sequence[Item]) -> tuple[Explained, list[Item]] | None:
        """A formula for all that fails, or else for the part of it that meets a condition."""
        groups = {tuple(failing): None}
        for _, holds in CONDITIONS:
            if inside := tuple(i for i in failing if holds(i)):
                groups[inside] = None
        for group in groups:
            apart = self._told_apart(group)
            for formula in itertools.chain(self._singles(apart), self._pairs(apart, _WEIGHT_STEPS)):
                condition = self._where(formula, group)
                if condition is not None:
                    rest = [i for i in failing if not self._explains(formula, i)]
                    return self._explained(formula, condition), rest
        return None

    def _where(self, formula: Formula, group: Sequence[Item]) -> str | None:
        """The simplest condition under which the formula explains all answers that the right loss does not."""
        broken = [i for i in self.passing if not self._explains(formula, i)]
        foreign = [i for i in self.failing if i not in group and not self._explains(formula, i)]
        if not broken and not foreign:
            return self._of_soft_labels(formula, group)
        for words, holds in _conditions(group):
            if not any(map(holds, broken)) and not any(map(holds, foreign)):
                return words
        return None

    def _of_soft_labels(self, formula: Formula, group: Sequence[Item]) -> str:
        """The condition of a formula that is written with the soft label, which is nothing new for indices."""
        if not any("q_k" in choice.text for choice, _ in formula.chosen[len(self.base.chosen) :]):
            return ""
        holds = dict(CONDITIONS)
        return next((words for words in _SOFT if all(map(holds[words], group))), "")

    def _told_apart(self, items: Sequence[Item]) -> list[Item]:
        """The items, those first that lie farthest from the right loss: most hypotheses fail there at once."""
        return sorted(items, key=lambda i: -self._off[i])

    def _singles(self, failing: Sequence[Item]) -> Iterator[Formula]:
        """The formulas of one choice that explain all of the failing answers."""
        if not failing:
            return
        for choice in self.choices:
            if choice.span is None:
                formula = self._with((choice, 0.0))
                if all(self._explains(formula, i) for i in failing):
                    yield formula
        for choice in self.choices:
            if choice.span is not None:
                yield from self._measured(choice, choice.span, failing)

    def _pairs(self, failing: Sequence[Item], steps: frozenset[str]) -> Iterator[Formula]:
        """The formulas of two choices of these steps that explain all of the failing answers."""
        some = failing[:: max(1, len(failing) // _LOOKED_AT)]
        acting = [
            choice
            for choice in self.choices
            if choice.span is None and choice.step in steps and not choice.rounds and self._acts(choice, some)
        ]
        for first, second in itertools.combinations(acting, 2):
            if first.step != second.step:
                formula = self._with((first, 0.0), (second, 0.0))
                if all(self._explains(formula, i) for i in failing):
                    yield formula

    def _acts(self, choice: Choice, items: Sequence[Item]) -> bool:
        """Whether a choice changes any of these values: one that does not adds nothing to another."""
        formula = self._with((choice, 0.0))
        return any(not np.array_equal(_value(formula, i.rows), _value(self.base, i.rows)) for i in items)

    def _measured(self, choice: Choice, span: tuple[float, float], failing: Sequence[Item]) -> Iterator[Formula]:
        """The formulas with the numbers that explain the answer farthest from the right loss, if they explain all."""
        item = failing[0]
        if sum(len(i.answer) for i in failing) < _MEASURED_FROM:
            return
        if (place := _farthest(self.base, item)) is None:
            return

        def off(c: float) -> float:
            value = _value(self._with((choice, c)), item.rows)
            return float(value[place] - item.answer[place]) if len(value) == len(item.answer) else math.nan

        for c in _roots(off, span):
            for candidate in dict.fromkeys((tidy(c), c)):
                formula = self._with((choice, candidate))
                if all(self._explains(formula, i) for i in failing):
                    yield formula
                    break

    def _with(self, *chosen: tuple[Choice, float]) -> Formula:
        return Formula(*self.base.chosen, *chosen)

    def _explains(self, formula: Formula, item: Item) -> bool:
        return distance(formula, item.rows, item.answer) <= self.limit


def _value(formula: Formula, rows: Rows) -> Array:
    with np.errstate(all="ignore"):
        return evaluate(formula, rows)


def distance(formula: Formula, rows: Rows, answer: Array) -> float:
    """The largest relative difference; infinite where the number of values or a value itself does not fit."""
    value = _value(formula, rows)
    if value.shape != answer.shape:
        return math.inf
    off = np.abs(value - answer) / np.maximum(1.0, np.abs(value))
    worst = float(off.max())
    return worst if math.isfinite(worst) else math.inf


def _farthest(base: Formula, item: Item) -> int | None:
    right = _value(base, item.rows)
    return int(np.argmax(np.abs(right - item.answer))) if right.shape == item.answer.shape else None


def _roots(off: Callable[[float], float], span: tuple[float, float]) -> Iterator[float]:
    """Where a function is zero: by a line where it is one, else between points of a grid."""
    low, high = span
    # Two points whose line is easily told from a curve that touches it at both.
    a, b = (0.25, 0.75) if low <= 0 else (low, high)
    at_a, at_b = off(a), off(b)
    if at_a != at_b and math.isfinite(at_a) and math.isfinite(at_b):
        guess = a - at_a * (b - a) / (at_b - at_a)
        if low <= guess <= high and abs(off(guess)) <= 1e-13 * max(1.0, abs(at_a), abs(at_b)):
            yield guess
            return
    if low <= 0:
        return
    from scipy.optimize import brentq  # noqa: PLC0415 - scipy is slow to import

    grid = np.geomspace(low, high, _GRID)
    values = [off(c) for c in grid]
    for left, right, at_left, at_right in zip(grid, grid[1:], values, values[1:], strict=False):
        if math.isfinite(at_left) and math.isfinite(at_right) and at_left * at_right < 0:
            yield float(brentq(off, left, right, xtol=1e-300, rtol=1e-15))

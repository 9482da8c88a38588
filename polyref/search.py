"""The search for a case that breaks a law, and for the worst one where none does."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from polyref.case import Case
from polyref.errors import PolyrefError
from polyref.property import A_LOSS, Context, LawFailed, Property, check, failed
from polyref.subject.runner import Exhausted
from polyref.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


@dataclass(frozen=True)
class Found:
    """What a search found about one law in one format.

    Attributes:
        verdict: violated if any case violates it, holds if some case could tell and none violates it.
        outcome: of the smallest violating case, else of the case with the largest ratio; None if nothing was tried.
        case: that case.
        examples: how many cases were tried.
        worst_ratio: the largest error over tolerance met.
        cut: why fewer cases were tried than asked for, empty where all were. Only a violation is decided then.
        aside: the breakdown that was set aside, of one that was asked to be; empty where none was met.
    """

    verdict: Verdict
    outcome: Outcome | None
    case: Case | None
    examples: int
    worst_ratio: float
    cut: str = ""
    aside: str = ""


#: Hypothesis draws its first ten examples independently; after that most are recombinations of earlier ones, and forty
#: of those meet far fewer regimes than forty fresh ones do. So a search is made of rounds.
_ROUND = 10


class _OutOfBudget(BaseException):
    """No more cases may be tried; no Exception, as Hypothesis would take one for a failure of the case."""


class _Violation(Exception):
    """A case broke the law: Hypothesis is to make it smaller."""


def search(
    law: Property,
    context: Context,
    *,
    examples: int = 60,
    seed: int = 0,
    shrinks: int = 150,
    climbs: int = 0,
    aside: Collection[str] = (),
) -> Found:
    """Look for a case that breaks a law, and shrink it.

    Args:
        law: the law.
        context: subject, dialect and format.
        examples: cases to generate.
        seed: the same seed tries the same cases.
        shrinks: how many further cases may be spent on making a violation smaller.
        climbs: for a guided law, how many further cases may be spent on making the largest error larger: Hypothesis
            then aims at larger errors too, and a climb over neighbouring bit patterns begins at the largest one.
        aside: what the subject broke down with under other laws: such cases are left out, and the others judged.
    """
    trials = _Trials(law, context, shrinks, aside)
    name = f"{seed} {law.id} {context.format.name}"
    with _drawing(law):
        cases = law.strategy(context)
    for part in range(2 * math.ceil(examples / _ROUND)):
        # Every round begins with the simplest case again.
        left = examples - len(trials.tried) + (part > 0)
        if left <= (part > 0) or trials.ended:
            break
        # Drawn first and judged then: each is faster than if they took turns, by what the processor remembers. What is
        # drawn depends on no answer, so that Hypothesis comes to what went wrong once more, and makes it smaller.
        drawn, generate = list[Case](), partial(_generate, cases, count=min(_ROUND, left), seed=f"{name} {part}")
        with _drawing(law), suppress(_OutOfBudget):
            generate(drawn.append)
            try:
                for case in drawn:
                    trials.attempt(case)
            except (_Violation, LawFailed):
                generate(trials.attempt)
    if law.guided and climbs and trials.worst is not None and not trials.ended:
        with _drawing(law):
            _generate(cases, trials.aim, count=climbs // 2, seed=f"{name} aimed")
        if not trials.ended:
            with suppress(_OutOfBudget):
                _climb(trials, climbs - climbs // 2)
    return trials.found(examples)


class _Trials:
    """What a search has tried of one law.

    Attributes:
        tried: the outcomes, in order.
        smallest: the smallest violating case so far.
        worst: the nearest one that holds.
    """

    def __init__(self, law: Property, context: Context, shrinks: int, aside: Collection[str]) -> None:
        self._law, self._context, self._shrinks, self._aside = law, context, shrinks, aside
        self.tried: dict[Case, Outcome] = {}
        self.smallest: Case | None = None
        self.worst: Case | None = None
        self._ratio = -1.0
        self._spent = 0  # how many were tried since the first violation
        self._cut = ""  # why no more could be tried
        self._set_aside = ""  # what was left out

    @property
    def ended(self) -> bool:
        """Whether there is a violation, or nothing more can be tried."""
        return self.smallest is not None or bool(self._cut)

    def outcome_of(self, case: Case) -> Outcome:
        """What the law says of a case, which is asked once."""
        tried = self.tried
        if case not in tried:
            if self.smallest is not None:
                if self._spent >= self._shrinks:
                    raise _OutOfBudget
                self._spent += 1
            try:
                tried[case] = check(self._law, case, self._context)
            except Exhausted as e:
                self._cut = str(e)
                raise _OutOfBudget from None
            if (broke := breakdown(tried[case])) in self._aside:
                self._set_aside, tried[case] = broke, Outcome(Verdict.INCONCLUSIVE, 0.0, A_LOSS, broke)
        return tried[case]

    def attempt(self, case: Case) -> Outcome:
        """Try a case.

        Raises:
            _Violation: if it breaks the law.
        """
        result = self.outcome_of(case)
        if result.verdict is Verdict.VIOLATED:
            self.smallest = case
            if result.fatal:
                self._spent = self._shrinks  # a smaller case is not worth another process
            raise _Violation
        if result.verdict is Verdict.HOLDS and result.ratio >= self._ratio:
            self._ratio, self.worst = result.ratio, case
        return result

    def aim(self, case: Case) -> None:
        """Try a case while Hypothesis aims at larger errors."""
        from hypothesis import target  # noqa: PLC0415 - import polyref stays light

        target(self.attempt(case).ratio)

    def found(self, examples: int) -> Found:
        """What all of it says, if so many examples were to be tried."""
        tried = self.tried
        worst_ratio = max((o.ratio for o in tried.values()), default=0.0)
        if self.smallest is not None:
            return Found(Verdict.VIOLATED, tried[self.smallest], self.smallest, len(tried), worst_ratio)
        if self._cut:
            how_far = f"only {len(tried)} of {examples} examples were tried" if tried else "not tried"
            return Found(Verdict.INCONCLUSIVE, None, None, len(tried), worst_ratio, f"{how_far}: {self._cut}")
        if self.worst is not None:
            return Found(Verdict.HOLDS, tried[self.worst], self.worst, len(tried), worst_ratio)
        return Found(Verdict.INCONCLUSIVE, None, None, len(tried), worst_ratio, aside=self._set_aside)


def breakdown(outcome: Outcome) -> str:
    """What the subject broke down with, where it did and its process went on; else nothing."""
    broke = outcome.verdict is Verdict.VIOLATED and outcome.expected == A_LOSS and not outcome.fatal
    return outcome.observed if broke else ""


@contextmanager
def _drawing(law: Property) -> Iterator[None]:
    """What goes wrong while cases are drawn is said of the law."""
    try:
        yield
    except PolyrefError:
        raise
    except Exception as e:
        raise failed(law, e, "when it drew cases") from e


def _generate(cases: SearchStrategy[Case], attempt: Callable[[Case], object], *, count: int, seed: str) -> None:
    """Have Hypothesis try so many cases, aim at what the attempt targets, and shrink what breaks the law."""
    from hypothesis import HealthCheck, Phase, given, settings  # noqa: PLC0415 - import polyref stays light
    from hypothesis import seed as seeded  # noqa: PLC0415

    def tried(case: Case) -> None:
        if not isinstance(case, Case):
            raise TypeError(f"{case!r:.80} is no Case")
        attempt(case)

    decorated = settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.target, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )(given(cases)(tried))
    with suppress(_Violation, _OutOfBudget):
        seeded(seed)(decorated)()


def _climb(trials: _Trials, budget: int) -> None:
    """Go on from the nearest case that holds, to a nearer one or to one that does not."""
    from polyref.climb import climb  # noqa: PLC0415 - it needs scipy

    def ratio(case: Case) -> float:
        outcome = trials.outcome_of(case)
        return 0.0 if outcome.verdict is Verdict.INCONCLUSIVE else outcome.ratio

    assert trials.worst is not None
    found = climb(trials.worst, ratio, budget=budget, enough=1.0)
    if trials.outcome_of(found).verdict is Verdict.VIOLATED:
        trials.smallest = found
    else:
        trials.worst = found


def draw(law: Property, context: Context, *, examples: int, seed: int = 0) -> tuple[Case, ...]:
    """The cases that :func:`search` tries, in its order, for any subject of the context's convention and dialect.

    Whoever asks many subjects the same law draws once.
    """
    drawn: dict[Case, Outcome] = {}
    always = Outcome.of(0.0)
    search(replace(law, check=lambda case, _: drawn.setdefault(case, always)), context, examples=examples, seed=seed)
    return tuple(drawn)

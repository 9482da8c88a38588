"""One law against many subjects, on the same cases, drawn once.

The right implementation goes first, and what it answers is kept. A check is a function of what its subject answers,
so a subject that answers the same, bit by bit, gets the same outcome without another comparison with exact results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import Format
from polyref.property import Context, Property, check
from polyref.report.selftest import Trial
from polyref.selftest.recorder import Asked, Recorder, TimedOut, at_most, same
from polyref.subject.dialect import Dialect
from polyref.subject.local import LocalSubject
from polyref.subject.observation import Observation
from polyref.verdict import Outcome, Verdict

_LONGEST = 120
#: Whose answers to the first cases are all the right implementation's is not asked for more, as the law does not see
#: what is wrong with it; but for the mutants that the law names.
_ALIKE = 12


class Answered(NamedTuple):
    """What the right implementation was asked for one case, what it answered, and what came of it."""

    calls: tuple[tuple[Asked, Observation], ...]
    outcome: Outcome


@dataclass(frozen=True)
class Trials:
    """The cases of one law for subjects of one convention and dialect in one format.

    Attributes:
        law: the law.
        dialect: what the subjects claim to compute.
        format: the format.
        cases: in order.
        judged: whether an audit judges the law in this format, so that everything that it asks for can be held in it.
        answered: what the right implementation did, case by case; empty if there is none of this convention.
    """

    law: Property
    dialect: Dialect
    format: Format
    cases: tuple[Case, ...]
    judged: bool
    answered: dict[Case, Answered] = field(default_factory=dict)

    def first(self, subject: LocalSubject) -> tuple[Trial, Case | None]:
        """Try the right implementation on every case, and keep its answers."""
        runner, violated = Recorder(subject), None
        for case in self.cases:
            runner.forget()
            outcome = self._outcome(case, runner)
            self.answered[case] = Answered(tuple(runner.answers), outcome)
            if outcome.verdict is Verdict.VIOLATED:
                violated = case
                break
        return _summed_up([a.outcome for a in self.answered.values()]), violated

    def trial(self, subject: LocalSubject, examples: int, patience: float) -> tuple[Trial, Case | None]:
        """Try another subject on the first cases, up to the first one that violates the law.

        Args:
            subject: the subject.
            examples: how many cases to try at most.
            patience: how many seconds that may take.

        Returns:
            the trial, and the case that violates the law, if there is one.
        """
        runner, outcomes, alike = Recorder(subject), list[Outcome](), 0
        try:
            with at_most(patience):
                for case in self.cases[:examples]:
                    known = self._known(case, runner)
                    outcomes.append(self._outcome(case, runner) if known is None else known)
                    if outcomes[-1].verdict is Verdict.VIOLATED:
                        return _summed_up(outcomes), case
                    alike += known is not None
                    if alike == len(outcomes) == _ALIKE and subject.name not in self.law.mutants:
                        break
        except TimedOut:
            return Trial("timed_out", len(outcomes) + 1, 0.0), None
        return _summed_up(outcomes), None

    def _known(self, case: Case, runner: Recorder) -> Outcome | None:
        """The right implementation's outcome, if the subject answers the same."""
        runner.forget()
        answered = self.answered.get(case)
        if answered is not None and all(same(runner.ask(asked), seen) for asked, seen in answered.calls):
            return answered.outcome
        runner.rewind()
        return None

    def _outcome(self, case: Case, runner: Recorder) -> Outcome:
        try:
            return check(self.law, case, Context(runner, self.dialect, self.format))
        except UsageError:
            # A law that is judged in the widest format may ask for numbers that a narrower one does not have.
            if self.judged:
                raise
            return Outcome(Verdict.INCONCLUSIVE, 0.0)


def _summed_up(outcomes: Sequence[Outcome]) -> Trial:
    last = outcomes[-1]
    if last.verdict is Verdict.VIOLATED:
        return Trial("killed", len(outcomes), last.ratio, _cut(last.observed))
    decided = [o.ratio for o in outcomes if o.verdict is Verdict.HOLDS]
    return Trial("survived" if decided else "inconclusive", len(outcomes), max(decided, default=0.0))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"

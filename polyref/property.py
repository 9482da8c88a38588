"""A property: a law as a value, and the loop that looks for a case that breaks it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal

from polyref.case import Case
from polyref.errors import PolyrefError, UsageError
from polyref.formats import Format
from polyref.spec import Reduction, Spec
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.subject.manner import PLAIN, Manner
from polyref.subject.observation import Observation
from polyref.verdict import Outcome, Truth, Verdict, describe

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from polyref.subject.runner import Runner

#: The entry point group that laws are found through.
GROUP = "polyref.properties"


#: What is expected of a subject that breaks down.
A_LOSS = "a loss"


class Broke(PolyrefError):
    """The subject raised, died, or returned something that is no loss where a number was due."""

    def __init__(self, observation: Observation, what: str) -> None:
        super().__init__(what)
        self.observation = observation


class LawFailed(PolyrefError):
    """A law raised where an outcome was due: a defect of the law, not of the subject; exit code 2."""


@dataclass
class Context:
    """What a check may rely on: the subject, the law that it follows, and the format under test.

    Attributes:
        runner: the subject and how it is called.
        dialect: the law that it follows.
        format: the format that cases are drawn in.
    """

    runner: Runner
    dialect: Dialect
    format: Format

    @property
    def convention(self) -> Convention:
        """How the subject is called."""
        return self.runner.convention

    def can(self, name: str) -> bool:
        """Whether the subject can be told this parameter."""
        return self.convention.can(name)

    @property
    def reduction(self) -> Reduction:
        """The least reduced result that the subject can be asked for."""
        for wanted in (Reduction.NONE, Reduction.SUM, Reduction.MEAN):
            if str(wanted) in self.convention.reductions:
                return wanted
        raise UsageError(f"{self.runner.name} offers none of the reductions none, sum and mean")

    def spec(self, *, epsilon: tuple[float, ...] | None = None, gamma: float | None = None) -> Spec:
        """The subject's own spec, with the parameters that a law asks for in the place of its defaults."""
        mine = self.dialect.spec
        return replace(
            mine,
            epsilon=mine.epsilon if epsilon is None else epsilon,
            gamma=mine.gamma if gamma is None else gamma,
            reduction=self.reduction,
        )

    def attempt(
        self, case: Case, *, gradient: bool = False, twice: bool = False, manner: Manner = PLAIN
    ) -> Observation:
        """What the subject does with a case in a manner that it is free to refuse, whatever that is."""
        return self.runner.observe(case, gradient=gradient, twice=twice, manner=manner)

    def observe(
        self, case: Case, *, gradient: bool = False, twice: bool = False, manner: Manner = PLAIN
    ) -> Observation:
        """What the subject does with a case.

        Raises:
            Broke: if no numbers come back, or not as many as there are values, or no gradient where one was asked.
        """
        seen = self.attempt(case, gradient=gradient, twice=twice, manner=manner)
        if seen.value is None:
            raise Broke(seen, seen.trouble or "returned nothing")
        wanted = _values_of(case, self.dialect)
        if len(seen.value) != wanted:
            what = f"returned {len(seen.value)} values of shape {seen.shape} where {wanted} were due"
            raise Broke(seen, what)
        if gradient and seen.gradient is None:
            raise Broke(seen, f"has no gradient: {seen.gradient_reason}")
        return seen

    def truth(self, case: Case) -> Truth:
        """The exact result of a case in the subject's own law."""
        return _truth(self.dialect.own(case))

    def lawful(self, case: Case) -> Truth:
        """The exact result of a case under the whole-loss law."""
        return _truth(self.dialect.lawful(case))


#: The same cases are asked of one subject after another, and of one law by several checks.
_truth = lru_cache(maxsize=4096)(Truth.of)


def _values_of(case: Case, dialect: Dialect) -> int:
    if case.spec.reduction is not Reduction.NONE:
        return 1
    elements = case.classes if dialect.spec.link == "sigmoid" else 1
    return len(case.logits) * elements


@dataclass(frozen=True)
class Property:
    """A law.

    Attributes:
        id: its name, words joined by hyphens.
        theme: series, values, symmetries, gradients, labels, weights, reductions, shapes, saturation, behaviour or
            precision.
        statement: the law in one sentence.
        formula: the law as mathematics.
        citation: where it comes from.
        remedy: the change that mends an implementation which breaks it.
        applies: why the law does not apply to a subject of this convention and dialect, or None if it does.
        strategy: the cases to try.
        check: what one case says.
        mutants: names of wrong implementations that the law must reject.
        formats: judged in the widest format that the subject takes, or in each one.
        effort: how many times the usual number of examples it gets: more where violations are rare.
        self_scaled: whether the tolerance comes from the subject's own answers, and so fits any formula.
        limit: the most examples that it ever gets, where each one is expensive (a compilation, say); None for no limit.
        guided: whether the size of the error is worth climbing after: see :mod:`polyref.climb`.
    """

    id: str
    theme: str
    statement: str
    formula: str
    citation: str
    remedy: str
    applies: Callable[[Convention, Dialect], str | None]
    strategy: Callable[[Context], SearchStrategy[Case]]
    check: Callable[[Case, Context], Outcome]
    mutants: tuple[str, ...]
    formats: Literal["widest", "each"] = "widest"
    self_scaled: bool = False
    effort: int = 1
    limit: int | None = None
    guided: bool = False

    def examples(self, usual: int) -> int:
        """How many examples it gets where others get the usual number."""
        wanted = self.effort * usual
        return wanted if self.limit is None else min(wanted, self.limit)


@dataclass(frozen=True)
class Found:
    """What a search found about one law in one format.

    Attributes:
        verdict: violated if any case violates it, holds if some case could tell and none violates it.
        outcome: of the smallest violating case, else of the case with the largest ratio; None if nothing was tried.
        case: that case.
        examples: how many cases were tried.
        worst_ratio: the largest error over tolerance met.
    """

    verdict: Verdict
    outcome: Outcome | None
    case: Case | None
    examples: int
    worst_ratio: float


def check(law: Property, case: Case, context: Context) -> Outcome:
    """One case's outcome; a subject that breaks down violates the law that it was tried for.

    Raises:
        LawFailed: if the law itself raises.
    """
    try:
        outcome = law.check(case, context)
    except Broke as broke:
        return Outcome(Verdict.VIOLATED, math.inf, A_LOSS, str(broke), f"The subject {_predicate(broke)}.")
    except PolyrefError:
        raise
    except Exception as e:
        raise _failed(law, e, f"for {describe(case)}") from e
    if not isinstance(outcome, Outcome):
        raise _failed(law, TypeError(f"its check returned {outcome!r:.80}, no Outcome"), f"for {describe(case)}")
    if context.dialect.known or law.formats == "each" or law.self_scaled:
        return outcome
    # The radius is that of another formula than the subject's, so that only the leading half of the digits tells.
    if 1 < outcome.ratio < 1 / math.sqrt(context.format.unit_roundoff):
        return replace(outcome, verdict=Verdict.INCONCLUSIVE)
    return outcome


def objection(law: Property, convention: Convention, dialect: Dialect) -> str | None:
    """Why a law does not apply to a subject, or None if it does.

    Raises:
        LawFailed: if the law itself raises.
    """
    try:
        return law.applies(convention, dialect)
    except Exception as e:
        raise _failed(law, e, f"when it was asked whether it applies to {convention.name}") from e


def _failed(law: Property, error: Exception, when: str) -> LawFailed:
    what = " ".join(str(error).split())
    return LawFailed(
        f"the law {law.id!r} itself raised {type(error).__name__} ({what}) {when}: mend the law, or uninstall the "
        "package that registers it"
    )


def _predicate(broke: Broke) -> str:
    what = str(broke)
    if broke.observation.killed is not None:
        return f"was {what}"
    return what if what.startswith(("returned ", "has no gradient")) else f"raised {what}"


#: Hypothesis draws its first ten examples independently; after that most are recombinations of earlier ones, and forty
#: of those meet far fewer regimes than forty fresh ones do. So a search is made of rounds.
_ROUND = 10


class _OutOfBudget(BaseException):
    """No more cases may be tried; no Exception, as Hypothesis would take one for a failure of the case."""


class _Violation(Exception):
    """A case broke the law: Hypothesis is to make it smaller."""


def search(
    law: Property, context: Context, *, examples: int = 60, seed: int = 0, shrinks: int = 150, climbs: int = 0
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
    """
    from hypothesis import target  # noqa: PLC0415 - import polyref stays light

    tried: dict[Case, Outcome] = {}
    state = _Search()

    def outcome_of(case: Case) -> Outcome:
        if case not in tried:
            if state.smallest is not None:
                if state.spent >= shrinks:
                    raise _OutOfBudget
                state.spent += 1
            tried[case] = check(law, case, context)
        return tried[case]

    def attempt(case: Case, *, aim: bool = False) -> None:
        if not isinstance(case, Case):
            raise TypeError(f"{case!r:.80} is no Case")
        result = outcome_of(case)
        if result.verdict is Verdict.VIOLATED:
            state.smallest = case
            raise _Violation
        if result.verdict is Verdict.HOLDS and result.ratio >= state.ratio:
            state.ratio, state.worst = result.ratio, case
        if aim:
            target(result.ratio)

    name = f"{seed} {law.id} {context.format.name}"
    with _drawing(law):
        cases = law.strategy(context)
    for part in range(2 * math.ceil(examples / _ROUND)):
        # Every round begins with the simplest case again.
        left = examples - len(tried) + (part > 0)
        if left <= (part > 0) or state.smallest is not None:
            break
        with _drawing(law):
            _generate(cases, attempt, min(_ROUND, left), seed=f"{name} {part}")
    if law.guided and climbs and state.smallest is None and state.worst is not None:
        with _drawing(law):
            _generate(cases, partial(attempt, aim=True), climbs // 2, seed=f"{name} aimed")
        if state.smallest is None:
            _climb(law, context, state, tried, climbs - climbs // 2)
    worst_ratio = max((o.ratio for o in tried.values()), default=0.0)
    if state.smallest is not None:
        return Found(Verdict.VIOLATED, tried[state.smallest], state.smallest, len(tried), worst_ratio)
    if state.worst is not None:
        return Found(Verdict.HOLDS, tried[state.worst], state.worst, len(tried), worst_ratio)
    return Found(Verdict.INCONCLUSIVE, None, None, len(tried), worst_ratio)


@contextmanager
def _drawing(law: Property) -> Iterator[None]:
    """What goes wrong while cases are drawn is said of the law."""
    try:
        yield
    except PolyrefError:
        raise
    except Exception as e:
        raise _failed(law, e, "when it drew cases") from e


def _generate(cases: SearchStrategy[Case], attempt: Callable[[Case], None], count: int, *, seed: str) -> None:
    """Have Hypothesis try so many cases, aim at what the attempt targets, and shrink what breaks the law."""
    from hypothesis import HealthCheck, Phase, given, settings  # noqa: PLC0415 - import polyref stays light
    from hypothesis import seed as seeded  # noqa: PLC0415

    def tried(case: Case) -> None:
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


def _climb(law: Property, context: Context, state: _Search, tried: dict[Case, Outcome], budget: int) -> None:
    """Go on from the nearest case that holds, to a nearer one or to one that does not."""
    from polyref.climb import climb  # noqa: PLC0415 - it needs scipy

    def ratio(case: Case) -> float:
        if case not in tried:
            tried[case] = check(law, case, context)
        return 0.0 if tried[case].verdict is Verdict.INCONCLUSIVE else tried[case].ratio

    assert state.worst is not None
    found = climb(state.worst, ratio, budget=budget, enough=1.0)
    if tried[found].verdict is Verdict.VIOLATED:
        state.smallest = found
    else:
        state.worst = found


def draw(law: Property, context: Context, *, examples: int, seed: int = 0) -> tuple[Case, ...]:
    """The cases that :func:`search` tries, in its order, for any subject of the context's convention and dialect.

    Whoever asks many subjects the same law draws once.
    """
    drawn: dict[Case, Outcome] = {}
    always = Outcome.of(0.0)
    search(replace(law, check=lambda case, _: drawn.setdefault(case, always)), context, examples=examples, seed=seed)
    return tuple(drawn)


@dataclass
class _Search:
    """The smallest violating case so far, how many were tried since the first, and the nearest one that holds."""

    spent: int = 0
    smallest: Case | None = None
    worst: Case | None = None
    ratio: float = -1.0


def load_properties() -> tuple[Property, ...]:
    """Every law of every installed package that registers some, in the order of registration.

    Raises:
        UsageError: for two laws of one id, an entry that cannot be imported or is no law, or a law without a mutant.
    """
    laws: dict[str, Property] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name != "polyref", e.name)):
        registered = loaded(entry)
        if not isinstance(registered, tuple | list):
            raise UsageError(f"{entry.value} is {registered!r:.80}: register a tuple of Property")
        for law in registered:
            if not isinstance(law, Property):
                raise UsageError(f"{entry.value} holds {law!r}, which is no Property: register a tuple of them")
            if law.id in laws:
                raise UsageError(f"{entry.value} has a second law with the id {law.id!r}: rename one")
            if not law.mutants:
                raise UsageError(f"the law {law.id!r} of {entry.value} has no mutant to reject: give it one")
            laws[law.id] = law
    return tuple(laws.values())


def loaded(entry: EntryPoint) -> Any:
    """What a package registers.

    Raises:
        UsageError: if it cannot be imported.
    """
    try:
        return entry.load()
    except Exception as e:
        raise UsageError(
            f"the entry point {entry.name} = {entry.value} of {entry.group} cannot be imported, "
            f"{type(e).__name__} ({' '.join(str(e).split())}): mend or uninstall its package"
        ) from e

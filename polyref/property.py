"""A property: a law as a value, what it may ask of a subject, and where laws come from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal

from polyref.case import Case
from polyref.errors import PolyrefError, UsageError
from polyref.formats import Format
from polyref.spec import Reduction, Spec
from polyref.subject.convention import PROBABILITIES, Convention
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
    """The subject raised, died, or returned something that is no loss where a number was due.

    Attributes:
        observation: what it did.
        case: what it was asked, where that is known.
    """

    def __init__(self, observation: Observation, what: str, case: Case | None = None) -> None:
        super().__init__(what)
        self.observation = observation
        self.case = case


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
            raise Broke(seen, seen.trouble or "returned nothing", case)
        wanted = _values_of(case, self.dialect)
        if len(seen.value) != wanted:
            what = f"returned {len(seen.value)} values of shape {seen.shape} where {wanted} were due"
            raise Broke(seen, what, case)
        if gradient and seen.gradient is None:
            raise Broke(seen, f"has no gradient: {seen.gradient_reason}", case)
        return seen

    def truth(self, case: Case) -> Truth:
        """The exact result of a case in the subject's own law."""
        return self.truth_of(self.dialect.own(case))

    def lawful(self, case: Case) -> Truth:
        """The exact result of a case under the whole-loss law."""
        return self.truth_of(self.dialect.lawful(case))

    def truth_of(self, case: Case) -> Truth:
        """The exact result of a case as it stands, judged by the arithmetic that the subject computes with."""
        return _truth(case, flushed=case.format.name in self.dialect.flushes)


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
        of_chance: whether it says something about a subject whose answers are drawn by chance, as it compares no
            numbers, or looks for just that.
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
    of_chance: bool = False

    def examples(self, usual: int) -> int:
        """How many examples it gets where others get the usual number."""
        wanted = self.effort * usual
        return wanted if self.limit is None else min(wanted, self.limit)


def check(law: Property, case: Case, context: Context) -> Outcome:
    """One case's outcome; a subject that breaks down violates the law that it was tried for.

    One class alone is no choice, and a subject may refuse it: see :func:`refuses_one_class`.

    Raises:
        LawFailed: if the law itself raises.
    """
    context.runner.afresh()
    try:
        outcome = law.check(case, context)
    except Broke as broke:
        seen, asked = broke.observation, broke.case or case
        # Nobody was asked, or of one class.
        if seen.refused or (asked.classes == 1 and raises(seen)):
            return Outcome(Verdict.INCONCLUSIVE, 0.0, A_LOSS, str(broke))
        said, fatal = f"The subject {_predicate(broke)}.", broke.observation.killed is not None
        return Outcome(Verdict.VIOLATED, math.inf, A_LOSS, str(broke), said, fatal=fatal)
    except PolyrefError:
        raise
    except Exception as e:
        raise failed(law, e, f"for {describe(case)}") from e
    if not isinstance(outcome, Outcome):
        raise failed(law, TypeError(f"its check returned {outcome!r:.80}, no Outcome"), f"for {describe(case)}")
    rounded = context.convention.inputs in PROBABILITIES
    if not rounded and (context.dialect.known or law.formats == "each" or law.self_scaled):
        return outcome
    # The radius is that of another formula than the subject's, or of the logits that its inputs were rounded from, so
    # that only the leading half of the digits tells.
    if 1 < outcome.ratio < 1 / math.sqrt(context.format.unit_roundoff):
        return replace(outcome, verdict=Verdict.INCONCLUSIVE)
    return outcome


def raises(seen: Observation) -> bool:
    """Whether the subject raised an exception, and its process went on."""
    return seen.killed is None and seen.error is not None and not seen.error.startswith("returned ")


def refuses_one_class(runner: Runner, fmt: Format, spec: Spec) -> str | None:
    """What a subject says that raises where there is one class alone and takes two, or None.

    Args:
        runner: the subject.
        fmt: a format that it takes.
        spec: of a call that it takes.
    """
    if runner.convention.classes is not None:
        return None
    one, two = (runner.observe(Case(spec, fmt, ((0.0,) * n,), (0,)), gradient=False) for n in (1, 2))
    return one.error if raises(one) and two.ok else None


def by_chance(runner: Runner, fmt: Format, spec: Spec) -> bool:
    """Whether a subject that is asked the same twice gives another answer, as one does that draws random numbers.

    Args:
        runner: the subject.
        fmt: a format that it takes.
        spec: of a call that it takes.
    """
    convention = runner.convention
    classes = convention.classes or 4
    # So many different logits that a mask which spares most of them is seen.
    rows = tuple(tuple((3 * i + 5 * k) % 16 / 8 for k in range(classes)) for i in range(8))
    case = Case(spec, fmt, rows, tuple(i % classes for i in range(8)))
    runner.afresh()
    seen = [runner.observe(case, gradient=convention.differentiable) for _ in range(2)]
    return all(s.ok for s in seen) and repr(seen[0].numbers) != repr(seen[1].numbers)


def objection(law: Property, convention: Convention, dialect: Dialect) -> str | None:
    """Why a law does not apply to a subject, or None if it does.

    Raises:
        LawFailed: if the law itself raises.
    """
    try:
        return law.applies(convention, dialect)
    except Exception as e:
        raise failed(law, e, f"when it was asked whether it applies to {convention.name}") from e


def failed(law: Property, error: Exception, when: str) -> LawFailed:
    """The error that says what a law raised, and when."""
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

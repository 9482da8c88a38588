"""The work of a self-test, cut into pieces that a process of its own can do: all of them plain functions of values.

A piece is one law in one format, against everybody: its cases are drawn once, and their exact results stay known.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, NamedTuple

import torch

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import Format
from polyref.options import AUDITED, PROFILES
from polyref.property import Context, Property, objection
from polyref.report.selftest import Trial
from polyref.search import draw
from polyref.selftest import registry
from polyref.selftest.effect import Measure
from polyref.selftest.recorder import TimedOut, at_most
from polyref.selftest.trial import Trials
from polyref.subject.convention import Convention, Parameter
from polyref.subject.dialect import Dialect
from polyref.subject.identify import identify
from polyref.subject.local import LocalSubject
from polyref.verdict import describe
from polyref_properties.mutants import Kind

#: The examples of a law in an audit of the default profile, which is what its own mutants get.
AUDIT_EXAMPLES, _ = PROFILES["default"]
#: The examples for right implementations that are called in ways of their own, so that cases are drawn for them alone.
FEW = 10
#: How many times as long a right implementation may take: it may have to be compiled first.
_TRUST = 10
#: A subject that ran out of time so often in one process is not tried there again.
_OFTEN = 3


class Called(NamedTuple):
    """How a variant is called, and what it computes."""

    convention: Convention
    dialect: Dialect


@dataclass(frozen=True)
class Plan:
    """What every piece of the work has to know.

    Attributes:
        mutants: names of the mutants that take part.
        variants: how each harmless variant is called.
        seed: of every random choice.
        examples: how many cases of a law each subject is tried with at most.
        patience: the seconds that one subject may take with one law in one format.
    """

    mutants: tuple[str, ...]
    variants: dict[str, Called]
    seed: int
    examples: int
    patience: float


@dataclass
class Judged:
    """What one law said in one format.

    Attributes:
        law: the law's id.
        format: the format's name.
        seconds: how long it took.
        trials: by name of the subject.
        reasons: why the law does not apply, by name of the subject.
        cases: the case that accuses a harmless variant, for a person, by its name.
    """

    law: str
    format: str
    seconds: float = 0.0
    trials: dict[str, Trial] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    cases: dict[str, str] = field(default_factory=dict)


class _Subject(NamedTuple):
    name: str
    loss: Callable[..., Any]
    convention: Convention
    dialect: Dialect
    kind: Kind | None

    @property
    def mutant(self) -> bool:
        return self.kind is not None

    def runner(self) -> LocalSubject:
        key = (self.name, id(self.loss))
        if key not in _runners:  # to find a subject's source costs more than to try it
            _runners[key] = LocalSubject(self.loss, name=self.name, convention=self.convention)
        return _runners[key]


def begin() -> None:
    """Make a process ready: one thread each, as the tensors are tiny and the processes share the cores."""
    torch.set_num_threads(1)
    _hush()


@contextmanager
def one_thread() -> Iterator[None]:
    """This process made ready, and its threads given back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    _hush()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _hush() -> None:
    """What torch's compiler has to say about mutants is of no interest."""
    import_module("torch._logging").set_logs(all=logging.ERROR)


def call(name: str) -> Called | str:
    """How a harmless variant is called and what it computes, or why that cannot be found."""
    variant = registry.harmless()[name]
    try:
        runner = LocalSubject(variant.loss, name=name, convention=variant.convention)
        dialect = variant.claims if variant.claims is not None else identify(runner)
    except UsageError as e:
        return str(e)
    return Called(replace(runner.convention, attempts=()), dialect)


def effects(fmt: Format, plan: Plan) -> dict[str, float | None]:
    """The effect of every mutant in one format, and of the right implementation; None where it took too long."""
    measure, found = Measure(plan.seed), dict[str, float | None]()
    for subject in _subjects(plan):
        if fmt.name not in subject.convention.formats or not (subject.mutant or subject.name == registry.TEXTBOOK):
            continue
        try:
            with at_most(plan.patience):
                found[subject.name] = measure.effect(subject.runner(), subject.dialect, fmt)
        except TimedOut:
            found[subject.name] = None
    return found


def judge(law_id: str, formats: tuple[Format, ...], plan: Plan) -> list[Judged]:
    """One law against every mutant and every harmless variant in every format, widest first."""
    law, found = registry.load_laws()[law_id], list[Judged]()
    for fmt in formats:
        clock, judged = time.monotonic(), Judged(law_id, fmt.name)
        groups: dict[tuple[Convention, Dialect], list[_Subject]] = {}
        for subject in _subjects(plan):
            wide = found[0].trials.get(subject.name) if found and formats[0] == AUDITED[0] else None
            if fmt.name in subject.convention.formats and _worth(law, fmt, subject, wide):
                groups.setdefault(_alike(subject), []).append(subject)
        for group in groups.values():
            _judge_group(law, fmt, plan, group, judged)
        judged.seconds = round(time.monotonic() - clock, 3)
        found.append(judged)
    return found


def judged_in(law: Property, fmt: Format) -> bool:
    """Whether an audit of a subject that accepts every format judges the law in this one."""
    return law.formats == "each" or fmt == AUDITED[0]


def _worth(law: Property, fmt: Format, subject: _Subject, wide: Trial | None) -> bool:
    """Whether to try a subject, knowing what came of it in binary64.

    Where an audit does not judge the law, a mutant that it did not see in binary64 is not tried again, unless it is one
    that loses digits. A law with a limit is an expensive one: it is tried on what mutants do beside their numbers.
    """
    if subject.name in law.mutants or subject.name == registry.TEXTBOOK:
        return True
    if law.limit is not None and (not judged_in(law, fmt) or subject.kind not in (None, "behaviour")):
        return False
    if judged_in(law, fmt) or subject.kind in (None, "numerical"):
        return True
    return wide is None or wide.verdict != "survived"


def _subjects(plan: Plan) -> Iterator[_Subject]:
    """The right implementation first."""
    variants, mutants = registry.harmless(), registry.load_mutants()
    for name in sorted(plan.variants, key=lambda n: n != registry.TEXTBOOK):
        yield _Subject(name, variants[name].loss, *plan.variants[name], kind=None)
    for name in plan.mutants:
        m = mutants[name]
        yield _Subject(name, m.loss, m.convention, m.claims, m.kind)


def _alike(subject: _Subject) -> tuple[Convention, Dialect]:
    """What cases are drawn for: the convention and the dialect but for names and texts."""
    convention, dialect = subject.convention, subject.dialect
    parameters = tuple(Parameter(p.name, p.name, "call", p.default) for p in convention.parameters)
    plain = replace(
        convention,
        name="",
        order="logits_first",
        logits_name=None,
        labels_name=None,
        parameters=parameters,
        reduction_values=(),
        result_path=None,
        init=(),
        call=(),
        attempts=(),
    )
    return plain, replace(dialect, formula="", residual=0.0, deviation="", remedy="", notes=())


def _examples(most: int, *, judged: bool, alien: bool) -> int:
    """How many cases: fewer where no audit judges the law, or where they are drawn for a few subjects alone."""
    if alien:
        return min(most, FEW)
    return most if judged else math.ceil(most * 2 / 5)


def _judge_group(law: Property, fmt: Format, plan: Plan, group: list[_Subject], judged: Judged) -> None:
    """One law against subjects that are asked for the same cases."""
    first = group[0]
    reason = objection(law, first.convention, first.dialect)
    own = any(s.name in law.mutants for s in group)
    alien = not any(s.mutant or s.name == registry.TEXTBOOK for s in group)
    if alien and not judged_in(law, fmt):
        return
    ordinary = _examples(plan.examples, judged=judged_in(law, fmt), alien=alien)
    cases: tuple[Case, ...] = ()
    if reason is None:
        context = Context(first.runner(), first.dialect, fmt)
        wanted = max(law.examples(AUDIT_EXAMPLES), ordinary) if own else ordinary
        wanted = wanted if law.limit is None else min(wanted, law.limit)
        try:
            cases = draw(law, context, examples=wanted, seed=plan.seed)
        except UsageError:
            if judged_in(law, fmt):
                raise
            reason = f"{fmt.name} does not hold the numbers of its cases"
    if reason is not None:
        judged.reasons.update((s.name, reason) for s in group)
        return
    trials = Trials(law, first.dialect, fmt, cases, judged_in(law, fmt))
    for subject in group:
        if subject.name == registry.TEXTBOOK:
            judged.trials[subject.name], accusing = trials.first(subject.runner())
        elif _late[subject.name] >= _OFTEN:
            judged.trials[subject.name], accusing = Trial("timed_out", 0, 0.0), None
        else:
            examples = len(cases) if subject.name in law.mutants else ordinary
            patience = plan.patience if subject.mutant else _TRUST * plan.patience
            judged.trials[subject.name], accusing = trials.trial(subject.runner(), examples, patience)
        if accusing is not None and not subject.mutant:
            judged.cases[subject.name] = describe(accusing)
        _late[subject.name] += judged.trials[subject.name].verdict == "timed_out"


_late: Counter[str] = Counter()
_runners: dict[tuple[str, int], LocalSubject] = {}

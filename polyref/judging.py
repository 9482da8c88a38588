"""The searches of an audit: which laws are searched in which formats, and what comes of each.

:func:`findings` is the one iterator of verdicts; the command line, Python and pytest draw from it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from polyref.accuracy import measured
from polyref.choice import chosen
from polyref.errors import UsageError
from polyref.formats import Format, named
from polyref.grades import Graded
from polyref.options import CLIMBS, PROFILES, Options, Result
from polyref.property import Context, Property, by_chance, load_properties, objection
from polyref.remedies import worded
from polyref.search import Found, breakdown, search
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.subject.runner import Exhausted, Runner
from polyref.verdict import Verdict

_CHANCE = "its answers are drawn by chance, and the same call gives another one each time"


@dataclass(frozen=True)
class Unit:
    """One law in one format.

    Attributes:
        law: the law, worded for the subject's framework.
        format: the format.
        objection: why the law does not apply, None if it does.
        chance: whether it is not searched because the subject's answers are drawn by chance.
    """

    law: Property
    format: Format
    objection: str | None = None
    chance: bool = False


def findings(runner: Runner, dialect: Dialect, options: Options, *, chance: bool | None = None) -> Iterator[Result]:
    """Every law's verdict on a subject, as each is reached.

    A subject that raises the same error under one law after another breaks the first of them; the others are judged by
    the cases that it answers, and are open where there are none.

    Args:
        runner: the subject.
        dialect: what it computes.
        options: what to look at, and how hard.
        chance: whether its answers are drawn by chance, None where nobody has asked yet.
    """
    if chance is None:
        chance = drawn_by_chance(runner, dialect, options)
    every = units(runner.convention, dialect, options, chance=chance)
    for _, result in judged(enumerate(every), runner, dialect, options):
        yield result


def units(convention: Convention, dialect: Dialect, options: Options, *, chance: bool) -> list[Unit]:
    """All that is to be judged, in the order of an audit.

    Args:
        convention: how the subject is called.
        dialect: what it computes.
        options: what to look at.
        chance: whether its answers are drawn by chance.
    """
    formats = audited_formats(convention, options)
    # A format that the subject does not compute in would show its lost digits in every law: the two that are about
    # the size of the error, which are the guided ones, say it once.
    computed = [f for f in formats if dialect.precision is None or f.precision <= dialect.precision] or formats
    found = []
    for law in (worded(law, convention.framework) for law in chosen_laws(options)):
        reason = objection(law, convention, dialect)
        asked = formats if law.guided else computed
        found += [
            Unit(law, fmt, reason, chance and not law.of_chance)
            for fmt in (formats[:1] if reason is not None else asked if law.formats == "each" else computed[:1])
        ]
    return found


def judged(
    chosen: Iterable[tuple[int, Unit]], runner: Runner, dialect: Dialect, options: Options
) -> Iterator[tuple[int, Result]]:
    """What comes of units, each with the number that it was given."""
    (examples, _), climbs = PROFILES[options.profile], CLIMBS[options.profile]
    first: dict[str, str] = {}  # breakdowns, and the laws that met them
    for number, unit in chosen:
        law, fmt = unit.law, unit.format
        if unit.objection is not None:
            yield number, Result(law, fmt, None, unit.objection)
            continue
        if unit.chance:
            yield number, Result(law, fmt, Found(Verdict.INCONCLUSIVE, None, None, 0, 0.0), _CHANCE)
            continue
        aside = [broke for broke, met_by in first.items() if met_by != law.id]
        context = Context(runner, dialect, fmt)
        found = search(law, context, examples=law.examples(examples), seed=options.seed, climbs=climbs, aside=aside)
        if found.outcome is not None and (broke := breakdown(found.outcome)):
            first.setdefault(broke, law.id)
        reason = f"not decided: {found.aside}, see {first[found.aside]}" if found.aside else ""
        yield number, Result(law, fmt, found, reason)


@dataclass
class Done:
    """What came of some units and gradings.

    Attributes:
        found: of each unit by its number, with the reason where it is open or does not apply.
        graded: of each format, by its name.
    """

    found: dict[int, tuple[Found | None, str]] = field(default_factory=dict)
    graded: dict[str, Graded] = field(default_factory=dict)

    def add(self, other: Done) -> None:
        """Take over what another one has."""
        self.found |= other.found
        self.graded |= other.graded

    def results(self, every: Sequence[Unit]) -> list[Result]:
        """The results of all units, in order."""
        return [Result(unit.law, unit.format, *self.found[i]) for i, unit in enumerate(every)]


def done(
    chosen: Iterable[tuple[int, Unit]],
    grading: Iterable[Format],
    runner: Runner,
    dialect: Dialect,
    options: Options,
    *,
    look: Callable[[Result | Format], None],
) -> Done:
    """Judge units and grade formats.

    Args:
        chosen: the units, with their numbers.
        grading: the formats.
        runner: the subject.
        dialect: what it computes.
        options: how hard to look.
        look: called with each result, and with each format before it is graded; what it raises ends the work.
    """
    so_far = Done()
    for number, result in judged(chosen, runner, dialect, options):
        so_far.found[number] = result.found, result.reason
        look(result)
    for fmt in grading:
        look(fmt)
        so_far.graded[fmt.name] = measured(runner, dialect, fmt, options)
    return so_far


def chosen_laws(options: Options) -> tuple[Property, ...]:
    """The laws that the options ask for, in the order of an audit.

    Raises:
        UsageError: for one that there is not, with the nearest that are.
    """
    laws = {law.id: law for law in load_properties()}
    return tuple(laws[i] for i in chosen(options.laws, laws, "law"))


def drawn_by_chance(runner: Runner, dialect: Dialect, options: Options) -> bool:
    """Whether the subject's answers are drawn by chance, so that no law that compares numbers says anything of it."""
    with contextlib.suppress(Exhausted):
        return by_chance(runner, audited_formats(runner.convention, options)[0], dialect.spec)
    return False


def audited_formats(convention: Convention, options: Options) -> tuple[Format, ...]:
    """The formats asked for that the subject accepts, widest first.

    Raises:
        UsageError: if it accepts none of them.
    """
    chosen = tuple(f for f in map(named, convention.formats) if f in options.formats)
    if not chosen:
        asked, accepted = (", ".join(f.name for f in options.formats)), ", ".join(convention.formats)
        tried = convention.attempts[-1].outcome if convention.attempts and not accepted else ""
        why = f" ({tried})" if tried else ""
        raise UsageError(f"{convention.name} accepts none of {asked}: it takes {accepted or 'no format'}{why}")
    return chosen

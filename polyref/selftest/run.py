"""The self-test: mutants times laws times formats, in several processes, and the document on it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from polyref import choice, records
from polyref.errors import UsageError
from polyref.formats import Format
from polyref.options import AUDITED
from polyref.report import selftest as doc
from polyref.report.progress import progress
from polyref.selftest import registry, work
from polyref.selftest.crew import Crew
from polyref.selftest.verdicts import Results, expected, failures
from polyref.subject.local import environment

#: How many cases of a law each subject is tried with, unless the user says otherwise.
EXAMPLES = 25
#: Seconds that one subject may take with one law in one format; a time-out kills nothing.
PATIENCE = 10.0


@dataclass(frozen=True)
class Options:
    """What a user can choose about a self-test.

    Attributes:
        laws: ids of the laws; empty for all of them.
        mutants: names of the mutants; empty for all of them, and all harmless variants beside the textbook too.
        formats: the formats; empty for all that an audit looks at.
        seed: the same seed gives the same document, but for times.
        examples: how many cases of a law each subject is tried with at most; a law's own mutants get as many as in an
            audit, if that is more.
        jobs: how many processes work; this one alone for 1.
        patience: seconds that one subject may take with one law in one format.
        scheduler: the address of a Dask scheduler whose workers do the work, as many at once as there are.
    """

    laws: tuple[str, ...] = ()
    mutants: tuple[str, ...] = ()
    formats: tuple[Format, ...] = ()
    seed: int = 0
    examples: int = EXAMPLES
    jobs: int = os.cpu_count() or 1
    patience: float = PATIENCE
    scheduler: str | None = None


def formats_named(names: Sequence[str]) -> tuple[Format, ...]:
    """Formats by their names.

    Raises:
        UsageError: for one that an audit does not look at.
    """
    known = {f.name: f for f in AUDITED}
    return tuple(known[name] for name in choice.chosen(names, known, "format")) if names else ()


def selftest(options: Options) -> doc.SelfTest:
    """Try every law on every mutant and every harmless variant, in every format.

    Raises:
        UsageError: for a law, a mutant or a format that there is not, a number that is not allowed, or laws and mutants
            of another package that cannot be used, and for a scheduler that does not answer.
        LawFailed: if a law itself raises.
        WorkerDied: if a process ends without an answer.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    for name, number in (("--examples", options.examples), ("--jobs", options.jobs)):
        if number < 1:
            raise UsageError(f"{name} {number} is not allowed: give at least 1")
    formats = tuple(f for f in AUDITED if not options.formats or f in options.formats)
    results, jobs = _worked(options, formats)
    return doc.SelfTest(
        environment=records.environment(environment()),
        settings=doc.Settings(
            seed=options.seed,
            examples=options.examples,
            formats=[f.name for f in formats],
            complete=results.complete and len(results.mutants) == len(registry.load_mutants()),
            patience=options.patience,
            jobs=jobs,
            seconds=round(time.monotonic() - clock, 3),
            started=started.isoformat(timespec="seconds"),
        ),
        laws=_laws(results),
        mutants=_mutants(results),
        variants=_variants(results),
        failures=list(failures(results)),
        kills=_pairs(results, list(results.mutants)),
        variant_trials=_pairs(results, [n for n, c in results.variants.items() if isinstance(c, work.Called)]),
    )


def _worked(options: Options, formats: tuple[Format, ...]) -> tuple[Results, int]:
    """All of the work done, and how many processes did it."""
    laws, mutants = registry.load_laws(), registry.load_mutants()
    # Who asks about one mutant does not ask about everybody who is right.
    variants = [n for n in registry.harmless() if not options.mutants or n == registry.TEXTBOOK]
    chosen = choice.chosen(options.laws, laws, "law")
    names = choice.chosen(options.mutants, mutants, "mutant")
    jobs = min(options.jobs, len(chosen) + len(formats))
    with (
        progress("self-test", total=len(variants) + len(formats) + len(chosen)) as meter,
        Crew(jobs, meter, options.scheduler) as crew,
    ):
        meter.doing("how the harmless variants are called")
        called = dict(zip(variants, crew.finish(crew.start(work.call, [(n,) for n in variants])), strict=True))
        usable = {n: c for n, c in called.items() if isinstance(c, work.Called)}
        plan = work.Plan(names, usable, options.seed, options.examples, options.patience)
        meter.doing(f"{len(chosen)} laws, {len(names)} mutants")
        measured = crew.start(work.effects, [(fmt, plan) for fmt in formats])
        # What takes longest first, so that no process is left alone with it at the end.
        order = sorted(chosen, key=lambda law: (laws[law].limit is None, -laws[law].effort))
        judged = crew.start(work.judge, [(law, formats, plan) for law in order])
        by_format = dict(zip(formats, crew.finish(measured), strict=True))
        by_law = dict(zip(order, crew.finish(judged), strict=True))
    results = Results(
        laws={i: laws[i] for i in chosen},
        mutants={n: mutants[n] for n in names},
        variants=called,
        formats=formats,
        complete=len(chosen) == len(laws),
        effects={
            n: {f.name: found[n] for f, found in by_format.items() if n in found} for n in (*names, registry.TEXTBOOK)
        },
        judged=tuple(j for law in chosen for j in by_law[law]),
    )
    return results, options.jobs if options.scheduler is None else crew.jobs


def _laws(results: Results) -> list[doc.Law]:
    return [
        doc.Law(
            id=law.id,
            theme=law.theme,
            statement=law.statement,
            formats=law.formats,
            mutants=list(law.mutants),
            seconds={j.format: j.seconds for j in results.judged if j.law == law.id},
        )
        for law in results.laws.values()
    ]


def _mutants(results: Results) -> list[doc.Mutant]:
    return [
        doc.Mutant(
            name=name,
            theme=registry.theme_of(m),
            kind=m.kind,
            defect=m.defect,
            effect=dict(results.effects[name]),
            expected=expected(m, results.effects[name], results.formats),
        )
        for name, m in results.mutants.items()
    ]


def _variants(results: Results) -> list[doc.Variant]:
    return [
        doc.Variant(
            name=name,
            oddity=registry.harmless()[name].oddity,
            computes=called if isinstance(called, str) else called.dialect.formula,
        )
        for name, called in results.variants.items()
    ]


def _pairs(results: Results, subjects: list[str]) -> list[doc.Pair]:
    found = []
    for law in results.laws:
        judged = [j for j in results.judged if j.law == law]
        for subject in subjects:
            trials = {j.format: j.trials[subject] for j in judged if subject in j.trials}
            reason = next((j.reasons[subject] for j in judged if subject in j.reasons), "")
            found.append(doc.Pair(law=law, subject=subject, reason=reason, trials=trials))
    return found

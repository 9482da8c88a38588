"""The audit: target -> load -> probe -> identify -> properties -> grades -> document."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial

import msgspec

from polyref import conduct, records
from polyref.accuracy import Accuracy
from polyref.case import Case
from polyref.compare import compare_with
from polyref.errors import NothingMeasured, PolyrefError, UsageError
from polyref.formats import Format
from polyref.halves import Other, Unusual, standing_by
from polyref.judging import audited_formats as audited_formats
from polyref.judging import chosen_laws as chosen_laws
from polyref.judging import done, units
from polyref.judging import drawn_by_chance as drawn_by_chance
from polyref.judging import findings as findings
from polyref.options import AUDITED as AUDITED
from polyref.options import PROFILES as PROFILES
from polyref.options import Options as Options
from polyref.options import Profile as Profile
from polyref.options import Result as Result
from polyref.property import Context, Property, check, objection, refuses_one_class
from polyref.records import RETURNS_A_VALUE as RETURNS_A_VALUE
from polyref.report import document as doc
from polyref.report.progress import Meter, progress
from polyref.search import Found
from polyref.spec import Reduction
from polyref.subject.client import Subject
from polyref.subject.convention import PROBABILITIES, ReturnsNothing
from polyref.subject.defaults import defaults
from polyref.subject.dialect import Dialect
from polyref.subject.identify import identify
from polyref.subject.runner import Audited, Death, Exhausted, Runner
from polyref.verdict import Outcome, Verdict


def audit(target: str, options: Options | None = None, *, quiet: bool = False, processes: int = 1) -> doc.Document:
    """Audit a target in a child process.

    Args:
        target: ``package.module:attr`` or ``path/to/file.py:attr``.
        options: what to look at, and how hard.
        quiet: show no line of progress, because something else does.
        processes: how many may judge it, 1 or 2; of a loss that has no memory the document is the same.

    Raises:
        UsageError: if the target cannot be loaded, or no convention works (``NoConvention``).
        NothingMeasured: if it answered no case, or what it returns is no loss (``NotJudged``).
    """
    options = options or Options()
    made = partial(audit_of, target, lambda: opened(target, options), options, quiet=quiet)
    # A few searches are done before a second process has come up, and two would not share a budget of seconds.
    if processes > 1 and options.profile != "quick" and not options.laws and options.budget is None:
        with contextlib.suppress(Unusual):
            return gated(made(by_two=True), options)
    return gated(made(), options)


def gated(document: doc.Document, options: Options) -> doc.Document:
    """The document with what moved since the baseline of the options, if there is one."""
    if options.baseline is None:
        return document
    return msgspec.structs.replace(document, gate=compare_with(options.baseline, document))


def opened(target: str, options: Options) -> Subject:
    """A target in a child process, ready for cases.

    Raises:
        UsageError: if it cannot be loaded, or no convention works (``NoConvention``).
        ReturnsNothing: if it returns None.
    """
    return Subject.open(
        target, options.init, options.call, options.all_limits, forms=options.forms, framework=options.framework
    )


def audit_of(
    target: str,
    start: Callable[[], AbstractContextManager[Audited]],
    options: Options,
    *,
    quiet: bool = False,
    by_two: bool = False,
) -> doc.Document:
    """Audit what ``start`` brings up, under the name of a target.

    Args:
        target: the name.
        start: what brings the subject up.
        options: what to look at, and how hard.
        quiet: show no line of progress.
        by_two: have another process judge half of it.

    Raises:
        Unusual: if another process was to judge half of it, and one must judge it all.
        UsageError: what ``start`` raises, or for a law or a format that cannot be asked for.
        NothingMeasured: if the subject answered no case.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    chosen_laws(options)
    _ = options.again  # a baseline that holds no cases is told before anything runs
    with progress(target, quiet=quiet) as meter:
        meter.doing("loading")
        try:
            with standing_by(options, wanted=by_two) as other, start() as runner:
                return _audited(target, runner, options, meter, started, other=other)
        except ReturnsNothing as e:
            return records.nothing_returned(target, e, options, started, time.monotonic() - clock)


def recorded(
    target: str, results: Iterable[Result], dialect: Dialect, options: Options, deaths: Sequence[Death] = ()
) -> list[doc.Finding]:
    """The results as findings, after what ended a process, with what they say about each other."""
    ended = conduct.deaths(target, deaths, options, partial(_ends_alone, target, options))
    made = records.one_breakdown([*ended, *(records.finding(target, r, dialect, options) for r in results)])
    return [records.with_kind(f, made, dialect) for f in made]


def _ends_alone(target: str, options: Options, death: Death) -> bool | None:
    """Whether the case of a death ends a fresh process, as the command that reproduces it would show."""
    try:
        with opened(target, options) as fresh:
            return tried(None, death.case, fresh, lambda: identify(fresh)).verdict is Verdict.VIOLATED
    except PolyrefError:
        return None


def _audited(
    target: str, runner: Audited, options: Options, meter: Meter, started: datetime, *, other: Other | None = None
) -> doc.Document:
    clock = time.monotonic()
    formats = audited_formats(runner.convention, options)
    meter.total(len(chosen_laws(options)) + 2 + len(formats))
    meter.doing("identifying")
    try:
        dialect = identify(runner)
    except (Exhausted, NothingMeasured) as e:
        reason = f"{runner.name} was not identified, {e}" if isinstance(e, Exhausted) else str(e)
        if not runner.deaths:
            raise NothingMeasured(reason) from None
        return records.never_identified(
            target,
            runner,
            reason,
            options,
            started=started,
            seconds=time.monotonic() - clock,
            alone=partial(_ends_alone, target, options),
        )
    chance = drawn_by_chance(runner, dialect, options)
    # Accuracy is accuracy for a formula: a subject of another one is not graded.
    graded = dialect.known and not chance and runner.convention.inputs not in PROBABILITIES and not options.laws
    notes = [*dialect.notes]
    every, told = units(runner.convention, dialect, options, chance=chance), set[str]()

    def look(at: Result | Format) -> None:
        if isinstance(at, Format):
            meter.step(f"grading {at.name}")
        elif at.law.id not in told:
            told.add(at.law.id)
            meter.step(at.law.id)

    # Of a subject so slow that the time may run out, one process decides as much as it can.
    shared = not chance and time.monotonic() - clock < _QUICKLY
    if other is not None and not (
        shared and isinstance(runner, Subject) and other.begin(runner, dialect, graded=graded)
    ):
        other.close()
        other = None
    with contextlib.suppress(Exhausted):  # said below
        notes += _notes(runner, dialect, options, chance=chance)
    meter.step()
    if other is None:
        judged = done(enumerate(every), formats if graded else (), runner, dialect, options, look=look)
    else:
        judged = other.share(look)
    accuracy = Accuracy()
    for fmt in formats if graded else ():
        accuracy.record(fmt, judged.graded[fmt.name])
    found = judged.results(every)
    with contextlib.suppress(Exhausted):
        found = [_with_graded(r, accuracy.grades, runner, dialect) for r in found]
    notes += conduct.circumstances(runner)
    made = recorded(target, found, dialect, options, runner.deaths)
    examples = sum(f.examples for f in made) + sum(g.examples for g in accuracy.grades if g.regime == "all")
    return doc.Document(
        subject=records.subject(target, runner.name, runner.source, runner.convention.framework),
        environment=records.environment(runner.environment()),
        settings=records.settings(options, examples, time.monotonic() - clock, started),
        convention=records.convention(runner.convention),
        dialect=records.dialect(dialect, runner.convention, tuple(notes)),
        findings=sorted(made, key=lambda r: (_ORDER[r.verdict], r.theme)),
        grades=accuracy.grades,
        specs=accuracy.specs,
        series=accuracy.series,
    )


#: Seconds to identify a subject that is not slow: what comes after takes some twenty times as long.
_QUICKLY = 30.0


_ORDER = {"violated": 0, "inconclusive": 1, "holds": 2, "not_applicable": 3}


def _with_graded(result: Result, grades: list[doc.Grade], runner: Runner, dialect: Dialect) -> Result:
    """The result, or a violation in its place where a graded row went beyond the tolerance and no example had."""
    quantity = {"value-matches-the-reference": "value", "gradient-matches-the-reference": "gradient"}.get(result.law.id)
    if result.found is None or result.found.verdict is Verdict.VIOLATED:
        return result
    for g in grades:
        if (g.quantity, g.format, g.regime) == (quantity, result.format.name, "all") and g.max_ratio > 1 and g.case:
            case = Case.from_json(g.case)
            outcome = check(result.law, case, Context(runner, dialect, result.format))
            if outcome.verdict is Verdict.VIOLATED:
                worst = max(outcome.ratio, g.max_ratio)
                # The graded rows are counted with the grade.
                violated = Found(Verdict.VIOLATED, outcome, case, result.found.examples, worst)
                return Result(result.law, result.format, violated)
    return result


def _notes(runner: Runner, dialect: Dialect, options: Options, *, chance: bool) -> Iterator[str]:
    """What a person should know beside the formula: consequences, conventions, and what was left out."""
    convention = runner.convention
    yield from convention.notes
    if dialect.weighting in ("ce_only", "rescaled_p", "other"):
        from polyref.subject.consequences import consequences  # noqa: PLC0415 - scipy is slow to import

        yield from consequences(runner, dialect)
    if dialect.known and dialect.mean is Reduction.MEAN_OVER_SAMPLES and convention.can("weight"):
        yield "Its mean divides by the number of samples, not by the sum of the weights: a convention, and no defect."
    yield defaults(convention, dialect)
    refused = refuses_one_class(runner, audited_formats(convention, options)[0], dialect.spec)
    if refused is not None:
        yield f"It refuses a single class ({refused}), a convention: the laws were judged with two classes or more."
    smoothing = convention.default("smoothing")
    if isinstance(smoothing, int | float) and smoothing:
        yield f"Its label smoothing is {smoothing:g} by default; it was audited at 0."
    environment = runner.environment()
    if environment.get("flushes"):
        yield (
            f"{environment['framework']} makes zeros of subnormal results in {environment['flushes']} on this CPU, "
            "whatever the subject's code says: the tolerance allows for that."
        )
    left_out = [f.name for f in options.formats if f.name not in convention.formats]
    if left_out:
        yield f"It does not accept {', '.join(left_out)}: see what was tried."
    if convention.left:
        left = ", ".join(f"{name}={value!r}" for name, value in convention.left)
        yield f"Left at their defaults, and not tested: {left}."
    if chance:
        yield (
            "It was not graded: its answers are drawn by chance, and only the laws that look for that or compare no "
            "numbers were judged."
        )
    elif not dialect.known:
        yield "It was not graded: accuracy is accuracy for a formula of the PolyLoss family."
    elif convention.inputs in PROBABILITIES:
        yield (
            "It was not graded, and was judged by the leading half of the digits: its inputs were rounded before it "
            "saw them."
        )


def check_one(target: str, law_id: str, case_json: str, options: Options) -> Outcome:
    """One case of one law, tried again.

    Raises:
        UsageError: for an unknown law, or a text that is no case.
    """
    law = law_named(law_id)
    try:
        data = json.loads(case_json)
    except json.JSONDecodeError as e:
        raise UsageError(f"--case is no JSON ({e}): copy it from the finding") from e
    if not isinstance(data, dict):
        raise UsageError("--case is no JSON object: copy it from the finding")
    case = Case.from_json(data)
    with opened(target, options) as subject:
        return tried(law, case, subject, lambda: identify(subject))


def law_named(law_id: str) -> Property | None:
    """The law of an id; None for the one that a subject keeps its process, which every case tests.

    Raises:
        UsageError: if there is none, with the nearest that are.
    """
    return None if law_id == conduct.KEEPS_ITS_PROCESS else chosen_laws(Options(laws=(law_id,)))[0]


def tried(law: Property | None, case: Case, runner: Runner, identified: Callable[[], Dialect]) -> Outcome:
    """One case of one law, tried on a subject.

    Args:
        law: as :func:`law_named` has it.
        case: the case.
        runner: the subject.
        identified: its dialect, asked for where the law needs it: a subject may end its process over the questions.

    Raises:
        UsageError: if the law does not apply to it.
        NotOffered: if its convention has no way to ask for the case.
    """
    if law is None:
        return conduct.survival(runner.observe(case, gradient=runner.convention.differentiable, twice=True))
    dialect = identified()
    reason = objection(law, runner.convention, dialect)
    if reason is not None:
        raise UsageError(f"{law.id} does not apply to {runner.name}: {reason}")
    return check(law, case, Context(runner, dialect, case.format))

"""The audit: target -> load -> probe -> identify -> properties -> grades -> document.

:func:`findings` is the one iterator of verdicts; the command line, Python and pytest draw from it.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import platform
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, cast

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, Format, named
from polyref.grades import BOUNDS, grade_format
from polyref.property import Context, Found, Property, check, load_properties, search
from polyref.report import document as doc
from polyref.report.progress import Meter, progress
from polyref.subject.client import DEFAULT_LIMITS, Limits, Subject
from polyref.subject.convention import Attempt, Convention, ReturnsNothing
from polyref.subject.dialect import Dialect
from polyref.subject.identify import identify
from polyref.subject.load import Source
from polyref.subject.runner import Runner
from polyref.verdict import Outcome, Verdict, describe

Profile = Literal["quick", "default", "long"]

#: (examples of each law and format, graded rows of each regime) by profile.
PROFILES: dict[Profile, tuple[int, int]] = {"quick": (15, 12), "default": (40, 50), "long": (2000, 1000)}

#: The formats that an audit looks at unless it is told otherwise, widest first.
AUDITED = (BINARY64, BINARY32, BINARY16, BFLOAT16)

#: The law that a subject without a return value breaks; it is met before any case can be tried.
RETURNS_A_VALUE = "returns-a-value"


@dataclass(frozen=True)
class Options:
    """What a user can choose about an audit.

    Attributes:
        formats: the formats to look at, of those that the subject accepts.
        seed: of every random choice; the same seed gives the same findings.
        profile: how much is tried.
        init: overrides of constructor arguments.
        call: overrides of call arguments.
        limits: what the subject may use.
    """

    formats: tuple[Format, ...] = AUDITED
    seed: int = 0
    profile: Profile = "default"
    init: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = DEFAULT_LIMITS


@dataclass(frozen=True)
class Result:
    """A law's verdict in one format, None where the law does not apply, with the reason."""

    law: Property
    format: Format
    found: Found | None
    reason: str = ""


def audit(target: str, options: Options | None = None, *, quiet: bool = False) -> doc.Document:
    """Audit a target in a child process.

    Args:
        target: ``package.module:attr`` or ``path/to/file.py:attr``.
        options: what to look at, and how hard.
        quiet: show no line of progress, because something else does.

    Raises:
        UsageError: if the target cannot be loaded, or no convention works (``NoConvention``).
        NothingMeasured: if it answered no case.
    """
    options = options or Options()
    started, clock = datetime.now(UTC), time.monotonic()
    with progress(target, quiet=quiet) as meter:
        meter.doing("loading")
        try:
            subject = Subject.open(target, options.init, options.call, options.limits)
        except ReturnsNothing as e:
            return _nothing_returned(target, e, options, started, time.monotonic() - clock)
        with subject:
            return _audited(target, subject, options, meter, started)


def findings(runner: Runner, dialect: Dialect, options: Options) -> Iterator[Result]:
    """Every law's verdict on a subject, as each is reached."""
    examples, _ = PROFILES[options.profile]
    formats = audited_formats(runner.convention, options)
    # A format that the subject does not compute in would show its lost digits in every law: two laws say it once.
    computed = [f for f in formats if dialect.precision is None or f.precision <= dialect.precision]
    for law in load_properties():
        objection = law.applies(runner.convention, dialect)
        if objection is not None:
            yield Result(law, formats[0], None, objection)
            continue
        for fmt in formats if law.formats == "each" else (computed or formats)[:1]:
            context = Context(runner, dialect, fmt)
            yield Result(law, fmt, search(law, context, examples=examples, seed=options.seed))


def audited_formats(convention: Convention, options: Options) -> tuple[Format, ...]:
    """The formats asked for that the subject accepts, widest first.

    Raises:
        UsageError: if it accepts none of them.
    """
    chosen = tuple(f for f in map(named, convention.formats) if f in options.formats)
    if not chosen:
        asked, accepted = (", ".join(f.name for f in options.formats)), ", ".join(convention.formats)
        raise UsageError(f"{convention.name} accepts none of {asked}: it takes {accepted or 'no format'}")
    return chosen


def _audited(target: str, runner: Runner, options: Options, meter: Meter, started: datetime) -> doc.Document:
    clock = time.monotonic()
    formats = audited_formats(runner.convention, options)
    laws = load_properties()
    meter.total(len(laws) + 2 + len(formats))
    meter.doing("identifying")
    dialect = identify(runner)
    notes = dialect.notes + _notes(runner, dialect)
    meter.step()
    records: list[doc.Finding] = []
    seen: set[str] = set()
    for result in findings(runner, dialect, options):
        if result.law.id not in seen:
            seen.add(result.law.id)
            meter.step(result.law.id)
        records.append(_finding(target, result, options))
    records = [_with_kind(r, records) for r in records]
    grades: list[doc.Grade] = []
    # Accuracy is accuracy for a formula: a subject of another one is not graded.
    for fmt in formats if dialect.known else ():
        meter.step(f"grading {fmt.name}")
        grades += _grades(runner, dialect, fmt, options)
    examples = sum(r.examples for r in records) + sum(g.examples for g in grades if g.regime == "all")
    return doc.Document(
        subject=_subject(target, runner.name, runner.source),
        environment=environment(runner.environment()),
        settings=_settings(options, formats, examples, time.monotonic() - clock, started),
        convention=_convention(runner.convention),
        dialect=_dialect(dialect, runner.convention, notes),
        findings=sorted(records, key=lambda r: (_ORDER[r.verdict], r.theme)),
        grades=grades,
    )


_ORDER = {"violated": 0, "inconclusive": 1, "holds": 2, "not_applicable": 3}


def _notes(runner: Runner, dialect: Dialect) -> tuple[str, ...]:
    if dialect.weighting not in ("ce_only", "rescaled_p"):
        return ()
    from polyref.subject.consequences import consequences  # noqa: PLC0415 - scipy is slow to import

    return consequences(runner, dialect)


# --- records ------------------------------------------------------------------------------------------------------


def _finding(target: str, result: Result, options: Options) -> doc.Finding:
    law, found = result.law, result.found
    common = {
        "property": law.id,
        "theme": law.theme,
        "statement": law.statement,
        "formula": law.formula,
        "citation": law.citation,
        "device": "cpu",
    }
    if found is None or found.outcome is None or found.case is None:
        why = result.reason or "every case that was tried may overflow, so the rounding model bounds none of them"
        return doc.Finding(
            **common,
            verdict="not_applicable" if found is None else "inconclusive",
            explanation=f"{why[:1].upper()}{why[1:]}.",
            remedy="",
            format=None if found is None else result.format.name,
            case=None,
            case_text="",
            expected="",
            observed="",
            ratio=None,
            examples=0 if found is None else found.examples,
            reproduce="",
        )
    violated = found.verdict is Verdict.VIOLATED
    return doc.Finding(
        **common,
        verdict="violated" if violated else "holds",
        explanation=found.outcome.explanation,
        remedy=law.remedy if violated else "",
        format=result.format.name,
        case=found.case.to_json(),
        case_text=describe(found.case),
        expected=found.outcome.expected,
        observed=found.outcome.observed,
        ratio=found.outcome.ratio,
        examples=found.examples,
        reproduce=_reproduce(target, law, found.case, options),
    )


def _reproduce(target: str, law: Property, case: Case, options: Options) -> str:
    """The command that tries exactly this case again."""
    words = [
        "polyref",
        "check",
        target,
        "--property",
        law.id,
        "--case",
        json.dumps(case.to_json(), separators=(",", ":")),
    ]
    return shlex.join([*words, *_overrides(options)])


def _overrides(options: Options) -> Iterator[str]:
    for option, overrides in (("--init", options.init), ("--call", options.call)):
        for name, value in overrides.items():
            yield from (option, f"{name}={value!r}")


def _with_kind(finding: doc.Finding, every: list[doc.Finding]) -> doc.Finding:
    """A violated finding of a law that is judged in each format, with what its course over the formats says.

    A disagreement that grows, in units of the tolerance, as the format gets finer is a wrong formula; one that does
    not is lost precision.
    """
    if finding.verdict != "violated" or finding.format is None or finding.ratio is None:
        return finding
    same = {f.format: f for f in every if f.property == finding.property and f.format and f.ratio is not None}
    if len(same) < 2:
        return finding
    by_width = sorted(same.values(), key=lambda f: named(cast(str, f.format)).precision)
    narrow, wide = by_width[0], by_width[-1]
    if wide.verdict != "violated":
        text = f" In {wide.format} it is within the tolerance: this is lost precision, not another formula."
    elif 1e3 * cast(float, narrow.ratio) < cast(float, wide.ratio) < math.inf:
        text = (
            f" The error is not one of rounding in {wide.format}: in units of the tolerance it grows as the format "
            "gets finer."
        )
    else:
        text = ""
    import msgspec  # noqa: PLC0415

    return msgspec.structs.replace(finding, explanation=finding.explanation + text)


def _grades(runner: Runner, dialect: Dialect, fmt: Format, options: Options) -> list[doc.Grade]:
    _, rows = PROFILES[options.profile]
    return [
        doc.Grade(
            quantity=cast(doc.Quantity, quantity),
            format=fmt.name,
            device="cpu",
            regime=regime,
            grade=tally.grade.value,
            max_ulp=tally.max_ulp,
            max_ratio=tally.max_ratio,
            case=None if tally.case is None else tally.case.to_json(),
            examples=tally.examples,
            histogram=list(zip(BOUNDS, tally.histogram, strict=True)),
        )
        for quantity, regime, tally in grade_format(runner, dialect, fmt, rows=rows, seed=options.seed)
    ]


def _subject(target: str, name: str, source: Source) -> doc.Subject:
    file = source.file
    if file is not None:
        relative = os.path.relpath(file)
        file = file if relative.startswith("..") else relative
    return doc.Subject(name=name, target=target, file=file, line=source.line, summary=source.doc, framework="torch")


def environment(child: Mapping[str, str]) -> doc.Environment:
    """Versions and machine: torch's side from the process that runs the subject, the rest from this one."""
    threads = child.get("threads")
    return doc.Environment(
        polyref=_version("polyref") or "unknown",
        python=child.get("python", platform.python_version()),
        torch=child.get("torch"),
        numpy=_version("numpy"),
        mpmath=_version("mpmath"),
        flint=_version("python-flint"),
        platform=platform.system(),
        machine=" ".join(filter(None, (platform.machine(), child.get("cpu_capability")))),
        cpu_threads=int(threads) if threads else None,
        device=child.get("device_name", child.get("device", "cpu")),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _settings(
    options: Options, formats: tuple[Format, ...], examples: int, seconds: float, started: datetime
) -> doc.Settings:
    return doc.Settings(
        seed=options.seed,
        profile=options.profile,
        examples=examples,
        formats=[f.name for f in formats],
        seconds=round(seconds, 3),
        started=started.isoformat(timespec="seconds"),
        init={k: repr(v) for k, v in options.init.items()},
        call={k: repr(v) for k, v in options.call.items()},
    )


def _convention(convention: Convention) -> doc.Convention:
    return doc.Convention(
        text=convention.text,
        kind=convention.kind,
        order=convention.order.replace("_", " "),
        labels=convention.labels.replace("_", " ") + (", soft" if convention.soft else ""),
        result=convention.result.replace("_", " "),
        parameters={p.name: p.subject_name for p in convention.parameters},
        defaults={p.name: "required" if p.required else repr(p.default) for p in convention.parameters},
        reductions=list(convention.reductions),
        formats=list(convention.formats),
        attempts=[_attempt(a) for a in convention.attempts],
    )


def _attempt(attempt: Attempt) -> doc.Attempt:
    return doc.Attempt(call=attempt.call, outcome=attempt.outcome)


def _dialect(dialect: Dialect, convention: Convention, notes: tuple[str, ...]) -> doc.Dialect:
    epsilon = convention.default("epsilon") if "epsilon" in dialect.settable else dialect.spec.epsilon
    gamma = convention.default("gamma") if "gamma" in dialect.settable else dialect.spec.gamma
    weighting = dialect.weighting if dialect.weighting != "both" or convention.can("weight") else "none"
    return doc.Dialect(
        formula=dialect.formula,
        epsilon=_plain(epsilon),
        reduction=str(dialect.spec.reduction),
        weighting=cast(doc.WeightingName, weighting),
        residual=dialect.residual,
        link=str(dialect.spec.link),
        gamma=_plain(gamma),
        notes=list(notes),
    )


def _plain(value: Any) -> str | float | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else str(value)


def _nothing_returned(
    target: str, error: ReturnsNothing, options: Options, started: datetime, seconds: float
) -> doc.Document:
    """The document on a subject that returns None: one finding, and nothing to grade."""
    finding = doc.Finding(
        property=RETURNS_A_VALUE,
        theme="behaviour",
        verdict="violated",
        statement="A loss returns its value.",
        formula="f(z, y) is a tensor",
        citation="Convention of torch.nn losses",
        explanation=f"{str(error)[:1].upper()}{str(error)[1:]}.",
        remedy="End forward with `return loss`.",
        format=None,
        device="cpu",
        case=None,
        case_text="",
        expected="a loss",
        observed="None",
        ratio=math.inf,
        examples=1,
        reproduce=shlex.join(["polyref", "audit", target, *_overrides(options)]),
    )
    return doc.Document(
        subject=_subject(target, target.rpartition(":")[2], Source()),
        environment=environment({}),
        settings=_settings(options, options.formats, 1, seconds, started),
        convention=_convention(error.convention),
        dialect=doc.Dialect(
            formula="nothing: it returns None",
            epsilon=None,
            reduction=None,
            weighting="none",
            residual=None,
            link="other",
            gamma=None,
            notes=[],
        ),
        findings=[finding],
        grades=[],
    )


def check_one(target: str, law_id: str, case_json: str, options: Options) -> Outcome:
    """One case of one law, tried again.

    Raises:
        UsageError: for an unknown law, or a text that is no case.
    """
    laws = {law.id: law for law in load_properties()}
    if law_id not in laws:
        near = difflib.get_close_matches(law_id, laws, n=1, cutoff=0)
        raise UsageError(f"no law is called {law_id!r}: did you mean {near[0]!r}?")
    try:
        data = json.loads(case_json)
    except json.JSONDecodeError as e:
        raise UsageError(f"--case is no JSON ({e}): copy it from the finding") from e
    if not isinstance(data, dict):
        raise UsageError("--case is no JSON object: copy it from the finding")
    case = Case.from_json(data)
    with Subject.open(target, options.init, options.call, options.limits) as subject:
        context = Context(subject, identify(subject), case.format)
        return check(laws[law_id], case, context)

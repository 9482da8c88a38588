"""Records: verdicts, convention and dialect as the document holds them."""

from __future__ import annotations

import contextlib
import math
import os
import platform
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import msgspec

from polyref.case import Case
from polyref.conduct import deaths
from polyref.formats import named
from polyref.options import Options, Result
from polyref.property import A_LOSS
from polyref.remedies import remedy
from polyref.report import document as doc
from polyref.reproduce import audit_again, reproduce
from polyref.subject.convention import Attempt, Convention, ReturnsNothing
from polyref.subject.course import growth
from polyref.subject.dialect import Dialect
from polyref.subject.load import Source
from polyref.subject.runner import Audited, Death
from polyref.verdict import Verdict, describe

#: The law that a subject without a return value breaks; it is met before any case can be tried.
RETURNS_A_VALUE = "returns-a-value"


def finding(target: str, result: Result, dialect: Dialect, options: Options) -> doc.Finding:
    """The record of one law's verdict in one format."""
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
        why = (
            result.reason
            or (found.cut if found else "")
            or "no case that was tried could tell: it was refused, or the rounding model bounds nothing"
        )
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
        remedy=remedy(law, found.outcome, dialect) if violated else "",
        format=result.format.name,
        case=found.case.to_json(),
        case_text=describe(found.case),
        expected=found.outcome.expected,
        observed=found.outcome.observed,
        ratio=found.outcome.ratio,
        examples=found.examples,
        reproduce=reproduce(target, law.id, found.case, options),
    )


def one_breakdown(every: list[doc.Finding]) -> list[doc.Finding]:
    """The findings, with a breakdown that every law ran into reported once.

    A subject that raises the same error wherever it is called breaks one law, not all; the others are undecided.
    """
    first: dict[str, doc.Finding] = {}
    result = []
    for f in every:
        if f.verdict != "violated" or f.expected != A_LOSS:
            result.append(f)
        elif f.observed not in first or f.property == first[f.observed].property:
            first.setdefault(f.observed, f)
            result.append(msgspec.structs.replace(f, remedy="Mend what it says; the laws are judged after that."))
        else:
            why = f"Not decided: {f.observed}, see {first[f.observed].property}."
            result.append(msgspec.structs.replace(f, verdict="inconclusive", explanation=why, remedy="", ratio=None))
    return result


def with_kind(finding: doc.Finding, every: list[doc.Finding], dialect: Dialect) -> doc.Finding:
    """A violated finding of a law that is judged in each format, with what its course over the formats says.

    In units of the tolerance, which follows the unit roundoff u, an error of the formula grows like 1/u as the format
    gets finer, and lost precision keeps its size. The exponent is measured over all formats, and what lies nearer to
    one of the two is told as that. What the subject was found to compute otherwise in its widest format is no lost
    precision where it acts on the case, however the errors of the different cases compare.
    """
    if finding.verdict != "violated" or finding.format is None or finding.ratio is None:
        return finding
    same = {f.format: f for f in every if f.property == finding.property and f.format and f.ratio is not None}
    if len(same) < 2:
        return finding
    wide = max(same.values(), key=lambda f: named(cast(str, f.format)).precision)
    ratios = {named(cast(str, f.format)): cast(float, f.ratio) for f in same.values()}
    exponent = growth({fmt: r for fmt, r in ratios.items() if 0 < r < math.inf})
    another = exponent is not None and exponent < -0.5 and wide.verdict == "violated"
    if not another and _acts(dialect, finding):
        text = " What the subject computes otherwise acts on this case: this is not lost precision."
    elif wide.verdict != "violated":
        text = f" In {wide.format} it is within the tolerance: this is lost precision, not another formula."
    elif exponent is None:
        text = ""
    elif another:
        text = (
            f" The error is not one of rounding in {wide.format}: in units of the tolerance it grows as the format "
            f"gets finer, like u^{exponent:.2g}, which is the mark of another formula."
        )
    elif dialect.deviation:
        text = ""  # errors of both kinds may be among them
    else:
        text = " In units of the tolerance the error keeps its size over the formats: this is lost precision."
    return msgspec.structs.replace(finding, explanation=finding.explanation + text)


def _acts(dialect: Dialect, finding: doc.Finding) -> bool:
    """Whether the deviation of a dialect changes the value of a finding's case."""
    if not dialect.otherwise:
        return not dialect.known
    return finding.case is not None and any(e.acts_on(Case.from_json(finding.case)) for e in dialect.otherwise)


def subject(target: str, name: str, source: Source, framework: str) -> doc.Subject:
    file = source.file
    if file is not None:
        with contextlib.suppress(OSError):  # the current folder may be gone by now
            relative = os.path.relpath(file)
            file = file if relative.startswith("..") else relative
    return doc.Subject(name=name, target=target, file=file, line=source.line, summary=source.doc, framework=framework)


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
        framework=child.get("framework"),
        processor=_processor(),
    )


def _processor() -> str | None:
    """The model of the processor, as the system calls it."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def settings(options: Options, examples: int, seconds: float, started: datetime) -> doc.Settings:
    return doc.Settings(
        seed=options.seed,
        profile=options.profile,
        examples=examples,
        formats=[f.name for f in options.formats],
        seconds=round(seconds, 3),
        started=started.isoformat(timespec="seconds"),
        init={k: repr(v) for k, v in options.init.items()},
        call={k: repr(v) for k, v in options.call.items()},
        forms=options.forms.given,
        laws=list(options.laws),
    )


def convention(convention: Convention) -> doc.Convention:
    return doc.Convention(
        text=convention.text,
        kind=convention.kind,
        order=convention.order.replace("_", " "),
        labels=convention.labels.replace("_", " ") + (", soft" if convention.soft else ""),
        result=convention.result.replace("_", " ") + (", its sign turned" if convention.negated else ""),
        inputs=convention.inputs.replace("_", " ") + (f", {layout}" if (layout := convention.layout) != "rows" else ""),
        parameters={p.name: p.subject_name for p in convention.parameters},
        defaults={p.name: "required" if p.required else repr(p.default) for p in convention.parameters},
        untested={name: repr(value) for name, value in convention.left},
        reductions=list(convention.reductions),
        formats=list(convention.formats),
        attempts=[_attempt(a) for a in convention.attempts],
    )


def _attempt(attempt: Attempt) -> doc.Attempt:
    return doc.Attempt(call=attempt.call, outcome=attempt.outcome)


def dialect(dialect: Dialect, convention: Convention, notes: tuple[str, ...]) -> doc.Dialect:
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
        deviation=dialect.deviation,
        remedy=dialect.remedy,
        notes=list(notes),
    )


def _plain(value: Any) -> str | float | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else str(value)


def nothing_returned(
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
        reproduce=audit_again(target, options),
    )
    made = settings(options, 1, seconds, started)
    return _unidentified(
        target,
        Source(),
        error.convention,
        [finding],
        made,
        formula="nothing: it returns None",
        deviation="It returns None.",
        remedy=finding.remedy,
    )


def never_identified(
    target: str,
    runner: Audited,
    reason: str,
    options: Options,
    *,
    started: datetime,
    seconds: float,
    alone: Callable[[Death], bool | None],
) -> doc.Document:
    """The document on a subject that ended its processes before it could be identified: what ended them."""
    found = deaths(target, runner.deaths, options, alone)
    made = settings(options, sum(f.examples for f in found), seconds, started)
    return _unidentified(target, runner.source, runner.convention, found, made, formula=f"not known: {reason}")


def _unidentified(
    target: str,
    source: Source,
    how: Convention,
    findings: list[doc.Finding],
    made: doc.Settings,
    *,
    formula: str,
    deviation: str = "",
    remedy: str = "",
) -> doc.Document:
    return doc.Document(
        subject=subject(target, target.rpartition(":")[2], source, how.framework),
        environment=environment({}),
        settings=made,
        convention=convention(how),
        dialect=doc.Dialect(
            formula=formula,
            epsilon=None,
            reduction=None,
            weighting="none",
            residual=None,
            link="other",
            gamma=None,
            deviation=deviation,
            remedy=remedy,
            notes=[],
        ),
        findings=findings,
        grades=[],
    )

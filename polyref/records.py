"""Records: verdicts, grades, convention and dialect as the document holds them."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import msgspec

from polyref.case import Case
from polyref.formats import Format, named
from polyref.grades import BOUNDS, grade_format
from polyref.options import PROFILES, Options, Result
from polyref.property import A_LOSS, Property
from polyref.report import document as doc
from polyref.subject.convention import Attempt, Convention, ReturnsNothing
from polyref.subject.dialect import Dialect
from polyref.subject.load import Source
from polyref.subject.runner import Runner
from polyref.verdict import Outcome, Verdict, describe

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
        why = result.reason or "no case that was tried could tell: it was refused, or the rounding model bounds nothing"
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
        remedy=_remedy(law, found.outcome, dialect) if violated else "",
        format=result.format.name,
        case=found.case.to_json(),
        case_text=describe(found.case),
        expected=found.outcome.expected,
        observed=found.outcome.observed,
        ratio=found.outcome.ratio,
        examples=found.examples,
        reproduce=_reproduce(target, law, found.case, options),
    )


#: What mends a formula that is no member of the family, whichever law shows it.
_FORMULA = (
    "Compute w * (CE + epsilon * (1 - Pt)) for each sample, Pt the softmax probability of its class; reduce once."
)


def _remedy(law: Property, outcome: Outcome, dialect: Dialect) -> str:
    if outcome.remedy:
        return outcome.remedy
    # A law's own remedy supposes that the rest of the formula is right.
    return law.remedy if dialect.known or law.self_scaled or law.theme == "behaviour" else _FORMULA


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
    if options.framework is not None:
        yield from ("--framework", options.framework)
    for option, overrides in (("--init", options.init), ("--call", options.call)):
        for name, value in overrides.items():
            yield from (option, f"{name}={value!r}")


def with_kind(finding: doc.Finding, every: list[doc.Finding]) -> doc.Finding:
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
    return msgspec.structs.replace(finding, explanation=finding.explanation + text)


def grades(runner: Runner, dialect: Dialect, fmt: Format, options: Options) -> list[doc.Grade]:
    """The grades of one format."""
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


def subject(target: str, name: str, source: Source, framework: str) -> doc.Subject:
    file = source.file
    if file is not None:
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
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def settings(
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


def convention(convention: Convention) -> doc.Convention:
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
        reproduce=shlex.join(["polyref", "audit", target, *_overrides(options)]),
    )
    return doc.Document(
        subject=subject(target, target.rpartition(":")[2], Source(), error.convention.framework),
        environment=environment({}),
        settings=settings(options, options.formats, 1, seconds, started),
        convention=convention(error.convention),
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

"""The report as SARIF 2.1.0, for code scanning: each broken law at the line where the subject is defined."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final
from urllib.parse import quote

from polyref.report import moves, structs, summary
from polyref.report.document import Document, Finding, Verdict
from polyref.report.words import number, visible

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"

#: The kind of a result by its verdict; a law that holds is a rule without a result.
_KINDS: Final[dict[Verdict, str]] = {"violated": "fail", "inconclusive": "open", "not_applicable": "notApplicable"}
#: The rule of what got worse than a baseline.
_GATE: Final[dict[str, Any]] = {
    "id": "no-worse-than-the-baseline",
    "shortDescription": {"text": "No grade and no recorded row is worse than in the baseline, and nothing is missing."},
    "fullDescription": {"text": "No grade and no recorded row is worse than in the baseline, and nothing is missing."},
    "help": {"text": "Mend it, or accept it with polyref audit --baseline FILE --update-baseline."},
    "defaultConfiguration": {"level": "error"},
    "properties": {"tags": ["correctness"]},
}
_ROOT: Final = "%SRCROOT%"
_EXIT_CODES: Final = {
    0: "all laws hold, or nothing got worse than the baseline",
    1: "defects",
    3: "nothing could be measured",
    4: "a precision regression against the baseline",
    5: "the baseline is not comparable",
}


def render(document: Document) -> str:
    """The report as JSON."""
    return json.dumps(structs.jsonable(_log(document)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _log(document: Document) -> dict[str, Any]:
    laws: dict[str, list[Finding]] = {}
    for f in summary.in_order(document):
        laws.setdefault(f.property, []).append(f)
    driver = {
        "name": "polyref",
        "version": visible(document.environment.polyref),
        "shortDescription": {"text": "Numerical verification and property testing of PolyLoss."},
        "rules": [*(_rule(found) for found in laws.values()), *([_GATE] if document.gate is not None else [])],
    }
    run = {
        "tool": {"driver": driver},
        # Code scanning keeps categories apart, and what stands before the last slash is one.
        "automationDetails": {"id": f"polyref/{visible(document.subject.target)}/"},
        "invocations": [_invocation(document)],
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The folder that the audit ran in."}}},
        "results": [*_results(document, list(laws)), *_regressions(document, len(laws))],
        "properties": _about(document),
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(found: Sequence[Finding]) -> dict[str, Any]:
    """A law, and the first remedy that one of its findings has."""
    law, remedy = found[0], next((f.remedy for f in found if f.remedy), "")
    about = (law.statement, law.formula, f"Source: {law.citation}" if law.citation else "")
    return {
        "id": visible(law.property),
        "shortDescription": {"text": _message(law.statement)},
        "fullDescription": {"text": _message(*about)},
        "help": {"text": _message(f"Remedy: {remedy}" if remedy else "", *about)},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["correctness", visible(law.theme)]},
    }


def _results(document: Document, laws: list[str]) -> Iterator[dict[str, Any]]:
    index = {id: i for i, id in enumerate(laws)}
    location = _location(document)
    seen, known = Counter[str](), summary.known(document)
    for f in summary.in_order(document):
        if f.verdict not in _KINDS:
            continue
        mark = _fingerprint(document, f)
        seen[mark] += 1
        result = {
            "ruleId": visible(f.property),
            "ruleIndex": index[f.property],
            "kind": _KINDS[f.verdict],
            "level": "error" if f.verdict == "violated" else "none",
            "message": {"text": _message(*_sentences(f))},
            "locations": [location],
            "partialFingerprints": {"polyref/v1": f"{mark}:{seen[mark]}"},
            "properties": _details(f),
        }
        reason = known.get((f.property, f.format))
        if reason and f.verdict == "violated":
            result["suppressions"] = [{"kind": "external", "justification": visible(reason)}]
        yield result


def _regressions(document: Document, index: int) -> Iterator[dict[str, Any]]:
    """What got worse than the baseline, and is no broken law."""
    for what, line in summary.regressions(document):
        mark = hashlib.sha256(json.dumps((document.subject.target, _GATE["id"], what)).encode()).hexdigest()[:32]
        yield {
            "ruleId": _GATE["id"],
            "ruleIndex": index,
            "kind": "fail",
            "level": "error",
            "message": {"text": _message(line)},
            "locations": [_location(document)],
            "partialFingerprints": {"polyref/v1": f"{mark}:1"},
        }


def _sentences(finding: Finding) -> Iterator[str]:
    """What the subject does, and the numbers that show it."""
    yield finding.explanation or finding.statement or finding.property
    if finding.verdict == "violated":
        error = "" if finding.ratio is None else f"{number(finding.ratio)} times the tolerance"
        for label, text in (
            ("Format", finding.format),
            ("Case", finding.case_text),
            ("Expected", finding.expected),
            ("Observed", finding.observed),
            ("Error", error),
            ("Remedy", finding.remedy),
        ):
            yield f"{label}: {text}" if text else ""


def _details(finding: Finding) -> dict[str, Any]:
    """What a program may ask of a result."""
    return {
        "format": _text(finding.format),
        "device": _text(finding.device),
        "ratio": finding.ratio,
        "examples": finding.examples,
        "case": finding.case,
        "caseText": _text(finding.case_text),
        "expected": _text(finding.expected),
        "observed": _text(finding.observed),
        "remedy": _text(finding.remedy),
        "reproduce": visible(finding.reproduce, whole=True),
    }


def _location(document: Document) -> dict[str, Any]:
    """Where the subject is defined: its name, and the file and the line where there is one."""
    subject = document.subject
    name = {"name": visible(subject.name), "fullyQualifiedName": visible(subject.target)}
    location: dict[str, Any] = {"logicalLocations": [name]}
    if subject.file:
        location["physicalLocation"] = {"artifactLocation": _artifact(document, subject.file)}
        if subject.line is not None:
            location["physicalLocation"]["region"] = {"startLine": subject.line}
    return location


def _artifact(document: Document, file: str) -> dict[str, str]:
    windows = document.environment.platform.startswith("Windows")
    path = PureWindowsPath(file) if windows else PurePosixPath(file)
    # A drive's colon stays; any other would make a scheme of what stands before it.
    uri = quote(path.as_posix(), safe="/:" if path.drive else "/", errors="backslashreplace")
    if path.is_absolute():
        return {"uri": f"file:///{uri.lstrip('/')}"}
    return {"uri": uri, "uriBaseId": _ROOT}


def _fingerprint(document: Document, finding: Finding) -> str:
    """The same for the same law of the same subject, whatever the numbers and the line are today."""
    parts = (document.subject.target, finding.property, finding.format or "", finding.device)
    text = json.dumps(parts)  # so that no two lists of parts are one text
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _invocation(document: Document) -> dict[str, Any]:
    code = document.exit_code
    found: dict[str, Any] = {
        "executionSuccessful": code not in (3, 5),
        "exitCode": code,
        "exitCodeDescription": _EXIT_CODES[code],
    }
    if not found["executionSuccessful"]:
        why = summary.headline(document) if document.gate is None else moves.headline(document.gate)
        found["toolExecutionNotifications"] = [{"level": "error", "message": {"text": _message(f"{why}.")}}]
    try:
        start = datetime.fromisoformat(document.settings.started).astimezone(UTC)
        end = start + timedelta(seconds=document.settings.seconds)
    except (ValueError, OverflowError):  # the field is a text, and the document may be anybody's
        return found
    for key, time in (("startTimeUtc", start), ("endTimeUtc", end)):
        found[key] = f"{time.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    return found


def _about(document: Document) -> dict[str, Any]:
    """What the subject computes, and how accurately: of the run, since no result says it."""
    grades = [
        {
            "quantity": g.quantity,
            "format": _text(g.format),
            "device": _text(g.device),
            "grade": g.grade,
            "ulp": g.max_ulp,
        }
        for g in summary.overall(document).values()
    ]
    dialect = document.dialect
    return {"formula": _text(dialect.formula), "deviation": _text(dialect.deviation), "grades": grades}


def _text(text: str | None) -> str | None:
    return None if text is None else visible(text, lines=True)


def _message(*parts: str) -> str:
    """Parts in lines. Brackets would be links in a message, and braces would be placeholders."""
    text = "\n".join(visible(part, lines=True) for part in parts if part)
    return re.sub(r"[{}]", lambda m: m.group() * 2, re.sub(r"[\\\[\]]", r"\\\g<0>", text))

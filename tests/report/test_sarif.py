"""The report as SARIF: by the official schema, at the subject's line, the same result as long as the law is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from jsonschema import Draft7Validator

from polyref.report import sarif, summary
from polyref.report.document import Document

from .example import build, finding
from .kinds import COMMITTED, DOCUMENTS, committed, gated

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0.json").read_text(encoding="utf-8"))
VALIDATOR = Draft7Validator(SCHEMA)


def run(document: Document) -> dict[str, Any]:
    (found,) = json.loads(sarif.render(document), parse_constant=pytest.fail)["runs"]
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_follows_the_schema(name: str) -> None:
    document = DOCUMENTS[name]()
    source = sarif.render(document)
    assert source == sarif.render(document)
    log = json.loads(source, parse_constant=pytest.fail)
    assert [e.message for e in VALIDATOR.iter_errors(log)] == []
    found = log["runs"][0]
    rules = [r["id"] for r in found["tool"]["driver"]["rules"]]
    assert len(rules) == len(set(rules))
    assert len(rules) == len({f.property for f in document.findings}) + (document.gate is not None)
    kinds = [r["kind"] for r in found["results"]]
    for verdict, kind in (("violated", "fail"), ("inconclusive", "open"), ("not_applicable", "notApplicable")):
        worse = len(summary.regressions(document)) if kind == "fail" else 0
        assert kinds.count(kind) == worse + sum(f.verdict == verdict for f in document.findings)
    for r in found["results"]:
        assert r["ruleId"] == rules[r["ruleIndex"]]
        assert r["level"] == ("error" if r["kind"] == "fail" else "none")
        assert r["message"]["text"]
    marks = [r["partialFingerprints"]["polyref/v1"] for r in found["results"]]
    assert len(marks) == len(set(marks))


def test_the_schema_can_refuse() -> None:
    Draft7Validator.check_schema(SCHEMA)
    for key, value in (("version", "2.0.0"), ("runs", [{}]), ("extra", 1)):
        assert not VALIDATOR.is_valid(json.loads(sarif.render(build())) | {key: value})


def test_a_result_for_each_law_and_format() -> None:
    found = [
        finding("a-law", "violated", format=f, ratio=r, reproduce=f"polyref check --case {f}")
        for f, r in (("bfloat16", 10.9), ("binary64", float("inf")), ("binary32", None))
    ]
    results = run(build(findings=found))["results"]
    assert [r["properties"]["format"] for r in results] == ["binary64", "binary32", "bfloat16"]
    assert [r["properties"]["ratio"] for r in results] == ["inf", None, 10.9]
    assert [r["properties"]["reproduce"][-8:] for r in results] == ["binary64", "binary32", "bfloat16"]


def test_a_rule_and_its_result() -> None:
    found = run(build())
    driver = found["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("polyref", "0.1.0")
    rule = driver["rules"][0]
    assert rule["id"] == "coefficient-j-is-one-over-j-plus-eps"
    assert rule["shortDescription"]["text"].startswith("The coefficient of (1 − Pt)^j in the expansion")
    assert "ℓ = Σ_j (1/j + ε_j) (1 − Pt)^j" in rule["fullDescription"]["text"]
    assert rule["help"]["text"].startswith("Remedy: Use epsilon * (1 - pt) in place of epsilon")
    assert "Source: Leng et al." in rule["help"]["text"]
    assert "helpUri" not in rule
    result = found["results"][0]
    for part in ("The measured coefficients", "Expected: 2.82412440094185636", "Error: 3.40e5 times the tolerance"):
        assert part in result["message"]["text"]
    case = build().violated[0].case
    assert result["properties"]["case"] == case
    assert result["properties"]["observed"] == "2.70355415"
    assert [(r["ruleId"], r["message"]["text"]) for r in found["results"] if r["kind"] == "open"] == [
        ("second-derivative-matches-the-reference", "the subject ran out of its 30 seconds after 12 of 400 cases")
    ]
    assert found["automationDetails"]["id"] == "polyref/losses/poly.py:Poly1CrossEntropyLoss/"
    assert found["properties"]["grades"][0] == {
        "quantity": "value",
        "format": "binary32",
        "device": "cpu",
        "grade": "broken",
        "ulp": "inf",
    }


@pytest.mark.parametrize(
    ("file", "uri", "base"),
    [
        ("losses/poly.py", "losses/poly.py", "%SRCROOT%"),
        ("a b/ü#1?x%.py", "a%20b/%C3%BC%231%3Fx%25.py", "%SRCROOT%"),
        ("c:d.py", "c%3Ad.py", "%SRCROOT%"),
        ("/home/a b/p.py", "file:///home/a%20b/p.py", None),
        ("bad\udc80.py", "bad%5Cudc80.py", "%SRCROOT%"),
    ],
)
def test_the_place(file: str, uri: str, base: str | None) -> None:
    place = run(build(subject=msgspec.structs.replace(build().subject, file=file)))["results"][0]["locations"][0]
    artifact = place["physicalLocation"]["artifactLocation"]
    assert (artifact["uri"], artifact.get("uriBaseId")) == (uri, base)
    assert place["physicalLocation"]["region"] == {"startLine": 12}
    split = urlsplit(artifact["uri"])
    assert (split.scheme, split.query, split.fragment) == ("" if base else "file", "", "")
    if base:
        assert (
            unquote(split.path).encode("utf-8", "backslashreplace").decode()
            == file.encode("utf-8", "backslashreplace").decode()
        )


@pytest.mark.parametrize(
    ("file", "artifact"),
    [
        ("C:\\code\\a b.py", {"uri": "file:///C:/code/a%20b.py"}),
        ("losses\\poly.py", {"uri": "losses/poly.py", "uriBaseId": "%SRCROOT%"}),
    ],
)
def test_the_place_on_windows(file: str, artifact: dict[str, str]) -> None:
    subject = msgspec.structs.replace(build().subject, file=file)
    document = build(subject=subject, environment=msgspec.structs.replace(build().environment, platform="Windows"))
    assert run(document)["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"] == artifact


def test_no_place_without_a_file() -> None:
    (result,) = run(committed("returns-nothing"))["results"]
    name, target = "Poly1CrossEntropyLoss", "polyref.gallery.nothing:Poly1CrossEntropyLoss"
    assert result["locations"] == [{"logicalLocations": [{"name": name, "fullyQualifiedName": target}]}]
    subject = msgspec.structs.replace(build().subject, line=None)
    place = run(build(subject=subject))["results"][0]["locations"][0]
    assert "region" not in place["physicalLocation"]


def _marks(document: Document) -> list[str]:
    return [r["partialFingerprints"]["polyref/v1"] for r in run(document)["results"]]


def test_a_result_is_the_same_when_only_the_numbers_move() -> None:
    before = build()
    moved = [
        msgspec.structs.replace(
            f, ratio=9.9, observed="3", expected="4", explanation="5", case_text="6", case=None, examples=7, remedy="8"
        )
        for f in before.findings
    ]
    subject = msgspec.structs.replace(before.subject, line=99)
    assert _marks(build(findings=moved, subject=subject)) == _marks(before)
    found = [finding("a", "violated"), finding("b", "violated"), finding("a", "violated", format="binary16")]
    found += [finding("a", "violated", device="cuda"), finding("a", "violated"), finding("a", "violated", format=None)]
    assert len(set(_marks(build(findings=found)))) == len(found)
    other = build(subject=msgspec.structs.replace(before.subject, target="x:y"))
    assert not set(_marks(other)) & set(_marks(before))


def test_nothing_in_a_message_is_a_link_or_a_placeholder() -> None:
    (result,) = run(build(findings=[finding("a", "violated", explanation=r"[l](1) {0} \[x\] \ ")]))["results"]
    assert result["message"]["text"].split("\n")[0] == r"\[l\](1) {{0}} \\\[x\\\] \\ "


@pytest.mark.parametrize(
    ("started", "seconds", "times"),
    [
        ("2026-03-01T12:00:00Z", 31.4, ("2026-03-01T12:00:00.000Z", "2026-03-01T12:00:31.400Z")),
        ("2026-03-01T12:00:00+02:00", 1.0, ("2026-03-01T10:00:00.000Z", "2026-03-01T10:00:01.000Z")),
        ("yesterday", 1.0, (None, None)),
        ("9999-12-31T23:59:59+00:00", 1e300, (None, None)),
        ("0001-01-01T00:00:00+10:00", 1.0, (None, None)),
    ],
)
def test_the_times(started: str, seconds: float, times: tuple[str | None, str | None]) -> None:
    changed = msgspec.structs.replace(build().settings, started=started, seconds=seconds)
    (invocation,) = run(build(settings=changed))["invocations"]
    assert (invocation.get("startTimeUtc"), invocation.get("endTimeUtc")) == times


@pytest.mark.parametrize(
    ("findings", "code", "successful"),
    [([finding("a", "holds")], 0, True), ([finding("a", "violated")], 1, True), ([], 3, False)],
)
def test_the_exit_code(findings: list[Any], code: int, successful: bool) -> None:
    (invocation,) = run(build(findings=findings))["invocations"]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (code, successful)
    assert ("toolExecutionNotifications" in invocation) is not successful


@pytest.mark.parametrize(
    ("document", "code"),
    [(gated(worse=False), 0), (gated(new=True), 1), (gated(), 4), (gated(incomparable="[x]"), 5)],
)
def test_against_a_baseline(document: Document, code: int) -> None:
    found = run(document)
    (invocation,) = found["invocations"]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (code, code != 5)
    if code == 5:
        (notification,) = invocation["toolExecutionNotifications"]
        assert notification["message"]["text"] == r"Not comparable: \[x\]."
    first, second, *rest = found["results"]
    assert first["suppressions"] == [{"kind": "external", "justification": "the paper has it so"}]
    assert ("suppressions" in second) is (code != 1)
    assert not any("suppressions" in r for r in rest)


@pytest.mark.parametrize("name", COMMITTED)
def test_the_committed_audits(name: str) -> None:
    document = committed(name)
    found = run(document)
    reproduced = [r["properties"]["reproduce"] for r in found["results"] if r["kind"] == "fail"]
    assert sorted(reproduced) == sorted(f.reproduce for f in document.violated)
    if document.subject.file:
        for r in found["results"]:
            physical = r["locations"][0]["physicalLocation"]
            assert physical["artifactLocation"] == {"uri": document.subject.file, "uriBaseId": "%SRCROOT%"}
            assert physical["region"]["startLine"] == document.subject.line

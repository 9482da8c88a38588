"""The report as JUnit XML: by Jenkins' schema, one case for each law and format, nothing that passes in silence."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from xmlschema import XMLSchema

from polyref.report import junit, moves
from polyref.report.document import Document

from .example import build, finding
from .kinds import COMMITTED, DOCUMENTS, committed, gated

SCHEMA = XMLSchema(Path(__file__).parent / "schemas" / "junit-10.xsd")

NEW = gated(new=True).gate
assert NEW is not None


def suite(document: Document) -> ET.Element:
    (found,) = ET.fromstring(junit.render(document).encode())
    return found


def cases(document: Document) -> dict[str, ET.Element]:
    found = suite(document).findall("testcase")
    by_name = {case.get("name", ""): case for case in found}
    assert len(by_name) == len(found)
    return by_name


def became(case: ET.Element) -> tuple[str, str]:
    """The element that says what became of a case, and its message."""
    return next(((e.tag, e.get("message", "")) for e in case), ("passed", ""))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_follows_the_schema_and_counts(name: str) -> None:
    document = DOCUMENTS[name]()
    source = junit.render(document)
    assert source == junit.render(document)
    SCHEMA.validate(ET.fromstring(source.encode()))
    root = ET.fromstring(source.encode())
    found = cases(document)
    tags = [became(case)[0] for case in found.values()]
    if document.gate is not None:
        return
    verdicts = [f.verdict for f in document.findings]
    assert tags.count("failure") == verdicts.count("violated")
    assert tags.count("passed") == verdicts.count("holds")
    assert tags.count("skipped") == verdicts.count("inconclusive") + verdicts.count("not_applicable")
    assert tags.count("error") == (document.exit_code == 3)
    for element in (root, root[0]):
        for key, tag in (("failures", "failure"), ("errors", "error")):
            assert element.get(key) == str(tags.count(tag))
        assert element.get("tests") == str(len(tags))
        assert element.get("time") == f"{document.settings.seconds:.3f}"
    assert root[0].get("skipped") == str(tags.count("skipped"))
    assert len(source) < 500_000


def test_the_schema_can_refuse() -> None:
    source = junit.render(build())
    for wrong in (source.replace('name="shift-invariance[binary32]"', ""), source.replace("skipped", "omitted")):
        assert wrong != source
        assert not SCHEMA.is_valid(ET.fromstring(wrong.encode()))


def test_a_case_for_each_law_and_format() -> None:
    found = [finding("a", v, format=f) for f, v in (("bfloat16", "violated"), ("binary32", "violated"))]
    found += [finding("a", "holds", format="binary64"), finding("b", "not_applicable", format=None)]
    found += [finding("a", "holds", device="cuda:0"), finding("a", "holds", format="binary64")]
    document = build(findings=found)
    assert list(cases(document)) == [
        "a[binary32]",
        "a[bfloat16]",
        "a[binary64]",
        "b",
        "a[binary32, cuda:0]",
        "a[binary64] #2",
    ]
    assert {case.get("classname") for case in cases(document).values()} == {"Poly1CrossEntropyLoss"}
    assert suite(document).get("name") == "losses/poly.py:Poly1CrossEntropyLoss"
    assert suite(document).get("timestamp") == "2026-03-01T12:00:00Z"


def test_what_became_of_a_law() -> None:
    found = cases(build())
    assert became(found["shift-invariance[binary32]"]) == ("passed", "")
    assert became(found["soft-target-is-the-expectation"]) == (
        "skipped",
        "not applicable: the subject takes class indices only",
    )
    assert became(found["second-derivative-matches-the-reference[binary32]"]) == (
        "skipped",
        "not decided: the subject ran out of its 30 seconds after 12 of 400 cases",
    )
    failure = found["coefficient-j-is-one-over-j-plus-eps[binary32]"][0]
    assert (failure.get("message") or "").startswith("The measured coefficients are 1.000 and 1.500")
    text = failure.text or ""
    for part in (
        "Law        The coefficient of (1 − Pt)^j",
        "Case       logits  [[2.0, 0.5, 1.0]]\n        [[0x1.0p+1, 0x1.0p-1, 0x1.0p+0]]\n",
        "Expected   2.82412440094185636\n",
        "Observed   2.70355415\n",
        "Error      3.40e5 times the tolerance\n",
        "Remedy     Use epsilon * (1 - pt)",
        "Reproduce  polyref audit losses/poly.py:Poly1CrossEntropyLoss --init num_classes=3",
    ):
        assert part in text


@pytest.mark.parametrize("findings", [[], [finding("a", "inconclusive")], [finding("a", "not_applicable")]])
def test_nothing_measured_is_an_error(findings: list[object]) -> None:
    document = build(findings=findings)
    assert became(cases(document)["something-was-measured"])[0] == "error"
    assert suite(document).get("errors") == "1"


@pytest.mark.parametrize(
    ("document", "code", "outcome"),
    [
        (gated(worse=False), 0, ("passed", "")),
        (gated(), 4, ("failure", "Precision regressed: 1 grade, 1 recorded row")),
        (gated(new=True), 1, ("failure", moves.headline(NEW))),
        (gated(incomparable="other formulas"), 5, ("error", "Not comparable: other formulas")),
    ],
)
def test_against_a_baseline(document: Document, code: int, outcome: tuple[str, str]) -> None:
    assert document.exit_code == code
    found = cases(document)
    assert became(found["no-worse-than-the-baseline"]) == outcome
    known = found["coefficient-j-is-one-over-j-plus-eps[binary32]"]
    assert became(known) == ("skipped", "known to be broken: the paper has it so")
    assert "Reproduce  polyref audit" in (known[0].text or "")
    other = became(found["extreme-logits-stay-finite[binary32]"])
    assert other[0] == ("failure" if code == 1 else "skipped")
    if code == 4:
        text = found["no-worse-than-the-baseline"][0].text or ""
        assert text.splitlines() == [
            "worse: value binary32: faithful → broken, 0.900 → 1.50 ulp",
            "worse: value binary32 at [1, 0], target 0: 0.5 → 1.5 ulp",
        ]


def test_what_xml_forbids_is_visible() -> None:
    odd = "a\x00\x08\x1b\ufffe\ud800\u202e<b>&]]>\r\n\tc"
    found = suite(build(findings=[finding("law", "violated", explanation=odd, observed=odd, reproduce=odd)]))
    failure = found.find("testcase/failure")
    assert failure is not None
    shown = "a⟨U+0000⟩⟨U+0008⟩⟨U+001B⟩⟨U+FFFE⟩⟨U+D800⟩⟨U+202E⟩<b>&]]>"
    assert failure.get("message") == f"{shown} c"
    assert f"Observed   {shown}⟨U+000D⟩\n    c\n" in (failure.text or "")


def test_grades_and_settings_are_properties() -> None:
    document = build()
    found = {p.get("name"): p.get("value") for p in suite(document).iterfind("properties/property")}
    assert found["formula"] == "w CE + ε (1 − Pt)²"
    assert (found["exit code"], found["seed"], found["framework"]) == ("1", "0", "torch 2.13.0+cpu")
    assert (found["grade.value.binary32"], found["worst ulp.value.binary32"]) == ("broken", "∞")
    assert (found["grade.gradient.bfloat16"], found["worst ulp.gradient.bfloat16"]) == ("correctly rounded", "0.522")
    twice = [*document.grades, *(msgspec.structs.replace(g, device="cuda:0") for g in document.grades)]
    names = [p.get("name") for p in suite(build(grades=twice)).iterfind("properties/property")]
    assert "grade.value.binary32.cuda:0" in names
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", COMMITTED)
def test_the_committed_audits(name: str) -> None:
    document = committed(name)
    found = cases(document)
    for f in document.violated:
        text = found[f"{f.property}[{f.format}]" if f.format else f.property][0].text or ""
        assert f.reproduce in text
        assert f.remedy in text

"""The report as JUnit XML, for what shows the tests of a build: one test case for each law and format.

A law that is broken fails. One that does not apply is skipped, and so is one that could not be decided, with other
words. A document that decided nothing has an error, so that a build which looks at this file alone does not pass.
Against a baseline a law that may be broken is skipped, with the reason, and what got worse fails a case of its own.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator

from polyref.report import moves, summary
from polyref.report.comparison import Comparison
from polyref.report.document import Document, Finding
from polyref.report.words import number, visible


def render(document: Document) -> str:
    """The report as XML, by the schema that Jenkins has and pytest follows."""
    suite = ET.Element("testsuite", name=_line(document.subject.target))
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(document):
        ET.SubElement(properties, "property", name=_line(name), value=_line(value))
    seen, known = Counter[str](), summary.known(document)
    for finding in summary.in_order(document):
        name = _name(finding)
        seen[name] += 1
        # Two cases of one name would be one to those who read them.
        case = _case(suite, document, name if seen[name] == 1 else f"{name} #{seen[name]}")
        _judged(case, finding, known.get((finding.property, finding.format), ""))
    if not summary.laws(document).decided:
        case = _case(suite, document, "something-was-measured")
        ET.SubElement(case, "error", type="nothing measured", message="Nothing was measured: no law could be decided.")
    if document.gate is not None:
        _compared(_case(suite, document, "no-worse-than-the-baseline"), document, document.gate)
    root = ET.Element("testsuites", name="polyref")
    for element in (root, suite):
        element.set("tests", str(len(suite.findall("testcase"))))
        element.set("failures", str(len(suite.findall("testcase/failure"))))
        element.set("errors", str(len(suite.findall("testcase/error"))))
        element.set("time", f"{document.settings.seconds:.3f}")
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("timestamp", _line(document.settings.started))
    root.append(suite)
    ET.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(suite: ET.Element, document: Document, name: str) -> ET.Element:
    # The document has the time of the audit as a whole; readers take a case without a time for a broken one.
    return ET.SubElement(suite, "testcase", classname=_line(document.subject.name), name=name, time="0")


def _name(finding: Finding) -> str:
    device = "" if finding.device == "cpu" else finding.device
    where = ", ".join(part for part in (finding.format, device) if part)
    return _line(f"{finding.property}[{where}]" if where else finding.property)


def _judged(case: ET.Element, finding: Finding, known: str) -> None:
    """Say in a test case what became of the law, and why it may be broken, if it may."""
    reason = finding.explanation or "no reason given"
    if finding.verdict == "violated" and known:
        skipped = ET.SubElement(case, "skipped", type="known", message=_line(f"known to be broken: {known}"))
        skipped.text = "\n".join(_text(finding))
    elif finding.verdict == "violated":
        failure = ET.SubElement(case, "failure", type="violated", message=_line(finding.explanation or "violated"))
        failure.text = "\n".join(_text(finding))
    elif finding.verdict == "not_applicable":
        ET.SubElement(case, "skipped", type="not applicable", message=_line(f"not applicable: {reason}"))
    elif finding.verdict == "inconclusive":
        ET.SubElement(case, "skipped", type="not decided", message=_line(f"not decided: {reason}"))


def _compared(case: ET.Element, document: Document, gate: Comparison) -> None:
    """Say in a test case what got worse; what cannot be compared is an error."""
    if not gate.exit_code:
        return
    tag, kind = ("error", "not comparable") if gate.exit_code in (3, 5) else ("failure", "worse")
    element = ET.SubElement(case, tag, type=kind, message=_line(moves.headline(gate)))
    element.text = "\n".join(visible(line) for line in summary.moved(document, failing=True))


def _text(finding: Finding) -> Iterator[str]:
    """All about a violation, a line for each part."""
    parts = (
        ("Law", finding.statement),
        ("Formula", finding.formula),
        ("Subject", finding.explanation),
        ("Case", finding.case_text),
        ("Expected", finding.expected),
        ("Observed", finding.observed),
        ("Error", "" if finding.ratio is None else f"{number(finding.ratio)} times the tolerance"),
        ("Remedy", finding.remedy),
    )
    yield from (f"{label:<10} {visible(text, lines=True)}" for label, text in parts if text)
    if finding.reproduce:
        yield f"{'Reproduce':<10} {visible(finding.reproduce, whole=True)}"


def _properties(document: Document) -> Iterator[tuple[str, str]]:
    """What was tested and how, and the grades, which no test case has."""
    e, s = document.environment, document.settings
    yield from (
        ("subject", document.subject.name),
        ("place", summary.place(document)),
        ("formula", document.dialect.formula),
        ("convention", document.convention.text),
        ("exit code", str(document.exit_code)),
        ("polyref", e.polyref),
        ("python", e.python),
        ("platform", f"{e.platform} {e.machine}"),
        ("device", e.device),
        ("framework", e.framework or f"{document.subject.framework} {e.torch or ''}".rstrip()),
        ("profile", s.profile),
        ("seed", str(s.seed)),
        ("examples", str(s.examples)),
    )
    several = len(summary.devices_of(document)) > 1
    for (quantity, device, format), grade in summary.overall(document).items():
        where = ".".join((quantity, format, device) if several else (quantity, format))
        yield f"grade.{where}", grade.grade
        yield f"worst ulp.{where}", number(grade.max_ulp)


def _line(text: str) -> str:
    """``text`` in one line, with every character that XML forbids made visible."""
    return visible(re.sub(r"\s*[\r\n]\s*", " ", text))

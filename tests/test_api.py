"""Audits from Python: objects in hand and targets, what is left of them in the process, and the report."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import warnings
from html import unescape
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from report.example import build, finding
from report.hostile import hostile

import polyref
from polyref.errors import NothingMeasured, UsageError
from polyref.gallery.gather import Poly1CrossEntropyLoss
from polyref.report import baseline as base
from polyref.report import document as doc
from polyref.request import request
from polyref.spec import Reduction, Spec
from polyref.verdict import Verdict
from polyref_properties.mutants import textbook

QUICK = {"profile": "quick", "formats": "binary32"}
LAWS = ["affine-in-epsilon", "coefficient-j-is-one-over-j-plus-eps", "shift-invariance"]
IN_A_NOTEBOOK = """
import torch.nn.functional as F

def squared(logits, labels, epsilon=1.0):
    pt = F.softmax(logits, -1).gather(-1, labels[:, None])[:, 0]
    return F.cross_entropy(logits, labels, reduction="none") + epsilon * (1 - pt) ** 2
"""


@pytest.fixture
def squared():
    """A loss that no file defines, as in a notebook: its polynomial is (1 - Pt)^2."""
    names = {"__name__": "__main__"}
    exec(compile(IN_A_NOTEBOOK, "<cell 3>", "exec"), names)
    return names["squared"]


class Squared(torch.nn.Module):
    def __init__(self, epsilon):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, logits, labels):
        return (
            textbook(logits, labels, 0.0)
            + self.epsilon * (1 - logits.softmax(-1).gather(-1, labels[:, None])[:, 0]) ** 2
        )


def timeless(document: doc.Document) -> bytes:
    return doc.dumps(
        msgspec.structs.replace(document, settings=msgspec.structs.replace(document.settings, seconds=0.0, started=""))
    )


# --- what can be audited --------------------------------------------------------------------------------------------


def test_an_object_that_no_file_defines(squared) -> None:
    report = polyref.audit(squared, **QUICK, properties=LAWS)
    assert (report.ok, report.exit_code, report.formula) == (False, 1, "CE + eps x^2")
    assert [f.property for f in report.violated] == [LAWS[1]]
    assert {f.property for f in report.findings} == set(LAWS)
    assert report.grades == []
    assert report.document.subject.target == report.document.subject.name == "squared"


def test_its_finding_ends_in_a_call_that_tries_the_case_again(squared) -> None:
    (broken,) = polyref.audit(squared, **QUICK, properties=LAWS).violated
    outcome = eval(broken.reproduce, {"polyref": polyref, "squared": squared})
    assert (outcome.verdict, outcome.ratio, outcome.observed) == (Verdict.VIOLATED, broken.ratio, broken.observed)
    right = eval(broken.reproduce, {"polyref": polyref, "squared": textbook})
    assert right.verdict is Verdict.HOLDS


def test_an_instance() -> None:
    report = polyref.audit(
        Squared(0.5), **QUICK, properties=["value-matches-the-reference", "first-term-gradient-is-minus-one"]
    )
    assert report.formula == "CE + 0.5 x^2"
    assert report.document.subject.target == "Squared(…)"


def test_an_object_and_its_target_give_one_document() -> None:
    options = {**QUICK, "properties": LAWS[:2], "seed": 4}
    here = polyref.audit(Poly1CrossEntropyLoss, **options)
    assert here.document.subject.target == "polyref.gallery.gather:Poly1CrossEntropyLoss"
    there = polyref.audit(here.document.subject.target, **options)
    assert timeless(here.document) == timeless(there.document)
    assert timeless(polyref.audit(Poly1CrossEntropyLoss, **options, isolated=True).document) == timeless(there.document)


def test_grades_come_with_all_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    from polyref import judging

    laws = [law for law in judging.load_properties() if law.id in LAWS]
    monkeypatch.setattr(judging, "load_properties", lambda: laws)
    report = polyref.audit(textbook, **QUICK)
    assert report.ok
    assert {g.quantity for g in report.grades} == {"value", "gradient"}


def returns_nothing(logits, labels):
    F.cross_entropy(logits, labels)


def test_a_subject_without_a_result_is_a_finding() -> None:
    report = polyref.audit(returns_nothing)
    assert [f.property for f in report.violated] == ["returns-a-value"]
    assert report.violated[0].reproduce == f"polyref audit {os.path.relpath(__file__)}:returns_nothing"


def noisy(logits, labels):
    noise = torch.rand(()).item() + np.random.random() + random.random()
    return F.cross_entropy(logits, labels, reduction="none") + noise


def test_chance_is_the_same_every_time_and_is_seen() -> None:
    options = {**QUICK, "properties": ["inputs-untouched-and-repeatable", "shift-invariance"]}
    once, again = (polyref.audit(noisy, **options) for _ in range(2))
    assert "inputs-untouched-and-repeatable" in {f.property for f in once.violated}
    assert timeless(once.document) == timeless(again.document)


# --- what is left of it ---------------------------------------------------------------------------------------------


def meddling(logits, labels):
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    torch.set_default_dtype(torch.float16)
    torch.set_grad_enabled(False)
    torch.set_deterministic_debug_mode(1)
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = True
    np.seterr(all="raise")
    warnings.simplefilter("always")
    os.environ["MEDDLED"] = "1"
    os.environ.pop("HOME", None)
    os.chdir("/")
    sys.path.append("/meddled")
    with torch.enable_grad():
        torch.set_default_dtype(torch.float32)
        return F.cross_entropy(logits, labels, reduction="none")


def state() -> list[object]:
    return [
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_deterministic_debug_mode(),
        torch.get_num_threads(),
        torch.tensor(2.0**-1060, dtype=torch.float64).mul(1).item(),
        torch.backends.cudnn.benchmark,
        np.geterr(),
        list(warnings.filters),
        dict(os.environ),
        Path.cwd(),
        list(sys.path),
    ]


def chances() -> list[float]:
    return [torch.rand((), dtype=torch.float32).item(), np.random.random(), random.random()]


def test_the_callers_state_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    expected = chances()
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            before = state()
            polyref.audit(meddling, **QUICK, properties=["shift-invariance"])
            assert state() == before
            assert chances() == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_callers_state_has_no_part_in_it() -> None:
    options = {**QUICK, "properties": ["gradient-matches-the-reference", "dtype-is-kept"]}
    plain = polyref.audit(textbook, **options)
    assert plain.ok
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu"), warnings.catch_warnings():
            warnings.simplefilter("error")
            assert timeless(polyref.audit(textbook, **options).document) == timeless(plain.document)
    finally:
        torch.set_default_dtype(torch.float32)


def test_it_is_left_alone_by_what_raises_too() -> None:
    def raising(logits, labels):
        meddling(logits, labels)
        raise ValueError("no")

    before = state()
    with pytest.raises(UsageError, match="raising: no way of calling it works"):
        polyref.audit(raising)
    assert state() == before


# --- what cannot be asked -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "options", "says"),
    [
        (3, {}, "an object of type int cannot be called: give a class, a function, an instance or"),
        ("no_colon", {}, "target 'no_colon' has no colon"),
        (textbook, {"formats": "binary33"}, "unknown format 'binary33'"),
        (textbook, {"formats": []}, "formats is empty"),
        (textbook, {"profile": "slow"}, "profile 'slow' is not known: choose one of quick, default, long"),
        (textbook, {"properties": ["shift-invarianc"]}, "no law is called 'shift-invarianc': choose shift-invariance"),
        (textbook, {"properties": []}, "properties is empty"),
        (textbook, {"init": {"weight": torch.ones(3)}}, "init weight=.*: give a number, a text"),
        (textbook, {"timeout": 3.0}, "timeout and memory need a process of its own for .*: give isolated=True"),
        ("a:b", {"memory": -1.0}, "memory -1 is not allowed: give a number above 0"),
        (Squared(1.0), {"isolated": True}, "Squared.* cannot be imported by another process: give the text"),
        (lambda *_: 0, {"isolated": True}, "<lambda> cannot be imported by another process"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_line(subject, options, says) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        polyref.audit(subject, **options)
    assert "\n" not in str(raised.value)


SCRIPT = """
import polyref

def loss(logits, labels):
    pt = logits.softmax(-1).gather(-1, labels[:, None])[:, 0]
    return 1 - pt - pt.log()

report = polyref.audit(loss, profile="quick", formats="binary32", properties=["shift-invariance"])
print(report.document.subject.target, report.exit_code)
try:
    polyref.audit(loss, isolated=True)
except polyref.UsageError as e:
    print(e)
"""


def test_a_script_is_not_run_again_and_its_folder_stays_as_it_is(tmp_path: Path) -> None:
    """An object of __main__ has no target, as to import it would be to run the script once more."""
    (tmp_path / "script.py").write_text(SCRIPT)
    env = {k: v for k, v in os.environ.items() if k != "HYPOTHESIS_STORAGE_DIRECTORY"}
    command = [sys.executable, "script.py"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=env)
    first, second = ran.stdout.splitlines()
    assert first == "loss 0"
    assert second.startswith("loss cannot be imported by another process")
    assert os.listdir(tmp_path) == ["script.py"]


def test_a_module_that_audits_itself(tmp_path: Path) -> None:
    path = tmp_path / "theirs.py"
    path.write_text(f"import polyref\n\ndef loss(z, y):\n    return z.sum()\n\npolyref.audit('{path}:loss')\n")
    with pytest.raises(UsageError, match="was asked for by code that polyref imports for an audit: put that under"):
        polyref.audit(f"{path}:loss")


@pytest.mark.parametrize(
    ("case", "says"),
    [("{", "the case is no JSON"), (3, "the case has the type int: give a Case"), ({}, "no case document")],
)
def test_what_is_no_case(case, says) -> None:
    with pytest.raises(UsageError, match=says):
        polyref.check(textbook, "shift-invariance", case)


def test_a_case_of_ones_own() -> None:
    case = polyref.Case(Spec(reduction=Reduction.NONE), polyref.FORMATS["binary32"], ((1.0, 0.5),), (0,))
    assert polyref.check(textbook, "value-matches-the-reference", case).verdict is Verdict.HOLDS
    with pytest.raises(UsageError, match="affine-in-epsilon does not apply to Squared: epsilon cannot be chosen"):
        polyref.check(Squared(1.0), "affine-in-epsilon", case)


def test_nothing_is_imported_before_it_is_asked() -> None:
    with pytest.raises(AttributeError, match="module 'polyref' has no attribute 'audits'"):
        polyref.audits  # noqa: B018
    assert request("a.b:c").isolated
    assert not request(textbook).isolated


# --- the report -----------------------------------------------------------------------------------------------------


def test_the_report_is_shown_and_written(tmp_path: Path) -> None:
    report = polyref.Report(build())
    assert str(report).startswith("✗ 2 of 6 laws are broken\n  Subject    Poly1CrossEntropyLoss")
    assert "\x1b" not in str(report)
    assert repr(report) == "<polyref.Report on Poly1CrossEntropyLoss: 2 of 6 laws are broken>"
    report.to_json(tmp_path / "a.json")
    report.to_html(tmp_path / "a.html")
    assert doc.read(tmp_path / "a.json") == report.document
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    shown = report._repr_html_()
    assert shown.startswith('<iframe sandbox srcdoc="')
    assert unescape(shown.split('"')[1]) == page


@pytest.mark.parametrize(("verdict", "code"), [("holds", 0), ("violated", 1), ("inconclusive", 3)])
def test_exit_codes(verdict, code) -> None:
    report = polyref.Report(build(findings=[finding("a", verdict)]))
    assert (report.exit_code, report.ok) == (code, code == 0)


def test_what_a_subject_wrote_stays_in_its_frame() -> None:
    shown = polyref.Report(hostile())._repr_html_()
    assert shown.count("<") == 2  # the frame's own two tags
    assert shown.count('"') == 6
    assert "\x1b" not in str(polyref.Report(hostile())) + repr(polyref.Report(hostile()))


def test_errors_are_polyrefs() -> None:
    assert issubclass(UsageError, polyref.PolyrefError)
    assert issubclass(NothingMeasured, polyref.PolyrefError)


def test_an_audit_is_held_against_a_baseline(squared, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    first = polyref.audit(squared, properties=LAWS, **QUICK)
    base.write(base.of(first.document, reason="in a notebook"), path)
    again = polyref.audit(squared, properties=LAWS, baseline=path, **QUICK)
    assert (first.exit_code, again.exit_code) == (1, 0)
    assert again.document.gate is not None
    with pytest.raises(UsageError, match="there is no baseline"):
        polyref.audit(squared, baseline=tmp_path / "none.json")

"""One audit by two processes says what one process says, and gives way to it where that is not certain."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from report.example import build

from polyref import auditor
from polyref.errand import Errands
from polyref.formats import BINARY32
from polyref.halves import Deal, Other, Unusual, check_usual, standing_by
from polyref.judging import chosen_laws
from polyref.options import AUDITED, Options, Result
from polyref.report import document as doc
from polyref.search import Found
from polyref.subject import LocalSubject
from polyref.subject.identify import identify
from polyref.subject.limits import DEFAULT_LIMITS
from polyref.verdict import Verdict
from polyref_properties.mutants import textbook

#: Wrong where the target is likely, so that some laws are violated; and it writes to standard output.
WRONG = """
import torch
def loss(logits, labels, epsilon: float = 1.0):
    print("called")
    log_p = torch.log_softmax(logits, 1).gather(1, labels[:, None])[:, 0]
    return -log_p + epsilon * (1 - log_p.exp()) + 1e-3 * (log_p > -0.1)
"""
#: The first law that meets huge logits is broken, and the others leave such cases out.
RAISING = WRONG.replace('print("called")', "if logits.abs().max() > 1e30: raise ValueError('huge')")
DYING = RAISING.replace("raise ValueError('huge')", "__import__('os')._exit(3)")

#: A machine that is busy with other tests must not end a case.
OPTIONS = Options(profile="quick", formats=(BINARY32,), limits=replace(DEFAULT_LIMITS, seconds_per_case=120.0))


def audited(source: str, folder: Path, *, by_two: bool) -> doc.Document:
    path = folder / "given.py"
    path.write_text(source)
    target = f"{path}:loss"
    return auditor.audit_of(target, lambda: auditor.opened(target, OPTIONS), OPTIONS, quiet=True, by_two=by_two)


def told(document: doc.Document) -> object:
    """All that a document says, but for when it was made and how long that took."""
    data = json.loads(msgspec.json.encode(document))
    del data["settings"]["started"], data["settings"]["seconds"]
    return data


def test_two_processes_say_what_one_says(tmp_path: Path) -> None:
    both = audited(WRONG, tmp_path, by_two=True)
    assert told(both) == told(audited(WRONG, tmp_path, by_two=False))
    assert both.violated
    assert both.grades


#: It writes when it is called for the first time, which is the probe's call here and a law's call there.
WRITING_ONCE = WRONG.replace('print("called")', "hasattr(loss, 'made') or print('making tables')\n    loss.made = True")


@pytest.mark.parametrize("source", [RAISING, DYING, WRITING_ONCE], ids=["raising", "dying", "writing once"])
def test_what_later_searches_depend_on_is_for_one_process(tmp_path: Path, source: str) -> None:
    with pytest.raises(Unusual):
        audited(source, tmp_path, by_two=True)


def test_a_loss_that_remembers_its_calls_is_for_one_process() -> None:
    subject: Any = SimpleNamespace(deaths=[], exhausted=None)
    for law in chosen_laws(Options()):
        broken = Result(law, BINARY32, Found(Verdict.VIOLATED, None, None, 1, 2.0))
        if law.id in ("deterministic", "inputs-untouched-and-repeatable"):
            with pytest.raises(Unusual):
                check_usual(subject, broken)
        else:
            check_usual(subject, broken)


def test_what_the_subject_has_started_ends_with_the_other_process(tmp_path: Path) -> None:
    path = tmp_path / "starting.py"
    path.write_text("import subprocess\nsubprocess.Popen(['sleep', '86413.5'])\n" + WRONG)
    target = f"{path}:loss"
    with auditor.opened(target, OPTIONS) as subject:
        alone = sleeping()
        with standing_by(OPTIONS) as other:
            assert other is not None
            assert other.begin(subject, identify(subject), graded=False)
            until = time.monotonic() + 60
            while len(sleeping()) == len(alone) and time.monotonic() < until:
                time.sleep(0.05)
            assert len(sleeping()) == len(alone) + 1
        assert sleeping() == alone


@pytest.mark.parametrize("error", [OSError("no file is left"), RuntimeError("no thread is left")])
def test_one_process_goes_on_where_no_other_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refused(_: Errands) -> None:
        raise error

    monkeypatch.setattr(Errands, "start", refused)
    assert told(audited(WRONG, tmp_path, by_two=True)) == told(audited(WRONG, tmp_path, by_two=False))


def test_one_process_goes_on_where_the_other_has_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Other.begin
    begun_: list[bool] = []

    def killed(other: Other, *args: Any, **named: Any) -> bool:
        child = other._errands._slot.child
        assert child is not None
        os.kill(child._process.pid, signal.SIGKILL)
        while child.lives:
            time.sleep(0.01)
        begun_.append(begin(other, *args, **named))
        return begun_[-1]

    monkeypatch.setattr(Other, "begin", killed)
    both = audited(WRONG, tmp_path, by_two=True)
    assert begun_ == [False]
    assert told(both) == told(audited(WRONG, tmp_path, by_two=False))


def sleeping() -> set[str]:
    """The processes that the subject above starts."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if b"86413.5" in file.read_bytes():
                found.add(file.parent.name)
    return found


def begun(monkeypatch: pytest.MonkeyPatch, options: Options, processes: int) -> list[bool]:
    """Whether each audit that was begun was by two; those are given up."""
    seen: list[bool] = []

    def audit_of(*_: object, quiet: bool, by_two: bool = False) -> doc.Document:
        seen.append(by_two)
        if by_two:
            raise Unusual
        return build()

    monkeypatch.setattr(auditor, "audit_of", audit_of)
    auditor.audit("a:b", options, quiet=True, processes=processes)
    return seen


def test_one_process_judges_everything_where_two_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert begun(monkeypatch, Options(), 2) == [True, False]


@pytest.mark.parametrize(
    ("options", "processes"),
    [
        (Options(), 1),
        (Options(profile="quick"), 2),
        (Options(laws=("shift-invariance",)), 2),
        (Options(budget=60.0), 2),
    ],
    ids=["one process", "little to do", "one law", "a budget of seconds"],
)
def test_where_one_process_is_enough(monkeypatch: pytest.MonkeyPatch, options: Options, processes: int) -> None:
    assert begun(monkeypatch, options, processes) == [False]


def test_everything_is_dealt_once() -> None:
    for framework in ("torch", "jax"):
        convention = replace(LocalSubject(textbook).convention, framework=framework)
        dialect = identify(LocalSubject(textbook))
        deal = Deal(convention, dialect, Options(), graded=True)
        numbers = [[i for i, _ in deal.units(other=other)] for other in (False, True)]
        assert sorted(numbers[0] + numbers[1]) == list(range(len(deal.every)))
        assert all(numbers)
        formats = [deal.grading(other=other) for other in (False, True)]
        assert set(formats[0]) | set(formats[1]) == set(AUDITED)
        assert not set(formats[0]) & set(formats[1])

"""Hostile subjects: an audit of one ends, says what it did, loses nothing, and leaves no trace in this process.

All of them are audited by ``test_hostile_long.py``; here the ways of trouble have one audit each, by few laws.
"""

from __future__ import annotations

import shlex
import time
from datetime import UTC, datetime
from importlib import import_module

import pytest

from polyref import auditor as audits
from polyref import judging, options
from polyref.auditor import Options, check_one
from polyref.conduct import survival
from polyref.errors import NothingMeasured, UsageError
from polyref.formats import BINARY32, BINARY64
from polyref.property import Context
from polyref.replay import replay
from polyref.report.document import write
from polyref.report.progress import progress
from polyref.search import search
from polyref.subject import Limits, LocalSubject, Subject
from polyref.subject.convention import Convention
from polyref.subject.identify import identify
from polyref.subject.manner import PLAIN
from polyref.subject.observation import Observation
from polyref.subject.runner import Death, Exhausted
from polyref.verdict import Verdict
from subject import zoo
from subject.cases import case
from subject.hostile.audited import Audited, audited, complaints
from subject.hostile.table import ENTRIES, GRADIENT, PROCESS, UNTOUCHED, VALUE, Entry
from subject.parent import parent_state

pytestmark = pytest.mark.usefixtures("one_thread")

BY_NAME = {e.name: e for e in ENTRIES}
#: Those that can be run in this process: the worker, not the caller, takes what is no Exception.
RAISING_OR_RETURNING = [
    e.name
    for e in ENTRIES
    if e.law in (VALUE, GRADIENT)
    and e.name.startswith(("raising", "returning"))
    and e.says not in ("raised KeyboardInterrupt", "raised GeneratorExit")
]
TIGHT = Limits(seconds_per_case=3.0, memory_bytes=2 << 30, restarts=1)


@pytest.fixture
def few_laws(monkeypatch):
    """Three laws and few examples: enough to meet each subject's deed."""
    chosen = tuple(law for law in judging.load_properties() if law.id in (VALUE, GRADIENT, UNTOUCHED))
    monkeypatch.setattr(judging, "load_properties", lambda: chosen)
    monkeypatch.setitem(options.PROFILES, "quick", (3, 2))


def looked_at(entry: Entry) -> Audited:
    return audited(entry, Options(profile="quick", formats=(BINARY64,), limits=TIGHT))


@pytest.mark.parametrize("name", ["writing:answers_everywhere", "meddling:methods", "import_replaces:loss"])
def test_an_audit_says_what_its_subject_did_and_leaves_no_trace_here(name, few_laws, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = parent_state()
    found = looked_at(BY_NAME[name])
    after = parent_state()
    assert complaints(BY_NAME[name], found) == []
    assert {k: after[k] for k in before if after[k] != before[k]} == {}


def test_what_was_found_before_a_death_is_kept_and_what_was_not_tried_is_open(few_laws, tmp_path):
    found = looked_at(BY_NAME["dying:backward"])
    assert complaints(BY_NAME["dying:backward"], found) == []
    said = {f.property: (f.verdict, f.explanation) for f in found.document.findings}
    assert said[GRADIENT] == ("inconclusive", f"Not decided: killed: signal SIGABRT, see {PROCESS}.")
    assert found.document.dialect.formula == "CE + x"
    assert found.document.dialect.notes[-1] == "Not everything was tried: it ended its process 2 times."
    (death,) = (f for f in found.document.violated if f.property == PROCESS)
    assert len(death.case["logits"][0]) == 2
    words = shlex.split(death.reproduce)
    outcome = check_one(words[2], PROCESS, words[words.index("--case") + 1], Options())
    assert (outcome.verdict, outcome.observed) == (Verdict.VIOLATED, "killed: signal SIGABRT")
    assert survival(Observation(value=(1.0,))).verdict is Verdict.HOLDS
    write(found.document, tmp_path / "audit.json")
    (again,) = replay(tmp_path / "audit.json", properties=[PROCESS])
    assert (again.became, again.observed) == ("still there", "killed: signal SIGABRT")


def test_the_time_of_an_audit_is_limited(few_laws, monkeypatch):
    def identified(runner):
        dialect = identify(runner)
        monkeypatch.setattr(runner, "_deadline", time.monotonic() + 1)
        return dialect

    monkeypatch.setattr(audits, "identify", identified)
    patient = Options(profile="quick", formats=(BINARY64,), limits=Limits(seconds_per_case=2.0), budget=99.0)
    document = audited(BY_NAME["hanging:call"], patient).document
    assert "Not everything was tried: the time for the audit, 99 s, was used up." in document.dialect.notes
    # It hangs for two classes, and has done so once before: when it was identified.
    laws = [f for f in document.findings if f.property != PROCESS]
    assert {f.verdict for f in laws} == {"inconclusive"}
    assert all("the time for the audit, 99 s, was used up." in f.explanation for f in laws)
    assert [f.property for f in document.violated] == [PROCESS]


def test_no_memory_for_torch_names_the_limit(tmp_path):
    (tmp_path / "theirs.py").write_text("def loss(logits, labels):\n    return logits\n")
    with pytest.raises(UsageError, match=r"the limit on memory, 0\.01 GiB, .* give more with --memory"):
        audits.opened(f"{tmp_path}/theirs.py:loss", Options(limits=Limits(memory_bytes=int(0.01 * 2**30))))


def test_no_time_at_all_is_a_refusal():
    with pytest.raises(UsageError, match=r"the time for the audit, 0\.01 s, was used up, and importing it was not"):
        Subject.open("subject.zoo:plain", limits=Limits(total_seconds=0.01))


@pytest.mark.parametrize("name", RAISING_OR_RETURNING)
def test_what_is_raised_or_returned_becomes_an_observation(name):
    module, _, attribute = name.partition(":")
    subject = getattr(import_module(f"subject.hostile.{module}"), attribute)
    plain = Convention("loss", "function", formats=("binary64",), reductions=("none",), result="per_sample")
    seen = LocalSubject(subject, convention=plain).observe(case(2), twice=True)
    said = " ".join(filter(None, (seen.error, seen.gradient_reason)))
    assert seen.error is None or "\n" not in seen.error
    assert len(said) < 500
    if BY_NAME[name].law == VALUE and seen.error is not None:
        assert BY_NAME[name].says.removeprefix("raised ").removesuffix(".") in said


# --- the limits, without a process ---------------------------------------------------------------------------------


class Cut(LocalSubject):
    """Answers so many cases, and then is exhausted."""

    def __init__(self, subject, answers):
        super().__init__(subject)
        self.left = answers

    def observe(self, case, **how):
        if not self.left:
            raise Exhausted("enough is enough")
        self.left -= 1
        return super().observe(case, **how)


@pytest.mark.parametrize(
    ("answers", "says"), [(0, "not tried: enough is enough"), (3, "only 3 of 9 examples were tried: enough is enough")]
)
def test_a_search_that_is_cut_decides_nothing(answers, says):
    dialect = identify(LocalSubject(zoo.plain))
    law = next(law for law in judging.load_properties() if law.id == VALUE)
    found = search(law, Context(Cut(zoo.plain, answers), dialect, BINARY32), examples=9)
    assert (found.verdict, found.examples, found.cut) == (Verdict.INCONCLUSIVE, answers, says)


def test_a_violation_that_was_found_before_stays_one():
    dialect = identify(LocalSubject(zoo.plain))
    law = next(law for law in judging.load_properties() if law.id == VALUE)

    def off(logits, labels):
        return zoo.plain(logits, labels) + 1

    found = search(law, Context(Cut(off, 1), dialect, BINARY32), examples=9)
    assert found.verdict is Verdict.VIOLATED


def test_a_subject_that_was_never_identified_measures_nothing(monkeypatch):
    def exhausted(_):
        raise Exhausted("enough is enough")

    monkeypatch.setattr(audits, "identify", exhausted)
    runner = LocalSubject(zoo.plain)
    runner.deaths = []
    with (
        progress("plain", quiet=True) as meter,
        pytest.raises(NothingMeasured, match="plain was not identified, enough is enough"),
    ):
        audits._audited("subject.zoo:plain", runner, Options(profile="quick"), meter, datetime.now(UTC))
    runner.deaths = [Death(case(2), PLAIN, "signal SIGABRT")]
    with progress("plain", quiet=True) as meter:
        found = audits._audited("subject.zoo:plain", runner, Options(profile="quick"), meter, datetime.now(UTC))
    assert [f.property for f in found.violated] == [PROCESS]
    said = found.dialect
    assert (said.formula, said.deviation, said.remedy) == (
        *("not known: plain was not identified, enough is enough", "", ""),
    )

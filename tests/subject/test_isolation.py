"""Subjects in a child process that crash, hang, exit, eat, print and close: each costs one observation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from polyref.errors import UsageError
from polyref.subject import Limits, LocalSubject, NoConvention, ReturnsNothing, Runner, Subject
from polyref.subject.worker import says_no_memory
from subject import zoo
from subject.cases import PRINTED, case
from subject.parent import workers

TARGET = "subject.misbehaving:by_class_count"
GENTLE = Limits(seconds_per_case=60.0, memory_bytes=1 << 30, restarts=100)


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind():
    before = workers()
    yield
    assert workers() <= before, "processes are left"


def gone(pid: int) -> bool:
    """Whether a process that is no child of ours has ended; waits as long as it takes, within reason."""
    for _ in range(1500):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def subject(nothing_left_behind):
    with Subject.open(TARGET, limits=GENTLE) as opened:
        yield opened


def test_the_subject_is_described(subject):
    runner: Runner = subject
    assert runner.name == "by_class_count"
    assert runner.convention.text == "by_class_count(logits, labels) → (N,)"
    assert Path(runner.source.file).name == "misbehaving.py"
    assert runner.source.doc == "Behaves for few classes."
    assert runner.environment()["threads"] == "1"


def test_the_child_sees_what_this_process_sees(subject):
    here = LocalSubject(zoo.plain)
    cases = [case(c, epsilon=(e,)) for c in (2, 3, 4) for e in (1.0, -1.0)] * 10
    assert subject.observe_all(cases) == here.observe_all(cases)
    assert subject.observe(PRINTED, twice=True) == here.observe(PRINTED, twice=True)
    assert subject.observe(PRINTED, gradient=False) == here.observe(PRINTED, gradient=False)


def test_what_is_printed_goes_to_the_log(subject):
    subject.observe(case(3))
    tail = subject.log_tail(2)
    assert tail == ["classes: 3", "to standard error"]
    assert subject.writes == {"imported", "called"}
    assert not subject.slow_import


def test_a_crash_costs_one_observation(subject):
    restarts = subject.restarts
    order = [3, 6, 3, 8, 3, 7, 3, 15, 3]
    seen = subject.observe_all([case(c) for c in order])
    assert [o.killed for o in seen] == [
        *(None, "signal SIGABRT", None, "exit 4", None, "exit 3", None, None, None),
    ]
    good = subject.observe(case(3))
    assert all(o == good for c, o in zip(order, seen, strict=True) if c == 3)
    assert subject.restarts == restarts + 2


def test_a_segmentation_fault_leaves_its_trace_in_the_log(subject):
    assert subject.observe(case(11)).killed == "signal SIGSEGV"
    assert any("misbehaving.py" in line for line in subject.log_tail(40))


def test_pipes_that_are_closed_or_written_on(subject):
    seen = subject.observe_all([case(12), case(13), case(3)])
    assert [o.killed for o in seen] == ["pipe closed", "pipe closed", None]


def test_a_process_left_behind_is_ended_with_its_group(subject):
    before = processes_named("subject.worker")
    assert subject.observe(case(14)).killed == "exit 5"
    assert subject.observe(case(3)).ok
    # One was replaced by one, and the grandchild is not among them.
    assert len(processes_named("subject.worker")) == len(before)


def processes_named(text: str) -> list[str]:
    """Processes of ours, grandchildren too, by a part of the command line that names our pipes' parent."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if text in command and f"--parent {os.getpid()} " in f"{command} ":
                found.append(entry.name)
    return found


def test_memory_is_limited(subject):
    eaten, good = subject.observe_all([case(9), case(3)])
    assert eaten.trouble == "killed: memory"
    assert "allocate" in eaten.error
    assert good.ok


def test_time_is_limited(subject, monkeypatch):
    monkeypatch.setattr(subject, "limits", replace(GENTLE, seconds_per_case=1.0))
    assert subject.observe(case(5)).killed == "timeout"


def test_how_memory_runs_out():
    assert says_no_memory("MemoryError")
    assert says_no_memory("OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
    assert not says_no_memory("ValueError: give more memory")


def test_a_call_that_kills_the_probe_is_named():
    with pytest.raises(NoConvention) as caught:
        Subject.open("subject.misbehaving:always_aborts", limits=GENTLE)
    assert "the call always_aborts(logits, labels) ended the process (signal SIGABRT)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.attempts[0].outcome == "killed: signal SIGABRT"


def test_refusals_arrive_in_the_parent(tmp_path):
    with pytest.raises(ReturnsNothing, match="its body has no return value") as nothing:
        Subject.open("subject.zoo:returns_none")
    assert nothing.value.convention.text == "returns_none(logits, labels) → None"
    assert nothing.value.convention.attempts
    with pytest.raises(NoConvention) as broken:
        Subject.open("subject.zoo:broken")
    assert len(broken.value.attempts) > 8
    path = tmp_path / "leaves.py"
    path.write_text("import os\nprint('good' + 'bye', flush=True)\nos._exit(9)\n")
    with pytest.raises(UsageError, match=r"importing it ended the process \(exit 9\); its last words: goodbye"):
        Subject.open(f"{path}:loss")


def test_a_malformed_target_starts_no_process():
    with pytest.raises(UsageError, match="no colon"):
        Subject.open("nothing")
    with pytest.raises(UsageError, match="init x=<object"):
        Subject.open("subject.zoo:plain", init={"x": object()})
    with pytest.raises(UsageError, match="seconds_per_case is 0"):
        Limits(seconds_per_case=0)


def test_a_closed_subject_says_so():
    subject = Subject.open("subject.zoo:PolyN", init={"N": 2, "epsilon": [1.0, 0.5]})
    assert subject.convention == LocalSubject(zoo.PolyN, init={"N": 2, "epsilon": [1.0, 0.5]}).convention
    here = LocalSubject(zoo.PolyN, convention=subject.convention)
    assert subject.observe(PRINTED) == here.observe(PRINTED)
    subject.close()
    subject.close()
    with pytest.raises(ValueError, match="has been closed"):
        subject.observe(PRINTED)


def test_a_child_does_not_outlive_its_parent():
    script = """
import sys
from pathlib import Path
from subject.cases import case
from polyref.subject import Limits, Subject
subject = Subject.open("subject.misbehaving:by_class_count", limits=Limits(seconds_per_case=600))
print(Path("/proc/self/task", str(__import__("os").getpid()), "children").read_text(), flush=True)
subject.observe(case(5))
"""
    path = os.pathsep.join(p for p in sys.path if p)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
    ) as parent:
        child = int(parent.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        parent.send_signal(signal.SIGKILL)
    assert gone(child)


def test_the_package_is_light():
    script = "import sys, polyref.subject, polyref.gallery; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_chance_is_seen_by_who_asks_twice_in_a_row_and_repeats_otherwise(tmp_path):
    path = tmp_path / "noisy.py"
    body = "    return logits.sum(-1) + torch.rand(len(logits))\n"
    path.write_text(f"import torch\n\n\ndef loss(logits, labels):\n{body}")
    with Subject.open(f"{path}:loss", limits=GENTLE) as noisy:
        first, second, third = (noisy.observe(case()).value for _ in range(3))
        assert len({first, second, third}) == 3
        noisy.observe(case(4))
        assert [noisy.observe(case()).value for _ in range(3)] == [first, second, third]

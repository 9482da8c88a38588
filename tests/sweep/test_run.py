"""Sweeps from the command line to the document: what users see, and faults of every kind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from polyref.cli import run as command
from polyref.errors import UsageError
from polyref.report import structs
from polyref.report import sweep as doc
from polyref.sweep import hand as hands
from polyref.sweep import local
from polyref.sweep.checkpoint import Checkpoint
from polyref.sweep.hand import Failed, Hand
from polyref.sweep.job import Job, Range
from polyref.sweep.kept import checkpoint_of
from polyref.sweep.local import LocalPool
from polyref.sweep.run import sweep
from polyref.sweep.space import Space
from polyref.sweep.wish import Wish
from polyref.sweep.wish import job_of as wished

from . import subjects
from .jobs import job_of, unbroken

pytestmark = pytest.mark.usefixtures("one_thread")

#: What a range takes, with the start of its process: a tenth of that is usual.
PATIENCE = 60.0


def swept(job: Job, checkpoint: Checkpoint | None = None, *, workers: int = 1, seconds: float = PATIENCE):
    pool = LocalPool(job, workers=workers, seconds=seconds, memory_bytes=4 << 30)
    found = sweep(job, pool, checkpoint)
    return found.swept, found.failed


def tallies(found):
    """What was found, without times."""
    return {r: s.tallies for r, s in found.items()}


def test_workers_find_what_is_found_here():
    job = job_of("textbook", length=16)
    for workers in (1, 2):
        found, failed = swept(job, workers=workers)
        assert not failed
        assert sorted(found) == job.ranges
        assert tallies(found) == unbroken(job)


@pytest.mark.parametrize(
    ("name", "reason", "seconds"),
    [
        ("raising", "raised ValueError: not this one", PATIENCE),
        ("shapeless", "returned shape (31,) for 32 rows", PATIENCE),
        ("greedy", "raised MemoryError", PATIENCE),
        ("dying", "ended its process (exit 7)", PATIENCE),
        ("hanging", "took more than 5 s", 5.0),
    ],
)
def test_a_range_that_fails_is_named_and_all_others_are_there(name, reason, seconds, tmp_path, monkeypatch):
    if name == "hanging":
        monkeypatch.setattr(local, "_TRIES", 1)
    job = job_of(name, length=32)
    found, failed = swept(job, Checkpoint(tmp_path, job), seconds=seconds)
    spot = Range(0x4120, 0x4140)
    assert failed == {spot: Failed(reason, final=name in ("raising", "shapeless"))}
    assert sorted([*found, spot]) == job.ranges
    # It is tried again when the sweep goes on, and what was done is not.
    again = Checkpoint(tmp_path, job)
    assert sorted(again.done()) == sorted(found)


def test_a_sweep_that_is_resumed_ends_as_one_that_was_not_stopped(tmp_path):
    job = job_of("textbook", length=16)
    kept = Checkpoint(tmp_path, job)
    seen = []

    def stop_after_three(r):
        seen.append(r)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(job, LocalPool(job, workers=1, seconds=PATIENCE, memory_bytes=4 << 30), kept, done=stop_after_three)
    assert len(kept.done()) == 3
    found, _ = swept(job, Checkpoint(tmp_path, job))
    assert tallies(found) == unbroken(job)


def test_a_folder_with_a_sweep_in_it_is_not_begun_again(tmp_path):
    job = job_of("textbook")
    assert checkpoint_of(job, checkpoint=tmp_path, resume=None).checkpoint.done() == {}
    with pytest.raises(UsageError, match=f"holds a sweep already: go on with --resume {tmp_path}"):
        checkpoint_of(job, checkpoint=tmp_path, resume=None)
    assert checkpoint_of(job, checkpoint=None, resume=None).checkpoint is None  # a short one needs none


def test_a_target_that_cannot_be_loaded_is_refused():
    job = job_of("textbook", target="sweep.subjects:nothing_of_the_kind")
    with pytest.raises(UsageError, match="nothing_of_the_kind"):
        swept(job)


def test_a_range_after_one_that_ended_the_process_gets_a_new_one():
    hand = Hand(job_of("dying"), seconds=PATIENCE, memory_bytes=4 << 30)
    try:
        assert isinstance(hand.sweep(Range(0x4123, 0x4124)), Failed)
        assert not isinstance(hand.sweep(Range(0x4124, 0x4130)), Failed)
    finally:
        hand.close()


def test_the_command_writes_what_it_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = Path(subjects.__file__).read_text()
    Path("mine.py").write_text(source)
    options = ["--format", "bf16", "--margins", "--range", "0x4100:0x4180", "--epsilon", "-1", "--json", "sweep.json"]
    assert command(["sweep", "mine.py:textbook", *options]) == 0
    shown = capsys.readouterr().out
    document = doc.loads(Path("sweep.json").read_bytes())
    assert document.judged == document.inputs == 128
    assert [loss.epsilon for loss in document.losses] == [[-1.0]]
    assert [s.quantity for s in document.losses[0].swept] == ["value", "gradient"]
    for found in document.losses[0].swept:
        assert sum(g.inputs for g in found.grades) == found.by_filter + found.by_balls == 128
        assert found.worst_ulps[0].place in shown
        assert found.ulps_at_most >= found.worst_ulps[0].size
        for case in found.worst_ulps:
            assert float.fromhex(case.logits[0]) == Space("margins", "bfloat16").numbers(int(case.place, 16))[0]
    assert "every result is within the textbook tolerance" in shown
    assert not list(tmp_path.glob("polyref-sweep*"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--format", "bfloat16"], "give --margins or --pairs"),
        (["--format", "bfloat16", "--margins", "--pairs"], "give --margins or --pairs"),
        (["--format", "binary32", "--pairs"], "all pairs of binary32 cannot be swept"),
        (["--format", "bfloat16", "--margins", "--range", "9:8"], "range '9:8' is no part"),
        (["--format", "bfloat16", "--margins", "--resume", "nowhere"], "--resume nowhere is no folder"),
        (["--format", "bfloat16", "--margins", "--resume", ".", "--checkpoint", "."], "not both"),
        (["--format", "bfloat16", "--margins", "--timeout", "0"], "--timeout 0 is not allowed"),
        (["--format", "bfloat16", "--margins", "--resume", "."], "--resume . holds no sweep"),
        (["--format", "bfloat16", "--margins", "--seed", "3"], "--seed 3 is for --sample"),
        (["--format", "bf16", "--pairs", "--sample", str(1 << 50)], f"{1 << 50} inputs are too many for one sweep"),
    ],
)
def test_mistakes_end_in_one_line(options, says, capsys):
    assert command(["sweep", "sweep.subjects:textbook", *options]) == 2
    complaint = capsys.readouterr().err
    assert says in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "epsilons", "says"),
    [
        ("mean_only", ((1.0,),), "mean_only returns one number a batch"),
        ("no_epsilon", (), "no_epsilon takes no epsilon that could be set: say which one it has with --epsilon"),
        ("textbook", ((1.0, 2.0),), "textbook cannot be asked for bfloat16, two classes and this loss"),
        ("textbook", ((1e300,),), r"epsilon 1e\+300 is beyond bfloat16: give a smaller one"),
    ],
)
def test_subjects_that_cannot_be_swept_are_told_apart(name, epsilons, says):
    with pytest.raises(UsageError, match=says):
        wished(Wish(f"sweep.subjects:{name}", "margins", "bfloat16", epsilons))


def test_what_is_infinite_or_no_number_survives_a_checkpoint(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = ["--margins", "--range", "0x4120:0x4128", "--epsilon", "1", "--no-gradient", "--workers", "1"]
    for form, folder, file in (("bf16", "--checkpoint", "first.json"), ("bfloat16", "--resume", "again.json")):
        options = ["--format", form, *asked, folder, "kept", "--json", file]
        assert command(["sweep", "sweep.subjects:nothing", *options]) == 1
    first, again = (doc.loads(Path(name).read_bytes()) for name in ("first.json", "again.json"))
    assert repr(first.losses) == repr(again.losses)
    (found,) = first.losses[0].swept
    assert found.worst_ulps[0].size == float("inf")
    assert {c.observed[0] for c in found.worst_ulps} >= {"nan", "-inf"}
    assert "All of it from a checkpoint" in capsys.readouterr().out


def test_what_a_backward_pass_leaves_behind_does_not_change_what_it_returned():
    places = {"format": "binary32", "start": 0x42B20000, "stop": 0x42B20100, "length": 0x100}
    (ours,), (theirs,) = (unbroken(job_of(n, **places)).values() for n in ("textbook", "flushes_afterwards"))
    assert repr(ours) == repr(theirs)


def test_nothing_is_left_of_a_sweep_that_did_not_begin(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = ["sweep", "sweep.subjects:textbook", "--format", "bfloat16", "--pairs", "--epsilon", "1"]
    assert command([*asked, "--workers", "0"]) == 2
    assert "--workers 0 is not allowed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_cannot_start_ends_the_sweep(monkeypatch):
    monkeypatch.setattr(hands, "_TO_START", 0.05)
    with pytest.raises(UsageError, match=r"cannot be loaded to be swept: it took more than 0\.05 s twice"):
        swept(job_of("textbook"))


def test_a_killed_command_loses_the_ranges_in_flight_alone(tmp_path):
    """kill -9 in the middle: the folder holds whole ranges, and --resume ends as an unbroken sweep does."""
    (tmp_path / "mine.py").write_text(Path(subjects.__file__).read_text())
    base = [sys.executable, "-m", "polyref", "sweep", "mine.py:slow", "--format", "bfloat16", "--margins"]
    base += ["--epsilon", "1", "--workers", "1", "--json", "sweep.json"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen([*base, "--checkpoint", "kept"], cwd=tmp_path, env=environment) as process:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "kept").glob("range-*")) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    before = {p.name: p.read_bytes() for p in (tmp_path / "kept").glob("range-*")}
    assert before
    assert not (tmp_path / "sweep.json").exists()
    subprocess.run([*base, "--resume", "kept"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert {p.name: p.read_bytes() for p in (tmp_path / "kept").glob("range-*")}.items() >= before.items()
    resumed = doc.loads((tmp_path / "sweep.json").read_bytes())
    assert resumed.judged == resumed.inputs == 1 << 16
    due = unbroken(job_of("slow", start=0, stop=1 << 16, length=1 << 14))
    found = [json.loads(path.read_bytes())["swept"]["tallies"] for path in sorted((tmp_path / "kept").glob("range-*"))]
    assert found == json.loads(msgspec.json.encode(structs.plain([due[r] for r in sorted(due)])))

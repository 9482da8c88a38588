"""The folder of a sweep: what is kept is found again, and what is damaged or foreign is refused by its name."""

from __future__ import annotations

import errno
import math

import msgspec
import pytest

from polyref.errors import UsageError
from polyref.report import files
from polyref.sweep.checkpoint import Checkpoint
from polyref.sweep.hand import Swept
from polyref.sweep.job import Range
from polyref.sweep.tally import Tally, Worst

from .jobs import job_of

JOB = job_of("textbook", path=["/somewhere"], start=0, stop=40, length=10)
INF, NAN = math.inf, math.nan
#: What was off by any amount is as infinite after it was written down as before.
TALLY = Tally(
    [[1, 2]], [Worst(INF, 11, [NAN]), Worst(2.0, 12, [-INF])], INF, [Worst(INF, 11, [NAN])], INF, [11, None], 3, 0, {}
)
SWEPT = Swept([{"value": TALLY}], 0.5, 0.25)


def test_what_is_kept_is_found_again(tmp_path):
    folder = tmp_path / "new" / "folder"
    kept = Checkpoint(folder, JOB)
    assert kept.done() == {}
    kept.keep(Range(10, 20), SWEPT)
    again = Checkpoint(folder, msgspec.structs.replace(JOB, path=["/elsewhere"]))
    assert repr(again.done()) == repr({Range(10, 20): SWEPT})  # as text: NaN is not NaN
    kept.keep(Range(10, 20), SWEPT)
    assert len(again.done()) == 1
    (folder / "notes.txt").write_text("mine")
    again.remove()
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epsilons": [[-1.0]]}, r"epsilons \[\[1.0\]\], not \[\[-1.0\]\]"),
        ({"source": "changed"}, "source None, not 'changed'"),
        ({"versions": {"polyref": "2"}}, "versions"),
        ({"length": 20}, "length 10, not 20"),
    ],
)
def test_a_folder_of_another_sweep_is_refused(tmp_path, changes, says):
    Checkpoint(tmp_path, JOB)
    with pytest.raises(UsageError, match=f"job.json belongs to another sweep \\({says}"):
        Checkpoint(tmp_path, msgspec.structs.replace(JOB, **changes))


def _cut(text):
    return text[: len(text) // 2]


def _changed(text):
    return text.replace("0.25", "0.26")


@pytest.mark.parametrize(
    ("damage", "says"), [(_cut, "is damaged"), (_changed, "is damaged: delete it"), (lambda _: "", "is damaged")]
)
def test_a_damaged_file_is_refused_by_its_name(tmp_path, damage, says):
    kept = Checkpoint(tmp_path, JOB)
    kept.keep(Range(0, 10), SWEPT)
    (path,) = tmp_path.glob("range-*")
    path.write_text(damage(path.read_text()))
    with pytest.raises(UsageError, match=f"{path.name} {says}"):
        kept.done()
    job = tmp_path / "job.json"
    job.write_text(damage(job.read_text()) if damage is not _changed else "{}")
    with pytest.raises(UsageError, match=r"job.json is damaged"):
        Checkpoint(tmp_path, JOB)


def test_a_file_of_another_sweep_or_range_is_refused(tmp_path):
    kept = Checkpoint(tmp_path / "a", JOB)
    kept.keep(Range(0, 10), SWEPT)
    (path,) = (tmp_path / "a").glob("range-*")
    other = Checkpoint(tmp_path / "b", msgspec.structs.replace(JOB, gamma=1.0))
    (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="belongs to another sweep: delete it"):
        other.done()
    renamed = path.with_name("range-0000000014-000000001e.json")
    path.rename(renamed)
    with pytest.raises(UsageError, match=f"{renamed.name} belongs to another sweep"):
        kept.done()


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    kept = Checkpoint(tmp_path, JOB)
    kept.keep(Range(0, 10), SWEPT)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UsageError, match=r"cannot write .*range-000000000a-0000000014.json: no space left on device"):
        kept.keep(Range(10, 20), SWEPT)
    assert repr(kept.done()) == repr({Range(0, 10): SWEPT})
    assert not list(tmp_path.glob(".*"))


def test_a_schema_of_the_future_is_refused(tmp_path):
    Checkpoint(tmp_path, JOB)
    path = tmp_path / "job.json"
    path.write_text(path.read_text().replace("checkpoint/2", "checkpoint/9"))
    with pytest.raises(UsageError, match="is of schema 'polyref-sweep-checkpoint/9'"):
        Checkpoint(tmp_path, JOB)

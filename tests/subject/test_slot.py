"""A child that is prepared is taken once, by who asks for its kind, and ends where nobody does."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyref.cli import run
from polyref.subject import slot as slots
from polyref.subject.child import WORKER
from polyref.subject.client import Subject
from polyref.subject.limits import DEFAULT_LIMITS
from polyref.subject.slot import Slot, prepared, slot
from subject.parent import workers

MEMORY = DEFAULT_LIMITS.memory_bytes
LOSS = "import torch\ndef loss(logits, labels):\n    return torch.nn.functional.cross_entropy(logits, labels)\n"


@pytest.fixture(autouse=True, name="before")
def _before() -> Iterator[set[int]]:
    """The processes that other tests have left running; a test leaves no more."""
    before = workers()
    yield before
    assert workers() <= before
    assert not slots._prepared


def test_the_first_slot_of_its_kind_takes_the_child(before: set[int]) -> None:
    with prepared(module=WORKER, memory_bytes=MEMORY):
        (there,) = workers() - before
        other = slot(module=WORKER, memory_bytes=MEMORY + 1)
        assert other.child is None
        first = slot(module=WORKER, memory_bytes=MEMORY)
        assert first.child is not None
        second = slot(module=WORKER, memory_bytes=MEMORY)
        assert second.child is None
    assert workers() - before == {there}  # who took it ends it
    first.close()


def test_a_slot_that_nobody_holds_ends_its_child(before: set[int]) -> None:
    held = Slot(module=WORKER, memory_bytes=MEMORY)
    held.start()
    assert workers() - before
    del held
    assert not workers() - before


def test_a_prepared_child_that_has_died_is_not_taken(tmp_path: Path, before: set[int]) -> None:
    (tmp_path / "loss.py").write_text(LOSS)
    with prepared(module=WORKER, memory_bytes=MEMORY):
        (there,) = workers() - before
        os.kill(there, signal.SIGKILL)
        os.waitid(os.P_PID, there, os.WEXITED | os.WNOWAIT)
        with Subject.open(f"{tmp_path / 'loss.py'}:loss") as subject:
            assert subject.name == "loss"


def test_a_command_that_is_refused_leaves_no_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: set[int]
) -> None:
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
    (tmp_path / "after" / "loss.py").write_text(LOSS)
    monkeypatch.chdir(tmp_path / "before")
    assert run(["audit", "loss.py:loss", "--formats", "nonsense"]) == 2
    assert not workers() - before
    monkeypatch.chdir(tmp_path / "after")
    with Subject.open("loss.py:loss") as subject:
        assert subject.name == "loss"


@pytest.mark.parametrize("error", [BlockingIOError, RuntimeError], ids=["no process", "no thread"])
def test_what_cannot_be_prepared_leaves_nothing_open(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise error("none is left")

    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = opened()
    with monkeypatch.context() as m:
        m.setattr(subprocess, "Popen", refused)
        with prepared(module=WORKER, memory_bytes=MEMORY):
            assert slot(module=WORKER, memory_bytes=MEMORY).child is None
    assert opened() == before

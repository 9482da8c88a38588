"""The state of a process: every change is named, and put back."""

from __future__ import annotations

import importlib
import os
import signal

import pytest
import torch

from polyref.subject.state import ProcessState, seed, seeded_otherwise, without_frameworks
from subject.hostile import meddling
from subject.hostile.base import poly
from subject.hostile.dying import fork

LOGITS, LABELS = torch.zeros(1, 2), torch.zeros(1, dtype=torch.long)


@pytest.mark.parametrize(
    ("deed", "names"),
    [
        ("dtype", ("the default dtype of torch (torch.float32 before, torch.float64 now)",)),
        ("gradients_off", ("torch's gradient mode (True before, False now)",)),
        ("environment", ("the environment variable OMP_NUM_THREADS", "the environment variable PATH")),
        ("functions", ("torch.softmax", "torch.tensor", "torch.nn.functional.cross_entropy")),
        ("gradient", ("torch.equal", "torch.autograd.grad")),
        ("methods", ("torch.Tensor.tolist", "torch.Tensor.clone")),
        ("built_in", ("builtins.print", "builtins.len")),
        ("recursion", None),
        ("folder", None),
        ("flags", None),
    ],
)
def test_a_change_is_named_and_put_back(deed, names, monkeypatch, one_thread):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    state = ProcessState()
    assert state.changed() == ()
    try:
        getattr(meddling, deed)(LOGITS, LABELS)
    finally:
        found = state.restore()
    assert found if names is None else set(found) == set(names)
    assert state.restore() == ()
    assert torch.tensor([1.0]).dtype is torch.float32


def test_a_removed_folder_and_an_alarm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = ProcessState()
    folder = tmp_path / "gone"
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()
    signal.alarm(600)
    assert len(state.restore()) == 2
    assert os.getcwd() == str(tmp_path)
    assert signal.alarm(0) == 0


# JAX, which another test may have loaded into this process, warns of every fork; this child does nothing but wait.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_a_process_that_a_call_leaves_is_ended():
    state = ProcessState()
    fork(LOGITS, LABELS)
    assert state.restore() == ("whether there are child processes (False before, True now)",)
    assert state.changed() == ()


def test_what_cannot_be_undone_is_named_once():
    from threading import Event, Thread

    state, done = ProcessState(), Event()
    thread = Thread(target=done.wait)
    thread.start()
    try:
        assert "the number of threads" in state.restore()[0]
        assert state.restore() == ()
    finally:
        done.set()
        thread.join()


def test_a_loss_that_seeds_is_seen():
    before = torch.default_generator.get_state()
    seed(3)
    poly(LOGITS, LABELS)
    assert seeded_otherwise(3) == ()
    torch.manual_seed(0)
    assert seeded_otherwise(3) == ("the seed of torch",)
    torch.default_generator.set_state(before)


def test_what_torch_s_compiler_does_when_it_is_imported_is_nobody_s_doing(monkeypatch):
    seeding = torch.manual_seed
    changed = ("torch.manual_seed", "the environment variable TORCHINDUCTOR_CACHE_DIR", "torch.softmax")
    importlib.import_module("torch._inductor.config")
    assert without_frameworks(changed) == ("torch.softmax",)
    monkeypatch.setattr(torch, "manual_seed", lambda _: seeding(0))
    assert without_frameworks(changed) == ("torch.manual_seed", "torch.softmax")

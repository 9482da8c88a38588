"""Timing and memory on CUDA, on a device that is made up; on a real one where there is one."""

from __future__ import annotations

import pytest
import torch
from bench.fakes import FakeClock, FakeCuda

from polyref.bench import cuda, losses
from polyref.bench.contender import Contender
from polyref.bench.memory import Held
from polyref.bench.timer import Plan, measure


def _timer(device: FakeCuda, clock: FakeClock) -> cuda.EventTimer:
    return cuda.EventTimer(flush=lambda: device.launch("flush", 5.0), cuda=device, clock=clock)


def test_only_what_lies_between_the_events_of_a_call_is_counted() -> None:
    device, clock = FakeCuda(), FakeClock()

    def run() -> None:
        clock.spend("launching", 1000)
        device.launch("forward", 1.5)
        device.launch("backward", 0.5)

    contender = Contender("a", run, before=lambda: device.launch("restore", 7.0))
    taken = _timer(device, clock).take(contender, 3)
    assert taken.seconds == pytest.approx(0.006)
    assert taken.spent == pytest.approx(3e-6)
    assert device.done == ["restore", "flush", "event", "forward", "backward", "event"] * 3


def test_a_call_that_the_events_do_not_see_takes_some_time() -> None:
    device = FakeCuda()
    assert 0 < _timer(device, FakeClock()).take(Contender("a", int), 1).seconds < 1e-6


def test_contenders_take_turns_on_the_device() -> None:
    device, clock = FakeCuda(), FakeClock()
    contenders = [Contender(n, lambda n=n, t=t: device.launch(n, t)) for n, t in (("a", 30.0), ("b", 60.0))]
    samples = measure(contenders, Plan(), 1.0, timer=_timer(device, clock), rounds=2)
    assert "".join(name for name in device.done if len(name) == 1) == "aabb" + "ab" + "ba"
    assert samples.ratio("b", "a").median == pytest.approx(2)


def test_memory_is_the_peak_of_the_call_alone() -> None:
    device = FakeCuda()
    device.allocate(500)
    device.allocate(-500)

    def run() -> None:
        device.allocate(300)
        device.allocate(-200)

    assert cuda.held(run, cuda=device) == Held(300, 100)


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch is built with CUDA")
def test_why_there_is_no_cuda() -> None:
    assert cuda.absent() == "this torch is built without CUDA"


@pytest.mark.cuda
@pytest.mark.skipif(bool(cuda.absent()), reason=cuda.absent())
def test_a_group_on_the_device() -> None:
    group = losses.group("tiny", (64, 128), torch.float32, 0.0, device="cuda", compiler=None)
    samples = measure(group.contenders, Plan(sample=1e-4), 0.0, timer=cuda.event_timer(), rounds=2)
    assert all(value > 0 for values in samples.seconds.values() for value in values)
    copies = {c.name: cuda.held(c.run).peak for c in group.contenders if c.name in (losses.NEW_COPY, losses.COPY)}
    assert copies == {losses.NEW_COPY: group.logits, losses.COPY: 0}

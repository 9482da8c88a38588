"""A sweep on a device: subject, filter and statistics stay there, and find what they find on the CPU."""

from __future__ import annotations

import pytest
import torch

from polyref.spec import Spec
from polyref.sweep.hearing import Hearing
from polyref.sweep.judge import Judge
from polyref.sweep.space import Space

from . import subjects

CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="torch.cuda.is_available() is false: no CUDA device"),
    ],
)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("name", ["bfloat16", "binary16"])
def test_numbers_that_are_right_on_one_device_are_judged_alike_on_every_other(device, name, one_thread):
    """The same answers, computed once, before a judge there and a judge here."""
    space, spec = Space("margins", name), Spec(epsilon=(1.0,))
    start, stop = 0x3000, 0x4800
    logits = space.logits(start, stop)
    answers = subjects.textbook(logits, torch.zeros(stop - start, dtype=torch.int64), 1.0, "none").double()
    found = []
    for where in ("cpu", device):
        hearing = Hearing(Judge(space, spec, device=where))
        there = space.logits(start, stop, where)
        assert torch.equal(there.cpu(), logits)
        hearing.add(start, there.double(), answers.to(where), None)
        found.append(hearing.result()["value"])
    here, there_found = found
    assert there_found.judged == here.judged == stop - start
    assert there_found.counts == here.counts
    assert there_found.ulps == here.ulps

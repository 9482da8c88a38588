"""The first look: the native code and torch's operations decide alike, and what one leaves open the other may not."""

from __future__ import annotations

import math

import pytest
import torch

from polyref import native
from polyref.grades import Grade
from polyref.spec import Spec
from polyref.sweep import first
from polyref.sweep.hearing import Hearing
from polyref.sweep.judge import Judge
from polyref.sweep.space import Space

from . import subjects

needs_native = pytest.mark.skipif(not native.built(), reason="the native library is not built")


@pytest.fixture(autouse=True)
def loaded():
    """The operator is there where it can be."""
    native.available()


PARTS = [("pairs", "bfloat16", 0x3F80_BF00), ("pairs", "binary16", 0x4100_7B80), ("margins", "binary32", 0x4047_0000)]
SPECS = [Spec(epsilon=(1.0,)), Spec(epsilon=(-1.0,)), Spec(epsilon=(0.5, -0.5, 2.0), gamma=0.5)]


def answers(space: Space, spec: Spec, start: int, count: int = 3000) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, values and gradients of a part, some of them wrong; the part is no whole number of blocks."""
    logits = space.logits(start, start + count).requires_grad_()
    value = subjects.textbook(logits.float(), torch.zeros(count, dtype=torch.int64), 1.0, "none")
    if spec.epsilon != (1.0,) or spec.gamma:
        x = 1 - torch.softmax(logits.double(), 1)[:, 0]
        poly = sum(e * x ** (j + 1) for j, e in enumerate(spec.epsilon))
        value = x**spec.gamma * (
            torch.nn.functional.softplus(logits.double() @ torch.tensor([-1.0, 1.0]).double()) + poly
        )
    slopes = torch.autograd.grad(value, logits, torch.ones_like(value))[0].double()
    value = value.detach().to(logits.dtype).double()
    value[::97] *= 1.01
    value[5], value[6], slopes[7, 1] = math.nan, math.inf, math.nan
    slopes[::89] *= 1.004
    return logits.detach().double(), value, slopes


@needs_native
@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.epsilon}-{s.gamma}")
@pytest.mark.parametrize(("kind", "name", "start"), PARTS, ids=lambda v: v if isinstance(v, str) else hex(v))
def test_native_code_and_torch_decide_alike(kind, name, start, spec, one_thread):
    space = Space(kind, name)
    judge = Judge(space, spec)
    logits, value, slopes = answers(space, spec, start)
    floors = [(0.45, 0.3), (0.45, 0.3)]
    ours, theirs = (look(judge, logits, value, slopes, floors) for look in (first._native, first._torch))
    assert torch.equal(ours.strange, theirs.strange)
    for a, b in zip(ours.quantities, theirs.quantities, strict=True):
        assert a.counts[:2] == b.counts
        assert a.first[:2] == b.first
        assert sum(map(sum, a.counts)) + len(a.open) == sum(map(sum, b.counts)) + len(b.open)
        assert set(a.open.tolist()) <= set(b.open.tolist())
        where = torch.isin(a.high, b.high)
        assert torch.equal(a.high[where], b.high)
        for mine, other in ((a.ulps, b.ulps), (a.ratios, b.ratios)):
            assert torch.allclose(mine[where], other, rtol=1e-6)


@needs_native
@pytest.mark.parametrize(("kind", "name", "start"), PARTS, ids=lambda v: v if isinstance(v, str) else hex(v))
def test_the_tallies_are_the_same_whichever_looks_first(kind, name, start, one_thread, monkeypatch):
    """The native code grades more by itself: each such grade is the one that the whole filter and the balls find."""
    space, spec = Space(kind, name), SPECS[0]
    judge = Judge(space, spec)
    logits, value, slopes = answers(space, spec, start, 1000)
    found = []
    for which in ("native", "torch"):
        monkeypatch.setattr(first, "implementation", lambda _, which=which: which)
        hearing = Hearing(judge)
        hearing.add(start, logits, value, slopes)
        found.append(hearing.result())
    for quantity, ours in found[0].items():
        theirs = found[1][quantity]
        assert (ours.counts, ours.first) == (theirs.counts, theirs.first)
        assert repr((ours.ulps, ours.ratios)) == repr((theirs.ulps, theirs.ratios))  # as text: NaN is not NaN
        assert (ours.judged, ours.special) == (theirs.judged, theirs.special)


@pytest.mark.parametrize("which", [pytest.param("native", marks=needs_native), "torch"])
def test_an_infinity_in_the_place_of_a_number_is_no_small_error(which, one_thread, monkeypatch):
    """65505 rounds to 65504, the largest number of binary16, and infinity counts as 65536: 31/32 of an ulp off."""
    monkeypatch.setattr(first, "implementation", lambda _: which)
    space = Space("margins", "binary16")
    place = space.format.encode(-65504.0)
    hearing = Hearing(Judge(space, SPECS[0]))
    answer = torch.tensor([math.inf], dtype=torch.float64)
    hearing.add(place, space.logits(place, place + 1).double(), answer, None)
    found = hearing.result()["value"]
    assert Judge(space, SPECS[0]).certified(place, "value", [math.inf])[2] is Grade.BROKEN
    assert [sum(c) for c in found.counts] == [0, 0, 0, 0, 0, 1]


@needs_native
def test_infinite_and_undefined_logits_are_told_apart(one_thread):
    space, judge = Space("margins", "bfloat16"), Judge(Space("margins", "bfloat16"), SPECS[0])
    logits = space.logits(0x7F7E, 0x7F83).double()
    value = torch.zeros(5, dtype=torch.float64)
    for look in (first._native, first._torch):
        seen = look(judge, logits, value, None, [(-1.0, -1.0)])
        assert seen.strange.tolist() == [2, 3, 4]
        assert sum(map(sum, seen.quantities[0].counts)) + len(seen.quantities[0].open) == 2


@needs_native
def test_the_operator_refuses_what_would_be_read_wrongly(one_thread):
    judge = Judge(Space("margins", "bfloat16"), SPECS[0])
    value = torch.zeros(4, dtype=torch.float64)
    for logits, floors in (
        (torch.zeros(4, 3, dtype=torch.float64), [(0.0, 0.0)]),
        (torch.zeros(4, 2), [(0.0, 0.0)]),
        (torch.zeros(4, 2, dtype=torch.float64), [(0.0, 0.0)] * 2),
    ):
        with pytest.raises(RuntimeError, match="polyref_native"):
            first._native(judge, logits, value, None, floors)

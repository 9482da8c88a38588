"""The contenders do the same work, each by the backend that it names; what cannot run is left out with a reason."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from polyref import nn
from polyref.bench import binary, losses, ours
from polyref.bench.goals import COPY, CROSS_ENTROPY, EAGER, NATIVE, TRITON
from polyref.bench.memory import held
from polyref.nn._backend import VARIABLE

FORMS = {"polyref": losses.polyref, **losses.OTHERS}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINETO_LOG_LEVEL", "99")


@pytest.fixture
def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "backends", lambda: {"eager": "", "native": "not built", "triton": "no device"})


@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 2, 6)])
def test_the_losses_are_one_loss(shape: tuple[int, ...]) -> None:
    logits, target = losses.inputs(shape, torch.float64)
    results = {}
    for name, loss in FORMS.items():
        value = loss(logits, target)
        results[name] = torch.stack([value.detach(), *torch.autograd.grad(value, logits)[0].flatten()])
    for name in (losses.ONE_HOT, losses.GATHER):
        torch.testing.assert_close(results[name], results["polyref"], rtol=1e-11, atol=1e-13)
    assert not torch.allclose(results[CROSS_ENTROPY], results["polyref"])


def test_the_binary_losses_differ_by_the_polynomial() -> None:
    group = binary.group("tiny", (5, 4), torch.float64, 0.0)
    results = {c.name: c.run() for c in group.contenders}
    logits, _ = losses.inputs((5, 4), torch.float64)
    torch.testing.assert_close(results[losses.NEW_COPY], logits.detach())
    (ours_,), (theirs,) = results[binary.POLYREF], results[binary.BINARY_CROSS_ENTROPY]  # type: ignore[misc]
    # d/dz of 1 - Pt for either target, over the number of logits; the sign is that of cross-entropy's own gradient.
    p = logits.detach().sigmoid()
    torch.testing.assert_close(ours_ - theirs, theirs.sign() * p * (1 - p) / logits.numel())


def test_inputs_are_the_same_in_every_run() -> None:
    first, second = (losses.inputs((3, 4), torch.bfloat16) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_in_place_sees_the_same_logits_at_every_call() -> None:
    group = losses.group("tiny", (6, 5), torch.float32, 0.0, compiler=None)
    contender = next(c for c in group.contenders if c.name == losses.IN_PLACE)
    logits, target = losses.inputs((6, 5), torch.float32)
    (expected,) = torch.autograd.grad(losses.polyref(logits, target), logits)
    with contender.within():
        for _ in range(3):
            contender.before()
            (found,) = contender.run()  # type: ignore[misc]
            torch.testing.assert_close(found, expected)


def test_the_copies_copy() -> None:
    logits, _ = losses.inputs((6, 5), torch.float32)
    for contender in losses.copies(logits):
        assert torch.equal(contender.run(), logits)  # type: ignore[arg-type]


def test_a_backend_is_chosen_as_a_user_chooses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "backends", lambda: {"eager": "", "native": "", "triton": "no device"})
    seen: list[str | None] = []
    found, left_out = ours.contenders("cpu", lambda: seen.append(os.environ.get(VARIABLE)))
    assert [c.name for c in found] == [NATIVE, EAGER]
    assert left_out == {}
    for before in ("something", None):
        if before is None:
            monkeypatch.delenv(VARIABLE, raising=False)
        else:
            monkeypatch.setenv(VARIABLE, before)
        for contender in found:
            with contender.within():
                contender.run()
            assert os.environ.get(VARIABLE) == before
    assert seen == ["native", "eager"] * 2
    assert (ours.fastest("cpu"), ours.fastest("cuda")) == ("native", "eager")


def test_every_backend_is_measured_on_some_device() -> None:
    assert {name for names in ours._ON.values() for name in names} == set(nn.backends())


@pytest.mark.usefixtures("without_kernels")
def test_what_cannot_run_is_left_out_with_the_reason() -> None:
    assert ours.contenders("cuda", int)[1] == {TRITON: "no device"}

    def broken(loss: losses.Loss) -> losses.Loss:
        if loss is losses.gather:
            raise RuntimeError("\nno compiler found: install one\nmore about that")
        return loss

    group = losses.group("tiny", (6, 5), torch.float32, 0.0, compiler=broken)
    assert group.left_out == {NATIVE: "not built", "gather compiled": "no compiler found: install one"}
    names = [c.name for c in group.contenders]
    assert names[:3] == [EAGER, losses.IN_PLACE, CROSS_ENTROPY]
    assert {"F.cross_entropy compiled", "one-hot compiled"} <= set(names)
    assert "gather compiled" not in names
    assert {(EAGER, CROSS_ENTROPY), (EAGER, COPY), (EAGER, losses.GATHER), (losses.GATHER, COPY)} <= set(group.pairs)
    assert losses.group("tiny", (6, 5), torch.float32, 0.0, compiler=None).left_out.keys() >= {"gather compiled"}


def test_what_is_compiled_has_run_before_it_is_timed() -> None:
    calls: list[losses.Loss] = []

    def compiler(loss: losses.Loss) -> losses.Loss:
        def fast(logits: Tensor, target: Tensor) -> Tensor:
            calls.append(loss)
            return loss(logits, target)

        return fast

    losses.group("tiny", (6, 5), torch.float32, 0.0, compiler=compiler)
    assert calls == list(losses.OTHERS.values())


@pytest.mark.parametrize("loss", [losses.one_hot, losses.gather], ids=["one-hot", "gather"])
def test_a_textbook_form_can_be_compiled_in_one_piece(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits, target = losses.inputs((6, 5), torch.float32)
    fast = torch.compile(loss, backend="eager", dynamic=False, fullgraph=True)
    torch.testing.assert_close(fast(logits, target), loss(logits, target))


def test_memory_of_the_textbook_forms_is_several_times_the_logits() -> None:
    logits, target = losses.inputs((64, 1000), torch.float32)
    peaks = {n: held(losses.differentiated(f, logits, target)).peak / (4 * logits.numel()) for n, f in FORMS.items()}
    assert peaks[losses.ONE_HOT] == pytest.approx(5, abs=0.1)
    assert peaks[losses.GATHER] == pytest.approx(4, abs=0.1)

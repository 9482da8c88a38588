"""The choice of a backend, and that all of them give the same."""

from __future__ import annotations

import pytest
import torch

from polyref.nn import backends, poly_cross_entropy
from polyref.nn._backend import choose

Z = torch.tensor([[1.0, 2.0, 0.5]])
Y = torch.tensor([1])


def test_every_backend_says_why_it_cannot_be_used() -> None:
    found = backends()
    assert set(found) == {"eager", "native", "triton"}
    assert found["eager"] == ""
    for reason in found.values():
        assert "\n" not in reason


def test_an_unknown_backend_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYREF_NN_BACKEND", "fast")
    with pytest.raises(ValueError, match=r"POLYREF_NN_BACKEND='fast' names no backend: choose one of eager, native"):
        poly_cross_entropy(Z, Y)


def test_a_backend_that_cannot_be_used_is_an_error_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYREF_NN_BACKEND", "native")
    monkeypatch.setattr("polyref.nn._backend.unavailable", lambda name: f"no {name}: run polyref build-native")
    with pytest.raises(RuntimeError, match=r"POLYREF_NN_BACKEND=native, .* no native: run polyref build-native"):
        poly_cross_entropy(Z, Y)


def test_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyref.nn._backend.unavailable", lambda _: "")
    monkeypatch.delenv("POLYREF_NN_BACKEND", raising=False)
    assert choose("cpu", torch.float32, False) == "native"
    assert choose("cuda", torch.bfloat16, False) == "triton"
    assert choose("cuda", torch.float64, False) == "eager"
    assert choose("mps", torch.float32, False) == "eager"
    assert choose("cpu", torch.float32, True) == "soft"
    monkeypatch.setattr("polyref.nn._backend.unavailable", lambda name: "" if name == "eager" else "missing")
    assert choose("cpu", torch.float32, False) == "eager"
    assert choose("cuda", torch.float32, False) == "eager"
    monkeypatch.setenv("POLYREF_NN_BACKEND", "native")
    monkeypatch.setattr("polyref.nn._backend.unavailable", lambda _: "")
    with pytest.raises(RuntimeError, match="for logits on cuda"):
        choose("cuda", torch.float32, False)


def test_the_choice_is_a_constant_for_the_compiler() -> None:
    """It is marked as torch marks such a function: by an attribute, which another torch may call otherwise."""
    marked = torch.compiler.assume_constant_result(lambda: None)
    assert vars(marked)
    assert vars(marked).items() <= vars(choose).items()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_backends_agree(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(3)
    # Each within 0.51 ulp, or 6 and 4, of the exact result.
    apart = 1.02 if dtype in (torch.float16, torch.bfloat16) else 10.0
    for shape in ((33, 10), (5, 300), (2, 21, 17)):
        z = 4 * torch.randn(shape, generator=draw, dtype=torch.float64)
        y = torch.randint(shape[1], (shape[0], *shape[2:]), generator=draw)
        y.view(-1)[0] = -100
        w = (0.5 + torch.rand(shape[1], generator=draw)).to(dtype)
        for epsilon, gamma, reduction in (((1.0,), 0.0, "mean"), ((-1.0,), 0.0, "none"), ((0.5, 2.0), 1.5, "sum")):
            found = []
            for name in ("eager", "native"):
                if backends()[name]:
                    continue
                monkeypatch.setenv("POLYREF_NN_BACKEND", name)
                leaf = z.to(dtype).requires_grad_()
                loss = poly_cross_entropy(leaf, y, epsilon, gamma=gamma, weight=w, reduction=reduction)
                found.append((loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0]))
            for other in found[1:]:
                # gamma multiplies the error of x, and the terms of eps 2 add to it.
                rtol = apart * (1 + gamma) * torch.finfo(dtype).eps
                torch.testing.assert_close(found[0], other, rtol=rtol, atol=torch.finfo(dtype).tiny)

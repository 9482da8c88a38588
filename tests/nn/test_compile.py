"""torch.compile without graph breaks, and the operators behind the losses as torch.library checks them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from polyref.nn import PolyCrossEntropyLoss, PolyFocalLoss, backends, poly_cross_entropy

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # Dynamo makes an instance of every autograd function that it traces, and warns of that.
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]

USABLE = [name for name in ("eager", "native") if not backends()[name]]


@pytest.fixture(params=USABLE, autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("POLYREF_NN_BACKEND", request.param)
    torch._dynamo.reset()
    return str(request.param)


def batch(dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = (6, 5)) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(shape, generator=draw).to(dtype).requires_grad_()
    return z, torch.randint(shape[1], (shape[0], *shape[2:]), generator=draw)


WEIGHT = torch.tensor([0.5, 1, 2, 1, 1])
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "default": poly_cross_entropy,
    "weighted, focal, none": lambda z, y: poly_cross_entropy(
        z, y, (1.0, -0.5), gamma=2.0, weight=WEIGHT.to(z.dtype), reduction="none"
    ),
    "smoothed": lambda z, y: poly_cross_entropy(z, y, 1.0, label_smoothing=0.1),
    "in place": lambda z, y: poly_cross_entropy(z * 1.0, y, 1.0, inplace_backward=True),
    "of a model": lambda z, y: poly_cross_entropy(z * 2.0 + 1.0, y, 1.0, reduction="sum") * 0.5,
    "module": PolyCrossEntropyLoss(1.0, weight=WEIGHT),
    "focal module": PolyFocalLoss(-1.0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_one_graph_and_the_same_result(name: str) -> None:
    loss = LOSSES[name]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    z, y = batch()
    results = []
    for call in (compiled, loss):
        value = call(z, y)
        results.append((value.detach(), torch.autograd.grad(value.sum(), z)[0]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes_and_pixels(dtype: torch.dtype) -> None:
    z, y = batch(dtype, (2, 5, 3, 4))
    compiled = torch.compile(poly_cross_entropy, fullgraph=True, backend="aot_eager")
    got = torch.autograd.grad(compiled(z, y), z)[0]
    assert torch.equal(got, torch.autograd.grad(poly_cross_entropy(z, y), z)[0])


def test_dynamic_shapes_and_an_epsilon_that_changes() -> None:
    compiled = torch.compile(poly_cross_entropy, fullgraph=True, dynamic=True, backend="aot_eager")
    for rows, epsilon in ((6, 1.0), (7, 2.0), (9, 0.5), (12, -1.0)):
        z, y = batch(shape=(rows, 5))
        assert torch.equal(compiled(z, y, epsilon), poly_cross_entropy(z, y, epsilon))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_graph_in_inductor_too() -> None:
    z, y = batch(shape=(64, 33))
    compiled = torch.compile(lambda z, y: poly_cross_entropy(z.sin(), y, 1.0), fullgraph=True)
    # Unless it is told that the compiler knows all vector instructions, it compiles ten programs to find out.
    for known in (True, None):
        with torch._inductor.config.patch({"cpp.vec_isa_ok": known}):
            try:
                got = torch.autograd.grad(compiled(z, y), z)[0]
                break
            except torch._dynamo.exc.BackendCompilerFailed as e:
                if known is None:
                    pytest.skip(f"inductor has no working compiler here: {str(e).splitlines()[0]}")
                torch._dynamo.reset()
    want = torch.autograd.grad(poly_cross_entropy(z.sin(), y, 1.0), z)[0]
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-7)


def arguments(z: Tensor, y: Tensor, weight: Tensor | None, *, reduction: int, groups: int, backend: str) -> list[Any]:
    return [z, y, weight, True, z.dtype, [1.0, -0.5], 0.5, -100, reduction, 0.0, groups, backend]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("reduction", "groups"), [(0, 0), (1, 0), (2, 3)])
def test_opcheck_of_the_operators(dtype: torch.dtype, reduction: int, groups: int, backend: str) -> None:
    z, y = batch(dtype)
    z = z.detach()
    given = arguments(z, y, torch.rand(5).to(dtype), reduction=reduction, groups=groups, backend=backend)
    torch.library.opcheck(torch.ops.polyref.forward.default, given)
    grad = torch.ones((6,) if reduction == 0 else (groups,) if groups else (), dtype=dtype)
    out = torch.empty_like(z)
    torch.library.opcheck(torch.ops.polyref.backward_.default, [out, grad, z, y, given[2], False, *given[5:]])


def test_opcheck_of_soft_targets() -> None:
    z, _ = batch(torch.float64)
    given = arguments(z.detach(), torch.rand(6, 5).double().softmax(1), None, reduction=1, groups=0, backend="soft")
    torch.library.opcheck(torch.ops.polyref.forward.default, given)

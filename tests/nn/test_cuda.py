"""The Triton backend on a CUDA device: accuracy, the eager backend's results, no waiting, graphs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from polyref.case import Case
from polyref.formats import named
from polyref.nn import poly_cross_entropy
from polyref.nn._kernel import Parameters
from polyref.nn._triton import Tiling, TritonKernel, applies
from polyref.reference.ball import evaluate_balls
from polyref.spec import Spec

from .accuracy import rows, ulps

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch.cuda.is_available() is false: no CUDA device"),
]

NAN = math.nan
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
#: The tiles as they are; and small ones, with which a row of a few hundred classes is read twice.
TILINGS = (Tiling(), Tiling(single=256, tile=128, piece=64, pixels=16))


@pytest.fixture(autouse=True)
def _triton(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="triton is not installed: pip install 'polyref[cuda]'")
    monkeypatch.setenv("POLYREF_NN_BACKEND", "triton")


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """Every synchronisation that torch knows of is an error."""
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def wanted(
    z: torch.Tensor, y: torch.Tensor, w: torch.Tensor | None, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient in float64, which the Triton backend leaves to torch operations."""
    leaf = z.double().requires_grad_()
    loss = poly_cross_entropy(leaf, y, weight=None if w is None else w.double(), **kwargs)
    return loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0]


def close(got: torch.Tensor, want: torch.Tensor) -> None:
    """Within 0.51 ulp for 16 bits, 4 for float32; below the normal numbers as much of their spacing."""
    info = torch.finfo(got.dtype)
    bound = 4.0 if got.dtype == torch.float32 else 0.51
    torch.testing.assert_close(
        got.double(), want, rtol=bound * info.eps, atol=bound * info.tiny * info.eps, equal_nan=True
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tiling", TILINGS)
@pytest.mark.parametrize("classes", [2, 10, 500])
def test_accuracy_against_the_exact_result(classes: int, tiling: Tiling, dtype: torch.dtype) -> None:
    z, form = rows(classes, 61 if classes < 100 else 7, dtype, seed=classes), named(str(dtype))
    y = torch.zeros(len(z), dtype=torch.int64, device="cuda")
    bound = 4.0 if dtype == torch.float32 else 0.51
    for epsilon, gamma in itertools.product([(), (-1.0,), (-0.5,), (1.0,), (2.0,)], [0.0, 0.5, 2.0]):
        p, kernel = Parameters(epsilon, gamma, reduction="none"), TritonKernel(tiling)
        loss, _ = kernel.forward(z.cuda(), y, None, p, gradient=False, dtype=dtype)
        out = torch.full_like(z, NAN, device="cuda")
        kernel.backward_(out, torch.ones_like(loss), z.cuda(), y, None, p, filled=False)
        for row, value, entries in zip(z.tolist(), loss.tolist(), out.tolist(), strict=True):
            case = Case(Spec(epsilon=epsilon, gamma=gamma), form, (tuple(row),), (0,))
            exact = evaluate_balls(case, bits=form.precision + 16, floor=form.emin - 3 * form.precision)
            assert exact.value is not None
            pairs = zip([value, *entries], [exact.value[0], *exact.gradient[0]], strict=True)
            error = max(ulps(got, want, form) for got, want in pairs)
            assert error <= bound, f"{error} ulps for {[v.hex() for v in row]}, {epsilon=}, {gamma=}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4096, 10), (333, 1000), (64, 32000), (5, 128256), (2, 21, 64, 65), (3, 700, 50)])
def test_the_eager_backend_s_results(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    draw = torch.Generator("cuda").manual_seed(len(shape))
    z = (3 * torch.randn(shape, generator=draw, device="cuda")).to(dtype)
    y = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=draw, device="cuda")
    y.view(-1)[::7] = -100
    w = torch.rand(shape[1], generator=draw, device="cuda").to(dtype)
    for weight, reduction, (epsilon, gamma) in itertools.product(
        (None, w), ("none", "mean", "sum"), ((1.0, 0.0), (-1.0, 0.0), ((0.5, -0.5), 2.0))
    ):
        kwargs: dict[str, Any] = {"epsilon": epsilon, "gamma": gamma, "reduction": reduction}
        leaf = z.clone().requires_grad_()
        assert applies(leaf, Parameters((1.0,)))
        loss = poly_cross_entropy(leaf, y, weight=weight, **kwargs)
        (grad,) = torch.autograd.grad(loss.sum(), leaf)
        want = wanted(z, y, weight, **kwargs)
        close(loss.detach(), want[0])
        close(grad, want[1])


@pytest.mark.parametrize("shape", [(64, 1000), (8, 21, 300)])
def test_any_incoming_gradient_and_into_the_logits(shape: tuple[int, ...]) -> None:
    z = torch.randn(shape, device="cuda")
    y = torch.randint(0, shape[1], (shape[0], *shape[2:]), device="cuda")
    grad = torch.randn((*y.shape, 2), device="cuda")[..., 0]
    leaf = z.double().requires_grad_()
    poly_cross_entropy(leaf, y, reduction="none").backward(grad.double())  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    for tiling in TILINGS:
        out = z.clone()
        p = Parameters((1.0,), reduction="none")
        TritonKernel(tiling).backward_(out, grad, out, y, None, p, filled=False)
        close(out, leaf.grad)


def test_groups_and_gradients_that_are_there_already() -> None:
    z, y = torch.randn(64, 100, device="cuda"), torch.randint(0, 100, (64,), device="cuda")
    p, kernel = Parameters((1.0,), groups=4), TritonKernel()
    loss, out = kernel.forward(z, y, None, p, gradient=True, dtype=z.dtype)
    each = [wanted(part, target, None) for part, target in zip(z.chunk(4), y.chunk(4), strict=True)]
    close(loss, torch.stack([value for value, _ in each]))
    close(out, torch.cat([gradient for _, gradient in each]))
    marked = torch.full_like(z, 77.0)
    kernel.backward_(marked, torch.tensor([1.0, 2.0, 1.0, 0.5], device="cuda"), z, y, None, p, filled=True)
    assert [(part == 77).all().item() for part in marked.chunk(4)] == [True, False, True, False]
    close(marked[16:32], 2 * each[1][1])


def test_equal_inputs_give_equal_bits() -> None:
    z, y = torch.randn(4096, 1000, device="cuda"), torch.randint(0, 1000, (4096,), device="cuda")
    found = [poly_cross_entropy(z, y) for _ in range(5)]
    assert all(torch.equal(found[0], other) for other in found)


def test_a_target_out_of_range_reads_nothing_and_makes_its_row_nan() -> None:
    z, y = torch.randn(3, 4, device="cuda"), torch.tensor([1, 2**40, -7], device="cuda")
    loss = poly_cross_entropy(z, y, reduction="none")
    assert loss.isnan().tolist() == [False, True, True]


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_nothing_waits_for_the_device(reduction: str) -> None:
    for epsilon in (1.0, 0.123456 + len(reduction)):  # also where the coefficients are new
        for shape in ((64, 1000), (4, 21, 300)):
            z = torch.randn(shape, device="cuda", dtype=torch.bfloat16, requires_grad=True)
            y = torch.zeros(shape[0], *shape[2:], dtype=torch.int64, device="cuda")
            loss = poly_cross_entropy(z, y, epsilon, gamma=0.5, reduction=reduction)
            loss.backward(torch.full_like(loss, 3.0))  # type: ignore[no-untyped-call]


def test_extra_memory_is_the_gradient() -> None:
    z = torch.randn(1024, 32000, device="cuda", requires_grad=True)
    y = torch.randint(0, 32000, (1024,), device="cuda")
    poly_cross_entropy(z, y).backward()  # type: ignore[no-untyped-call]
    z.grad = None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    poly_cross_entropy(z, y).backward()  # type: ignore[no-untyped-call]
    size = z.numel() * z.element_size()
    assert torch.cuda.max_memory_allocated() - before <= size + (1 << 20)


def test_a_graph_replays_on_new_logits() -> None:
    static = torch.randn(256, 1000, device="cuda", requires_grad=True)
    y = torch.randint(0, 1000, (256,), device="cuda")

    def step() -> tuple[torch.Tensor, torch.Tensor]:
        loss = poly_cross_entropy(static, y, -1.0, gamma=2.0)
        return loss.detach(), torch.autograd.grad(loss, static)[0]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()  # compiles
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    for _ in range(2):
        with torch.no_grad():
            static.copy_(torch.randn_like(static))
        graph.replay()
        for got, want in zip(found, wanted(static.detach(), y, None, epsilon=-1.0, gamma=2.0), strict=True):
            close(got, want)

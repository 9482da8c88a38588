"""The Triton backend without a GPU: interpreted, against the exact result and the float64 loss; and compiled."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from polyref.case import Case
from polyref.formats import named
from polyref.nn import poly_cross_entropy
from polyref.nn._kernel import Parameters
from polyref.nn._triton import Tiling, applies, launch, unavailable
from polyref.reference.ball import evaluate_balls
from polyref.spec import Spec

from . import interpreted
from .accuracy import Worst, rows, ulps

pytest.importorskip("triton", reason="triton is not installed: pip install 'polyref[cuda]'")

INF, NAN = math.inf, math.nan
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
#: Whole rows in one tile; and tiles so small that ten classes take several, with few rows each.
WHOLE, PIECES = Tiling(), Tiling(single=16, tile=16, piece=8, pixels=4)
#: The interpreter takes milliseconds for each program, and the pieces differ in nothing that a dtype changes.
CASES = ((WHOLE, torch.float16), (WHOLE, torch.bfloat16), (WHOLE, torch.float32), (PIECES, torch.float32))


@pytest.fixture(scope="module")
def triton() -> Iterator[interpreted.Interpreter]:
    process = interpreted.Interpreter()
    yield process
    process.close()


def evaluate(  # noqa: PLR0917 - in the kernel's own order
    triton: Any, tiling: Tiling, z: torch.Tensor, y: torch.Tensor, w: torch.Tensor | None, p: Parameters, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss and its gradient for an incoming gradient of 1, from forward where it gives one."""
    kwargs.setdefault("dtype", z.dtype)
    loss, grad = triton(interpreted.forward, tiling, z, y, w, p, gradient=True, **kwargs)
    if p.reduction == "none":
        out = torch.full_like(z, NAN)
        grad = triton(interpreted.backward, tiling, out, torch.ones_like(loss), z, y, w, p, filled=False)
    return loss, grad


def wanted(
    z: torch.Tensor, y: torch.Tensor, w: torch.Tensor | None, p: Parameters, grad: Any = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same in float64, group after group."""
    losses, gradients = [], []
    for part, target in zip(z.chunk(p.groups or 1), y.chunk(p.groups or 1), strict=True):
        leaf = part.double().requires_grad_()
        loss = poly_cross_entropy(
            leaf, target, p.epsilon, gamma=p.gamma, weight=None if w is None else w.double(),
            ignore_index=p.ignore_index, reduction=p.reduction,
        )  # fmt: skip
        losses.append(loss.detach())
        incoming = torch.as_tensor(grad, dtype=torch.float64)
        incoming = incoming[len(losses) - 1] if p.groups and incoming.dim() else incoming
        gradients.append(torch.autograd.grad(loss, leaf, incoming.expand(loss.shape))[0])
    return torch.stack(losses) if p.groups else losses[0], torch.cat(gradients)


def close(got: torch.Tensor, want: torch.Tensor, ulp: float = 4.0) -> None:
    """Within ulps of a result that lost less than that; for 16 bits, and below the normal numbers, half of one."""
    assert got.shape == want.shape
    bound = 0.51 if got.dtype != torch.float32 else ulp
    info = torch.finfo(got.dtype)
    torch.testing.assert_close(
        got.double(), want, rtol=bound * info.eps, atol=bound * info.tiny * info.eps, equal_nan=True
    )


def worst(
    z: torch.Tensor, loss: torch.Tensor, gradient: torch.Tensor, epsilon: tuple[float, ...], gamma: float
) -> Worst:
    """The worst error of value and gradient, in ulps of the exact result; target 0."""
    form, found = named(str(z.dtype)), []
    for row, value, entries in zip(z.tolist(), loss.tolist(), gradient.tolist(), strict=True):
        case = Case(Spec(epsilon=epsilon, gamma=gamma), form, (tuple(row),), (0,))
        exact = evaluate_balls(case, bits=form.precision + 16, floor=form.emin - 3 * form.precision)
        assert exact.value is not None
        errors = (ulps(g, e, form) for g, e in zip(entries, exact.gradient[0], strict=True))
        found.append(Worst(ulps(value, exact.value[0], form), max(errors)))
    return Worst.of(found)


@pytest.mark.parametrize(("tiling", "dtype"), CASES)
def test_accuracy_from_certainly_wrong_to_certainly_right(triton: Any, tiling: Tiling, dtype: torch.dtype) -> None:
    bound = 4.0 if dtype == torch.float32 else 0.51
    for classes in (2, 10):
        z = rows(classes, 31 if tiling is WHOLE else 16, dtype, seed=classes)
        y = torch.zeros(len(z), dtype=torch.int64)
        # The pieces differ from the whole in their sums alone, and float16 from bfloat16 in its last rounding.
        few = tiling is PIECES or dtype == torch.float16
        epsilons = [(-1.0,), (1.0,)] if few else [(), (-1.0,), (-0.5,), (1.0,), (2.0,)]
        for epsilon, gamma in itertools.product(epsilons, [0.0, 0.5, 2.0]):
            p = Parameters(epsilon, gamma, reduction="none")
            found = worst(z, *evaluate(triton, tiling, z, y, None, p), epsilon, gamma)
            assert max(found.value, found.gradient) <= bound, f"{found} for {epsilon=}, {gamma=}, {classes=}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_accuracy_of_more_terms(triton: Any, dtype: torch.dtype) -> None:
    z = rows(3, 31, dtype, seed=1)
    y = torch.zeros(len(z), dtype=torch.int64)
    # The loss begins with x^(N + 1 + gamma), the condition number; x itself is good to one ulp.
    for epsilon, gamma in (((-1.0, -0.5), 0.0), ((-1.0, -0.5, -1 / 3), 0.0), ((0.0, 0.0, 1.5), 0.0), ((-1, 0.5), 2.0)):
        p = Parameters(epsilon, gamma, reduction="none")
        found = worst(z, *evaluate(triton, WHOLE, z, y, None, p), epsilon, gamma)
        bound = len(epsilon) + 3 + gamma if dtype == torch.float32 else 0.51
        assert max(found.value, found.gradient) <= bound, f"{found} for {epsilon=}, {gamma=}"


def test_many_classes_keep_their_digits(triton: Any) -> None:
    z = rows(3000, 9, torch.float32, seed=3)
    y = torch.zeros(len(z), dtype=torch.int64)
    for tiling in (WHOLE, Tiling(single=1024, piece=512)):
        p = Parameters((-1.0,), reduction="none")
        found = worst(z, *evaluate(triton, tiling, z, y, None, p), p.epsilon, 0.0)
        assert max(found.value, found.gradient) <= 4, found


def test_float32_losses_of_narrow_logits_have_float32_s_digits(triton: Any) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        z = rows(10, 31, dtype, seed=2)
        y = torch.zeros(len(z), dtype=torch.int64)
        p = Parameters((-1.0,), reduction="none")
        loss, _ = triton(interpreted.forward, WHOLE, z, y, None, p, gradient=False, dtype=torch.float32)
        assert loss.dtype == torch.float32
        assert worst(z.float(), loss, evaluate(triton, WHOLE, z.float(), y, None, p)[1], p.epsilon, 0.0).value <= 4


@pytest.mark.parametrize("shape", [(13, 5), (6, 5, 7)])
@pytest.mark.parametrize(("tiling", "dtype"), CASES)
def test_reductions_groups_weights_and_ignored_rows(
    triton: Any, tiling: Tiling, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    draw = torch.Generator().manual_seed(len(shape))
    z = (3 * torch.randn(shape, generator=draw)).to(dtype)
    y = torch.randint(0, 5, (shape[0], *shape[2:]), generator=draw)
    w = torch.rand(5, generator=draw).to(dtype)
    for reduction, weight, ignore in itertools.product(("none", "mean", "sum"), (None, w), (-100, 1)):
        p = Parameters((0.5,), reduction=reduction, ignore_index=ignore)
        for got, want in zip(evaluate(triton, tiling, z, y, weight, p), wanted(z, y, weight, p), strict=True):
            close(got, want)
    if len(shape) == 3:
        for reduction in ("mean", "sum"):
            p = Parameters((1.0,), 0.5, ignore_index=2, reduction=reduction, groups=3)
            for got, want in zip(evaluate(triton, tiling, z, y, w, p), wanted(z, y, w, p), strict=True):
                close(got, want)


def test_groups_of_rows_and_many_targets(triton: Any) -> None:
    draw = torch.Generator().manual_seed(5)
    z = torch.randn(4200, 3, generator=draw)
    y = torch.randint(0, 3, (4200,), generator=draw)
    w = torch.rand(3, generator=draw, dtype=torch.float64)
    for groups in (0, 2, 4):  # two chunks of targets to a group and more
        p = Parameters((1.0,), ignore_index=0, groups=groups)
        for got, want in zip(evaluate(triton, WHOLE, z, y, w, p), wanted(z, y, w, p), strict=True):
            close(got, want)


@pytest.mark.parametrize("tiling", [WHOLE, PIECES])
def test_the_incoming_gradient(triton: Any, tiling: Tiling) -> None:
    draw = torch.Generator().manual_seed(7)
    for shape in ((6, 10), (6, 10, 3)):
        z = torch.randn(shape, generator=draw)
        y = torch.randint(0, 10, (shape[0], *shape[2:]), generator=draw)
        none = Parameters((1.0,), reduction="none")
        given = torch.randn((*y.shape, 2), generator=draw)[..., 0]  # strides of 2
        for grad in (given, torch.tensor(-2.5).expand(y.shape), given.t() if len(shape) == 2 else given):
            want = wanted(z, y, None, none, grad)[1]
            for out in (torch.full_like(z, NAN), None):  # None: into the logits
                close(triton(interpreted.backward, tiling, out, grad, z.clone(), y, None, none, filled=False), want)
        groups = Parameters((1.0,), groups=3)
        grad = torch.tensor([1.0, 2.0, -0.5])
        _, filled = triton(interpreted.forward, tiling, z, y, None, groups, gradient=True, dtype=z.dtype)
        want = wanted(z, y, None, groups, grad)[1]
        close(triton(interpreted.backward, tiling, filled, grad, z, y, None, groups, filled=True), want)
        # For 1 it does not touch what is filled already, and needs not know the rest.
        marked = torch.full_like(z, 77.0)
        got = triton(interpreted.backward, tiling, marked, grad, z, y, None, groups, filled=True)
        assert (got[:2] == 77).all()
        assert (got[2:] != 77).all()
        assert (triton(interpreted.backward, tiling, marked, grad, z, y, None, groups, filled=False) != 77).all()


@pytest.mark.parametrize("tiling", [WHOLE, PIECES])
def test_saturation_infinities_and_nan(triton: Any, tiling: Tiling) -> None:
    for dtype, gamma in itertools.product(DTYPES, (0.0, 0.5, 2.0)):
        top = torch.finfo(dtype).max
        z = torch.tensor(
            [[top, -top, 0.0], [-top, top, 0.0], [0.0, -INF, 1.0], [-INF, 0.0, 1.0], [-INF, -INF, 0.0],
             [0.0, -INF, -INF], [NAN, 0.0, 1.0], [0.0, NAN, 1.0], [0.0, 0.0, 0.0], [NAN, NAN, INF]], dtype=dtype
        )  # fmt: skip
        y = torch.zeros(len(z), dtype=torch.int64)
        y[-1] = -100
        p = Parameters((-1.0,), gamma, reduction="none")
        loss, grad = evaluate(triton, tiling, z, y, None, p)
        want = wanted(z, y, None, p)
        # float64 holds what overflows in float16.
        want = (want[0].to(dtype).double(), want[1])
        close(loss, want[0])
        close(grad, want[1])
        assert loss[3] == INF
        assert loss[-1] == 0
        assert grad[3].isfinite().all()
        assert (grad[-1] == 0).all()
        assert loss[6].isnan()
        assert loss[7].isnan()
        assert grad[6:8].isnan().all()


def test_huge_and_tiny_factors_neither_overflow_nor_lose_digits(triton: Any) -> None:
    z = torch.tensor([[0.0, 60.0, -60.0], [0.0, 1.0, -120.0], [0.0, -50.0, -60.0]])
    y = torch.zeros(3, dtype=torch.int64)
    for factor in (1e-30, 3e38):
        w = torch.full((3,), factor)
        for incoming in (1e-3, 1e20):
            p = Parameters((2.0,), reduction="none")
            grad = torch.full((3,), incoming)
            got = triton(interpreted.backward, WHOLE, torch.empty_like(z), grad, z, y, w, p, filled=False)
            want = wanted(z, y, w, p, grad)[1]
            inside = want.abs() < torch.finfo(z.dtype).max
            assert inside.any()
            close(got[inside], want[inside])
            assert not got.isnan().any()


def test_empty_batches_and_no_rows_counted(triton: Any) -> None:
    for shape in ((0, 3), (0, 3, 2), (2, 3, 0)):
        z, y = torch.empty(shape), torch.empty((shape[0], *shape[2:]), dtype=torch.int64)
        for reduction, want in (("mean", NAN), ("sum", 0.0)):
            loss, grad = evaluate(triton, WHOLE, z, y, None, Parameters((1.0,), reduction=reduction))
            assert grad.shape == z.shape
            torch.testing.assert_close(loss, torch.tensor(want), equal_nan=True)
    z, y = torch.randn(3, 4), torch.full((3,), -100)
    loss, grad = evaluate(triton, WHOLE, z, y, None, Parameters((1.0,)))
    assert loss.isnan()
    assert (grad == 0).all()


def test_a_target_out_of_range_reads_nothing_and_makes_its_row_nan(triton: Any) -> None:
    z, y = torch.randn(3, 4), torch.tensor([1, 4, -7])
    loss, grad = evaluate(triton, WHOLE, z, y, torch.ones(4), Parameters((1.0,), reduction="none"))
    assert loss.isnan().tolist() == [False, True, True]
    assert grad.isnan().any(1).tolist() == [False, True, True]


def test_the_public_function(triton: Any) -> None:
    z, y = torch.randn(4, 5, 2, 3).requires_grad_(), torch.randint(0, 5, (4, 2, 3))
    for kwargs in ({"reduction": "none", "gamma": 2.0}, {"weight": torch.rand(5)}):
        got = triton(interpreted.public, z.detach().requires_grad_(), y, 1.0, **kwargs)
        loss = poly_cross_entropy(z, y, 1.0, **kwargs)
        (grad,) = torch.autograd.grad(loss.sum(), z)
        torch.testing.assert_close(got, (loss.detach(), grad), rtol=3e-6, atol=1e-9)


def test_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    z, p = torch.randn(2, 3), Parameters((1.0,))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not applies(z, p)
    with pytest.raises(RuntimeError, match="runs on CUDA, not on cpu"):
        launch.forward(z, torch.zeros(2, dtype=torch.int64), None, p, gradient=True, dtype=z.dtype)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert unavailable() == ""
    assert applies(z, p)
    assert not applies(z.double(), p)
    assert not applies(z, Parameters((1.0,), label_smoothing=0.1))


class Recorder:
    """In the place of a kernel: remembers its launches."""

    def __init__(self, kernel: Any, calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]]) -> None:
        self.kernel, self.calls = kernel, calls

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *args, **kwargs: self.calls.append((self.kernel, args, kwargs))


def compiled(kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any], capability: int) -> Any:
    """What a launch would compile for the device, where every address and size divides by 16."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kinds = {torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.float64: "*fp64"}
    options = {name: kwargs[name] for name in ("num_warps", "enable_fp_fusion")}
    given = dict(zip(kernel.arg_names, args, strict=False)) | {k: v for k, v in kwargs.items() if k not in options}
    signature, constants, attributes = {}, {}, {}
    for index, name in enumerate(kernel.arg_names):
        value = given[name]
        if isinstance(value, torch.Tensor):
            signature[name] = kinds.get(value.dtype, "*i64")
            attributes[(index,)] = [["tt.divisibility", 16]]
        elif isinstance(value, int) and not isinstance(value, bool) and name not in kwargs:
            signature[name] = "i32"
        else:
            signature[name], constants[(index,)] = "constexpr", value
    source = ASTSource(kernel, signature, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


# Whole rows in float32; two passes in bfloat16 in float64 arithmetic; neighbours of D in float16.
@pytest.mark.parametrize(
    ("capability", "dtype", "shape", "gamma"),
    [
        (90, torch.float32, (1024, 32000), 0.0),
        (80, torch.bfloat16, (64, 128256), 2.0),
        (90, torch.float16, (2, 21, 4096), 0.0),
    ],
)
def test_the_kernels_compile_for_cuda(
    capability: int,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    gamma: float,
    *,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from polyref.nn._triton import device

    if not hasattr(device.loss_kernel, "cache_key"):
        pytest.skip("TRITON_INTERPRET is set, and interpreted kernels do not compile")
    calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
    for name in ("count_kernel", "loss_kernel", "finish_kernel"):
        monkeypatch.setattr(device, name, Recorder(getattr(device, name), calls))
    monkeypatch.setattr(launch, "_on", lambda _: torch.cuda.device(-1))
    z = torch.empty(shape, dtype=dtype)
    y, w = torch.zeros(shape[0], *shape[2:], dtype=torch.int64), torch.ones(shape[1], dtype=dtype)
    p = Parameters((1.0,), gamma)
    launch.forward(z, y, w, p, gradient=True, dtype=dtype)
    launch.backward_(z, torch.ones((), dtype=dtype), z, y, None, p, filled=True)
    assert [kernel.__name__ for kernel, *_ in calls] == [
        "count_kernel", "loss_kernel", "finish_kernel", "count_kernel", "loss_kernel"
    ]  # fmt: skip
    for call in calls[:3] + calls[4:]:
        kernel = compiled(*call, capability)
        assert kernel.asm["cubin"][:4] == b"\x7fELF"
        ptx = kernel.asm["ptx"]
        assert not re.search(r"^\s*(@%p\d+ )?(atom|red)\.", ptx, re.MULTILINE)
        # Subnormal numbers are kept, but inside the exponential and the logarithm.
        assert not re.search(r"\b(mul|div|cvt)\S*\.ftz\.", ptx)
        if dtype == torch.float32:
            assert "ex2.approx" not in ptx  # too coarse for 24 bits

"""The eager backend: the contract of a backend, the edges of the formats, memory, and what no result depends on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from polyref.bench.memory import held
from polyref.nn import _chunks, _eager
from polyref.nn._chunks import Chunk, Factors
from polyref.nn._kernel import Parameters

from .accuracy import Worst, measure, rows

pytestmark = pytest.mark.usefixtures("one_thread")

INF, NAN = math.inf, math.nan
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: Above the rounding of a few operations and of the result, far below what a wrong term does.
CLOSE = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 2e-6, torch.float64: 1e-14}
SHAPES = ((6, 5), (130, 3), (4, 5, 6), (2, 4, 150), (4, 300))
LAWS: tuple[tuple[tuple[float, ...], float], ...] = (
    ((), 0.0),
    ((1.0,), 0.0),
    ((-1.0,), 0.0),
    ((-0.5, 2.0), 0.5),
    ((1.0,), 2.0),
)


def batch(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and targets; every seventh target is -100."""
    draw = torch.Generator().manual_seed(seed)
    z = (3 * torch.randn(shape, generator=draw, dtype=torch.float64)).to(dtype)
    y = torch.randint(shape[1], (shape[0], *shape[2:]), generator=draw)
    y.view(-1)[::7] = -100
    return z, y


def textbook(z: Tensor, y: Tensor, weight: Tensor | None, p: Parameters, grad: Tensor | None) -> tuple[Tensor, Tensor]:
    """The definition in float64, differentiated by autograd; digits cancel for confident rows, which are not asked."""
    z = z.double().clone().requires_grad_()
    ignored = y == p.ignore_index
    index = y.masked_fill(ignored, 0)
    log = -z.log_softmax(1).gather(1, index.unsqueeze(1)).squeeze(1)
    x = 1 - torch.exp(-log)
    each = x**p.gamma * (log + sum(e * x**j for j, e in enumerate(p.epsilon, 1)))
    w = torch.ones_like(each) if weight is None else weight.double()[index]
    w = w.masked_fill(ignored, 0.0)
    loss = each * w
    if p.reduction != "none":
        size = (p.groups or 1, -1)
        loss = loss.reshape(size).sum(1) / (w.reshape(size).sum(1) if p.reduction == "mean" else 1)
        loss = loss if p.groups else loss[0]
    (gradient,) = torch.autograd.grad(loss, z, torch.ones_like(loss) if grad is None else grad.double())
    return loss.detach(), gradient


def run(
    z: Tensor, y: Tensor, weight: Tensor | None, p: Parameters, grad: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The loss and the gradient for an incoming gradient, of the logits' dtype."""
    loss, out = _eager.forward(z, y, weight, p, gradient=True, dtype=z.dtype)
    filled = out.shape == z.shape
    out = out if filled else torch.empty_like(z)
    grad = torch.ones_like(loss) if grad is None else grad
    _eager.backward_(out, grad, z, y, weight, p, filled=filled)
    return loss, out


def check(got: tuple[Tensor, Tensor], want: tuple[Tensor, Tensor], dtype: torch.dtype) -> None:
    for a, b in zip(got, want, strict=True):
        assert a.dtype == dtype
        # The definition takes Pt, down to 1e-6 from 1 here, away from it.
        close = max(CLOSE[dtype], 1e-9)
        torch.testing.assert_close(a.double(), b, rtol=close, atol=close * float(b.abs().max()))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_it_is_the_definition(shape: tuple[int, ...], reduction: str, dtype: torch.dtype) -> None:
    z, y = batch(shape, dtype)
    for (epsilon, gamma), weighted in itertools.product(LAWS, (None, dtype, torch.float64, torch.bfloat16)):
        weight = None if weighted is None else torch.linspace(0.5, 2, shape[1]).to(weighted)
        p = Parameters(epsilon, gamma, reduction=reduction)
        grad = torch.linspace(0.5, 2, y.numel()).view(y.shape).to(dtype) if reduction == "none" else None
        got = run(z, y, weight, p, grad)
        assert got[1].is_contiguous()
        check(got, textbook(z, y, weight, p, grad), dtype)
        # What is ignored anyway is no reason to compute anything else.
        kept = replace(p, ignore_index=-1)
        check(run(z, y.clamp(min=0), weight, kept, grad), textbook(z, y.clamp(min=0), weight, kept, grad), dtype)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4)], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_groups_are_batches_of_their_own(shape: tuple[int, ...], reduction: str, weighted: bool) -> None:
    z, y = batch(shape, torch.float32)
    weight = torch.linspace(0.5, 2, 5) if weighted else None
    p = Parameters((1.0,), reduction=reduction, groups=3)
    grad = torch.tensor([1.0, -2.0, 0.5])
    loss, gradient = run(z, y, weight, p, grad)
    assert loss.shape == (3,)
    for i, (part, target) in enumerate(zip(z.split(2), y.split(2), strict=True)):
        alone = run(part, target, weight, replace(p, groups=0), grad[i])
        torch.testing.assert_close(loss[i], alone[0], rtol=1e-7, atol=0)
        assert torch.equal(gradient[2 * i : 2 * i + 2], alone[1])
    assert run(z[:0], y[:0], weight, p, grad)[0].shape == (3,)


def test_shapes_and_dtypes_of_what_is_returned() -> None:
    for shape, dtype in itertools.product([(6, 5), (6, 5, 4)], DTYPES):
        z, y = batch(shape, dtype)
        for reduction, result in (("none", torch.float32), ("mean", torch.float32), ("sum", dtype)):
            p = Parameters((1.0,), reduction=reduction)
            loss, out = _eager.forward(z, y, None, p, gradient=True, dtype=result)
            assert (loss.dtype, loss.shape) == (result, y.shape if reduction == "none" else ())
            assert (out.dtype, out.shape) == (dtype, (0,) if reduction == "none" else z.shape)
            assert _eager.forward(z, y, None, p, gradient=False, dtype=result)[1].shape == (0,)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(70, 5), (3, 5, 40), (40, 300)], ids=str)
def test_the_gradient_may_replace_the_logits(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    z, y = batch(shape, dtype)
    # Rows that are shifted, rows that are computed wide, and one that is neither.
    z[1], z[2], z[0, 0] = z[1] - 60, z[2] + 100, NAN
    p = Parameters((-1.0,), 0.5, reduction="none")
    grad = torch.full(y.shape, 3.0, dtype=dtype)
    want, out = torch.empty_like(z), z.clone()
    _eager.backward_(want, grad, z, y, None, p, filled=False)
    _eager.backward_(out, grad, out, y, None, p, filled=False)
    torch.testing.assert_close(out, want, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4)], ids=str)
def test_strides_of_the_incoming_gradient(shape: tuple[int, ...]) -> None:
    z, y = batch(shape, torch.float32)
    p = Parameters((1.0,), reduction="none")
    reverse = tuple(reversed(y.shape))
    for grad in (torch.tensor(2.5).expand(y.shape), torch.rand(reverse).permute(*range(y.dim() - 1, -1, -1))):
        assert torch.equal(run(z, y, None, p, grad)[1], run(z, y, None, p, grad.contiguous())[1])


def test_a_filled_gradient_is_left_alone_for_ones_and_else_computed_anew() -> None:
    z, y = batch((6, 5), torch.bfloat16)
    p = Parameters((1.0,))
    out = torch.full_like(z, 7.0)
    _eager.backward_(out, torch.ones((), dtype=z.dtype), z, y, None, p, filled=True)
    assert bool((out == 7).all())
    third = torch.tensor(1 / 3, dtype=z.dtype)
    _eager.backward_(out, third, z, y, None, p, filled=True)
    # Rounded once, which a product of rounded gradients is not.
    want = (textbook(z, y, None, p, third)[1]).to(z.dtype)
    assert torch.equal(out, want)
    groups = replace(p, groups=2)
    once = run(z, y, None, groups)[1]
    _eager.backward_(out, torch.tensor([1.0, 1.0], dtype=z.dtype), z, y, None, groups, filled=False)
    assert torch.equal(out, once)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("top", [-9.3, 60.0, 3000.0])
def test_digits_of_rows_that_are_shifted_or_computed_wide(
    top: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYREF_NN_BACKEND", "eager")
    goal = 0.51 if dtype.itemsize == 2 else 6.0
    for classes, epsilon in itertools.product((2, 10), ((-1.0,), (1.0,))):
        z = rows(classes, 40, torch.float64, seed=3)
        z += top - z.amax(1, keepdim=True)
        worst = Worst.of(measure(z.to(dtype), epsilon))
        assert max(worst.value, worst.gradient) <= goal, (classes, epsilon, worst)


def test_digits_of_probabilities_that_only_float64_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYREF_NN_BACKEND", "eager")
    z = rows(4, 40, torch.float64, seed=5)
    z[:, 0] = torch.linspace(299, 500, 40, dtype=torch.float64)
    assert Worst.of(measure(z, (1.0,))).gradient <= 6


def ulps(got: Tensor, want: Tensor, dtype: torch.dtype) -> float:
    """The worst error of normal numbers in units of their last place."""
    info = torch.finfo(dtype)
    normal = want.abs() >= info.tiny
    place = torch.exp2(want.abs()[normal].log2().floor()) * info.eps
    return float(((got.double() - want).abs()[normal] / place).max())


@pytest.mark.parametrize(
    ("classes", "places"), [(10, 0), (21, 0), (257, 0), (769, 0), (10, 500), (21, 500), (257, 500)]
)
def test_sums_lose_nothing_at_any_number_of_classes(classes: int, places: int) -> None:
    z = rows(classes, 500 if classes > 500 else 6000, torch.float32, seed=classes)
    y = torch.zeros(len(z), dtype=torch.int64)
    p = Parameters((-1.0,), reduction="none")
    want, want_gradient = run(z.double(), y, None, p)
    if places:
        got, gradient = run(z.unflatten(0, (-1, places)).transpose(1, 2).contiguous(), y.view(-1, places), None, p)
        got, gradient = got.view(-1), gradient.transpose(1, 2).reshape(z.shape)
    else:
        got, gradient = run(z, y, None, p)
    assert ulps(got, want, torch.float32) <= 6
    assert ulps(gradient, want_gradient, torch.float32) <= 6


def test_sums_lose_nothing_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYREF_NN_BACKEND", "eager")
    worst = Worst.of(measure(rows(10, 1001, torch.float64, seed=110) - 50, (-1.0,)))
    assert max(worst.value, worst.gradient) <= 6


def split(n: int, size: tuple[int, ...], dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits of every kind of row, some of which need a shift, float64, or are lost."""
    z, y = batch(size, dtype, seed=n)
    yield z, y
    z = z.clone()
    z[::3] -= 40
    z[1::5] += 70 if dtype != torch.float16 else 0
    z[2, 0], z[-1, 1], z[-2] = NAN, INF, -INF
    yield z, y


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(700, 5), (150, 300), (5, 800), (3, 5, 500), (9, 7, 10)], ids=str)
def test_chunks_and_threads_change_nothing(
    shape: tuple[int, ...], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    for z, y in split(1, shape, dtype):
        for weight, p in (
            (None, Parameters((1.0,))),
            (torch.linspace(0.5, 3, shape[1]), Parameters((-1.0,), reduction="sum")),
            (None, Parameters((0.5,), 2.0, reduction="none")),
        ):
            want = run(z, y, weight, p)
            found = []
            for size in (1, 1 << 12, 1 << 16):
                with monkeypatch.context() as patch:
                    patch.setattr(_chunks, "_CPU_CHUNK", size)
                    patch.setattr(_chunks, "_LEAST_SCRATCH", size)
                    found.append(run(z, y, weight, p))
            torch.set_num_threads(2)
            found.append(run(z, y, weight, p))
            torch.set_num_threads(1)
            for got in found:
                torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)


def test_chunks_cover_every_row_once_and_begin_where_blocks_do() -> None:
    for shape in ((1000, 3), (10, 100000), (3, 7, 1000), (100, 7, 10), (0, 3), (4, 3, 0), (2, 100000, 5)):
        seen = torch.zeros(shape, dtype=torch.int32)
        for chunk in _chunks.chunks(shape, 10000):
            chunk.of(seen).add_(1)
            assert chunk.p % 64 == 0
            assert chunk.a % 64 == 0 or len(shape) == 3 or shape[1] > 512
        assert bool((seen == 1).all())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("places", [0, 30])
def test_what_is_computed_on_devices_where_nothing_is_looked_at(places: int, dtype: torch.dtype) -> None:
    z, y = rows(5, 60, dtype, seed=9), torch.arange(60) % 5
    z[0], z[1, 0], y[2] = z[0] - 200, -INF, -100
    if places:
        z, y = z.unflatten(0, (-1, places)).transpose(1, 2).contiguous(), y.view(-1, places)
    # Two results of at most 6 ulps.
    allowed = 12 * torch.finfo(dtype).eps
    for reduction, weight in (("mean", None), ("none", torch.linspace(0.5, 2, 5))):
        p = Parameters((1.0,), reduction=reduction)
        labels = Factors.of(y, weight, p, grad=None, ignoring=True).labels(Chunk(0, len(z)), y)
        gradient = torch.empty_like(z)
        losses = _eager._wide(z, labels, p, gradient)
        want = run(z, y, weight, p)
        torch.testing.assert_close(gradient, want[1], rtol=allowed, atol=torch.finfo(dtype).smallest_normal)
        if reduction == "none":
            torch.testing.assert_close(losses.to(dtype), want[0], rtol=allowed, atol=0)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4)], ids=str)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("groups", [0, 2])
def test_no_data_is_looked_at_on_other_devices(shape: tuple[int, ...], reduction: str, groups: int) -> None:
    # Tensors of the device meta have no data: whatever looks at some, raises.
    z, y = (v.to("meta") for v in batch(shape, torch.float32))
    p = Parameters((-1.0,), 0.5, reduction=reduction, groups=groups)
    for weight in (None, torch.ones(5, device="meta")):
        loss, gradient = run(z, y, weight, p)
        assert loss.shape == (y.shape if reduction == "none" else (groups,) if groups else ())
        assert gradient.shape == z.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1024, 32000), (64, 21, 65536)], ids=str)
def test_nothing_of_the_size_of_the_logits_is_held_but_the_gradient(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    z = torch.zeros(shape, dtype=dtype)
    z[:, 1] = 1.0
    y = torch.ones((shape[0], *shape[2:]), dtype=torch.int64)
    forward = held(lambda: _eager.forward(z, y, None, Parameters((1.0,)), gradient=True, dtype=dtype))
    assert forward.peak <= 1.05 * z.nbytes
    one = torch.full((), 2.0, dtype=dtype)
    backward = held(lambda: _eager.backward_(z, one, z, y, None, Parameters((1.0,)), filled=False))
    assert backward.peak <= 0.05 * z.nbytes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("epsilon", "gamma"), [((), 0.0), ((1.0,), 0.0), ((-1.0,), 0.25), ((2.0, -1.0), 0.5)])
def test_edges(epsilon: tuple[float, ...], gamma: float, dtype: torch.dtype) -> None:
    def one(z: list[float], y: int = 0) -> tuple[float, list[float]]:
        p = Parameters(epsilon, gamma)
        loss, gradient = run(torch.tensor([z], dtype=dtype), torch.tensor([y]), None, p)
        return loss.item(), gradient[0].tolist()

    largest = torch.finfo(dtype).max
    assert one([3.0]) == (0.0, [0.0])
    assert one([2e3, 0.0, 0.0]) == (0.0, [0.0, 0.0, 0.0])
    assert one([largest, -largest]) == (0.0, [0.0, 0.0])
    assert one([-largest, largest]) == (INF, [-1.0, 1.0])
    assert one([0.0, -INF]) == (0.0, [0.0, 0.0])
    assert one([-INF, 1.0, 1.0]) == (INF, [-1.0, 0.5, 0.5])
    assert one([-2e3, 0.0])[1] == [-1.0, 1.0]
    for lost in ([NAN, 0.0], [0.0, NAN], [-INF, -INF], [INF, 0.0], [0.0, INF]):
        loss, gradient = one(lost)
        assert math.isnan(loss)
        assert all(math.isnan(g) for g in gradient)
    loss, gradient = one([0.5, -INF, 1.5])
    kept, kept_gradient = one([0.5, 1.5])
    assert (loss, gradient[::2], gradient[1]) == (kept, kept_gradient, 0.0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("places", [0, 2])
def test_lost_rows_keep_to_themselves_and_ignored_ones_are_nothing(
    places: int, reduction: str, dtype: torch.dtype
) -> None:
    z = torch.tensor([[1.0, 2.0], [NAN, INF], [0.5, -1.0], [-INF, -INF]], dtype=dtype)
    y = torch.tensor([0, -100, 1, -100])
    if places:
        z, y = z.view(2, 2, 2).transpose(1, 2).contiguous(), y.view(2, 2)
    p = Parameters((1.0,), reduction=reduction)
    loss, gradient = run(z, y, None, p)
    gradient = gradient.transpose(1, 2).reshape(4, 2) if places else gradient
    rest = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=dtype)
    kept, kept_gradient = run(rest, torch.tensor([0, 1]), None, p)
    assert torch.equal(gradient[::2], kept_gradient)
    assert gradient[1::2].tolist() == [[0, 0], [0, 0]]
    assert torch.equal(loss.view(-1)[::2] if reduction == "none" else loss, kept)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("largest", [torch.float32, torch.float64])
def test_weights_near_the_largest_number(largest: torch.dtype, dtype: torch.dtype) -> None:
    huge = torch.finfo(largest).max
    z, y = torch.tensor([[9.0, 0.0], [0.0, 9.0]], dtype=dtype), torch.tensor([0, 0])
    mean = Parameters((2.0,))
    weight = torch.full((2,), huge, dtype=largest)
    # Neither the sum of the weights nor the product with one is representable, the mean is.
    torch.testing.assert_close(run(z, y, weight, mean), run(z, y, None, mean), rtol=CLOSE[dtype], atol=0)
    if dtype == largest:
        p = Parameters((2.0,), reduction="none")
        once, gradient = run(z[:1], y[:1], None, p)
        got, got_gradient = run(z[:1], y[:1], weight, p)
        # The slope is near 3: slope times weight is not representable, the gradient of e^-9 times that is.
        torch.testing.assert_close(got_gradient / huge, gradient, rtol=CLOSE[dtype], atol=0)
        torch.testing.assert_close(got / huge, once, rtol=CLOSE[dtype], atol=0)


@pytest.mark.parametrize("factor", [2.0**-100, 2.0**60])
def test_factors_far_from_one_keep_the_digits_of_the_gradient(factor: float) -> None:
    # exp(-95) has few digits in float32, 2^60 times that has them all.
    z = torch.tensor([[0.0, -95.0, -30.0], [1.0, 0.5, -93.0]])
    y, p = torch.tensor([0, 2]), Parameters((1.0,), reduction="none")
    got = run(z, y, None, p, torch.full((2,), factor))[1].double()
    want = run(z.double(), y, None, p, torch.full((2,), factor, dtype=torch.float64))[1]
    torch.testing.assert_close(got, want, rtol=2.0**-21, atol=2.0**-149)
    half = run(z.half(), y, None, p, torch.full((2,), 1000.0).half())[1].double()
    torch.testing.assert_close(
        half, run(z.half().double(), y, None, p, torch.full((2,), 1000.0).double())[1], rtol=2.0**-10, atol=2.0**-24
    )


@pytest.mark.parametrize("gamma", [0.0, 0.25, 2.0])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_a_small_slope_is_no_loss_of_digits(reduction: str, gamma: float) -> None:
    # The gradient is x times a probability, 1e-36 here; the factor of the exponentials is not to vanish before it.
    z = torch.tensor([[41.5, 0.0, -0.5], [41.5, 0.0, 3.0], [43.9, 12.0, 11.0]])
    y, p = torch.tensor([0, 0, 0]), Parameters((-1.0,), gamma, reduction=reduction)
    grad = torch.full((3,) if reduction == "none" else (), {0.0: 2.0**-30, 0.25: 2.0**-15, 2.0: 2.0**60}[gamma])
    for shift in (0.0, 100.0):
        got = run(z + shift, y, None, p, grad)[1].double()
        want = run((z + shift).double(), y, None, p, grad.double())[1]
        torch.testing.assert_close(got, want, rtol=2.0**-20, atol=2.0**-148)


@pytest.mark.parametrize("places", [(), (3,), (0,)])
@pytest.mark.parametrize("rows", [0, 2])
def test_nothing_to_average(rows: int, places: tuple[int, ...]) -> None:
    z = torch.zeros(rows, 4, *places)
    y = torch.full((rows, *places), -100)
    loss, gradient = run(z, y, None, Parameters((1.0,)))
    assert math.isnan(loss.item())
    assert gradient.count_nonzero() == 0
    assert run(z, y, torch.ones(4), Parameters((1.0,), reduction="sum"))[0].item() == 0
    assert run(z, y, None, Parameters((1.0,), reduction="none"))[0].shape == y.shape


def test_a_weight_of_zero_leaves_no_gradient_and_an_infinite_loss_undefined() -> None:
    z, weight = torch.tensor([[-INF, 0.0], [1.0, 2.0]]), torch.tensor([0.0, 1.0])
    loss, gradient = run(z, torch.tensor([0, 1]), weight, Parameters((1.0,), reduction="none"))
    assert math.isnan(loss[0].item())
    assert loss[1].isfinite()
    assert gradient[0].tolist() == [0, 0]


@pytest.mark.parametrize(("wrong", "ignore_index"), [(5, -100), (-1, -100), (-100, 2), (7, 5)])
def test_targets_out_of_range(wrong: int, ignore_index: int) -> None:
    z, y = torch.zeros(3, 5), torch.tensor([0, wrong, 4])
    p = Parameters((1.0,), ignore_index=ignore_index)
    message = f"Target {wrong} is out of bounds: with 5 classes give 0 to 4, or ignore_index {ignore_index}"
    with pytest.raises(IndexError, match=message):
        _eager.forward(z, y, None, p, gradient=True, dtype=z.dtype)
    with pytest.raises(IndexError, match=message):
        _eager.backward_(torch.empty_like(z), torch.ones(()), z, y, None, p, filled=False)


def test_an_ignored_target_may_be_any_number() -> None:
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    want = run(z[:2], torch.tensor([0, 4]), None, Parameters((1.0,)))
    for index in (-100, 5, 2**40, -(2**40), 3):
        got = run(z, torch.tensor([0, 4, index]), None, Parameters((1.0,), ignore_index=index))
        assert torch.equal(got[0], want[0])
        assert torch.equal(got[1][:2], want[1])
        assert got[1][2].count_nonzero() == 0

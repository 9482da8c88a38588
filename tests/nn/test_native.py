"""The native backend: its contract against the textbook form in float64, its accuracy against mpmath, and the edges."""

from __future__ import annotations

import itertools
import math
import os
import shutil
from typing import Any

import mpmath
import pytest
import torch

from polyref.formats import named
from polyref.nn import _native
from polyref.nn._kernel import Parameters

INF, NAN = math.inf, math.nan
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MP = mpmath.MPContext()
MP.prec = 420  # Pt = 1e-30 to the fourth power costs 400 bits at most

pytestmark = pytest.mark.skipif(
    not (_native.built() or os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")),
    reason="the native backend is not built, and there is no C++ compiler",
)


@pytest.fixture(scope="session", autouse=True)
def native() -> None:
    """The library, built where it is not there yet."""
    _native.build()
    _native.load()


def exact(z: list[float], y: int, epsilon: tuple[float, ...], gamma: float = 0.0) -> tuple[Any, list[Any]]:
    """The loss and its gradient by the definition."""
    e = [MP.exp(MP.mpf(v) - MP.mpf(z[y])) for v in z]
    s = MP.fsum(v for k, v in enumerate(e) if k != y)
    x, pt = s / (1 + s), 1 / (1 + s)
    poly = MP.log1p(s) + sum(MP.mpf(c) * x**j for j, c in enumerate(epsilon, 1))
    slope = 1 + pt * sum(j * MP.mpf(c) * x ** (j - 1) for j, c in enumerate(epsilon, 1))
    if gamma:
        power = x ** MP.mpf(gamma)
        poly, slope = power * poly, power * (gamma * pt * poly / x + slope)
    return poly, [slope * (v * pt if k != y else -x) for k, v in enumerate(e)]


def ulps(got: float, want: Any, dtype: torch.dtype) -> float:
    """The error in units of the format's spacing at the exact result."""
    form = named(str(dtype))
    if want == 0:
        return 0.0 if got == 0 else INF
    spacing = MP.mpf(2) ** int(MP.floor(MP.log(abs(want), 2))) * 2 * MP.mpf(form.unit_roundoff)
    return float(abs(MP.mpf(got) - want) / max(spacing, MP.mpf(form.smallest_subnormal)))


def rows(classes: int, number: int, dtype: torch.dtype, *, scale: float = 2.0) -> torch.Tensor:
    """Rows whose first class has Pt from 1e-30 to 1 - 1e-30, each shifted as a whole."""
    generator = torch.Generator().manual_seed(classes)
    z = scale * torch.randn(number, classes, generator=generator, dtype=torch.float64)
    z[:, 0] = z[:, 1:].logsumexp(1) + torch.linspace(-69, 69, number, dtype=torch.float64)
    return (z + 20 * torch.randn(number, 1, generator=generator, dtype=torch.float64)).to(dtype)


def loss_of(z: torch.Tensor, y: torch.Tensor, p: Parameters, w: torch.Tensor | None = None, **more: Any) -> Any:
    wide = torch.float64 if z.dtype == torch.float64 else torch.float32
    return _native.forward(z, y, w, p, **{"gradient": True, "dtype": wide, **more})


def gradient(z: torch.Tensor, y: torch.Tensor, p: Parameters, w: torch.Tensor | None = None) -> torch.Tensor:
    """Row by row: what backward_ writes for an incoming gradient of 1 for every row's loss."""
    out = torch.full_like(z, NAN)
    one = torch.ones((), dtype=torch.float64 if z.dtype == torch.float64 else torch.float32).expand(y.shape)
    _native.backward_(out, one, z, y, w, p, filled=False)
    return out


EPSILONS = (-1.0, -0.5, 0.0, 1.0, 2.0)
BOUNDS = {torch.float16: 0.51, torch.bfloat16: 0.51, torch.float32: 4.0, torch.float64: 4.0}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("classes", "number"), [(2, 61), (10, 31), (70, 7), (1000, 5)])
def test_every_digit_from_certainly_wrong_to_certainly_right(dtype: torch.dtype, classes: int, number: int) -> None:
    z, y = rows(classes, number, dtype), torch.zeros(number, dtype=torch.int64)
    for epsilon in EPSILONS:
        p = Parameters((epsilon,), reduction="none")
        loss, _ = loss_of(z, y, p, dtype=dtype)
        grad = gradient(z, y, p)
        for row, value, g in zip(z.tolist(), loss.tolist(), grad.tolist(), strict=True):
            want, want_grad = exact(row, 0, (epsilon,))
            worst = max(ulps(a, b, dtype) for a, b in zip([value, *g], [want, *want_grad], strict=True))
            assert worst <= BOUNDS[dtype], f"{worst} ulps for {epsilon=}, Pt = {float(MP.exp(-want))}"


def test_a_row_of_32000_classes() -> None:
    z = rows(32000, 3, torch.float32)[1:2]
    z[0, 0] += 3
    loss, grad = loss_of(z, torch.tensor([0]), Parameters((-1.0,)))
    want, want_grad = exact(z[0].tolist(), 0, (-1.0,))
    assert (
        max(ulps(a, b, z.dtype) for a, b in zip([loss.item(), *grad[0].tolist()], [want, *want_grad], strict=True)) < 4
    )


# As in the eager losses, the condition number N + 1 + gamma enters: at most 7 times the exponentials' 1.2 u, 2.5 u for
# the response and the rounding.
@pytest.mark.parametrize("dtype", DTYPES)
def test_several_terms_and_focal_exponents(dtype: torch.dtype) -> None:
    z, y = rows(5, 31, dtype), torch.zeros(31, dtype=torch.int64)
    for epsilon, gamma in itertools.product(
        [(), (-1.0,), (-1.0, -0.5, -1 / 3), (2.0, 0.0, -1.0)], [0.5, 1.0, 2.0, 2.5]
    ):
        p = Parameters(epsilon, gamma, reduction="none")
        loss, _ = loss_of(z, y, p, dtype=dtype)
        bound = 0.51 if dtype.itemsize == 2 else (len(epsilon) + 1 + gamma) * 1.2 + 3
        for row, value, g in zip(z.tolist(), loss.tolist(), gradient(z, y, p).tolist(), strict=True):
            want, want_grad = exact(row, 0, epsilon, gamma)
            worst = max(ulps(a, b, dtype) for a, b in zip([value, *g], [want, *want_grad], strict=True))
            assert worst <= bound, f"{worst} ulps for {epsilon=}, {gamma=}"


SHAPES = (
    *((4, 2), (7, 3), (65, 10), (130, 64), (9, 65), (20, 100), (3, 1000), (0, 5)),
    *((3, 5, 0), (0, 5, 7), (5, 3, 5), (5, 10, 1), (3, 21, 64), (2, 5, 200), (1, 70, 130)),
)
# One rounding, and near ties, for 16 bits; the textbook form's own cancellation for 64.
ROUNDED = {torch.float16: 5.1e-4, torch.bfloat16: 4.1e-3, torch.float32: 4e-7, torch.float64: 1e-9}


def batch(shape: tuple[int, ...], dtype: torch.dtype, *, ignored: bool) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    z = (3 * torch.randn(shape, generator=generator)).to(dtype)
    y = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    if ignored:
        y[torch.rand(y.shape, generator=generator) < 0.3] = -100
    return z, y


def textbook(z: torch.Tensor, y: torch.Tensor, p: Parameters, weight: torch.Tensor | None) -> torch.Tensor:
    """The loss as one would write it down, with autograd; for logits that are not extreme."""
    counted = y != p.ignore_index
    index = y.masked_fill(~counted, 0)
    log = -z.log_softmax(1).gather(1, index.unsqueeze(1)).squeeze(1)
    x = -torch.expm1(-log)
    w = (torch.ones(z.shape[1], dtype=z.dtype) if weight is None else weight.to(z.dtype))[index] * counted
    loss = w * x**p.gamma * (log + sum(e * x**j for j, e in enumerate(p.epsilon, 1)))
    if p.reduction == "none":
        return loss
    return loss.sum() / w.sum() if p.reduction == "mean" else loss.sum()


def close(got: torch.Tensor, want: torch.Tensor, z: torch.Tensor) -> None:
    least = torch.finfo(z.dtype).smallest_normal * torch.finfo(z.dtype).eps  # a subnormal result's spacing
    torch.testing.assert_close(got.double(), want, rtol=ROUNDED[z.dtype], atol=0.51 * least, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_contract_for_every_shape_and_reduction(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    for reduction, weighted, (epsilon, gamma) in itertools.product(
        ("none", "mean", "sum"), (False, True), (((), 0.0), ((1.0,), 0.0), ((0.5, -0.4, 0.3), 0.5), ((1.0,), 2.0))
    ):
        z, y = batch(shape, dtype, ignored=weighted)
        w = torch.rand(shape[1], generator=torch.Generator().manual_seed(1)).add(0.5).to(dtype) if weighted else None
        p = Parameters(epsilon, gamma, reduction=reduction)
        wide = z.double().requires_grad_()
        want = textbook(wide, y, p, w)
        (ones,) = torch.autograd.grad(want, wide, torch.ones_like(want), retain_graph=True)
        incoming = torch.rand(want.shape, generator=torch.Generator().manual_seed(2)).add(0.5).to(dtype)
        (others,) = torch.autograd.grad(want, wide, incoming.double())

        loss, grad = loss_of(z, y, p, w, dtype=dtype)
        close(loss, want.detach(), z)
        assert loss.dtype == dtype
        if reduction == "none":
            assert grad.shape == (0,)
        else:
            assert grad.is_contiguous()
            close(grad, ones, z)
            assert torch.equal(loss_of(z, y, p, w, dtype=dtype, gradient=False)[0].nan_to_num(), loss.nan_to_num())
        out = torch.full_like(z, NAN)
        _native.backward_(out, incoming, z, y, w, p, filled=False)
        close(out, others, z)
        inplace = z.clone()
        _native.backward_(inplace, incoming, inplace, y, w, p, filled=False)
        assert torch.equal(inplace.nan_to_num(), out.nan_to_num())


def test_the_gradient_that_forward_wrote_is_kept_for_ones_and_computed_anew_for_others() -> None:
    z, y = batch((40, 10), torch.bfloat16, ignored=True)
    p = Parameters((1.0,))
    _, grad = loss_of(z, y, p)
    mark = torch.full_like(grad, 7.0)
    _native.backward_(mark, torch.ones(()), z, y, None, p, filled=True)
    assert torch.equal(mark, torch.full_like(grad, 7.0))
    _native.backward_(mark, torch.ones(()), z, y, None, p, filled=False)
    assert torch.equal(mark, grad)
    _native.backward_(mark, torch.full((), 2.0), z, y, None, p, filled=True)
    assert torch.equal(mark, 2 * grad)


@pytest.mark.parametrize("shape", [(12, 10), (12, 100), (12, 5, 9)])
@pytest.mark.parametrize("weighted", [False, True])
def test_groups_are_losses_of_their_own(shape: tuple[int, ...], weighted: bool) -> None:
    z, y = batch(shape, torch.float32, ignored=True)
    y[8:] = -100  # the third group has no rows
    w = torch.linspace(0.5, 2, shape[1]) if weighted else None
    for reduction in ("mean", "sum"):
        loss, grad = loss_of(z, y, Parameters((1.0,), reduction=reduction, groups=3), w)
        incoming = torch.tensor([1.0, 3.0, 0.5])
        out = torch.empty_like(z)
        _native.backward_(out, incoming, z, y, w, Parameters((1.0,), reduction=reduction, groups=3), filled=True)
        assert loss.shape == (3,)
        for g in range(3):
            part = slice(4 * g, 4 * g + 4)
            alone, alone_grad = loss_of(z[part], y[part], Parameters((1.0,), reduction=reduction), w)
            torch.testing.assert_close(loss[g], alone, rtol=1e-7, atol=0, equal_nan=True)
            torch.testing.assert_close(grad[part], alone_grad, rtol=0, atol=0)
            torch.testing.assert_close(out[part], incoming[g] * alone_grad, rtol=3e-7, atol=0)


@pytest.mark.parametrize("shape", [(70, 4), (6, 100), (6, 4, 9)])
def test_incoming_gradients_of_any_strides(shape: tuple[int, ...]) -> None:
    z, y = batch(shape, torch.float32, ignored=False)
    p = Parameters((1.0,), reduction="none")
    wide = torch.rand(*y.shape[::-1], 2)
    for incoming in (torch.rand(()).expand(y.shape), wide[..., 1].permute(*range(y.dim() - 1, -1, -1))):
        got, want = torch.empty_like(z), torch.empty_like(z)
        _native.backward_(got, incoming, z, y, None, p, filled=False)
        _native.backward_(want, incoming.contiguous(), z, y, None, p, filled=False)
        assert torch.equal(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_of_every_dtype(dtype: torch.dtype) -> None:
    z, y = batch((20, 6), torch.float32, ignored=False)
    w = torch.tensor([0.5, 1, 2, 0.25, 3, 1.5])
    want = loss_of(z, y, Parameters((1.0,)), w)
    got = loss_of(z, y, Parameters((1.0,)), w.to(dtype))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


# Fewer and more classes than are transposed, and positions side by side.
LAYOUTS = ("tile", "row", "positions")


def run(z: list[float], y: int, p: Parameters, layout: str, **kwargs: Any) -> tuple[float, list[float]]:
    """One row by each of the three ways; impossible classes, which change nothing, lead to the second one."""
    logits = torch.tensor([z], dtype=kwargs.pop("dtype", torch.float32))
    classes = len(z)
    weight = kwargs.pop("weight", None)
    if layout == "row":
        logits = torch.cat([logits, torch.full((1, 100), -INF, dtype=logits.dtype)], 1)
    if layout == "positions":
        logits = logits[:, :, None].expand(-1, -1, 70).contiguous()
        target = torch.full((1, 70), -100)
        target[0, 66] = y
    else:
        target = torch.tensor([y])
    if weight is not None:
        weight = torch.full((logits.shape[1],), weight, dtype=torch.float64)
    loss, grad = loss_of(logits, target, p, weight, **kwargs)
    grad = grad[..., 66] if layout == "positions" else grad
    return loss.item(), grad[0, :classes].tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("epsilon", [(), (1.0,), (-1.0,), (-1.0, -0.5, -1 / 3)])
def test_edges(epsilon: tuple[float, ...], gamma: float, layout: str) -> None:
    p = Parameters(epsilon, gamma)
    assert run([3.0], 0, p, layout) == (0.0, [0.0])
    assert run([200.0, 0.0, 0.0], 0, p, layout) == (0.0, [0.0, 0.0, 0.0])
    assert run([0.0, -INF], 0, p, layout) == (0.0, [0.0, 0.0])
    loss, grad = run([0.0, 200.0], 0, p, layout)
    assert loss == pytest.approx(200 + sum(epsilon))
    assert grad == [-1.0, 1.0]
    assert run([-INF, 1.0, 1.0], 0, p, layout) == (INF, [-1.0, 0.5, 0.5])
    assert run([-3.4e38, 3.4e38], 0, p, layout) == (INF, [-1.0, 1.0])
    assert run([-3.4e38, 3.4e38], 1, p, layout) == (0.0, [0.0, 0.0])
    assert run([-1e38, 2e38], 0, p, layout)[0] == pytest.approx(3e38)
    largest = torch.finfo(torch.float64).max
    quarter = Parameters(epsilon, gamma, reduction="sum")
    loss, grad = run([-largest, largest], 0, quarter, layout, dtype=torch.float64, weight=0.25)
    assert (loss, grad) == (largest / 2, [-0.25, 0.25])
    for z in ([NAN, 0.0, 1.0], [0.0, NAN, 1.0], [-INF, -INF, -INF], [INF, 0.0, 0.0], [0.0, INF, 0.0]):
        loss, grad = run(z, 0, p, layout)
        assert math.isnan(loss)
        assert all(math.isnan(g) for g in grad)
    loss, grad = run([0.5, -INF, 1.5, -INF], 0, p, layout)
    assert (loss, [grad[0], grad[2]]) == run([0.5, 1.5], 0, p, layout)
    assert grad[1] == grad[3] == 0.0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "weight", "margin"), [(torch.float32, 1e38, 95.0), (torch.float64, 1.7e308, 720.0)])
def test_weights_near_the_largest_number(dtype: torch.dtype, weight: float, margin: float, layout: str) -> None:
    """The factor of the exponentials is out of range, or they are subnormal; the products are ordinary numbers."""
    p = Parameters((2.0,), reduction="sum")
    z = [0.0, -margin, -1.0, -margin - 5]
    loss, grad = run(z, 0, p, layout, dtype=dtype, weight=weight)
    want, want_grad = exact(z, 0, (2.0,))
    assert all(math.isfinite(v) for v in (loss, *grad))
    scaled = [MP.mpf(weight if dtype == torch.float64 else torch.tensor(weight).double().item()) * v for v in want_grad]
    assert max(ulps(a, b, dtype) for a, b in zip(grad, scaled, strict=True)) < 4
    # Certainly right: the other classes alone are subnormal.
    z = [0.0, -margin + 20, -margin + 18]
    loss, grad = run(z, 0, p, layout, dtype=dtype, weight=weight)
    want, want_grad = exact(z, 0, (2.0,))
    assert max(ulps(a, b * MP.mpf(weight), dtype) for a, b in zip([loss, *grad], [want, *want_grad], strict=True)) < 4


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_an_ignored_row_contributes_nothing_and_a_row_does_not_see_its_neighbours(layout: str, gamma: float) -> None:
    p = Parameters((1.0,), gamma, reduction="none")
    classes = 100 if layout == "row" else 4
    z = torch.randn(6, classes, generator=torch.Generator().manual_seed(1))
    z[1], z[3, 0], z[4] = NAN, INF, -INF
    y = torch.tensor([0, -100, 1, 0, 2, 3])
    if layout == "positions":
        z, y = z.t().contiguous()[None], y[None]
    loss, grad = loss_of(z, y, p)[0].flatten(), gradient(z, y, p)
    if layout == "positions":
        z, y, grad = z[0].t(), y[0], grad[0].t()
    assert loss.isnan().tolist() == [False, False, False, True, True, False]
    assert loss[1] == 0
    assert grad[1].tolist() == [0.0] * classes
    for row in (0, 2, 5):
        alone = z[row : row + 1].contiguous()
        assert torch.equal(loss_of(alone, y[row : row + 1], p)[0], loss[row : row + 1])
        assert torch.equal(gradient(alone, y[row : row + 1], p), grad[row : row + 1])
    assert grad[3].isnan().all()
    assert grad[4].isnan().all()


def test_no_rows_that_count() -> None:
    for shape in ((0, 4), (3, 4), (3, 100), (2, 4, 5)):
        z = torch.zeros(shape)
        y = torch.full((shape[0], *shape[2:]), -100)
        loss, grad = loss_of(z, y, Parameters((1.0,)))
        assert math.isnan(loss.item())
        assert grad.shape == shape
        assert grad.count_nonzero() == 0
        assert loss_of(z, y, Parameters((1.0,), reduction="sum"))[0].item() == 0


@pytest.mark.parametrize("shape", [(9, 4), (9, 100), (3, 4, 7), (20000, 4)])
def test_a_target_out_of_range(shape: tuple[int, ...]) -> None:
    z, y = batch(shape, torch.float32, ignored=True)
    y.view(-1)[-1] = shape[1]
    message = (
        f"Target {shape[1]} is out of bounds: with {shape[1]} classes give 0 to {shape[1] - 1}, or ignore_index -100"
    )
    with pytest.raises(IndexError, match=message):
        loss_of(z, y, Parameters((1.0,)))
    y.view(-1)[2] = -1
    with pytest.raises(IndexError, match="Target -1 is out of bounds"):
        gradient(z, y, Parameters((1.0,), reduction="none"))
    y[y == -1], y[y == shape[1]] = 0, 0
    loss_of(z, y, Parameters((1.0,)))

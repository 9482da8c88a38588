"""Derivatives of every order and kind: against finite differences, against the definition, and what is refused."""

from __future__ import annotations

import copy
import math
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor

from polyref.nn import PolyCrossEntropyLoss, backends, poly_cross_entropy

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # torch's own forward mode loads scripted decompositions.
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
]

MP = mpmath.MPContext()
MP.prec = 400

USABLE = [name for name in ("eager", "native") if not backends()[name]]
LAWS: list[tuple[tuple[float, ...], float]] = [
    ((), 0.0),
    ((1.0,), 0.0),
    ((-1.0,), 0.0),
    ((-1.0, -0.5), 0.0),
    ((1.0,), 0.5),
    ((-1.0,), 2.0),
    ((2.0, 0.0, -1.0), 1.5),
]


@pytest.fixture(params=USABLE, autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("POLYREF_NN_BACKEND", request.param)
    return str(request.param)


def batch(kind: str = "index", shape: tuple[int, ...] = (6, 5)) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(len(shape))
    z = torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_()
    weight = 0.1 + torch.rand(shape[1], generator=draw, dtype=torch.float64)
    if kind == "probabilities":
        return z, torch.rand(shape, generator=draw, dtype=torch.float64).softmax(1), weight
    y = torch.randint(shape[1], (shape[0], *shape[2:]), generator=draw)
    y.view(-1)[2] = -100
    return z, y, weight


@pytest.mark.parametrize(
    ("kind", "reduction"), [("index", "mean"), ("index", "none"), ("smoothed", "sum"), ("probabilities", "mean")]
)
@pytest.mark.parametrize(("epsilon", "gamma"), LAWS)
def test_first_second_and_forward_derivatives(
    epsilon: tuple[float, ...], gamma: float, reduction: str, kind: str
) -> None:
    z, y, w = batch(kind, (3, 4))
    smoothing = 0.1 if kind == "smoothed" else 0.0

    def loss(z: Tensor) -> Tensor:
        return poly_cross_entropy(z, y, epsilon, gamma=gamma, weight=w, reduction=reduction, label_smoothing=smoothing)

    assert torch.autograd.gradcheck(loss, (z,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(loss, (z,), check_fwd_over_rev=True)


def test_second_derivatives_of_pixels() -> None:
    z, y, w = batch(shape=(2, 3, 4))
    assert torch.autograd.gradgradcheck(lambda z: poly_cross_entropy(z, y, 1.0, weight=w), (z,))


def hessian_product(z: list[float], y: int, v: list[float], epsilon: tuple[float, ...], gamma: float) -> list[Any]:
    """H v by a central difference of the exact gradient, at a precision where it is exact for our purposes."""

    def gradient(at: list[Any]) -> list[Any]:
        e = [MP.exp(u - at[y]) for u in at]
        s = MP.fsum(u for k, u in enumerate(e) if k != y)
        x, pt = s / (1 + s), 1 / (1 + s)
        poly = MP.log(1 + s) + sum(MP.mpf(c) * x**j for j, c in enumerate(epsilon, 1))
        slope = 1 + pt * sum(j * MP.mpf(c) * x ** (j - 1) for j, c in enumerate(epsilon, 1))
        if gamma:
            slope = x ** MP.mpf(gamma) * (gamma * pt * poly / x + slope)
        return [slope * (u * pt if k != y else -x) for k, u in enumerate(e)]

    step = MP.mpf(2) ** -100
    moved = [gradient([MP.mpf(a) + sign * step * MP.mpf(b) for a, b in zip(z, v, strict=True)]) for sign in (1, -1)]
    return [(a - b) / (2 * step) for a, b in zip(*moved, strict=True)]


@pytest.mark.parametrize(("epsilon", "gamma"), LAWS)
@pytest.mark.parametrize("margin", [-60.0, -5.0, 0.0, 3.0, 30.0, 60.0])
def test_the_curvature_keeps_its_digits_at_certainty(epsilon: tuple[float, ...], gamma: float, margin: float) -> None:
    z = [margin, 0.25, -1.5, 0.75]
    v = [0.5, -1.0, 2.0, 0.25]
    logits = torch.tensor([z], dtype=torch.float64, requires_grad=True)
    loss = poly_cross_entropy(logits, torch.tensor([0]), epsilon, gamma=gamma)
    (gradient,) = torch.autograd.grad(loss, logits, create_graph=True)
    (got,) = torch.autograd.grad(gradient, logits, torch.tensor([v], dtype=torch.float64))
    want = hessian_product(z, 0, v, epsilon, gamma)
    # The terms of an entry may cancel for one v or another; the largest entry says what digits there are.
    scale = max(abs(w) for w in want)
    for a, b in zip(got[0].tolist(), want, strict=True):
        assert abs(a - b) <= 2e-14 * scale + MP.mpf(5e-324)


@pytest.mark.parametrize("gamma", [0.25, 0.5, 1.0, 1.5])
def test_second_derivatives_at_certainty_are_finite(gamma: float) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        z = torch.tensor([[0.0, 200.0, 0.0], [2000.0, 0.0, 0.0]], dtype=dtype, requires_grad=True)
        loss = poly_cross_entropy(z, torch.tensor([0, 0]), -1.0, gamma=gamma)
        (gradient,) = torch.autograd.grad(loss, z, create_graph=True)
        (got,) = torch.autograd.grad(gradient.sum(), z)
        assert gradient.isfinite().all()
        assert got.isfinite().all()


def test_a_third_derivative_is_refused() -> None:
    z, y, _ = batch()
    (first,) = torch.autograd.grad(poly_cross_entropy(z, y), z, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="no third derivative"):
        torch.autograd.grad(second.sum(), z)


def test_a_graph_that_is_kept_gives_the_same_gradient_again_whatever_became_of_the_first() -> None:
    z, y, _ = batch()
    loss = poly_cross_entropy(z, y)
    (first,) = torch.autograd.grad(loss, z, retain_graph=True)
    want = first.clone()
    first.zero_()
    (second,) = torch.autograd.grad(loss, z, torch.tensor(3.0, dtype=torch.float64), retain_graph=True)
    torch.testing.assert_close(second, 3 * want, rtol=1e-14, atol=0)
    assert torch.equal(torch.autograd.grad(loss, z)[0], want)


def test_gradients_accumulate() -> None:
    z, y, _ = batch()
    poly_cross_entropy(z, y).backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    once = z.grad.clone()
    poly_cross_entropy(z, y).backward()  # type: ignore[no-untyped-call]
    assert torch.equal(z.grad, 2 * once)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("kind", ["index", "probabilities"])
def test_vmap_is_a_loop(kind: str, reduction: str) -> None:
    z, y, w = batch(kind, (3, 4, 5))
    lanes = torch.stack([z.detach() + i for i in range(4)])
    if kind == "index":
        z, y, w = batch(kind, (3, 4))
        lanes = torch.stack([z.detach() * (i + 1) for i in range(4)])

    def loss(z: Tensor) -> Tensor:
        return poly_cross_entropy(z, y, (1.0, -0.5), weight=w, reduction=reduction)

    assert torch.equal(torch.vmap(loss)(lanes), torch.stack([loss(lane) for lane in lanes]))
    per_lane = torch.vmap(torch.func.grad(lambda z: loss(z).sum()))(lanes)
    for lane, got in zip(lanes, per_lane, strict=True):
        leaf = lane.clone().requires_grad_()
        torch.testing.assert_close(got, torch.autograd.grad(loss(leaf).sum(), leaf)[0], rtol=1e-14, atol=0)


def test_per_sample_gradients() -> None:
    z, y, w = batch()
    got = torch.vmap(torch.func.grad(lambda z, y: poly_cross_entropy(z, y, 1.0, weight=w, reduction="sum")))(z, y)
    leaf = z.detach().clone().requires_grad_()
    want = torch.autograd.grad(poly_cross_entropy(leaf, y, 1.0, weight=w, reduction="sum"), leaf)[0]
    torch.testing.assert_close(got, want, rtol=1e-14, atol=0)


def test_vmap_over_weights_targets_and_nested() -> None:
    z, y, _ = batch()
    z = z.detach()
    weights = 0.5 + torch.rand(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    got = torch.vmap(lambda w: poly_cross_entropy(z, y, 1.0, weight=w))(weights)
    assert torch.equal(got, torch.stack([poly_cross_entropy(z, y, 1.0, weight=w) for w in weights]))
    targets = torch.stack([y.roll(i) for i in range(3)], 1)
    got = torch.vmap(lambda y: poly_cross_entropy(z, y), in_dims=1)(targets)
    assert torch.equal(got, torch.stack([poly_cross_entropy(z, targets[:, i]) for i in range(3)]))
    stack = torch.stack([torch.stack([z + i + j for i in range(2)]) for j in range(3)])
    nested = torch.vmap(torch.vmap(lambda z: poly_cross_entropy(z, y)))(stack)
    assert torch.equal(nested, torch.stack([torch.stack([poly_cross_entropy(v, y) for v in row]) for row in stack]))


def test_hessians_agree_however_they_are_taken() -> None:
    z, y, w = batch()

    def loss(z: Tensor) -> Tensor:
        return poly_cross_entropy(z, y, (1.0, 0.5), gamma=1.5, weight=w)

    want = torch.autograd.functional.hessian(loss, z)
    for got in (
        torch.func.hessian(loss)(z),
        torch.func.jacrev(torch.func.grad(loss))(z),
        torch.func.jacrev(torch.func.jacrev(loss))(z),
    ):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-15)


def test_the_gradient_of_class_probabilities_is_torch_s() -> None:
    z, q, w = batch("probabilities")
    grads = []
    for loss in (lambda *a, **k: poly_cross_entropy(*a, 0.0, **k), torch.nn.functional.cross_entropy):
        leaf = q.clone().requires_grad_()
        grads.append(torch.autograd.grad(loss(z.detach(), leaf, weight=w, label_smoothing=0.2), leaf)[0])
    torch.testing.assert_close(*grads, rtol=1e-14, atol=0)
    leaf = q.clone().requires_grad_()
    with pytest.raises(RuntimeError, match=r"class probabilities: pass target.detach"):
        torch.autograd.grad(poly_cross_entropy(z, leaf), leaf, create_graph=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(6, 5), (2, 5, 3), (5,)])
def test_in_place_is_the_same_gradient_in_the_logits_storage(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    draw = torch.Generator().manual_seed(0)
    leaf = torch.randn(shape, generator=draw).to(dtype).requires_grad_()
    y = torch.randint(5, shape[:1] + shape[2:] if len(shape) > 1 else (), generator=draw)
    want = torch.autograd.grad(poly_cross_entropy(leaf, y, 1.0), leaf)[0]
    logits = leaf * 1
    where: list[int] = []
    logits.register_hook(lambda g: where.append(g.data_ptr()))
    poly_cross_entropy(logits, y, 1.0, inplace_backward=True).backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, want, rtol=4 * torch.finfo(dtype).eps, atol=0)
    assert where == [logits.data_ptr()]


def test_in_place_where_it_would_do_harm_is_refused() -> None:
    leaf = torch.randn(4, 3, requires_grad=True)
    y = torch.tensor([0, 1, 2, 0])
    with pytest.raises(RuntimeError, match="overwrite a leaf"):
        poly_cross_entropy(leaf, y, inplace_backward=True)
    with pytest.raises(RuntimeError, match=r"contiguous logits, got strides \(1, 4\)"):
        poly_cross_entropy((torch.randn(3, 4, requires_grad=True) * 1).t(), y, inplace_backward=True)
    with pytest.raises(RuntimeError, match=r"torch.func"):
        torch.func.grad(lambda z: poly_cross_entropy(z * 1, y, inplace_backward=True))(leaf.detach())
    for kept in ({"retain_graph": True}, {"create_graph": True}):
        loss = poly_cross_entropy(leaf * 1, y, inplace_backward=True)
        with pytest.raises(RuntimeError, match="cannot be kept or repeated"):
            torch.autograd.grad(loss, leaf, **kept)
    # Somebody else's backward pass needs the logits as they were.
    logits = leaf * 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (logits.square().sum() + poly_cross_entropy(logits, y, inplace_backward=True)).backward()  # type: ignore[no-untyped-call]


def test_logits_changed_after_the_forward_pass_are_noticed() -> None:
    logits = torch.randn(4, 3, requires_grad=True) * 1
    loss = poly_cross_entropy(logits, torch.tensor([0, 1, 2, 0]))
    logits.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_gives_a_float32_loss_of_sixteen_bit_logits(dtype: torch.dtype) -> None:
    z = torch.randn(4, 3, dtype=dtype, requires_grad=True)
    y = torch.tensor([0, 1, 2, 0])
    wide = poly_cross_entropy(z.detach().float(), y, weight=torch.tensor([0.5, 1, 2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = poly_cross_entropy(z, y, weight=torch.tensor([0.5, 1, 2]))
        assert loss.dtype == torch.nn.functional.cross_entropy(z, y).dtype == torch.float32
        assert poly_cross_entropy(z.float(), y).dtype == torch.float32
        assert poly_cross_entropy(z.double(), y).dtype == torch.float64
    torch.testing.assert_close(loss.detach(), wide)
    loss.backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    assert z.grad.dtype == dtype
    with pytest.raises(RuntimeError, match="weight of the input's dtype"):
        poly_cross_entropy(z, y, weight=torch.ones(3))


def test_a_scaled_loss_does_not_lose_what_float16_cannot_hold() -> None:
    # The gradients of a batch of 2**12 rows are subnormal in float16; loss scaling is there to keep them.
    z = torch.tensor([[0.0, 11.0]] * 4096, dtype=torch.float16, requires_grad=True)
    y = torch.ones(4096, dtype=torch.int64)
    with torch.autocast("cpu", dtype=torch.float16):
        loss = poly_cross_entropy(z, y, 0.0)
    (gradient,) = torch.autograd.grad(loss * 65536.0, z)
    want = 65536 / 4096 / (1 + math.exp(11))
    assert gradient[0, 0].item() == pytest.approx(want, rel=2**-11)


def test_the_module_is_copied_and_restored() -> None:
    module = PolyCrossEntropyLoss((1.0, -0.5), 0.5, torch.tensor([1.0, 2.0, 3.0]))
    z, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    twin = copy.deepcopy(module)
    assert torch.equal(twin(z, y), module(z, y))
    other = PolyCrossEntropyLoss((1.0, -0.5), 0.5, torch.ones(3))
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(z, y), module(z, y))

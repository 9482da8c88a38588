"""The loss of independent logits under autograd, functorch and the compiler."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from polyref.nn.binary import poly_binary_cross_entropy_with_logits as poly_bce

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # torch's own, from its forward mode and from its compiler.
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]

REDUCTIONS = ("none", "mean", "sum")


def test_a_graph_that_is_kept_gives_its_gradient_again() -> None:
    z, q = torch.randn(50, requires_grad=True), torch.rand(50)
    loss = poly_bce(z, q)
    (want,) = torch.autograd.grad(poly_bce(z, q), z)
    for count in (1, 2, 3):
        loss.backward(retain_graph=True)
        assert z.grad is not None
        torch.testing.assert_close(z.grad, count * want)
    with torch.no_grad():
        z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.5])
@pytest.mark.parametrize("epsilon", [(), (1.0,), (-1.0,), (2.0, -0.3), (-1.0, -0.5)])
def test_autograd_confirms_both_derivatives(epsilon: tuple[float, ...], gamma: float) -> None:
    generator = torch.Generator().manual_seed(7)
    z = (2 * torch.randn(3, 2, generator=generator, dtype=torch.float64)).requires_grad_()
    q = torch.tensor([[0, 1], [0.3, 0.9], [1, 0]], dtype=torch.float64)
    for reduction in REDUCTIONS:
        factors: dict[str, Any] = (
            {} if reduction == "mean" else {"weight": torch.rand(2), "pos_weight": torch.rand(3, 1)}
        )

        def f(z: torch.Tensor, reduction: str = reduction, factors: dict[str, Any] = factors) -> torch.Tensor:
            return poly_bce(z, q, epsilon, gamma=gamma, reduction=reduction, **factors)

        assert torch.autograd.gradcheck(f, (z,), check_forward_ad=True)
        assert torch.autograd.gradgradcheck(f, (z,), check_fwd_over_rev=True)


def test_a_third_derivative_is_refused() -> None:
    z, q = torch.randn(4, requires_grad=True), torch.rand(4)
    (first,) = torch.autograd.grad(poly_bce(z, q), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="no third derivative"):
        torch.autograd.grad(second.sum(), z)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_vmap_is_a_loop(reduction: str) -> None:
    z, q, w = torch.randn(5, 3, 4), torch.rand(5, 3, 4), torch.rand(5, 4)

    def f(z: torch.Tensor, q: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return poly_bce(z, q, gamma=0.5, weight=w, pos_weight=w, reduction=reduction)

    def loop(g: Any, *dims: int | None) -> torch.Tensor:
        args = [[t] * 5 if d is None else t.movedim(d, 0).unbind() for t, d in zip((z0, q0, w0), dims, strict=True)]
        return torch.stack([g(*each) for each in zip(*args, strict=True)])

    for dims in itertools.product((0, None), repeat=3):
        if dims == (None, None, None):
            continue
        z0, q0, w0 = (t if d == 0 else t[0] for t, d in zip((z, q, w), dims, strict=True))
        torch.testing.assert_close(torch.vmap(f, dims)(z0, q0, w0), loop(f, *dims))
        slope = torch.func.grad(lambda *args: f(*args).sum())
        torch.testing.assert_close(torch.vmap(slope, dims)(z0, q0, w0), loop(slope, *dims))
    z0, q0, w0 = z.movedim(0, 1), q.movedim(0, 2), w
    torch.testing.assert_close(torch.vmap(f, (1, 2, 0))(z0, q0, w0), loop(f, 1, 2, 0))
    rows = torch.vmap(torch.vmap(lambda z, q: poly_bce(z, q, reduction=reduction)))(z, q)
    loss = poly_bce(z, q, reduction="none")
    torch.testing.assert_close(rows, loss if reduction == "none" else getattr(loss, reduction)(-1))


def test_jacobians_and_hessians_agree_forward_and_backward() -> None:
    z, q = torch.randn(4, dtype=torch.float64), torch.rand(4, dtype=torch.float64)

    def each(z: torch.Tensor) -> torch.Tensor:
        return poly_bce(z, q, (-1.0, 2.0), gamma=1.5, reduction="none")

    def mean(z: torch.Tensor) -> torch.Tensor:
        return poly_bce(z, q, (-1.0, 2.0), gamma=1.5)

    torch.testing.assert_close(torch.func.jacrev(each)(z), torch.func.jacfwd(each)(z))
    torch.testing.assert_close(torch.func.jacrev(torch.func.jacrev(mean))(z), torch.func.hessian(mean)(z))
    leaf = z.clone().requires_grad_()
    many = torch.autograd.grad(each(leaf), leaf, torch.eye(4, dtype=torch.float64), is_grads_batched=True)[0]
    torch.testing.assert_close(many, torch.func.jacrev(each)(z))
    ones = torch.autograd.grad(mean(leaf), leaf, torch.ones(3, dtype=torch.float64), is_grads_batched=True)[0]
    torch.testing.assert_close(ones, torch.func.grad(mean)(z).expand(3, 4))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_the_compiler_takes_it_whole(reduction: str, dynamic: bool) -> None:
    torch._dynamo.reset()

    def f(z: torch.Tensor, q: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return 2 * poly_bce(3 * z, q, (1.0, -0.5), gamma=1.5, weight=w, reduction=reduction)

    compiled = torch.compile(f, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for n in (3, 5):
        z, q, w = torch.randn(n, 4, requires_grad=True), torch.rand(n, 4), torch.rand(4)
        own, want = compiled(z, q, w), f(z, q, w)
        torch.testing.assert_close(own, want)
        (g,), (h,) = (torch.autograd.grad(loss.sum(), z) for loss in (own, want))
        torch.testing.assert_close(g, h)


def test_the_operators_are_what_they_declare() -> None:
    z, q, w = torch.randn(3, 4), torch.rand(3, 4), torch.rand(4)
    for reduction, lanes, gradient, factor in (
        ("mean", 0, True, ()),
        ("sum", 1, False, (3,)),
        ("none", 0, True, (3, 4)),
    ):
        rest = ([1.0, -0.5], 1.5, reduction, lanes)
        results = torch.library.opcheck(
            torch.ops.polyref.binary_forward.default, (z, q, w, None, *rest, gradient, torch.float32)
        )
        assert set(results.values()) == {"SUCCESS"}
        for order in (1, 2):
            results = torch.library.opcheck(
                torch.ops.polyref.binary_derivative.default,
                (torch.rand(factor), z, q, None, w, *rest, order, torch.float64),
            )
            assert set(results.values()) == {"SUCCESS"}

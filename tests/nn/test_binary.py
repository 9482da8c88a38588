"""The loss of independent logits against torch's binary_cross_entropy_with_logits, against mpmath, and at the edges."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from typing import Any

import mpmath
import pytest
import torch
import torch.nn.functional as F

from polyref.formats import named
from polyref.nn import _binary
from polyref.nn.binary import poly_binary_cross_entropy_with_logits as poly_bce
from polyref.nn.binary_module import PolyBCEWithLogitsLoss

pytestmark = pytest.mark.usefixtures("one_thread")

INF, NAN = math.inf, math.nan
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
EPSILONS: tuple[tuple[float, ...], ...] = ((), (1.0,), (-1.0,), (2.0,), (-0.5,), (-1.0, -0.5), (-1.0, -0.5, -1 / 3))
GAMMAS = (0.0, 0.3, 1.0, 2.0)
REDUCTIONS = ("none", "mean", "sum")
SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (5,), (5, 5), (3, 4, 5), (0,), (0, 3), (3, 0), (7, 20000), (40000, 3))

# Its own context: the global one is nobody's to change.
MP = mpmath.MPContext()
MP.prec = 1200


def side(z: Any, epsilon: tuple[float, ...], gamma: float) -> tuple[Any, Any, Any]:
    """l(z) and its first two derivatives, by the definition, numerically differentiated nowhere."""
    x, p = 1 / (1 + MP.exp(z)), 1 / (1 + MP.exp(-z))
    terms = [(MP.mpf(c), j) for j, c in enumerate(epsilon, 1)]
    poly = -MP.log(p) + sum(c * x**j for c, j in terms)
    first = 1 / p + sum(c * j * x ** (j - 1) for c, j in terms)
    second = 1 / p**2 + sum(c * j * (j - 1) * x ** (j - 2) for c, j in terms if j > 1)
    g = MP.mpf(gamma)
    value, dx = x**g * poly, x**g * (g * poly / x + first)
    dx2 = x**g * (g * (g - 1) * poly / x**2 + 2 * g * first / x + second)
    # dx/dz = -x p, and d(x p)/dz = -x p (p - x)
    return value, -x * p * dx, x * p * (x * p * dx2 + (p - x) * dx)


def exact(z: float, q: float, epsilon: tuple[float, ...], gamma: float, *, w: float = 1, pw: float = 1) -> list[Any]:
    """Loss, gradient, second derivative, and the sum of the magnitudes of the gradient's two terms."""
    here, there = side(MP.mpf(z), epsilon, gamma), side(-MP.mpf(z), epsilon, gamma)
    a, b, w = MP.mpf(pw) * MP.mpf(q), 1 - MP.mpf(q), MP.mpf(w)
    value, slope, curve = (w * (a * u + sign * b * v) for u, v, sign in zip(here, there, (1, -1, 1), strict=True))
    return [value, slope, curve, abs(w) * (abs(a * here[1]) + abs(b * there[1]))]


def ulps(got: float, want: Any, dtype: torch.dtype, scale: Any = None) -> float:
    """The error in units in the last place of ``want``, or of ``scale``."""
    form, size = named(str(dtype)), abs(want if scale is None else scale)
    spacing = MP.mpf(2) ** MP.floor(MP.log(size, 2)) * 2 * form.unit_roundoff if size else MP.mpf(0)
    return float(abs(MP.mpf(got) - want) / max(spacing, MP.mpf(form.smallest_subnormal)))


def evaluate(z: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss and the gradient of its sum."""
    z = z.detach().clone().requires_grad_()
    loss = poly_bce(z, *args, **kwargs)
    loss.backward(torch.ones_like(loss))
    assert z.grad is not None
    return loss.detach(), z.grad


def margins(dtype: torch.dtype) -> torch.Tensor:
    """Logits from certain to certain, random ones, and some whose probability is subnormal in 16 and 32 bits."""
    generator = torch.Generator().manual_seed(1)
    random = torch.randn(12, generator=generator, dtype=torch.float64)
    far = torch.tensor([-104.0, -90.0, 90.0, 103.0, 120.0, 0.0, -0.0], dtype=torch.float64)
    return torch.cat([torch.linspace(-69, 69, 17, dtype=torch.float64), 2 * random, random / 100, far]).to(dtype)


def labels(kind: str, z: torch.Tensor) -> torch.Tensor:
    """Alternating hard labels, or random ones between 0 and 1."""
    if kind == "hard":
        return (torch.arange(len(z)) % 2).to(z.dtype)
    return torch.rand(len(z), generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(z.dtype)


# For 24 bits and fewer all is done in 53 bits, and what is left out costs at most 2^-5 u, 2^-6 ulp, beside the half ulp
# of rounding. For 53 bits t has 2.5 u, the condition number is at most N + 1 + gamma = 6, and about 6 u are added: 21
# units of u, one or two of which are an ulp. Gradients there: relative to the two terms, which cancel.
BOUNDS = {torch.float16: 0.51, torch.bfloat16: 0.51, torch.float32: 0.52, torch.float64: 21.0}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["hard", "soft", "weighted"])
def test_value_and_gradient_are_accurate_from_certainly_wrong_to_certainly_right(dtype: torch.dtype, kind: str) -> None:
    z = margins(dtype)
    q = labels("soft" if kind == "soft" else "hard", z)
    factors: dict[str, Any] = {}
    if kind == "weighted":
        generator = torch.Generator().manual_seed(3)
        factors = {name: (torch.rand(len(z), generator=generator) * 3).to(dtype) for name in ("weight", "pos_weight")}
    w, pw = (factors.get(name, torch.ones(len(z))).tolist() for name in ("weight", "pos_weight"))
    for epsilon, gamma in itertools.product(EPSILONS, GAMMAS):
        value, grad = evaluate(z, q, epsilon, gamma=gamma, reduction="none", **factors)
        for i, (zi, qi) in enumerate(zip(z.tolist(), q.tolist(), strict=True)):
            want, slope, _, terms = exact(zi, qi, epsilon, gamma, w=w[i], pw=pw[i])
            assert ulps(value[i].item(), want, dtype) <= BOUNDS[dtype], (epsilon, gamma, zi, qi)
            scale = terms if dtype == torch.float64 else None
            assert ulps(grad[i].item(), slope, dtype, scale) <= BOUNDS[dtype], (epsilon, gamma, zi, qi)


@pytest.mark.parametrize("epsilon", [(), (1.0,), (-1.0,), (2.0,), (-0.5,)])
def test_binary64_without_a_focal_exponent_has_six_ulp(epsilon: tuple[float, ...]) -> None:
    z = margins(torch.float64)
    q = labels("hard", z)
    value, grad = evaluate(z, q, epsilon, reduction="none")
    for v, g, zi, qi in zip(value.tolist(), grad.tolist(), z.tolist(), q.tolist(), strict=True):
        want, slope, *_ = exact(zi, qi, epsilon, 0.0)
        assert ulps(v, want, torch.float64) <= 6
        assert ulps(g, slope, torch.float64) <= 6


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_second_derivative_is_that_of_the_definition(epsilon: tuple[float, ...], gamma: float) -> None:
    z = torch.linspace(-30, 30, 14, dtype=torch.float64)
    z.requires_grad_()
    q = labels("soft", z.detach())
    q[0], q[1], q[-1], q[-2] = 0, 1, 0, 1
    (first,) = torch.autograd.grad(poly_bce(z, q, epsilon, gamma=gamma, reduction="sum"), z, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), z)
    for zi, qi, got in zip(z.tolist(), q.tolist(), second.tolist(), strict=True):
        sides = [abs(exact(zi, share, epsilon, gamma)[2]) for share in (0.0, 1.0)]
        size = qi * sides[1] + (1 - qi) * sides[0]
        if gamma or len(epsilon) > 1:
            # A side's second derivative may change its sign; then its terms are the measure.
            x = max(1 / (1 + MP.exp(zi)), 1 / (1 + MP.exp(-zi)))
            size += 10 * x * (1 - x) * (1 + abs(zi)) * sum(map(abs, epsilon)) * (qi if zi < 0 else 1 - qi)
        assert abs(MP.mpf(got) - exact(zi, qi, epsilon, gamma)[2]) <= 1e-14 * size


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_without_epsilon_it_is_torchs_loss(shape: tuple[int, ...], reduction: str) -> None:
    generator = torch.Generator().manual_seed(4)
    z = 4 * torch.randn(shape, generator=generator)
    q = torch.rand(shape, generator=generator)
    factors = [None, torch.tensor(0.7), torch.rand(shape[-1:], generator=generator), torch.rand(shape)]
    for weight, pos_weight in itertools.product(factors, factors):
        options: dict[str, Any] = {"weight": weight, "pos_weight": pos_weight, "reduction": reduction}
        own, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
        loss, want = poly_bce(own, q, 0.0, **options), F.binary_cross_entropy_with_logits(theirs, q, **options)
        torch.testing.assert_close(loss, want, equal_nan=True)
        incoming = torch.rand_like(want)
        loss.backward(incoming, retain_graph=True)
        want.backward(incoming)
        torch.testing.assert_close(own.grad, theirs.grad, equal_nan=True)


@pytest.mark.parametrize("labels_dtype", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_mix_as_in_torch(dtype: torch.dtype, labels_dtype: torch.dtype) -> None:
    z, q = torch.randn(4, 3).to(dtype).requires_grad_(), torch.rand(4, 3).to(labels_dtype)
    for other in (torch.float16, torch.float64, torch.int64):
        weight = torch.ones(3, dtype=other)
        loss = poly_bce(z, q, weight=weight, pos_weight=weight)
        want = F.binary_cross_entropy_with_logits(z, q, weight=weight, pos_weight=weight)
        assert loss.dtype == want.dtype == labels_dtype
        assert torch.autograd.grad(loss, z)[0].dtype == dtype
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert poly_bce(z, q).dtype == F.binary_cross_entropy_with_logits(z, q).dtype


@pytest.mark.parametrize(
    ("z", "q", "options"),
    [
        (torch.ones(3, 4), torch.ones(4), {}),
        (torch.ones(3), torch.ones(3, 1), {}),
        (torch.ones(3, dtype=torch.int64), torch.ones(3), {}),
        (torch.ones(3, dtype=torch.complex64), torch.ones(3), {}),
        (torch.ones(3), torch.ones(3, dtype=torch.int64), {}),
        (torch.ones(3), torch.ones(3, dtype=torch.bool), {}),
        (torch.ones(3, 4), torch.ones(3, 4), {"weight": torch.ones(5)}),
        (torch.ones(3, 4), torch.ones(3, 4), {"pos_weight": torch.ones(3)}),
        (torch.ones(3, 4), torch.ones(3, 4), {"weight": torch.ones(2, 3, 4), "reduction": "none"}),
        (torch.ones(()), torch.ones(()), {"pos_weight": torch.ones(3), "reduction": "none"}),
        (torch.ones(3), torch.ones(3), {"pos_weight": torch.ones(3, dtype=torch.bool)}),
        (torch.ones(3), torch.ones(3), {"weight": torch.ones(3, requires_grad=True)}),
        (torch.ones(3), torch.ones(3), {"weight": 2.0}),
        (torch.ones(3), torch.ones(3), {"reduction": "average"}),
    ],
)
def test_errors_have_torchs_types(z: torch.Tensor, q: torch.Tensor, options: dict[str, Any]) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - its type is what is wanted
        F.binary_cross_entropy_with_logits(z, q, **options)
    with pytest.raises(theirs.type) as own:
        poly_bce(z, q, **options)
    assert "\n" not in str(own.value)
    if theirs.type is ValueError and "reduction" not in options:
        assert str(own.value) == str(theirs.value)


def test_what_torch_takes_and_this_does_not() -> None:
    with pytest.raises(RuntimeError, match=r"not differentiable with respect to target: pass target.detach\(\)"):
        poly_bce(torch.ones(3), torch.ones(3, requires_grad=True))
    with pytest.raises(ValueError, match="gamma must be finite and at least 0, got -1"):
        poly_bce(torch.ones(3), torch.ones(3), gamma=-1)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("epsilon", [(), (1.0,), (-1.0,), (-1.0, -0.5), (0.5, 0.5, 2.0)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_at_infinity_the_certain_side_is_nothing_and_the_wrong_one_everything(
    dtype: torch.dtype, epsilon: tuple[float, ...], gamma: float
) -> None:
    largest = torch.finfo(dtype).max
    z = torch.tensor([INF, -INF, largest, -largest, INF, -INF, INF, NAN, 0.5], dtype=dtype)
    q = torch.tensor([1, 0, 1, 0, 0, 1, 0.5, 0, 0], dtype=dtype)
    for extra in ({}, {"weight": torch.full((9,), 0.5), "pos_weight": torch.ones(9)}):
        value, grad = evaluate(z, q, epsilon, gamma=gamma, reduction="none", **extra)
        factor = 0.5 if extra else 1.0
        assert value[:4].tolist() == [0.0] * 4
        assert grad[:4].tolist() == [0.0] * 4
        assert value[4:7].tolist() == [INF] * 3
        assert grad[4:7].tolist() == [factor, -factor, factor / 2]
        assert value[7].isnan()
        assert grad[7].isnan()
        assert value[8].isfinite()  # its neighbours are not its business
        wrong, slope = evaluate(-z[2:4], q[2:4], epsilon, gamma=gamma, reduction="none")
        assert wrong.tolist() == [largest] * 2  # eps disappears beside it
        assert slope.tolist() == [-1.0, 1.0]


def test_alpha_is_a_weight() -> None:
    generator = torch.Generator().manual_seed(5)
    z, alpha = 3 * torch.randn(50, generator=generator, dtype=torch.float64), 0.25
    q = torch.rand(50, generator=generator, dtype=torch.float64).round()
    p = torch.sigmoid(z)
    pt = p * q + (1 - p) * (1 - q)
    focal = (alpha * q + (1 - alpha) * (1 - q)) * (1 - pt) ** 2 * -pt.log()
    options: dict[str, Any] = {
        "weight": torch.tensor(1 - alpha),
        "pos_weight": torch.tensor(alpha / (1 - alpha), dtype=torch.float64),
    }
    torch.testing.assert_close(poly_bce(z, q, 0.0, gamma=2.0, reduction="none", **options), focal)


def test_labels_outside_0_and_1_extrapolate() -> None:
    z, q = torch.linspace(-3, 3, 7), torch.tensor([-1.0, -0.5, 1.5, 2.0, 3.0, -2.0, 1.25])
    want = q * poly_bce(z, torch.ones(7), reduction="none") + (1 - q) * poly_bce(z, torch.zeros(7), reduction="none")
    torch.testing.assert_close(poly_bce(z, q, reduction="none"), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_memory_layout_and_pieces_change_nothing(reduction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(6)
    z, q = torch.randn(4, 3, 6, 5, generator=generator), torch.rand(4, 3, 6, 5, generator=generator)
    pos_weight = torch.rand(3, 1, 1, generator=generator)
    want = evaluate(z, q, (1.0, 0.5), gamma=1.5, pos_weight=pos_weight, reduction=reduction)
    layouts = (
        lambda t: t.to(memory_format=torch.channels_last),
        lambda t: t.flip(0).flip(0).mT.contiguous().mT,
        lambda t: torch.stack([t, t], -1)[..., 0],
    )
    for piece in (1, 7, 40, 1 << 15):
        monkeypatch.setattr(_binary, "CPU_PIECE", piece)
        for f, g in itertools.product(layouts, layouts):
            leaf = f(z).detach().requires_grad_()
            loss = poly_bce(leaf, g(q), (1.0, 0.5), gamma=1.5, pos_weight=pos_weight, reduction=reduction)
            (grad,) = torch.autograd.grad(loss, leaf, torch.ones_like(loss))
            torch.testing.assert_close(loss.detach(), want[0], rtol=2e-7, atol=0)
            assert torch.equal(grad, want[1])
    expanded = evaluate(z[:1].expand(4, 3, 6, 5), q, reduction=reduction)
    copied = evaluate(z[:1].repeat(4, 1, 1, 1), q, reduction=reduction)
    assert all(torch.equal(a, b) for a, b in zip(expanded, copied, strict=True))


def test_neither_inputs_nor_earlier_results_change_and_the_same_call_gives_the_same_bits() -> None:
    z, q, w = torch.randn(1000), torch.rand(1000), torch.rand(1000)
    before = [t.clone() for t in (z, q, w)]
    first = evaluate(z, q, (-1.0, 0.5), gamma=0.7, weight=w, pos_weight=w)
    kept = [t.clone() for t in first]
    second = evaluate(z, q, (-1.0, 0.5), gamma=0.7, weight=w, pos_weight=w)
    for a, b in zip([z, q, w, *first, *first], [*before, *kept, *second], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_is_rounded_once_whatever_comes_in(dtype: torch.dtype, reduction: str) -> None:
    z = margins(dtype)
    q = labels("hard", z)
    for factor in (1.0, 3.0, -0.7):
        leaf = z.clone().requires_grad_()
        loss = poly_bce(leaf, q, reduction=reduction)
        loss.backward(torch.full_like(loss, factor))
        assert leaf.grad is not None
        scale = torch.full((), factor, dtype=dtype).item() / (len(z) if reduction == "mean" else 1)
        for zi, qi, got in zip(z.tolist(), q.tolist(), leaf.grad.tolist(), strict=True):
            want = exact(zi, qi, (1.0,), 0.0)[1] * MP.mpf(scale)
            assert ulps(got, want, dtype) <= (6 if dtype == torch.float64 else 0.51)


def test_module() -> None:
    weight, pos_weight = torch.rand(3), torch.rand(3)
    module = PolyBCEWithLogitsLoss((1.0, 0.5), 2.0, weight, pos_weight, "sum")
    theirs = torch.nn.BCEWithLogitsLoss(weight, pos_weight=pos_weight)
    z, q = torch.randn(4, 3), torch.rand(4, 3)
    want = poly_bce(z, q, (1.0, 0.5), gamma=2.0, weight=weight, pos_weight=pos_weight, reduction="sum")
    assert set(module.state_dict()) == set(theirs.state_dict()) == {"weight", "pos_weight"}
    for twin in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(z, q), want)
    other = PolyBCEWithLogitsLoss((1.0, 0.5), 2.0, torch.zeros(3), torch.zeros(3), "sum")
    other.load_state_dict(theirs.state_dict())
    assert torch.equal(other(z, q), want)
    assert repr(module) == (
        "PolyBCEWithLogitsLoss(epsilon=(1.0, 0.5), gamma=2.0, weight=3, pos_weight=3, reduction='sum')"
    )
    assert repr(PolyBCEWithLogitsLoss()) == "PolyBCEWithLogitsLoss(epsilon=1.0, reduction='mean')"
    assert module.double().weight.dtype == torch.float64  # type: ignore[union-attr]
    torch.testing.assert_close(PolyBCEWithLogitsLoss(0.0)(z, q), torch.nn.BCEWithLogitsLoss()(z, q))
    with pytest.raises(ValueError, match="reduction"):
        PolyBCEWithLogitsLoss(reduction="average")

"""poly_cross_entropy against torch's cross_entropy, against mpmath, and at the edges of the formats."""

from __future__ import annotations

import itertools
import math
from typing import Any

import mpmath
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from polyref.formats import named
from polyref.nn import poly_cross_entropy
from polyref.nn._response import remainder_polynomial, respond, series_terms

INF = math.inf
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
EPSILONS: tuple[tuple[float, ...], ...] = ((), (1.0,), (-1.0,), (2.0,), (0.5,), (-1.0, -0.5), (-1.0, -0.5, -1 / 3))
GAMMAS = (0.0, 0.5, 1.0, 2.0)

# Its own context: the global one is nobody's to change.
MP = mpmath.MPContext()
MP.prec = 700


def exact(z: list[float], y: int, epsilon: tuple[float, ...], gamma: float) -> tuple[Any, list[Any]]:
    """The loss and its gradient by the definition; 700 bits leave more than 200 after every cancellation met here."""
    e = [MP.exp(MP.mpf(v) - MP.mpf(z[y])) for v in z]
    s = MP.fsum(v for k, v in enumerate(e) if k != y)
    x, pt = s / (1 + s), 1 / (1 + s)
    poly = MP.log(1 + s) + sum(MP.mpf(c) * x**j for j, c in enumerate(epsilon, 1))
    slope = 1 + pt * sum(j * MP.mpf(c) * x ** (j - 1) for j, c in enumerate(epsilon, 1))
    if gamma:
        power = x ** MP.mpf(gamma)
        poly, slope = power * poly, power * (gamma * pt * poly / x + slope)
    return poly, [slope * (v * pt if k != y else -x) for k, v in enumerate(e)]


def error(got: float, want: Any, dtype: torch.dtype) -> float:
    """The error in units of the format's spacing at ``want``, rounded up to what u allows at the top of a binade."""
    form = named(str(dtype))
    spacing = max(abs(want) * 2 * form.unit_roundoff, form.smallest_subnormal)
    return float(abs(MP.mpf(got) - want) / spacing)


def evaluate(z: torch.Tensor, y: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss and the gradient of its sum."""
    z = z.clone().requires_grad_()
    loss = poly_cross_entropy(z, y, *args, **kwargs)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert z.grad is not None
    return loss.detach(), z.grad


def rows(classes: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    """Rows whose first logit stands from -69 (Pt = 1e-30) to 69 (1 - 1e-30) above the sum of the others."""
    generator = torch.Generator().manual_seed(seed)
    margins = torch.linspace(-69, 69, 47, dtype=torch.float64)
    z = 2 * torch.randn(47, classes, generator=generator, dtype=torch.float64)
    z[:, 0] = z[:, 1:].logsumexp(1) + margins
    return z.to(dtype)


# In units of 2u: the worst of 7,900 rows was 0.500, 0.500, 7.3 and 12.3, and another library's exp may add a fifth. The
# condition number N + 1 + gamma, 6 at most here, is in them; one decimal digit lost would be a factor of ten.
BOUNDS = {torch.float16: 0.51, torch.bfloat16: 0.505, torch.float32: 9.0, torch.float64: 15.0}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 10])
def test_value_and_gradient_are_accurate_from_certainly_wrong_to_certainly_right(
    dtype: torch.dtype, classes: int
) -> None:
    z = rows(classes, classes, dtype)
    y = torch.zeros(len(z), dtype=torch.int64)
    for epsilon, gamma in itertools.product(EPSILONS, GAMMAS):
        loss, grad = evaluate(z, y, epsilon, gamma=gamma, reduction="none")
        for row, value, g in zip(z.tolist(), loss.tolist(), grad.tolist(), strict=True):
            want_loss, want_grad = exact(row, 0, epsilon, gamma)
            worst = max(error(a, b, dtype) for a, b in zip([value, *g], [want_loss, *want_grad], strict=True))
            assert worst <= BOUNDS[dtype], f"{worst} ulps for {[v.hex() for v in row]}, {epsilon=}, {gamma=}"


def test_a_thousand_classes() -> None:
    z = rows(1000, 5, torch.float32)[::12]
    loss, grad = evaluate(z, torch.zeros(len(z), dtype=torch.int64), -1.0, reduction="none")
    for row, value, g in zip(z.tolist(), loss.tolist(), grad.tolist(), strict=True):
        want_loss, want_grad = exact(row, 0, (-1.0,), 0.0)
        assert max(error(a, b, torch.float32) for a, b in zip([value, *g], [want_loss, *want_grad], strict=True)) < 5


def test_the_design_s_check_values() -> None:
    z = torch.tensor([[2, 0.5, 1], [0.1, 1, 3]], dtype=torch.float64)
    y = torch.tensor([1, 2])
    w = torch.tensor([0.25, 0.75, 0.75], dtype=torch.float64)
    for kwargs, want in (
        ({"epsilon": 0.0}, [1.9643687841079448416, 0.17425452502421608334]),
        ({"epsilon": 1.0}, [2.8241244009418563571, 0.33417147673784707224]),
        ({"epsilon": 0.0, "gamma": 2.0, "weight": w}, [1.0890161768583238155, 0.0033422146123155047062]),
    ):
        got = poly_cross_entropy(z, y, reduction="none", **kwargs)
        torch.testing.assert_close(got, torch.tensor(want, dtype=torch.float64), rtol=4e-15, atol=0)


def test_no_coefficient_of_the_remainder_is_negative_and_the_series_is_the_one_it_replaces() -> None:
    for n in (*range(1, 12), 60):
        assert all(c >= 0 for c in remainder_polynomial(n))
        assert 0 < series_terms(n, 24) < series_terms(n, 53) < 40
        x = torch.tensor([1e-9, 1e-3, 0.3, 0.49, 0.74, 0.9], dtype=torch.float64)
        epsilon = tuple(-1 / j for j in range(1, n + 1))
        value, _ = respond(x, 1 - x, -torch.log1p(-x), epsilon=epsilon, gamma=0.0, bits=53)
        for a, b in zip(x.tolist(), value.tolist(), strict=True):
            want = -MP.log(1 - MP.mpf(a)) + sum(MP.mpf(c) * MP.mpf(a) ** j for j, c in enumerate(epsilon, 1))
            # Above the crossover of 3/4 the direct form amplifies rounding by L / R_n.
            amplification = 1 if a < 0.75 else -math.log(1 - a) / want
            assert abs(b - want) / want < 1e-15 * amplification


def torch_inputs(target: str, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = 3 * torch.randn(12, 5, generator=generator, dtype=torch.float64)
    if target == "index":
        return z, torch.randint(0, 5, (12,), generator=generator)
    return z, torch.rand(12, 5, generator=generator, dtype=torch.float64).softmax(1)


@pytest.mark.parametrize(
    ("target", "ignore_index"), [("index", -100), ("index", 2), ("index", -1), ("probabilities", -100)]
)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
def test_epsilon_zero_is_cross_entropy(
    target: str, reduction: str, weighted: bool, ignore_index: int, smoothing: float
) -> None:
    z, y = torch_inputs(target)
    if target == "index" and ignore_index < 0:
        y[::3] = ignore_index
    kwargs: dict[str, Any] = {
        "weight": torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0], dtype=torch.float64) if weighted else None,
        "ignore_index": ignore_index,
        "reduction": reduction,
        "label_smoothing": smoothing,
    }
    a, b = z.clone().requires_grad_(), z.clone().requires_grad_()
    got, want = poly_cross_entropy(a, y, 0.0, **kwargs), F.cross_entropy(b, y, **kwargs)
    torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-14)
    seed = torch.linspace(0.5, 2, got.numel(), dtype=torch.float64).view_as(got)
    got.backward(seed)  # type: ignore[no-untyped-call]
    want.backward(seed)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (4, 5, 3), (2, 5, 5, 5)])
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_shapes_are_those_of_cross_entropy(shape: tuple[int, ...], probabilities: bool, reduction: str) -> None:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(shape, generator=generator, dtype=torch.float64)
    dim = 0 if len(shape) == 1 else 1
    y = torch.rand(shape, generator=generator).double() if probabilities else z.roll(1, -1).argmax(dim)
    a, b = z.clone().requires_grad_(), z.clone().requires_grad_()
    got, want = poly_cross_entropy(a, y, (), reduction=reduction), F.cross_entropy(b, y, reduction=reduction)
    torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-14)
    got.sum().backward()  # type: ignore[no-untyped-call]
    want.sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_one_hot_probabilities_are_the_index(epsilon: tuple[float, ...], gamma: float) -> None:
    z = rows(5, 2, torch.float64)
    z[3, 2], z[4, 2] = -INF, -1e300
    y = torch.zeros(len(z), dtype=torch.int64)
    loss, grad = evaluate(z, y, epsilon, gamma=gamma, reduction="none")
    soft, soft_grad = evaluate(z, F.one_hot(y, 5).double(), epsilon, gamma=gamma, reduction="none")
    torch.testing.assert_close(soft, loss, rtol=3e-15, atol=0)
    torch.testing.assert_close(soft_grad, grad, rtol=3e-15, atol=0)


def test_smoothing_is_the_expectation_of_index_losses() -> None:
    z, y = torch_inputs("index")
    w = torch.tensor([0.5, 2.0, 1.5, 1.0, 3.0], dtype=torch.float64)
    kwargs: dict[str, Any] = {"epsilon": (1.0, -0.5), "gamma": 1.5, "weight": w, "reduction": "none"}
    got = poly_cross_entropy(z, y, label_smoothing=0.2, **kwargs)
    each = torch.stack([poly_cross_entropy(z, torch.full_like(y, k), **kwargs) for k in range(5)], 1)
    torch.testing.assert_close(got, 0.8 * each.gather(1, y[:, None])[:, 0] + 0.04 * each.sum(1), rtol=1e-14, atol=0)


@pytest.mark.parametrize("target", ["index", "probabilities"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize(
    ("epsilon", "gamma", "smoothing"), [((1.0,), 0.0, 0.0), ((-1.0,), 0.5, 0.1), ((2.0, 0.0, -1.0), 2.0, 0.0)]
)
def test_gradcheck(target: str, reduction: str, epsilon: tuple[float, ...], gamma: float, smoothing: float) -> None:
    z, y = torch_inputs(target, 3)
    w = torch.tensor([0.5, 2.0, 1.0, 1.0, 3.0], dtype=torch.float64)
    if target == "index":
        y[1] = -100

    def loss(z: torch.Tensor) -> torch.Tensor:
        return poly_cross_entropy(z, y, epsilon, gamma=gamma, weight=w, reduction=reduction, label_smoothing=smoothing)

    assert torch.autograd.gradcheck(loss, (z.requires_grad_(),))


def test_backward_can_be_repeated() -> None:
    z = torch.randn(3, 4, requires_grad=True)
    loss = poly_cross_entropy(z, torch.tensor([0, 1, 2]))
    first = torch.autograd.grad(loss, z, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(loss, z)[0])


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_are_untouched_and_the_second_call_is_bitwise_the_first(dtype: torch.dtype, soft: bool) -> None:
    z, w = rows(4, 3, dtype), torch.rand(4).to(dtype)
    y = torch.rand(47, 4).to(dtype) if soft else torch.randint(0, 4, (47,))
    if not soft:
        y[::5] = -100
    copies = [v.clone() for v in (z, w, y)]
    first = evaluate(z, y, (1.0, 2.0), gamma=0.5, weight=w, reduction="none")
    second = evaluate(z, y, (1.0, 2.0), gamma=0.5, weight=w, reduction="none")
    assert all(torch.equal(a, b) for a, b in zip((z, w, y), copies, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert first[0].dtype == first[1].dtype == dtype


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("soft", [False, True])
def test_edges(epsilon: tuple[float, ...], gamma: float, soft: bool) -> None:
    def run(z: list[float], y: int) -> tuple[float, list[float]]:
        target = F.one_hot(torch.tensor(y), len(z)).float() if soft else torch.tensor(y)
        loss, grad = evaluate(torch.tensor(z), target, epsilon, gamma=gamma)
        return loss.item(), grad.tolist()

    total = sum(epsilon)
    assert run([3.0], 0) == (0.0, [0.0])
    assert run([200.0, 0.0, 0.0], 0) == (0.0, [0.0, 0.0, 0.0])
    assert run([0.0, -INF], 0) == (0.0, [0.0, 0.0])
    loss, grad = run([0.0, 200.0], 0)
    assert loss == pytest.approx(200 + total)
    assert grad == [-1.0, 1.0]
    # An impossible target: the loss is infinite, the gradient that of the limit.
    assert run([-INF, 1.0, 1.0], 0) == (INF, [-1.0, 0.5, 0.5])
    # The difference of these logits overflows binary32, and so does the loss.
    assert run([-3.4e38, 3.4e38], 0) == (INF, [-1.0, 1.0])
    assert run([-3.4e38, 3.4e38], 1) == (0.0, [0.0, 0.0])
    # The loss does not, within binary32's range.
    assert run([-1e38, 2e38], 0)[0] == pytest.approx(3e38)
    for z in ([math.nan, 0.0, 1.0], [0.0, math.nan, 1.0], [-INF, -INF, -INF], [INF, 0.0, 0.0], [0.0, INF, 0.0]):
        loss, grad = run(z, 0)
        assert math.isnan(loss)
        assert all(math.isnan(g) for g in grad)
    # Impossible classes change nothing.
    loss, grad = run([0.5, -INF, 1.5, -INF], 0)
    assert (loss, [grad[0], grad[2]]) == run([0.5, 1.5], 0)
    assert grad[1] == grad[3] == 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_overflow_only_where_the_exact_loss_does(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    y = torch.tensor([0, 0])
    z = torch.tensor([[-largest / 2, largest / 2], [-largest, largest]], dtype=dtype)
    loss, grad = evaluate(z, y, reduction="none")
    assert loss.tolist() == [largest, INF]
    assert grad.tolist() == [[-1, 1], [-1, 1]]
    # The weighted loss is representable again, though the logits' difference is not.
    w = torch.full((2,), 0.25, dtype=dtype)
    assert evaluate(z, y, weight=w, reduction="none")[0].tolist() == [largest / 4, largest / 2]
    # A mean of representable losses is representable, though their sum is not.
    assert evaluate(z[:1].expand(9, 2), y[:1].expand(9))[0].item() == largest


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_an_ignored_row_contributes_nothing_even_with_nan(reduction: str, smoothing: float) -> None:
    z = torch.tensor([[1.0, 2.0], [math.nan, INF], [0.5, -1.0]])
    loss, grad = evaluate(z, torch.tensor([0, -100, 1]), reduction=reduction, label_smoothing=smoothing)
    kept, kept_grad = evaluate(z[[0, 2]], torch.tensor([0, 1]), reduction=reduction, label_smoothing=smoothing)
    assert torch.equal(grad[[0, 2]], kept_grad)
    assert grad[1].tolist() == [0, 0]
    assert torch.equal(loss if reduction != "none" else loss[[0, 2]], kept)


def test_a_row_does_not_see_its_neighbours() -> None:
    z = torch.tensor([[1.0, 2.0], [math.nan, 0.0], [-INF, 0.0]])
    loss, grad = evaluate(z, torch.tensor([0, 0, 0]), reduction="none")
    alone, alone_grad = evaluate(z[:1], torch.tensor([0]), reduction="none")
    assert torch.equal(loss[:1], alone)
    assert torch.equal(grad[:1], alone_grad)


def test_zero_weight_times_an_infinite_loss_is_nan_as_in_torch() -> None:
    z = torch.tensor([[-INF, 0.0], [1.0, 2.0]], requires_grad=True)
    w = torch.tensor([0.0, 1.0])
    for reduction in ("none", "sum", "mean"):
        got = poly_cross_entropy(z, torch.tensor([0, 1]), (), weight=w, reduction=reduction)
        want = F.cross_entropy(z, torch.tensor([0, 1]), weight=w, reduction=reduction)
        torch.testing.assert_close(got, want, equal_nan=True)
    _, grad = evaluate(z.detach(), torch.tensor([0, 1]), weight=w, reduction="none")
    assert grad[0].tolist() == [0, 0]


@pytest.mark.parametrize("soft", [False, True])
def test_empty_batches_and_batches_that_are_all_ignored(soft: bool) -> None:
    z = torch.zeros(0, 4)
    y = torch.zeros(0, 4) if soft else torch.zeros(0, dtype=torch.int64)
    assert math.isnan(poly_cross_entropy(z, y).item())
    assert poly_cross_entropy(z, y, reduction="sum").item() == 0
    assert poly_cross_entropy(z, y, reduction="none").shape == (0,)
    assert evaluate(z, y)[1].shape == (0, 4)
    loss, grad = evaluate(torch.zeros(2, 4), torch.tensor([-100, -100]))
    assert math.isnan(loss.item())
    assert grad.count_nonzero() == 0


def test_all_equal_logits() -> None:
    loss, grad = evaluate(torch.full((1, 4), 7.0), torch.tensor([2]), 1.0)
    assert loss.item() == pytest.approx(math.log(4) + 0.75, rel=1e-7)
    assert grad.tolist() == [[0.3125, 0.3125, -0.9375, 0.3125]]


def test_non_contiguous_and_expanded_logits() -> None:
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    torch.testing.assert_close(evaluate(z.t(), y)[0], evaluate(z.t().contiguous(), y)[0])
    wide = z[:1].expand(5, 6)
    assert torch.equal(evaluate(wide, y[:5])[0], evaluate(wide.contiguous(), y[:5])[0])


Z = torch.zeros(3, 4)
Y = torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("kind", "message", "args", "kwargs"),
    [
        (IndexError, "Target 4 is out of bounds: with 4 classes give 0 to 3", (Z, torch.tensor([0, 1, 4])), {}),
        (IndexError, "Target -1 is out of bounds", (Z, torch.tensor([0, -1, 3])), {}),
        (IndexError, "Target -100 is out of bounds", (Z, torch.tensor([0, -100, 3])), {"ignore_index": 1}),
        (ValueError, r"batch_size \(3\) to match target batch_size \(2\)", (Z, Y[:2]), {}),
        (ValueError, "batch_size", (Z, Y[0]), {}),
        (ValueError, "1D input", (Z[0], Y), {}),
        (
            RuntimeError,
            r"Expected target size \[3, 2\], got \[3, 5\]",
            (torch.zeros(3, 4, 2), torch.zeros(3, 5).long()),
            {},
        ),
        (RuntimeError, "Long or Byte, but got torch.int32", (Z, Y.int()), {}),
        (RuntimeError, "Long or Byte, but got torch.float32", (Z, Y.float()), {}),
        (RuntimeError, "class probabilities, got torch.int64", (Z, torch.zeros(3, 4).long()), {}),
        (RuntimeError, "ignore_index is not supported .* got 2", (Z, torch.zeros(3, 4)), {"ignore_index": 2}),
        (TypeError, "target must be a Tensor .* not list", (Z, [0, 1, 2]), {}),
        (TypeError, "input must be a Tensor .* not list", ([0.0, 1.0], Y), {}),
        (NotImplementedError, "torch.int64", (Z.long(), Y), {}),
        (ValueError, "scalar", (Z[0, 0], Y[0]), {}),
        (ValueError, "no classes", (torch.zeros(3, 0), torch.full((3,), -100)), {}),
        (ValueError, "'average' is not a valid value for reduction", (Z, Y), {"reduction": "average"}),
        (RuntimeError, "all 4 classes .* shape: \\[3\\]", (Z, Y), {"weight": torch.ones(3)}),
        (RuntimeError, "float32 but found torch.float64", (Z, Y), {"weight": torch.ones(4).double()}),
        (RuntimeError, "with respect to weight", (Z, Y), {"weight": torch.ones(4, requires_grad=True)}),
        (RuntimeError, "Got: 1.5", (Z, Y), {"label_smoothing": 1.5}),
        (TypeError, "label_smoothing must be a number, got 'x'", (Z, Y), {"label_smoothing": "x"}),
        (TypeError, "ignore_index must be an int, got 1.5", (Z, Y), {"ignore_index": 1.5}),
        (TypeError, "weight must be a Tensor of class weights, not list", (Z, Y), {"weight": [1.0, 1.0, 1.0, 1.0]}),
        (ValueError, "gamma must be finite and at least 0, got -1.0", (Z, Y), {"gamma": -1.0}),
        (ValueError, "gamma .* nan", (Z, Y), {"gamma": math.nan}),
        (TypeError, "gamma must be a number, got '2'", (Z, Y), {"gamma": "2"}),
        (ValueError, "epsilon_2 .* inf", (Z, Y), {"epsilon": (1.0, INF)}),
        (TypeError, "epsilon .* 'one'", (Z, Y), {"epsilon": "one"}),
        (TypeError, "epsilon", (Z, Y), {"epsilon": None}),
    ],
)
def test_errors_have_torch_s_types_and_show_the_value(
    kind: type[Exception], message: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(kind, match=message):
        poly_cross_entropy(*args, **kwargs)


def test_targets_that_torch_takes_too() -> None:
    want = poly_cross_entropy(Z + torch.eye(3, 4), Y)
    assert torch.equal(poly_cross_entropy(Z + torch.eye(3, 4), Y.byte()), want)
    assert poly_cross_entropy(Z[0], torch.tensor([1]), reduction="none").shape == ()


FINITE = st.floats(-(2.0**127), 2.0**127, width=32)
LOGITS = st.lists(st.one_of(FINITE, st.floats(-30, 30, width=32)), min_size=1, max_size=6)
EPSILON = st.lists(st.one_of(st.sampled_from([0.0, -1.0, -0.5, 1.0]), st.floats(-3, 3)), max_size=4)
GAMMA = st.one_of(st.just(0.0), st.floats(0, 4))


@settings(derandomize=True, max_examples=150, deadline=None)
@given(z=LOGITS, data=st.data(), epsilon=EPSILON, gamma=GAMMA)
def test_finite_logits_give_finite_gradients_that_sum_to_zero(
    z: list[float], data: st.DataObject, epsilon: list[float], gamma: float
) -> None:
    y = data.draw(st.integers(0, len(z) - 1))
    loss, grad = evaluate(torch.tensor(z), torch.tensor(y), epsilon, gamma=gamma)
    assert grad.isfinite().all()
    assert abs(grad.double().sum().item()) <= 1e-5 * grad.abs().max().item()
    assert loss.isfinite() or max(z) - z[y] > 3.4e38


@settings(derandomize=True, max_examples=100, deadline=None)
@given(z=LOGITS, data=st.data(), gamma=GAMMA, excess=st.lists(st.floats(0, 3), max_size=4))
def test_no_coefficient_below_minus_one_over_j_means_no_negative_loss(
    z: list[float], data: st.DataObject, gamma: float, excess: list[float]
) -> None:
    y = data.draw(st.integers(0, len(z) - 1))
    epsilon = [e - 1 / j for j, e in enumerate(excess, start=1)]
    loss, grad = evaluate(torch.tensor(z), torch.tensor(y), epsilon, gamma=gamma)
    assert loss.item() >= 0
    assert grad[y].item() <= 0


@settings(derandomize=True, max_examples=100, deadline=None)
@given(z=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=6), data=st.data(), epsilon=EPSILON, gamma=GAMMA)
def test_the_loss_is_affine_in_epsilon_and_odd_ones_out_are_zero_terms(
    z: list[float], data: st.DataObject, epsilon: list[float], gamma: float
) -> None:
    logits, y = torch.tensor(z, dtype=torch.float64), torch.tensor(data.draw(st.integers(0, len(z) - 1)))
    base = poly_cross_entropy(logits, y, (), gamma=gamma)
    got = poly_cross_entropy(logits, y, epsilon, gamma=gamma)
    terms = [poly_cross_entropy(logits, y, [0.0] * j + [e], gamma=gamma) - base for j, e in enumerate(epsilon)]
    # Each difference rounds at the size of the cross-entropy.
    assert abs((got - base - sum(terms)).item()) <= 1e-13 * (base.item() + 1)
    assert torch.equal(poly_cross_entropy(logits, y, [*epsilon, 0.0], gamma=gamma), got)

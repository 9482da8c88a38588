"""The rounding model: right implementations stay inside the tolerance, wrong ones do not, and what it says is sane.

The million cases a format are in test_model_long; here is a sample of every kind.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import cases as any_case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, Format
from polyref.reference.model import Tolerance, cancellation_free, reference_for, textbook
from polyref.spec import Link, Reduction, Spec, Weighting

from . import implementations as im
from .measure import Judge, cases, dtype_of, rows, run

FORMATS = [BINARY64, BINARY32, BINARY16, BFLOAT16]
NARROW = [BINARY16, BFLOAT16]
INF = math.inf
QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def by_name(fmt: Format) -> str:
    return fmt.name


def fail(name: str, spec: Spec, ratios: np.ndarray, z: torch.Tensor) -> str:
    worst = np.unravel_index(ratios.argmax(), ratios.shape)
    return f"{name}, {spec}: {ratios.max():.3g} times the tolerance at {worst}, logits {z.tolist()}"


# --- right implementations ----------------------------------------------------------------------------------------


def drawn(kind: str, classes: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight rows of one kind in binary64, and their targets."""
    n = 8
    z = torch.randn(n, classes, generator=generator, dtype=torch.float64)
    uniform = torch.rand(n, 1, generator=generator, dtype=torch.float64)
    t = torch.randint(classes, (n,), generator=generator)
    if kind == "scales":
        z = z * 10 ** (uniform * 3 - 1)
    elif kind == "margins":  # Pt from 1e-17 to 1 - 1e-17
        others = z.scatter(1, t[:, None], -INF).logsumexp(1, keepdim=True) if classes > 1 else z
        z = z.scatter(1, t[:, None], others + uniform * 80 - 40)
    elif kind == "offset":
        z = 3 * z + 200
    elif kind == "tiny":
        z = z * 10 ** (-40 * uniform)
    elif kind == "huge":
        z = z * 10 ** (uniform * 4)
    elif kind == "ties":
        z = torch.round(z)
    elif kind == "impossible":
        z = (4 * z).masked_fill(torch.rand(n, classes, generator=generator) < 0.3, -INF)
        z = z.scatter(1, torch.zeros(n, 1, dtype=torch.int64), 0.5)
    return z, t


KINDS = ("scales", "margins", "offset", "tiny", "huge", "ties", "impossible")
HARD_SPECS = [
    Spec(epsilon=()),
    Spec(epsilon=(1.0,)),
    Spec(epsilon=(-1.0,)),
    Spec(epsilon=(0.7, -0.3, 0.2)),
    Spec(epsilon=(1.0,), gamma=0.5),
    Spec(epsilon=(1.0,), gamma=1.0),
    Spec(epsilon=(-1.0, 0.5, 1 / 7), gamma=2.0),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fmt", FORMATS, ids=by_name)
def test_right_softmax_losses_stay_inside(fmt: Format, kind: str) -> None:
    generator = torch.Generator().manual_seed(KINDS.index(kind))
    for classes, spec in itertools.product((2, 5), HARD_SPECS):
        z, t = drawn(kind, classes, generator)
        z = z.to(dtype_of(fmt))
        judge = Judge(cases(fmt, z, t, spec))
        for name, loss in (im.RIGHT | {"gather_horner": im.gather_horner}).items():
            value, gradient = run(lambda z, loss=loss, t=t, spec=spec: loss(z, t, spec), z)
            for ratios in (judge.of_value(value), judge.of_gradient(gradient)):
                assert ratios.max() <= 1, fail(name, spec, ratios, z)


#: (spec, "index" or "soft", implementations)
Family = tuple[Spec, str, list[Callable[..., torch.Tensor]]]


def weighted_family() -> Iterator[Family]:
    for law, epsilon, gamma in itertools.product(Weighting, [(1.0,), (-1.0,), (0.7, -0.3, 0.2)], [0.0, 2.0]):
        for reduction in (Reduction.NONE, Reduction.SUM, Reduction.MEAN):
            losses: list[Callable[..., torch.Tensor]] = [im.weighted]
            if law is Weighting.BOTH:
                losses.append(im.factored)
                if reduction is Reduction.MEAN and gamma == 0:
                    losses.append(im.mean_of_parts)
            yield Spec(epsilon=epsilon, gamma=gamma, weighting=law, reduction=reduction), "index", losses


def soft_family() -> Iterator[Family]:
    for epsilon, reduction in itertools.product([(1.0,), (-1.0,)], [Reduction.NONE, Reduction.MEAN]):
        for smoothing in (0.125, 0.1):
            spec = Spec(epsilon=epsilon, smoothing=smoothing, reduction=reduction)
            yield spec, "index", [im.smooth, im.smooth_expectation]
        yield Spec(epsilon=epsilon, reduction=reduction), "soft", [im.soft, im.soft_expectation]
    yield Spec(epsilon=(1.0, -0.5), gamma=2.0, smoothing=0.1), "index", [im.smooth_expectation]
    yield Spec(epsilon=(1.0, -0.5), gamma=0.5), "soft", [im.soft_expectation]


def sigmoid_family() -> Iterator[Family]:
    for epsilon, gamma in itertools.product([(), (1.0,), (-1.0,), (0.7, -0.3, 0.2)], [0.0, 0.5, 2.0]):
        for reduction in (Reduction.NONE, Reduction.MEAN):
            spec = Spec(link=Link.SIGMOID, epsilon=epsilon, gamma=gamma, reduction=reduction)
            yield spec, "index", [im.bce, im.bce_exp, im.bce_log_sigmoid]
            yield replace(spec, alpha=0.25), "index", [im.bce]
            yield replace(spec, alpha=0.1, alpha_on_polynomial=True), "index", [im.bce]
    yield Spec(link=Link.SIGMOID), "soft", [im.bce]
    yield Spec(link=Link.SIGMOID, epsilon=(-1.0,)), "soft", [im.bce]


def mixed_family() -> Iterator[Family]:
    for epsilon, gamma in itertools.product([(1.0,), (-1.0,), (0.7, -0.3, 0.2)], [0.0, 2.0]):
        for reduction, own in itertools.product((Reduction.NONE, Reduction.MEAN), (None, 2.0)):
            spec = Spec(epsilon=epsilon, gamma=gamma, reduction=reduction, polynomial_link=Link.SIGMOID)
            yield replace(spec, polynomial_gamma=own), "index", [im.mixed]


FAMILIES = {"weighted": weighted_family, "soft": soft_family, "sigmoid": sigmoid_family, "mixed": mixed_family}


def soft_targets(n: int, classes: int, generator: torch.Generator) -> torch.Tensor:
    """Rows of 64ths that sum to one, exact in every format here."""
    shares = torch.randint(1, 9, (n, classes), generator=generator).double()
    shares = torch.floor(shares / shares.sum(1, keepdim=True) * 64) / 64
    shares[:, -1] += 1 - shares.sum(1)
    return shares


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("fmt", "compute"),
    [*((f, f) for f in FORMATS), *((f, BINARY32) for f in NARROW)],
    ids=lambda f: f.name,
)
def test_right_losses_of_every_family_stay_inside(fmt: Format, compute: Format, family: str) -> None:
    """In their own format, and computed in a wider one and rounded once."""
    generator = torch.Generator().manual_seed(7)
    wide, narrow = dtype_of(compute), dtype_of(fmt)
    n = 8
    for spec, kind, losses in FAMILIES[family]():
        z, t = rows(fmt, n, 4, (0.1, 30.0), generator)
        given_t = soft_targets(n, 4, generator).to(narrow) if kind == "soft" else t
        weight = torch.tensor([0.5, 2.0, 0.1, 3.3], dtype=narrow) if family == "weighted" else None
        exact_weight = None if weight is None else tuple(weight.double().tolist())
        judge = Judge(cases(fmt, z, given_t, spec, weight=exact_weight), compute)
        used_t = given_t.to(wide) if kind == "soft" else t
        used_weight = None if weight is None else weight.to(wide)
        for loss in losses:
            value, gradient = run(
                lambda z, loss=loss, t=used_t, spec=spec, w=used_weight: loss(z.to(wide), t, spec, w).to(narrow), z
            )
            for ratios in (judge.of_value(value), judge.of_gradient(gradient)):
                assert ratios.max() <= 1, fail(loss.__name__, spec, ratios, z)


# --- wrong implementations ------------------------------------------------------------------------------------------

ALL = frozenset(f.name for f in FORMATS)
#: What each is rejected by, in which formats, and where the effect is larger than the radius: (scales, offset).
ORDINARY = ((0.1, 30.0), 0.0)
REJECTED: list[tuple[im.Loss, str, frozenset[str], tuple[tuple[float, float], float]]] = [
    (im.squared, "value", ALL, ORDINARY),
    (im.clamped, "value", ALL, ORDINARY),
    # At scale 100 a sure prediction costs next to nothing, and smoothing charges it 1e-3 of its margin.
    (im.smoothed, "value", ALL, ((0.1, 100.0), 0.0)),
    # Margins beyond 103, where binary32 and bfloat16 make the softmax zero; binary64 holds all of these.
    (im.log_of_softmax, "value", ALL - {"binary64"}, ((30.0, 100.0), 0.0)),
    # Logits of about 50 cost u 50 in the logarithm of the sum; subtracting the largest first costs nothing.
    # In binary16 exp(50) overflows.
    (im.no_max, "value", ALL, ((0.1, 3.0), 50.0)),
    (im.batch_mean, "value", ALL, ORDINARY),
    (im.polynomial_detached, "gradient", ALL, ORDINARY),
    (im.ce_detached, "gradient", ALL, ORDINARY),
    (im.squared, "gradient", ALL, ORDINARY),
    # u of bfloat16 is larger than the clamp.
    (im.clamped_wide, "gradient", ALL - {"bfloat16"}, ORDINARY),
]


EACH = [
    pytest.param(fmt, *r[:2], r[3], id=f"{r[0].__name__}-{r[1]}-{fmt.name}")
    for r in REJECTED
    for fmt in FORMATS
    if fmt.name in r[2]
]


@pytest.mark.parametrize(("fmt", "loss", "quantity", "where"), EACH)
def test_wrong_implementations_are_rejected(
    fmt: Format, loss: im.Loss, quantity: str, where: tuple[tuple[float, float], float]
) -> None:
    scales, offset = where
    worst = 0.0
    for epsilon in (1.0, -1.0):
        spec = Spec(epsilon=(epsilon,))
        z, t = rows(fmt, 100, 5, scales, torch.Generator().manual_seed(3))
        z = z + offset
        judge = Judge(cases(fmt, z, t, spec))
        value, gradient = judge.worst(lambda z, t=t, spec=spec: loss(z, t, spec), z)
        worst = max(worst, value if quantity == "value" else gradient)
    assert worst > 1


@pytest.mark.parametrize("loss", [im.polynomial_detached, im.ce_detached], ids=lambda f: f.__name__)
@pytest.mark.parametrize("fmt", FORMATS, ids=by_name)
def test_a_detached_part_has_the_right_value(fmt: Format, loss: im.Loss) -> None:
    spec = Spec(epsilon=(1.0,))
    z, t = rows(fmt, 60, 5, (0.1, 30.0), torch.Generator().manual_seed(4))
    value, gradient = Judge(cases(fmt, z, t, spec)).worst(lambda z: loss(z, t, spec), z)
    assert value <= 1 < gradient


# --- the tolerances themselves --------------------------------------------------------------------------------------


def radii(tolerance: Tolerance) -> list[float]:
    return [*tolerance.value, *itertools.chain(*tolerance.gradient)]


@given(any_case(formats=(BINARY16, BFLOAT16), max_classes=4))
@settings(QUICK, max_examples=200)
def test_a_wider_format_inside_never_loosens_the_tolerance(case: Case) -> None:
    exact = reference_for(case)
    narrow, wide = textbook(case, exact=exact), textbook(case, compute=BINARY32, exact=exact)
    for a, b in zip(radii(wide), radii(narrow), strict=True):
        assert a <= b * (1 + 2**-20)


@pytest.mark.parametrize("model", [textbook, cancellation_free])
@given(data=st.data())
@QUICK
def test_tolerances_scale_with_the_unit_roundoff(model: Callable[..., Tolerance], data: st.DataObject) -> None:
    # Quarters are exact in both formats, and these epsilons too.
    quarters = st.integers(-40, 40).map(lambda k: k / 4)
    row = tuple(data.draw(quarters) for _ in range(data.draw(st.integers(2, 4))))
    epsilon = data.draw(st.sampled_from([(), (1.0,), (-1.0,), (0.5, -0.25)]))
    spec = Spec(epsilon=epsilon, gamma=data.draw(st.sampled_from([0.0, 1.0, 2.0])))
    target = (data.draw(st.integers(0, len(row) - 1)),)
    wide, narrow = (radii(model(Case(spec, f, (row,), target))) for f in (BINARY64, BINARY32))
    unit = BINARY64.unit_roundoff / BINARY32.unit_roundoff
    for a, b in zip(wide, narrow, strict=True):
        assert (a == b == 0) or 0.5 < a / b / unit < 2


@given(any_case(formats=(BINARY64, BINARY32), max_classes=4))
@QUICK
def test_ordinary_cases_have_finite_tolerances(case: Case) -> None:
    modest = replace(
        case.with_spec(gamma=2.0 if case.spec.gamma in {0.5, 3.25} else case.spec.gamma),
        logits=tuple(tuple(case.format.round(max(-100.0, min(z, 100.0))) for z in row) for row in case.logits),
        weight=None if case.weight is None else tuple(case.format.round(min(w, 100.0) + 1) for w in case.weight),
    )
    if modest.denominator == 0:
        return
    for model in (textbook, cancellation_free):
        assert all(math.isfinite(r) for r in radii(model(modest)))


def test_an_overflow_leaves_its_own_row_unbounded_and_no_other() -> None:
    low, high = -BINARY16.largest, BINARY16.largest
    case = Case(Spec(), BINARY16, ((low, high), (low, high), (1.0, 2.0)), (0, 1, 0))
    tolerance = textbook(case)
    assert [math.isinf(v) for v in tolerance.value] == [True, False, False]
    assert not any(map(math.isinf, itertools.chain(*tolerance.gradient)))  # no logarithm in it
    focal = textbook(case.with_spec(gamma=1.0))
    assert [[math.isinf(g) for g in row] for row in focal.gradient] == [[True, True], [False, False], [False, False]]
    total = textbook(case.with_spec(reduction=Reduction.SUM))
    assert total.value == (INF,)
    assert not any(map(math.isinf, itertools.chain(*total.gradient)))
    assert not any(map(math.isinf, textbook(case, compute=BINARY32).value))


def test_what_arrives_from_the_mean_may_carry_the_gradient_beyond_the_range() -> None:
    # 2 x (-log Pt) = 65536: with weights of 1/2 the backward meets 1/(1/2) first, then 1/2, and so all of it.
    spec = Spec(epsilon=(1.0,), gamma=2.0, reduction=Reduction.MEAN)
    for weight, bounded in ((0.5, False), (1.0, False), (None, False)):
        weights = None if weight is None else (weight, weight)
        tolerance = textbook(Case(spec, BINARY16, ((0.0, 32768.0),), (0,), weights))
        assert all(math.isfinite(g) == bounded for g in tolerance.gradient[0])
    half = textbook(Case(spec, BINARY16, ((0.0, 16384.0),), (0,), (0.5, 0.5)))
    assert all(map(math.isfinite, half.gradient[0]))


def test_a_sum_that_may_overflow_is_unbounded() -> None:
    logits = ((-30000.0, 10000.0),) * 2
    each = Case(Spec(), BINARY16, logits, (0, 0))
    assert all(map(math.isfinite, textbook(each).value))
    assert textbook(each.with_spec(reduction=Reduction.SUM)).value == (INF,)
    assert textbook(each.with_spec(reduction=Reduction.MEAN)).value == (INF,)
    weighted = replace(each, logits=((1.0, 2.0),) * 2, weight=(40000.0, 1.0))
    tolerance = textbook(weighted.with_spec(reduction=Reduction.MEAN))
    assert tolerance.value == (INF,)
    assert all(map(math.isinf, itertools.chain(*tolerance.gradient)))


def test_a_power_of_a_vanishing_x_is_unbounded_in_the_gradient() -> None:
    saturated = Case(Spec(gamma=0.5), BINARY32, ((60.0, 0.0),), (0,))
    tolerance = textbook(saturated)
    assert math.isfinite(tolerance.value[0])
    assert all(map(math.isinf, tolerance.gradient[0]))
    assert all(map(math.isfinite, cancellation_free(saturated).gradient[0]))


def test_an_undefined_mean_has_no_tolerance_to_give() -> None:
    nothing = Case(Spec(reduction=Reduction.MEAN), BINARY32, ((1.0, 2.0),), (-100,))
    assert textbook(nothing).value == ()


def test_ignored_rows_are_exact() -> None:
    tolerance = textbook(Case(Spec(), BINARY32, ((1.0, 2.0), (1.0, 2.0)), (-100, 0)))
    assert tolerance.value[0] == 0.0
    assert tolerance.gradient[0] == (0.0, 0.0)
    assert tolerance.value[1] > 0


@pytest.mark.parametrize("fmt", FORMATS, ids=by_name)
def test_the_cancellation_free_tolerance_is_relative(fmt: Format) -> None:
    """What the textbook loses at eps = -1 (all of x^2/2) the cancellation-free algorithm keeps."""
    margin = fmt.round(5.0)
    case = Case(Spec(epsilon=(-1.0,)), fmt, ((margin, 0.0),), (0,))
    x = math.exp(-5)
    underflow = 20 * fmt.smallest_subnormal
    assert cancellation_free(case).value[0] < 40 * fmt.unit_roundoff * x * x / 2 + underflow
    assert textbook(case).value[0] > fmt.unit_roundoff / 4
    assert cancellation_free(case).gradient[0][0] < 60 * fmt.unit_roundoff * x * x + underflow


def accurate(z: torch.Tensor, t: torch.Tensor, spec: Spec) -> torch.Tensor:
    """Poly-1 without 1 - Pt: the mask leaves the target out of the sum; the remainder by its series below 1/2."""
    index = t[:, None]
    d = z - z.max(-1, keepdim=True).values
    e = d.exp()
    others = torch.zeros_like(e).scatter(-1, index, 1.0).eq(0).to(e.dtype).mul(e).sum(-1)
    total = e.sum(-1)
    x = others / total
    own = d.gather(-1, index)[:, 0]
    nll = torch.where(own == 0, torch.log1p(others), torch.log(total) - own)
    s = x / (2 - x)
    tail = sum(s ** (2 * k) / (2 * k + 1) for k in range(1, 40))
    remainder = s * (x + 2 * tail)
    return torch.where(x < 0.5, remainder + (1 + spec.epsilon[0]) * x, nll + spec.epsilon[0] * x)


@pytest.mark.parametrize("epsilon", [1.0, -1.0])
@pytest.mark.parametrize("fmt", [BINARY64, BINARY32], ids=by_name)
def test_a_cancellation_free_loss_stays_inside_its_own_tolerance(fmt: Format, epsilon: float) -> None:
    spec = Spec(epsilon=(epsilon,))
    generator = torch.Generator().manual_seed(9)
    for kind in ("scales", "margins"):
        z, t = drawn(kind, 5, generator)
        z = z.to(dtype_of(fmt))
        seen = accurate(z, t, spec).double().tolist()
        for case, value in zip(cases(fmt, z, t, spec, size=1), seen, strict=True):
            exact = reference_for(case)
            assert exact.value is not None
            assert abs(float(exact.value[0] - value)) <= cancellation_free(case, exact=exact).value[0]

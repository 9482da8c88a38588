"""The ball engine against the published figures, independent closed forms, and the ends of the formats."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import flint
import mpmath
import pytest
from cases import cases, specs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, E4M3, Format
from polyref.reference import ball
from polyref.reference.enclosure import Enclosure
from polyref.spec import Link, Reduction, Spec, Weighting

INF = math.inf
QUICK = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
#: A context of its own: the global one belongs to nobody.
MP = mpmath.MPContext()
MP.prec = 1000


def one(
    logits: tuple[float, ...], target: int, spec: Spec | None = None, fmt: Format = BINARY64, **fields: Any
) -> Case:
    return Case(spec or Spec(), fmt, (logits,), (target,), **fields)


def exactly(enclosure: Enclosure, value: float | Fraction) -> bool:
    return enclosure.rad.man == 0 and enclosure.special is None and enclosure.contains(value)


def near(enclosure: Enclosure, value: Any, slack: int = 900) -> bool:
    """Whether an mpmath number lies in the enclosure, but for the rounding of either."""
    mid, rad = (MP.mpf(d.man) * MP.mpf(2) ** d.exp for d in (enclosure.mid, enclosure.rad))
    return bool(abs(mid - value) <= rad * (1 + MP.mpf(2) ** -100) + abs(value) * MP.mpf(2) ** -slack)


# --- the published figures --------------------------------------------------------------------------------------

FIGURES = {
    "ce": ("1.9643687841079448416", "0.17425452502421608334"),
    "poly1": ("2.8241244009418563571", "0.33417147673784707224"),
    "focal": ("1.0890161768583238155", "0.0033422146123155047062"),
    "focal_and_sigmoid": ("1.4649664275909131837", "0.18184367866959761494"),
}
FOCAL = Spec(epsilon=(), gamma=2.0, weighting=Weighting.CE_ONLY)
SPECS = {
    "ce": Spec(epsilon=()),
    "poly1": Spec(epsilon=(1.0,)),
    "focal": FOCAL,
    "focal_and_sigmoid": Spec(epsilon=(1.0,), gamma=2.0, weighting=Weighting.CE_ONLY, polynomial_link=Link.SIGMOID),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(("logits", "target", "column"), [((2.0, 0.5, 1.0), 1, 0), ((0.1, 1.0, 3.0), 2, 1)])
def test_the_published_figures_to_every_digit(name: str, logits: tuple[float, ...], target: int, column: int) -> None:
    # alpha is .25 for class 0 and .75 for the others: a weight on the logarithm alone
    weight = (0.25, 0.75, 0.75) if name.startswith("focal") else None
    value = ball.evaluate(one(logits, target, SPECS[name], weight=weight)).value[0]
    published = FIGURES[name][column]
    digits = len(published.replace(".", "").lstrip("0"))
    assert value.decimal(digits)[0] == published


# --- independent closed forms -----------------------------------------------------------------------------------


def closed_form(case: Case) -> list[Any]:
    """The values of the rows, from the definition in 1,000 bits and without any of the engine's rearrangements."""
    spec, values = case.spec, []
    weights = [MP.mpf(w) for w in (case.weight or (1.0,) * case.classes)]
    mean = MP.fsum(weights) / case.classes

    def loss(pt: Any, w: Any, alpha: Any) -> Any:
        x = 1 - pt
        power = x ** MP.mpf(spec.gamma) if spec.gamma else MP.one
        inside = 1 - pt * w / mean if spec.weighting is Weighting.RESCALED_P else x
        poly = MP.fsum(MP.mpf(e) * inside**j for j, e in enumerate(spec.epsilon, 1))
        outside = (w if spec.weighting is Weighting.BOTH else MP.one) * (alpha if spec.alpha_on_polynomial else 1)
        return -alpha * w * power * MP.log(pt) + outside * power * poly

    for i, z in enumerate(case.logits):
        q = [MP.mpf(v.numerator) / v.denominator for v in case.distribution(i)]
        alpha = MP.one if spec.alpha is None else MP.mpf(spec.alpha)
        if spec.link is Link.SOFTMAX:
            e = [MP.exp(MP.mpf(v)) for v in z]
            values.append(MP.fsum(q[k] * loss(e[k] / MP.fsum(e), weights[k], alpha) for k in range(len(z))))
            continue
        other = MP.one if spec.alpha is None else 1 - alpha
        for k, v in enumerate(z):
            p = 1 / (1 + MP.exp(-MP.mpf(v)))
            values.append(q[k] * loss(p, weights[k], alpha) + (1 - q[k]) * loss(1 - p, weights[k], other))
    return values


def reduced(case: Case, values: list[Any]) -> list[Any]:
    """The reductions, spelt out."""
    reduction, n = case.spec.reduction, len(case.logits)
    if reduction is Reduction.NONE:
        return values
    total = MP.fsum(values)
    if reduction is Reduction.SUM:
        return [total]
    if reduction is Reduction.MEAN_OVER_SAMPLES:
        return [total / n]
    if case.spec.link is Link.SIGMOID:
        return [total / (n * case.classes)]
    if case.soft or case.weight is None:
        return [total / n]
    return [total / MP.fsum(MP.mpf(case.weight[t]) for t in case.target)]


@st.composite
def ordinary(draw: st.DrawFn) -> Case:
    """Cases that the closed form can do without losing more than a few hundred of its bits."""
    spec = draw(specs().filter(lambda s: not s.mixed))
    classes, rows = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    number = st.floats(-40, 40).map(BINARY64.round)
    soft = draw(st.booleans())
    share = st.sampled_from([0.0, 0.25, 1.0, 0.3])
    return Case(
        spec,
        BINARY64,
        tuple(tuple(draw(number) for _ in range(classes)) for _ in range(rows)),
        tuple(
            tuple(draw(share) for _ in range(classes)) if soft else draw(st.integers(0, classes - 1))
            for _ in range(rows)
        ),
        draw(st.none() | st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 0.1])] * classes)),
    )


@given(ordinary())
@QUICK
def test_the_value_is_that_of_the_definition(case: Case) -> None:
    result = ball.evaluate(case, bits=100, floor=-400)
    for found, expected in zip(result.value, reduced(case, closed_form(case)), strict=True):
        assert near(found, expected, 700) or abs(expected) < MP.mpf(2) ** -390


@given(ordinary(), st.data())
@settings(QUICK, max_examples=60)
def test_the_gradient_is_the_difference_quotient_of_the_value(case: Case, data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(case.logits) - 1))
    k = data.draw(st.integers(0, case.classes - 1))
    result = ball.evaluate(case, bits=100, floor=-400)

    def total(z: Any) -> Any:
        logits = [list(row) for row in case.logits]
        logits[i][k] = z
        moved = object.__new__(Case)
        for name, value in vars(case).items():
            object.__setattr__(moved, name, value)
        object.__setattr__(moved, "logits", tuple(map(tuple, logits)))
        return MP.fsum(reduced(moved, closed_form(moved)))

    h = MP.mpf(2) ** -150
    z = MP.mpf(case.logits[i][k])
    quotient = (total(z - 2 * h) - 8 * total(z - h) + 8 * total(z + h) - total(z + 2 * h)) / (12 * h)
    found = result.gradient[i][k]
    mid = MP.mpf(found.mid.man) * MP.mpf(2) ** found.mid.exp
    assert abs(mid - quotient) <= MP.mpf(2) ** -90 * abs(quotient) + MP.mpf(2) ** -380


@given(ordinary())
@settings(QUICK, max_examples=60)
def test_dl_dpt_and_pt_make_the_targets_gradient(case: Case) -> None:
    # 1 - Pt cancels in this check, so it takes digits to spare.
    result = ball.evaluate(case.with_spec(reduction=Reduction.NONE, smoothing=0.0, link=Link.SOFTMAX), bits=300)
    for t, slope, pt, row in zip(case.target, result.pt_gradient, result.pt, result.gradient, strict=True):
        assert (slope is None) == isinstance(t, tuple)
        if slope is None:
            assert len(pt) == case.classes
            continue
        assert len(pt) == 1
        s, p, g = (MP.mpf(v.mid.man) * MP.mpf(2) ** v.mid.exp for v in (slope, pt[0], row[t]))
        assert abs(s * p * (1 - p) - g) <= abs(g) * MP.mpf(2) ** -80


@given(cases())
@settings(QUICK, max_examples=300)
def test_every_output_is_as_narrow_as_asked(case: Case) -> None:
    result = ball.evaluate(case, bits=80, floor=-500)
    outputs = [*result.value, *itertools.chain(*result.gradient, *result.pt)]
    outputs += [g for g in result.pt_gradient if g is not None]
    for v in outputs:
        assert v.special is not None or v.rad.man == 0 or v.bits() >= 79 or v.rad.magnitude <= -500


def test_more_digits_on_demand() -> None:
    value = ball.evaluate(one((2.0, 0.5, 1.0), 1, Spec(epsilon=())), bits=3400).value[0]
    context = mpmath.MPContext()
    context.prec = 4000
    z = [context.mpf(v) for v in (2.0, 0.5, 1.0)]
    exact = context.log(context.fsum(context.exp(v - z[1]) for v in z))
    assert value.decimal(1000)[0] == context.nstr(exact, 1000, strip_zeros=False)


# --- zeros, ends and degenerate cases ----------------------------------------------------------------------------


def test_one_class_is_certain() -> None:
    result = ball.evaluate(one((3.0,), 0, Spec(epsilon=(1.0, 0.5))))
    assert exactly(result.value[0], 0)
    assert exactly(result.gradient[0][0], 0)
    assert exactly(result.pt[0][0], 1)
    assert result.pt_gradient[0] is not None
    assert exactly(result.pt_gradient[0], -2)
    rescaled = Spec(epsilon=(1.0,), weighting=Weighting.RESCALED_P)
    assert exactly(ball.evaluate(one((3.0,), 0, rescaled, weight=(2.0,))).value[0], 0)
    focal = ball.evaluate(one((3.0,), 0, Spec(gamma=0.5)))
    assert exactly(focal.value[0], 0)
    assert exactly(focal.gradient[0][0], 0)


def test_impossible_classes_are_exact_zeros() -> None:
    result = ball.evaluate(one((1.0, -INF, 1.0), 0, Spec(epsilon=())))
    assert exactly(result.gradient[0][1], 0)
    assert result.value[0].decimal(20)[0] == "0.69314718055994530942"
    certain = ball.evaluate(one((1.0, -INF), 0))
    assert exactly(certain.value[0], 0)
    assert [exactly(g, 0) for g in certain.gradient[0]] == [True, True]


def test_an_impossible_target_costs_infinity_and_keeps_a_gradient() -> None:
    result = ball.evaluate(one((-INF, 0.0), 0, Spec(epsilon=(1.0,))))
    assert result.value[0].special == INF
    assert exactly(result.pt[0][0], 0)
    assert [float(g) for g in result.gradient[0]] == [-1.0, 1.0]
    assert result.pt_gradient[0] is not None
    assert result.pt_gradient[0].special == -INF
    assert result.bits < 1000
    no_log = Spec(epsilon=(1.0, 2.0), weighting=Weighting.CE_ONLY)
    zero_weight = ball.evaluate(one((-INF, 0.0), 0, no_log, weight=(0.0, 1.0)))
    assert exactly(zero_weight.value[0], 3)
    assert zero_weight.pt_gradient[0] is not None
    assert exactly(zero_weight.pt_gradient[0], -5)


def test_infinite_values_are_infinite_under_every_share_and_reduction_at_once() -> None:
    for smoothing, reduction in itertools.product((0.0, 0.1), Reduction):
        spec = Spec(smoothing=smoothing, reduction=reduction)
        case = Case(spec, BINARY64, ((-INF, 1.0, 2.0), (0.5, 1.0, 2.0)), (0, 1), (0.1, 0.3, 1.0))
        result = ball.evaluate(case)
        assert result.value[0].special == INF
        assert result.bits < 1000


def test_equal_logits() -> None:
    result = ball.evaluate(one((7.5, 7.5), 1, Spec(epsilon=(1.0,))))
    assert result.value[0].decimal(20)[0] == "1.1931471805599453094"
    assert [g.decimal(5)[0] for g in result.gradient[0]] == ["0.75000", "-0.75000"]


@pytest.mark.parametrize("epsilon", [(), (1.0,), (-1.0,), (-1.0, -0.5), (-1.0, -0.5, -1 / 3)])
def test_x_of_1e_300_keeps_every_digit(epsilon: tuple[float, ...]) -> None:
    spec = Spec(epsilon=epsilon)
    z = 690.7755278982137
    result = ball.evaluate(one((z, 0.0), 0, spec))
    context = mpmath.MPContext()
    context.prec = 6000
    s = context.exp(-context.mpf(z))
    x = s / (1 + s)
    poly = context.fsum(context.mpf(e) * x**j for j, e in enumerate(epsilon, 1))
    value = context.log1p(s) + poly
    slope = 1 + (1 - x) * context.fsum(j * context.mpf(e) * x ** (j - 1) for j, e in enumerate(epsilon, 1))
    assert result.value[0].decimal(30)[0] == context.nstr(value, 30, strip_zeros=False)
    assert result.gradient[0][0].decimal(30)[0] == context.nstr(-slope * x, 30, strip_zeros=False)
    assert result.bits < 1000


@pytest.mark.parametrize("fmt", [BINARY64, BINARY32, BINARY16, BFLOAT16, E4M3], ids=lambda f: f.name)
@pytest.mark.parametrize("spec", [Spec(), Spec(gamma=0.5), Spec(epsilon=(-1.0,)), Spec(link=Link.SIGMOID)], ids=str)
def test_logits_at_the_end_of_the_range(fmt: Format, spec: Spec) -> None:
    low, high = -fmt.largest, fmt.largest
    wrong = ball.evaluate(one((low, high), 0, spec, fmt))
    right = ball.evaluate(one((low, high), 1, spec, fmt))
    for result in (wrong, right):
        for v in (*result.value, *result.gradient[0], *result.pt[0]):
            assert v.special is None
            assert v.bits() >= 119
    gap = (2 if spec.link is Link.SOFTMAX else 1) * Fraction(fmt.largest)
    expected = gap + (Fraction(spec.epsilon[0]) if spec.link is Link.SOFTMAX else 1)
    assert wrong.value[0].rounded(BINARY64) == BINARY64.round(expected)
    assert wrong.gradient[0][0].rounded(BINARY64) == -1.0
    assert right.value[0].mid.man > 0
    assert float(right.value[0]) < 1e-190


@pytest.mark.parametrize("logit", [5e-324, 2.0**-1022, 1e-300])
def test_subnormal_logits_are_not_rounded_away(logit: float) -> None:
    # At equal logits CE = log 2; a shift by d moves it by d/2, far below any fixed precision.
    moved = ball.evaluate(one((0.0, logit), 0, Spec(epsilon=())), bits=1200).value[0]
    equal = ball.evaluate(one((0.0, 0.0), 0, Spec(epsilon=())), bits=1200).value[0]
    shift = moved.mid.plus(equal.mid.negated())
    assert float(shift) == pytest.approx(logit / 2, rel=1e-9) or logit == 5e-324
    assert shift.man > 0


def test_a_gradient_that_cancels_exactly_ends_with_a_floor() -> None:
    result = ball.evaluate(one((1.5, 1.5, 1.5), 0, Spec(smoothing=1.0)), floor=-300)
    assert all(g.contains(0) and (g.rad.man == 0 or g.rad.magnitude <= -300) for g in result.gradient[0])
    assert result.bits > 300


def test_a_polynomial_alone_is_narrow_however_small_pt_is() -> None:
    spec = Spec(epsilon=(1.0, 0.5, -0.25), weighting=Weighting.CE_ONLY)
    result = ball.evaluate(one((-3e38, 0.0), 0, spec, BINARY64, weight=(0.0, 1.0)))
    assert result.bits < 1000
    assert all(g.bits() >= 119 for g in result.gradient[0])
    assert result.pt_gradient[0] is not None
    assert float(result.pt_gradient[0]) == -(1.0 + 2 * 0.5 - 3 * 0.25)


# --- laws of the spec ---------------------------------------------------------------------------------------------


def test_a_mean_without_a_denominator_is_nan() -> None:
    for case in (
        Case(Spec(reduction=Reduction.MEAN), BINARY32, ((1.0, 2.0),), (-100,)),
        Case(Spec(reduction=Reduction.MEAN), BINARY32, ((1.0, 2.0),), (0,), (0.0, 1.0)),
        Case(Spec(reduction=Reduction.MEAN_OVER_SAMPLES), BINARY32, ((1.0, 2.0),), (-100,)),
    ):
        result = ball.evaluate(case)
        assert math.isnan(result.value[0].special or 0.0)
        assert all(math.isnan(g.special or 0.0) for g in result.gradient[0])
    total = ball.evaluate(Case(Spec(reduction=Reduction.SUM), BINARY32, ((1.0, 2.0),), (-100,)))
    assert exactly(total.value[0], 0)


def test_ignored_rows_contribute_nothing() -> None:
    spec = Spec(reduction=Reduction.MEAN)
    both = ball.evaluate(Case(spec, BINARY32, ((1.0, 2.0), (5.0, 7.0)), (0, -100)))
    alone = ball.evaluate(Case(spec, BINARY32, ((1.0, 2.0),), (0,)))
    assert both.value == alone.value
    assert both.gradient[0] == alone.gradient[0]
    assert all(exactly(g, 0) for g in both.gradient[1])
    assert both.pt[1] == ()
    assert both.pt_gradient[1] is None


@pytest.mark.parametrize("target", [0, 1, 2])
def test_the_rescaled_law_is_cross_entropy_with_another_epsilon_and_a_constant(target: int) -> None:
    weight, eps = (0.5, 2.0, 3.5), 0.75
    mu = Fraction(2)
    w = Fraction(weight[target])
    logits = (0.25, -1.5, 2.0)
    rescaled = ball.evaluate(one(logits, target, Spec(epsilon=(eps,), weighting=Weighting.RESCALED_P), weight=weight))
    plain = ball.evaluate(one(logits, target, Spec(epsilon=(float(Fraction(eps) / mu),)), weight=weight))
    constant = Fraction(eps) * (1 - w / mu)
    moved = Enclosure.exactly(float(constant))
    difference = rescaled.value[0].mid.plus(plain.value[0].mid.negated()).plus(moved.mid.negated())
    assert abs(float(difference)) < 2.0**-118
    for a, b in zip(rescaled.gradient[0], plain.gradient[0], strict=True):
        assert a.overlaps(b)


def test_eps_minus_one_leaves_no_first_order_under_the_whole_loss_law_alone() -> None:
    logits, weight = (40.0, 0.0), (0.5, 1.0)
    slopes = {
        law: float(ball.evaluate(one(logits, 0, Spec(epsilon=(-1.0,), weighting=law), weight=weight)).gradient[0][0])
        for law in Weighting
    }
    x = math.exp(-40)
    assert slopes[Weighting.BOTH] == pytest.approx(-0.5 * x * x, rel=1e-12)
    assert slopes[Weighting.CE_ONLY] == pytest.approx(0.5 * x, rel=1e-12)
    assert slopes[Weighting.RESCALED_P] == pytest.approx((0.5 / 0.75 - 0.5) * x, rel=1e-12)


def test_the_soft_polynomial_is_the_papers() -> None:
    q, logits = (0.25, 0.5, 0.25), (0.5, -1.0, 2.0)
    with_poly = ball.evaluate(Case(Spec(epsilon=(1.0,)), BINARY64, (logits,), (q,)))
    without = ball.evaluate(Case(Spec(epsilon=()), BINARY64, (logits,), (q,)))
    e = [MP.exp(v) for v in logits]
    expected = 1 - MP.fsum(a * b for a, b in zip(q, e, strict=True)) / MP.fsum(e)
    mids = [MP.mpf(r.value[0].mid.man) * MP.mpf(2) ** r.value[0].mid.exp for r in (with_poly, without)]
    assert abs(mids[0] - mids[1] - expected) < MP.mpf(2) ** -115


# --- contexts -----------------------------------------------------------------------------------------------------


def test_no_global_precision_is_left_changed() -> None:
    flint_before, mpmath_before = flint.ctx.prec, mpmath.mp.prec
    ball.evaluate(one((1.0, 2.0), 0), bits=500)
    impossible = one((1.0, 2.0), 0, Spec(weighting=Weighting.RESCALED_P), weight=(0.0, 0.0))
    with pytest.raises(UsageError, match="the weights have mean 0"):
        ball.evaluate(impossible)
    assert flint.ctx.prec == flint_before
    assert mpmath.mp.prec == mpmath_before


def test_a_callers_precision_does_not_matter() -> None:
    case = one((1.0, 2.0, 3.5), 0, Spec(epsilon=(1.0, 0.1), gamma=2.0))
    expected = ball.evaluate(case)
    with flint.ctx.workprec(20):
        assert ball.evaluate(case) == expected
        assert flint.ctx.prec == 20


def test_a_ball_that_bounds_nothing_is_not_passed_on() -> None:
    with pytest.raises(ArithmeticError, match="no bound"):
        ball.enclosure(flint.arb("[0 +/- inf]"))


@pytest.mark.parametrize("max_bits", [64, 200])
def test_the_precision_limit_is_kept(max_bits: int) -> None:
    case = one((1.5, 1.5, 1.5), 0, Spec(smoothing=1.0))
    result = ball.evaluate(case, bits=60, max_bits=max_bits)
    assert result.bits <= max(max_bits, 92)
    assert all(g.contains(0) for g in result.gradient[0])

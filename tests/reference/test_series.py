from __future__ import annotations

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import chain

import mpmath
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mpmath.libmp import MPZ as mpz
from mpmath.libmp import from_man_exp

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import BINARY64, Dyadic
from polyref.reference import _intervals, series
from polyref.reference._intervals import Reals, falling, log2, tail_sums
from polyref.reference.enclosure import ZERO, Enclosure
from polyref.reference.result import Result
from polyref.spec import Link, Reduction, Response, Spec, Weighting

from . import direct

mp = direct.mp
GAMMAS = (0.0, 0.5, 1.0, 2.0, 3.25)
LARGEST = BINARY64.largest
FEW = settings(derandomize=True, deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))


def one(logits: tuple[float, ...], target: int | tuple[float, ...] = 0, weight=None, **spec) -> Case:
    return Case(Spec(**spec), BINARY64, (logits,), (target,), weight)


def outputs(result: Result) -> list[Enclosure]:
    """Every enclosure of a result."""
    slopes = [g for g in result.pt_gradient if g is not None]
    return [*result.value, *chain(*result.gradient), *chain(*result.pt), *slopes]


def narrow(found: Enclosure, bits: int) -> bool:
    return found.special is not None or found.rad.man == 0 or found.bits() >= bits


def nested(inner: Enclosure, outer: Enclosure) -> bool:
    if inner.special is not None or outer.special is not None:
        return repr(inner.special) == repr(outer.special)
    return outer.lower.compare(inner.lower) <= 0 and inner.upper.compare(outer.upper) <= 0


@st.composite
def cases(draw, *, links=tuple(Link), impossible=True) -> Case:
    """Cases of every kind whose loss is finite: an impossible class has no share of the target."""
    classes, rows = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    kind = draw(st.sampled_from(["index", "soft", "smooth", "mixed", "sigmoid"]))
    link = draw(st.sampled_from(links)) if kind not in ("mixed", "sigmoid") else Link.SOFTMAX
    link = Link.SIGMOID if kind == "sigmoid" and Link.SIGMOID in links else link
    extreme = st.sampled_from([LARGEST, -LARGEST, 0.0, 1.0, 1e38, -745.0, 5e-324, 1e-300])
    usual = st.floats(-40, 40)
    logit = draw(st.sampled_from([usual, extreme, st.sampled_from([0.0, 1.0])]))
    logits = [[draw(logit) for _ in range(classes)] for _ in range(rows)]
    target: list = [draw(st.sampled_from([*range(classes), -100])) for _ in range(rows)]
    soft = kind == "soft" or (kind != "index" and draw(st.booleans()))
    if soft:
        share = st.sampled_from([0.0, 0.25, 0.5, 1.0, 0.3])
        target = [tuple(draw(share) for _ in range(classes)) for _ in range(rows)]
    smoothing = draw(st.sampled_from([0.1, 1.0])) if kind == "smooth" else 0.0
    if impossible and smoothing == 0 and link is Link.SOFTMAX and kind != "mixed":
        for z, t in zip(logits, target, strict=True):
            for k in range(classes):
                held = t in (-100, k) if not soft else t[k] > 0
                if not held and sum(v > -math.inf for v in z) > 1 and draw(st.integers(0, 5)) == 0:
                    z[k] = -math.inf
    weight = draw(st.none() | st.tuples(*[st.sampled_from([0.25, 1.0, 2.5, 0.1])] * classes))
    spec = Spec(
        link=link,
        epsilon=tuple(draw(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 1.0, 2.0, 0.1]), max_size=5))),
        gamma=draw(st.sampled_from(GAMMAS)),
        weighting=draw(st.sampled_from(list(Weighting))),
        smoothing=smoothing,
        reduction=draw(st.sampled_from(list(Reduction))),
        alpha=draw(st.sampled_from([None, 0.25])) if link is Link.SIGMOID else None,
        polynomial_link=Link.SIGMOID if kind == "mixed" else None,
    )
    return Case(spec, BINARY64, tuple(map(tuple, logits)), tuple(target), weight)


# Check values.

CHECK = (((2.0, 0.5, 1.0), (0.1, 1.0, 3.0)), (1, 2))
WEIGHTS = (0.25, 0.75, 0.75)
CHECK_VALUES = [
    (Spec(epsilon=()), None, ("1.9643687841079448416", "0.17425452502421608334")),
    (Spec(epsilon=(1.0,)), None, ("2.8241244009418563571", "0.33417147673784707224")),
    (Spec(epsilon=(), gamma=2.0), WEIGHTS, ("1.0890161768583238155", "0.0033422146123155047062")),
    (
        Spec(epsilon=(1.0,), gamma=2.0, weighting=Weighting.CE_ONLY, polynomial_link=Link.SIGMOID),
        WEIGHTS,
        ("1.4649664275909131837", "0.18184367866959761494"),
    ),
]


@pytest.mark.parametrize(("spec", "weight", "expected"), CHECK_VALUES)
def test_check_values(spec: Spec, weight: tuple[float, ...] | None, expected: tuple[str, str]) -> None:
    result = series.evaluate(Case(spec, BINARY64, *CHECK, weight))
    assert tuple(v.decimal(20)[0] for v in result.value) == expected
    assert result.engine == "series"


@pytest.mark.parametrize(("spec", "weight", "expected"), CHECK_VALUES)
def test_a_thousand_digits_stay_inside_the_first_twenty(spec, weight, expected) -> None:
    case = Case(spec, BINARY64, *CHECK, weight)
    few, many = series.evaluate(case, bits=60), series.evaluate(case, bits=3400)
    for wide, found in zip(outputs(few), outputs(many), strict=True):
        assert nested(found, wide)
        assert narrow(found, 3400)


# The direct evaluation.


@FEW
@given(cases())
def test_agrees_with_the_direct_evaluation(case: Case) -> None:
    if case.denominator == 0:
        return
    result = series.evaluate(case, bits=150)
    values, gradient = direct.evaluate(case)
    for found, truth in zip(result.value, values, strict=True):
        assert direct.agrees(found, truth)
    for found, truth in zip(chain(*result.gradient), chain(*gradient), strict=True):
        assert direct.agrees(found, truth)
    assert all(narrow(e, 150) or e.rad.magnitude < -1500 for e in outputs(result))


@pytest.mark.parametrize("link", ["softmax", "sigmoid", "mixed"])
@pytest.mark.parametrize("weighting", list(Weighting))
@pytest.mark.parametrize("reduction", list(Reduction))
def test_the_gradient_is_the_derivative_of_the_value(link: str, weighting: Weighting, reduction: Reduction) -> None:
    spec = Spec(
        link=Link.SIGMOID if link == "sigmoid" else Link.SOFTMAX,
        epsilon=(1.0, -0.5),
        gamma=0.5,
        weighting=weighting,
        smoothing=0.125,
        reduction=reduction,
        polynomial_link=Link.SIGMOID if link == "mixed" else None,
    )
    logits, target = ((0.5, -1.0, 2.0), (0.0, 1.0, 3.0), (1.0, 1.0, 1.0)), (0, 1, -100)
    case = Case(spec, BINARY64, logits, target, (0.25, 0.75, 2.0))
    gradient = series.evaluate(case).gradient
    for i, k in ((0, 0), (0, 2), (1, 1), (2, 0)):

        def loss(z, i=i, k=k):
            moved = [[z if (a, b) == (i, k) else v for b, v in enumerate(r)] for a, r in enumerate(logits)]
            return sum(v.value for v in direct.evaluate(case, moved)[0])

        slope = mp.diff(loss, mp.mpf(logits[i][k]))
        assert abs(slope - direct.number(gradient[i][k].mid)) < mp.mpf(2) ** -110


@FEW
@given(cases(), st.sampled_from([8, 20, 60]))
def test_enclosures_hold_the_result_of_a_higher_precision(case: Case, bits: int) -> None:
    wide = series.evaluate(case, bits=bits, max_bits=bits + 30)
    found = series.evaluate(case, bits=300, max_bits=4000)
    for inner, outer in zip(outputs(found), outputs(wide), strict=True):
        assert inner.overlaps(outer)
        if inner.rad.man == 0 or inner.bits() > 250:
            assert direct.number(inner.rad) <= direct.number(outer.rad)


@settings(FEW, max_examples=40)
@given(cases(), st.sampled_from([4, 9, 14]))
def test_hardly_any_precision_is_wide_but_right(case: Case, max_bits: int) -> None:
    wide, found = series.evaluate(case, bits=100, max_bits=max_bits), series.evaluate(case, bits=100)
    assert wide.bits == max_bits
    assert all(map(Enclosure.overlaps, outputs(wide), outputs(found)))


# Ends of the range.


def test_a_probability_that_misses_one_by_1e_300() -> None:
    z = 690.7755278982137  # x = 1 / (1 + e^z) is near 1e-300
    result = series.evaluate(one((z, 0.0), epsilon=(-1.0,)))
    x = 1 / (1 + mp.exp(mp.mpf(z)))
    assert abs(x / mp.mpf("1e-300") - 1) < 1e-12
    expected = x**2 / 2 + x**3 / 3
    assert abs(direct.number(result.value[0].mid) / expected - 1) < mp.mpf(2) ** -119
    # c = Pt dl/dx = x, whatever Pt: g_y = -x^2
    assert abs(direct.number(result.gradient[0][0].mid) / -(x**2) - 1) < mp.mpf(2) ** -119
    assert all(narrow(e, 119) for e in outputs(result))


@pytest.mark.parametrize("gap", [1e38, 3e307, LARGEST])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_a_probability_that_no_format_holds(gap: float, gamma: float) -> None:
    wrong = series.evaluate(one((0.0, -gap), 1, gamma=gamma))
    right = series.evaluate(one((0.0, -gap), 0, gamma=gamma))
    assert float(wrong.value[0]) == gap
    assert [float(g) for g in wrong.gradient[0]] == [1.0, -1.0]
    per_unit = Fraction(wrong.pt[0][0].mid.magnitude, int(gap))
    assert float(per_unit) == pytest.approx(-math.log2(math.e))
    # l = 2 x^(gamma+1), x = Pt of the other one
    per_unit = Fraction(right.value[0].mid.magnitude, int(gap))
    assert float(per_unit) == pytest.approx(-(gamma + 1) * math.log2(math.e))
    assert all(narrow(e, 119) for e in (*outputs(wrong), *outputs(right)))


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_limit_at_an_impossible_target(gamma: float) -> None:
    spec = {"gamma": gamma, "epsilon": (1.0, -0.5)}
    certain = series.evaluate(one((0.0, 1.0, -math.inf), 2, (1.0, 1.0, 0.75), **spec))
    nearly = series.evaluate(one((0.0, 1.0, -1e30), 2, (1.0, 1.0, 0.75), **spec))
    assert certain.value == (Enclosure.exactly(math.inf),)
    assert certain.pt_gradient == (Enclosure.exactly(-math.inf),)
    assert certain.pt == ((Enclosure(ZERO, ZERO),),)
    assert all(map(Enclosure.overlaps, certain.gradient[0], nearly.gradient[0]))


def test_an_impossible_target_without_a_logarithm() -> None:
    result = series.evaluate(one((0.0, 1.0, -math.inf), 2, (1.0, 1.0, 0.0), weighting=Weighting.CE_ONLY, gamma=2.0))
    assert result.value[0].contains(1)
    assert result.pt_gradient[0].contains(-3)
    assert result.gradient[0] == (Enclosure(ZERO, ZERO),) * 3


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("logits", [(3.0,), (3.0, -math.inf)])
def test_certainty(gamma: float, logits: tuple[float, ...]) -> None:
    result = series.evaluate(one(logits, gamma=gamma, epsilon=(0.5, 1.0)))
    assert result.value == (Enclosure(ZERO, ZERO),)
    assert set(result.gradient[0]) == {Enclosure(ZERO, ZERO)}
    assert result.pt == ((Enclosure(Dyadic(1, 0), ZERO),),)
    assert result.pt_gradient[0].contains(-1.5 if gamma == 0 else 0)


def test_certainty_keeps_the_rescaled_constant() -> None:
    result = series.evaluate(one((0.0, -math.inf), 0, (0.5, 1.5), weighting=Weighting.RESCALED_P, epsilon=(-1.0,)))
    assert result.value[0].contains(-0.5)  # w/mu - 1
    assert result.gradient == ((Enclosure(ZERO, ZERO),) * 2,)


# Exact zeros, and what only looks like one.


def test_zero_coefficients_give_exactly_zero() -> None:
    result = series.evaluate(one((0.5, 1.0), 0, (0.0, 1.0)))
    assert result.value == (Enclosure(ZERO, ZERO),)
    assert result.gradient == ((Enclosure(ZERO, ZERO),) * 2,)


@pytest.mark.parametrize("link", list(Link))
def test_ties_under_a_uniform_target_give_exactly_zero(link: Link) -> None:
    result = series.evaluate(one((0.0, 0.0, 0.0), 1, link=link, smoothing=1.0, epsilon=(1.0, 3.0), gamma=0.5))
    assert result.gradient == ((Enclosure(ZERO, ZERO),) * 3,)
    assert result.bits < 200


def test_a_hopeless_zero_is_given_up_and_others_are_not() -> None:
    """q_k w_k all equal and probabilities all equal: the gradient is 0, and no enclosure can show it."""
    result = series.evaluate(one((0.0, 0.0, 0.0), (0.5, 0.25, 0.25), (1.0, 2.0, 2.0), epsilon=()), bits=60)
    assert result.bits < 10_000
    assert all(g.contains(0) and g.rad.magnitude < -3000 for g in result.gradient[0])
    tiny = series.evaluate(one((5e-324, 0.0), (0.5, 0.5), epsilon=()), bits=60)
    assert all(narrow(g, 59) and not g.contains(0) for g in tiny.gradient[0])


def test_a_floor_ends_the_search_early() -> None:
    case = one((0.0, 0.0, 0.0), (0.5, 0.25, 0.25), (1.0, 2.0, 2.0), epsilon=())
    result = series.evaluate(case, bits=60, floor=-200)
    assert result.bits < 400
    assert all(g.contains(0) and g.rad.magnitude <= -200 for g in result.gradient[0])


def test_a_value_that_nearly_cancels_gets_its_digits() -> None:
    """eps_1 is the double nearest to the root of CE + eps x: some 53 bits cancel in a sum of rows, not in a row."""
    p = Fraction(1, 4)
    epsilon = float(mp.log(p.numerator / mp.mpf(p.denominator)) / mp.mpf(0.75))
    logits = (0.0,) * 4
    result = series.evaluate(Case(Spec(epsilon=(epsilon,), reduction=Reduction.SUM), BINARY64, (logits,) * 3, (0,) * 3))
    truth = 3 * (mp.log(4) + mp.mpf(epsilon) * mp.mpf(0.75))
    assert narrow(result.value[0], 119)
    assert abs(truth) < 1e-14
    assert abs(direct.number(result.value[0].mid) / truth - 1) < mp.mpf(2) ** -118


# Shapes and reductions.


def test_ignored_rows_are_zero_and_have_no_probability() -> None:
    for link, each in ((Link.SOFTMAX, 1), (Link.SIGMOID, 2)):
        result = series.evaluate(Case(Spec(link=link), BINARY64, ((0.0, 1.0), (1.0, 2.0)), (-100, 1)))
        assert result.value[:each] == (Enclosure(ZERO, ZERO),) * each
        assert len(result.value) == 2 * each
        assert result.gradient[0] == (Enclosure(ZERO, ZERO),) * 2
        assert result.pt[0] == ()
        assert len(result.pt[1]) == each
        assert result.pt_gradient[0] is None


@pytest.mark.parametrize("reduction", [Reduction.MEAN, Reduction.MEAN_OVER_SAMPLES])
def test_a_mean_over_nothing_is_undefined(reduction: Reduction) -> None:
    result = series.evaluate(Case(Spec(reduction=reduction), BINARY64, ((0.0, 1.0),), (-100,)))
    assert [repr(v.special) for v in (*result.value, *result.gradient[0])] == ["nan"] * 3
    weightless = series.evaluate(one((0.0, 1.0), 0, (0.0, 1.0), reduction=Reduction.MEAN))
    assert [repr(v.special) for v in (*weightless.value, *weightless.gradient[0])] == ["nan"] * 3


def test_infinities_survive_the_reductions() -> None:
    for reduction in (Reduction.SUM, Reduction.MEAN):
        case = Case(Spec(reduction=reduction), BINARY64, ((0.0, -math.inf), (0.0, 1.0)), (1, 1))
        result = series.evaluate(case)
        assert result.value == (Enclosure.exactly(math.inf),)
        assert all(g.special is None for g in chain(*result.gradient))


def test_the_shape_of_the_probabilities() -> None:
    assert len(series.evaluate(one((0.0, 1.0, 2.0), 1)).pt[0]) == 1
    assert len(series.evaluate(one((0.0, 1.0, 2.0), (0.0, 1.0, 0.0))).pt[0]) == 3
    sides = series.evaluate(one((0.0, 1.0, 2.0), 1, link=Link.SIGMOID)).pt[0]
    both = [1 / (1 + mp.exp(-z)) for z in (mp.zero, mp.one, -mp.mpf(2))]
    assert [float(s) for s in sides] == [0.5, float(both[1]), float(both[2])]
    for changes in ({"smoothing": 0.1}, {"link": Link.SIGMOID}, {"polynomial_link": Link.SIGMOID}):
        assert series.evaluate(one((0.0, 1.0, 2.0), 1, **changes)).pt_gradient == (None,)


def test_the_bare_term_has_slope_minus_one() -> None:
    """d/dPt of the first term (1 + eps_1) x is -(1 + eps_1); all of -log Pt has -1/Pt."""
    result = series.evaluate(one((0.0, 1.0), 1, epsilon=(0.0,)))
    p = direct.number(result.pt[0][0].mid)
    assert abs(direct.number(result.pt_gradient[0].mid) * p + 1) < mp.mpf(2) ** -115


def test_an_unknown_combination_of_links_is_refused() -> None:
    with pytest.raises(UsageError, match="polynomial_link"):
        series.evaluate(one((0.0, 1.0), link=Link.SIGMOID, polynomial_link=Link.SOFTMAX))


# Derivatives in Pt.

RESPONSES = [
    Response(Fraction(1), Fraction(1), Fraction(1), (Fraction(1),), Fraction(0)),
    Response(Fraction(1), Fraction(1), Fraction(1), (Fraction(-1), Fraction(-1, 2)), Fraction(2)),
    Response(Fraction(3, 4), Fraction(1), Fraction(3, 2), (Fraction(-1), Fraction(2)), Fraction(13, 4)),
    Response(Fraction(2), Fraction(2), Fraction(1), (), Fraction(1, 2)),
    Response(Fraction(0), Fraction(1), Fraction(1), (Fraction(1), Fraction(-2)), Fraction(1)),
]
PLAIN = Response(Fraction(1), Fraction(1), Fraction(1), (), Fraction(0))


def closed_form(response: Response, p):
    x = 1 - p
    powers = (
        direct.exact(e) * (1 - direct.exact(response.rescale) * p) ** j for j, e in enumerate(response.epsilon, 1)
    )
    polynomial = direct.exact(response.poly_weight) * sum(powers)
    return x ** direct.exact(response.gamma) * (polynomial - direct.exact(response.log_weight) * mp.log(p))


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("pt", [Fraction(1, 1000), Fraction(1, 3), Fraction(1, 2), Fraction(3, 4), Fraction(999, 1000)])
def test_derivatives_match_numerical_differentiation(response: Response, pt: Fraction) -> None:
    taylor = mp.taylor(lambda p: closed_form(response, p), direct.exact(pt), 7)
    for order, coefficient in enumerate(taylor):
        expected = coefficient * mp.factorial(order)
        found = series.derivative(response, pt, order)
        assert narrow(found, 120)
        assert abs(direct.number(found.mid) - expected) <= (abs(expected) + 1) * mp.mpf(2) ** -100


def test_high_orders_are_closed_forms_without_a_polynomial() -> None:
    for pt in (Fraction(1, 7), Fraction(9, 10)):
        for order in (1, 2, 13, 40):
            expected = (-1) ** order * math.factorial(order - 1) / pt**order
            assert series.derivative(PLAIN, pt, order).contains(expected)


def test_the_slope_of_a_row_is_the_first_derivative() -> None:
    result = series.evaluate(one((0.0, 1.5), 1, gamma=3.25, epsilon=(1.0, 2.0)))
    response = Response(Fraction(1), Fraction(1), Fraction(1), (Fraction(1), Fraction(2)), Fraction(13, 4))
    assert series.derivative(response, result.pt[0][0], 1).overlaps(result.pt_gradient[0])
    assert series.derivative(response, result.pt[0][0], 0).overlaps(result.value[0])


@pytest.mark.parametrize(
    ("response", "pt", "order", "expected"),
    [
        (RESPONSES[0], 0, 0, math.inf),
        (RESPONSES[0], 0, 1, -math.inf),
        (RESPONSES[0], 0, 2, math.inf),
        (RESPONSES[0], 1, 0, 0.0),
        (RESPONSES[0], 1, 1, -2.0),
        (RESPONSES[0], 1, 2, 1.0),
        (PLAIN, 1, 3, -2.0),
        (RESPONSES[1], 1, 4, 0.0),
        (RESPONSES[1], 1, 5, -40.0),  # x^5/3, and 5!/3
        (RESPONSES[3], 1, 1, 0.0),  # 2 x^(3/2)
        (RESPONSES[3], 1, 2, math.inf),
        (RESPONSES[3], 1, 3, math.inf),  # -2 (3/2)(1/2)(-1/2) x^(-3/2)
        (RESPONSES[4], 0, 0, -1.0),  # x (x - 2 x^2) at x = 1
        (RESPONSES[4], 0, 1, 4.0),
    ],
)
def test_one_sided_limits(response: Response, pt: int, order: int, expected: float) -> None:
    found = series.derivative(response, Fraction(pt), order)
    assert found.contains(expected)
    assert float(found) == expected


def test_derivatives_of_an_enclosure_hold_those_of_its_points() -> None:
    wide = Enclosure(Dyadic(5, -3), Dyadic(1, -6))
    for response in RESPONSES:
        for order in range(4):
            found = series.derivative(response, wide, order)
            for step in (-1, 0, 1):
                inner = series.derivative(response, Fraction(5, 8) + Fraction(step, 64), order)
                assert nested(inner, found) or inner.overlaps(found)


def test_what_is_no_probability_is_refused() -> None:
    for pt in (Fraction(-1, 3), Fraction(4, 3), Enclosure.exactly(1.5), Enclosure.exactly(math.nan)):
        with pytest.raises(UsageError, match="from 0 to 1"):
            series.derivative(RESPONSES[0], pt, 1)
    with pytest.raises(UsageError, match="order -1"):
        series.derivative(RESPONSES[0], Fraction(1, 2), -1)
    with pytest.raises(UsageError, match="pole"):
        series.derivative(RESPONSES[0], Enclosure(Dyadic(1, -3), Dyadic(1, -3)), 1)
    with pytest.raises(UsageError, match="pole"):
        series.derivative(RESPONSES[3], Enclosure(Dyadic(1, 0), Dyadic(1, -9)), 2)


# Terms.


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("x", [Fraction(1, 10), Fraction(1, 2), Fraction(9, 10)])
def test_terms_approach_the_loss_as_fast_as_the_bound_says(response: Response, x: Fraction) -> None:
    found = series.terms(response, x, 12)
    assert len(found) == 12
    value = direct.number(series.derivative(response, 1 - x, 0, bits=300).mid)
    for term in found:
        assert term.coefficient == response.series_coefficient(term.j)
        power = direct.exact(x) ** direct.exact(response.gamma + term.j)
        assert abs(direct.number(term.term.mid) - direct.exact(term.coefficient) * power) < mp.mpf(2) ** -150
        left, bound = value - direct.number(term.total.mid), direct.number(term.rest.mid)
        assert abs(left) <= bound + mp.mpf(2) ** -150
        if term.j >= len(response.epsilon):  # beyond the polynomial the bound exceeds the rest by 1/(1-x) at most
            assert bound * direct.exact(1 - x) <= left + mp.mpf(2) ** -150


def test_terms_of_an_enclosure_and_at_the_ends() -> None:
    x = series.evaluate(one((0.0, 1.0), 0)).pt[0][0]
    first = series.terms(RESPONSES[0], x, 2)
    assert first[0].coefficient == 2
    assert first[0].term.overlaps(Enclosure(Dyadic(x.mid.man, x.mid.exp + 1), Dyadic(x.rad.man, x.rad.exp + 1)))
    assert series.terms(RESPONSES[0], Fraction(1), 1)[0].rest.special == math.inf
    assert series.terms(RESPONSES[0], Fraction(0), 1)[0].total == Enclosure(ZERO, ZERO)
    assert [t.j for t in series.terms(RESPONSES[2], Fraction(1, 2), 3)] == [0, 1, 2]
    with pytest.raises(UsageError, match="no probability"):
        series.terms(RESPONSES[0], Fraction(2), 1)


# The kernels.


def test_an_enclosure_may_be_far_wider_than_its_midpoint() -> None:
    loose = Enclosure(Dyadic(1, -(10**400)), Dyadic(1, -70_000))
    assert loose.overlaps(Enclosure(Dyadic(1, -70_001), ZERO))
    assert not loose.overlaps(Enclosure(Dyadic(1, 0), ZERO))


def tail_truth(x, start: int, gamma: Fraction, order: int):
    terms = (direct.exact(falling(gamma + j, order) / j) * x ** (j - start) for j in range(start, start + 320))
    return mp.fsum(terms)


def half_line(reals: Reals):
    """All of [0, 1/2]: the sum stops at once and the upper end is the bound on the rest, nearly alone."""
    return reals.hull(from_man_exp(0, 0), from_man_exp(1, -1))


ORDERS = [
    (0, Fraction(0)),
    (1, Fraction(0)),
    (0, Fraction(2)),
    (2, Fraction(7, 2)),
    (3, Fraction(1, 4)),
    (6, Fraction(9)),
]


@pytest.mark.parametrize(("order", "gamma"), ORDERS)
@pytest.mark.parametrize("start", [1, 3, 7])
def test_the_tail_sums_hold_the_truth_and_are_tight(order: int, gamma: Fraction, start: int) -> None:
    start = max(start, order + 1 - int(gamma))
    for wp in (20, 64, 200):
        for x in (Fraction(1, 2), Fraction(1, 3), Fraction(1, 1000)):
            at = Reals.at(wp).rational(x)
            ((low, high),) = tail_sums(at, start, gamma, (order,), wp)
            truth = tail_truth(direct.exact(x), start, gamma, order)
            assert low <= mp.ldexp(truth, wp) <= high
            # A power is known to a few units, in each of at most wp terms and in the rest.
            factors = (falling(gamma + j, order) / j for j in range(start, start + wp + 2))
            assert high - low <= 8 * (sum(factors) + wp)


@pytest.mark.parametrize(("order", "gamma"), ORDERS)
def test_the_bound_on_the_rest_is_needed_and_sharp(order: int, gamma: Fraction, monkeypatch) -> None:
    wp, start = 100, max(2, order + 1 - int(gamma))
    reals = Reals.at(wp)
    truth = mp.ldexp(tail_truth(mp.mpf(0.5), start, gamma, order), wp)
    ((_, high),) = tail_sums(half_line(reals), start, gamma, (order,), wp)
    assert truth <= high <= 4 * truth
    right = _intervals._rest
    for broken in (
        lambda *_: 0,  # cut off and forgotten
        lambda top, bottom, *_: -(-top // bottom),  # the first neglected term for all of them
        lambda *parts: right(*parts) // 2,
    ):
        monkeypatch.setattr(_intervals, "_rest", broken)
        ((_, high),) = tail_sums(half_line(reals), start, gamma, (order,), wp)
        assert high < truth


@pytest.mark.parametrize("halvings", [0, 1, 4])
def test_exponentials_round_outward_at_every_step(halvings: int) -> None:
    """At 10 bits the error of a step is as large as the result's width, so a step that rounds inward shows."""
    for wp in (6, 10):
        one = 1 << wp
        for low, high in [*((r, r) for r in range(one + 1)), (0, one), (0, one // 3)]:
            lower, upper = _intervals.exponential(mpz(low), mpz(high), wp, halvings)
            assert lower <= mp.ldexp(mp.exp(mp.mpf(low) / one), wp)
            assert upper >= mp.ldexp(mp.exp(mp.mpf(high) / one), wp)


def test_fixed_point_rounds_outward_at_any_exponent() -> None:
    for man, exp in ((5, -3), (5, 4), (1, -200), (1, -(10**400)), (0, 0)):
        value = from_man_exp(man, exp)
        low, high = (_intervals._scaled(value, 2, up=up) for up in (False, True))
        assert (low, high) == {(5, -3): (2, 3), (5, 4): (320, 320), (0, 0): (0, 0)}.get((man, exp), (0, 1))


@settings(FEW, max_examples=60)
@given(st.floats(-1e6, 0.0), st.sampled_from([20, 53, 100, 400]))
def test_exponentials_hold_the_truth(d: float, prec: int) -> None:
    reals = Reals.at(prec)
    found = reals.enclosure(reals.exp(mp.mpf(d)._mpf_))
    assert direct.agrees(found, direct.Number(mp.exp(mp.mpf(d)), mp.zero))
    assert narrow(found, prec - 4)


@settings(FEW, max_examples=60)
@given(st.floats(5e-324, 1.0), st.sampled_from([20, 53, 100, 400]))
def test_logarithms_and_powers_hold_the_truth(p: float, prec: int) -> None:
    reals = Reals.at(prec)
    at = reals.rational(Fraction(p))
    tiny = mp.mpf(2) ** -1300
    truth = -mp.log(mp.mpf(p))
    assert abs(direct.number(reals.enclosure(reals.neglog(at)).mid) - truth) <= mp.mpf(2) ** (10 - prec)
    assert direct.agrees(reals.enclosure(reals.neglog(at)), direct.Number(truth, tiny))
    for exponent in (Fraction(0), Fraction(1, 3), Fraction(5), Fraction(27, 4), Fraction(-2)):
        found = reals.enclosure(reals.power(at, exponent))
        assert direct.agrees(found, direct.Number(mp.mpf(p) ** direct.exact(exponent), mp.mpf(p) ** -2))


def test_powers_and_logarithms_of_intervals_hold_those_of_their_ends() -> None:
    reals = Reals.at(60)
    for lower, upper in (
        (Fraction(1, 8), Fraction(3, 4)),
        (Fraction(0), Fraction(1, 3)),
        (Fraction(3, 5), Fraction(1)),
    ):
        at = reals.hull(reals.rational(lower)._mpi_[0], reals.rational(upper)._mpi_[1])
        for exponent in (Fraction(1, 3), Fraction(2)):
            found = reals.enclosure(reals.power(at, exponent))
            for end in (lower, upper):
                assert found.overlaps(reals.enclosure(reals.power(reals.rational(end), exponent)))
        if lower:
            for end in (lower, upper):
                assert reals.enclosure(reals.neglog(at)).overlaps(reals.enclosure(reals.neglog(reals.rational(end))))


def test_log_2() -> None:
    for wp in (8, 64, 1000):
        low, high = log2(wp)
        assert low <= mp.ldexp(mp.log(2), wp) <= high
        assert high - low == wp + 1


# The process around it.


def test_threads_and_other_users_of_mpmath_are_undisturbed() -> None:
    case = Case(Spec(gamma=0.5), BINARY64, *CHECK)
    widths = [40, 60, 90, 200, 400] * 3
    alone = [series.evaluate(case, bits=bits) for bits in widths]
    before = mpmath.mp.prec, mpmath.iv.prec
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda bits: series.evaluate(case, bits=bits), widths)) == alone
    assert (mpmath.mp.prec, mpmath.iv.prec) == before


def test_the_engine_stands_alone() -> None:
    code = (
        "import sys, polyref.reference.series; print([m for m in ('flint', 'torch', 'hypothesis') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Laws of the single terms: the coefficient and the exponent of each, measured at rows that are made for it.

In such a row the target's logit is h and every other one -h. Then all elements of a sigmoid loss have the same Pt, so
that either link gives a row one x, and the loss of a row is c x^gamma (-log Pt + sum_j eps_j x^j).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from polyref.case import Case
from polyref.property import Context, Property
from polyref.spec import Weighting
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.verdict import Outcome, Truth, Verdict
from polyref_properties.checks import PAPER, UNDECIDED, exact_total, family, over, total, total_tolerance
from polyref_properties.conditions import all_of, needs_epsilon
from polyref_properties.strategies import cases, single

_EPSILONS = (1.0, -1.0, 2.0, 0.5, -0.5, 4.0, 0.0)
#: h in eighths for N = 1, ..., 4 terms, so that x lies well apart: near 0.5; 0.82, 0.18; 0.85, 0.56, 0.12; and so on.
_HEIGHTS = ((0,), (-6, 6), (-7, -1, 8), (-8, -3, 3, 11))


def _row(context: Context, classes: int, target: int, height: int) -> tuple[float, ...]:
    """The row whose x is that of two classes at this height, in eighths, as nearly as eighths give it."""
    if context.dialect.spec.link == "sigmoid":
        h = height / 4
    else:
        h = (height + round(4 * math.log(max(classes - 1, 1)))) / 8
    return tuple(h if k == target else -h for k in range(classes))


@st.composite
def _rows_apart(draw: DrawFn, context: Context, *, epsilon: SearchStrategy[tuple[float, ...]], count: int = 0) -> Case:
    """A case with as many rows as terms, or ``count``, of one target."""
    case = draw(cases(context, kinds=("eighths",), epsilon=epsilon, weighted=False if count else None))
    (target,) = case.target
    assert isinstance(target, int)
    heights = _HEIGHTS[(count or len(case.spec.epsilon)) - 1]
    moved = draw(st.sampled_from((0, 1, -1, 2, -2, 3)))
    rows = tuple(_row(context, case.classes, target, h + moved) for h in heights)
    return replace(case, logits=rows, target=(target,) * len(rows))


def _x(truth: Truth) -> float:
    return 1 - float(truth.balls.pt[0][0])


# --- coefficients -------------------------------------------------------------------------------------------------


def _fit_cases(context: Context) -> SearchStrategy[Case]:
    one = st.sampled_from(_EPSILONS)
    singles = one.map(lambda e: (e,))
    if context.convention.epsilon_form != "list":
        return _rows_apart(context, epsilon=singles)
    pairs = st.tuples(one, one)
    return _rows_apart(context, epsilon=st.one_of(singles, pairs, st.lists(one, min_size=3, max_size=4).map(tuple)))


def _lagrange(points: Sequence[Fraction]) -> list[list[Fraction]]:
    """For each point the coefficients of the polynomial that is 1 there and 0 at the others: a Vandermonde inverse."""
    basis = []
    for i, own in enumerate(points):
        coefficients = [Fraction(1)]
        for m, other in enumerate(points):
            if m != i:
                shifted, kept = [Fraction(0), *coefficients], [*coefficients, Fraction(0)]
                coefficients = [(a - other * b) / (own - other) for a, b in zip(shifted, kept, strict=True)]
        basis.append(coefficients)
    return basis


def _coefficients(case: Case, context: Context) -> Outcome:
    """Fit the coefficients of x^(gamma+1), ..., x^(gamma+N) to N rows, given all further terms of the logarithm.

    The fit is linear. So the coefficients are the lawful ones and those that fit the differences from the exact values,
    and each is as sure as the tolerances of the values carried through the absolute values of the inverse. That holds
    for any matrix in the place of the inverse, so x and its powers may be rounded.
    """
    singles = [single(case, i) for i in range(len(case.logits))]
    truths = [family(context.lawful(c)) for c in singles]
    own = truths[0].case
    eps = own.spec.epsilon
    scale, points = _scale(own), [Fraction(_x(t)) for t in truths]
    if not scale or not all(points):
        return UNDECIDED
    basis = _lagrange(points)
    errors, radii = [Fraction(0)] * len(eps), [0.0] * len(eps)
    for one, truth, x, lagrange in zip(singles, truths, points, basis, strict=True):
        tolerance = total_tolerance(truth)
        seen = context.observe(one).value or ()
        if math.isinf(tolerance):
            return UNDECIDED
        if not all(map(math.isfinite, seen)):
            return Outcome(Verdict.VIOLATED, math.inf, "finite losses", f"{seen}", "The loss is not finite.")
        lowest = scale * Fraction(float(x) ** (own.spec.gamma + 1))
        error = total(seen) - exact_total(truth)
        for j, c in enumerate(lagrange):
            errors[j] += c * error / lowest
            radii[j] += float(abs(c) / lowest) * tolerance
    ratios = [over(e, r) for e, r in zip(errors, radii, strict=True)]
    j = max(range(len(ratios)), key=ratios.__getitem__)
    lawful = Fraction(1, j + 1) + Fraction(eps[j])
    power = _power(own.spec.gamma + j + 1)
    text = f"1/{j + 1} + eps_{j + 1} = {float(lawful):.9g}" if j else f"1 + eps_1 = {float(lawful):.9g}"
    found = f"{float(lawful + errors[j]):.9g}"
    weighted = f", under the class weight {float(scale):g} that divides the loss," if scale != 1 else ""
    return Outcome.of(
        ratios[j],
        f"coefficient of {power}: {text}",
        f"coefficient of {power}: {found}",
        f"The coefficient of {power}{weighted} is {found} where {text}.",
    )


def _scale(own: Case) -> Fraction:
    """What the whole-loss law multiplies the series of a row by: its weights, over the denominator of a mean."""
    (target,) = own.target
    weights = own.weights
    if own.spec.link == "softmax":
        assert isinstance(target, int)
        whole = weights[target]
    else:
        whole = sum(weights, Fraction(0))
    return whole / (own.denominator or 1)


def _power(exponent: float) -> str:
    return "x" if exponent == 1 else f"x^{exponent:g}"


def _one_factor(_: Convention, dialect: Dialect) -> str | None:
    """A subject whose series has one factor in front of it, or should have."""
    if dialect.spec.alpha is not None:
        return "alpha multiplies the logarithm and no polynomial: see the law under class weights"
    return None


COEFFICIENT = Property(
    id="coefficient-j-is-one-over-j-plus-eps",
    theme="series",
    statement="The coefficient of x^(gamma+j) is 1/j + eps_j for every j up to N, times the class weight.",
    formula="l = w sum_j (1/j + eps_j) x^(gamma+j), eps_j = 0 for j > N",
    citation=f"{PAPER}, section 3: the coefficients of the series are perturbed one by one",
    remedy="Add eps_j * (1 - Pt) ** (gamma + j) for each j from 1 to N, and multiply the sum by the class weight.",
    applies=all_of(needs_epsilon, _one_factor),
    strategy=_fit_cases,
    check=_coefficients,
    mutants=(
        "squared-term",
        "sign-flipped",
        "epsilon-squared",
        "only-the-last-term",
        "only-the-first-term",
        "terms-from-zero",
        "epsilon-over-next-j",
        "epsilon-times-j",
        "polynomial-of-pt",
        "powers-of-pt",
        "epsilon-alone",
        "exponent-two",
        "weight-on-cross-entropy-only",
        "probabilities-rescaled",
    ),
    formats="each",
)


# --- exponents ----------------------------------------------------------------------------------------------------


def _pairs_apart(context: Context) -> SearchStrategy[Case]:
    """Two rows, and one epsilon of the list is not zero: the last one."""
    last = st.sampled_from((1.0, -1.0, 2.0, 0.5, 4.0))
    before = st.integers(0, 3) if context.convention.epsilon_form == "list" else st.just(0)
    epsilon = st.builds(lambda zeros, e: (0.0,) * zeros + (e,), before, last)
    return _rows_apart(context, epsilon=epsilon, count=2)


def _exponent(case: Case, context: Context) -> Outcome:
    """What eps_j adds at x is a, at x' it is a'; lawfully these are b and b', and b / b' = (x / x')^(gamma+j).

    a b' - a' b = (a - b) b' - (a' - b') b is zero up to the errors of a and a'. Any factor on both may be wrong.
    """
    truths, added, exact, errors = [], [], [], []
    for i in range(2):
        here = single(case, i)
        bare = here.with_spec(epsilon=(0.0,) * len(case.spec.epsilon))
        ends = [family(context.lawful(c)) for c in (here, bare)]
        try:
            one, none = (total(context.observe(c).value or ()) for c in (here, bare))
            most, least = map(exact_total, ends)
        except OverflowError:
            return UNDECIDED
        truths.append(ends[0])
        added.append(one - none)
        exact.append(most - least)
        errors.append(sum(map(total_tolerance, ends)))
    j = len(case.spec.epsilon)
    exponent = truths[0].case.spec.gamma + j
    tolerance = errors[0] * float(abs(exact[1])) + errors[1] * float(abs(exact[0]))
    x, other = map(_x, truths)
    if not x or math.isinf(tolerance):
        return UNDECIDED
    if not all(added) or added[0] / added[1] < 0:
        seen = "none"
    else:
        seen = f"{math.log(added[0] / added[1]) / math.log(x / other):.6g}"
    return Outcome.of(
        over(added[0] * exact[1] - added[1] * exact[0], tolerance),
        f"exponent of what eps_{j} adds: {exponent:g}",
        f"exponent of what eps_{j} adds: {seen}",
        f"What eps_{j} adds is {float(added[0]):.6g} at x = {x:.4g} and {float(added[1]):.6g} at x = {other:.4g}: "
        f"the exponent of x is {seen} where gamma + {j} = {exponent:g}.",
    )


def _no_rescaling(_: Convention, dialect: Dialect) -> str | None:
    if dialect.built_in is not None and dialect.spec.weighting is Weighting.RESCALED_P:
        return "its polynomial is one of Pt rescaled by class weights that are built in"
    return None


EXPONENT = Property(
    id="focal-exponent-is-gamma-plus-j",
    theme="series",
    statement="What eps_j adds to the loss is proportional to x^(gamma+j).",
    formula="(l(eps_j) - l(0)) at x over the same at x' = (x/x')^(gamma+j)",
    citation=f"{PAPER}, section 3 for gamma = 0 and section 6 for the focal loss",
    remedy="Raise 1 - Pt to gamma + j, with the gamma of the focal factor and no fixed number in its place.",
    applies=all_of(needs_epsilon, _no_rescaling),
    strategy=_pairs_apart,
    check=_exponent,
    mutants=(
        "squared-term",
        "epsilon-as-exponent",
        "terms-from-zero",
        "powers-of-pt",
        "polynomial-of-pt",
        "exponent-two",
        "exponent-three",
        "exponent-gamma",
        "polynomial-not-focal",
        "gamma-plus-one",
        "temperature-two",
        "log-probability-as-pt",
        "class-mean-probability",
        "sigmoid-probability",
    ),
)

LAWS = (COEFFICIENT, EXPONENT)

"""Laws of saturation: logits at the ends of a format, equal logits, impossible classes, and what is no number."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from polyref.case import Case
from polyref.formats import Format
from polyref.property import Context, Property
from polyref.spec import Reduction
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.subject.manner import Manner
from polyref.verdict import Outcome, shown
from polyref_properties.checks import FOCAL, UNDECIDED, answer, compare
from polyref_properties.conditions import all_of, always, needs_gradient, needs_softmax
from polyref_properties.strategies import BENIGN, EVERY, cases, logits

_MAXIMUM = (
    "Blanchard, Higham, Higham, Accurately computing the log-sum-exp and softmax functions, IMA J. Numer. Anal. 2021"
)


def _matches(case: Case, context: Context, where: str) -> Outcome:
    """Value and gradient against the exact ones."""
    value, gradient = (f"The {what} {where} is not that of the formula." for what in ("loss", "gradient"))
    return compare(case, context, context.truth(case), value, gradient)


# --- the largest logits -------------------------------------------------------------------------------------------


@cache
def _extremes(fmt: Format) -> SearchStrategy[float]:
    largest = fmt.largest
    return st.sampled_from((0.0, largest, -largest, largest, -largest, largest / 2))


@st.composite
def _at_the_ends(draw: DrawFn, context: Context) -> Case:
    case = draw(cases(context, kinds=("eighths",), rows=(1, 3)))
    number = _extremes(context.format)
    rows = tuple(tuple(draw(number) for _ in row) for row in case.logits)
    return replace(case, logits=rows)


def _largest(case: Case, context: Context) -> Outcome:
    return _matches(case, context, f"of logits as large as {context.format.name} has them")


LARGEST = Property(
    id="largest-logits",
    theme="saturation",
    statement="Logits as large as the format has them, of either sign, have the loss and the gradient of the formula.",
    formula="|z_k| = Omega: |l - exact| <= radius of the rounding model",
    citation=_MAXIMUM,
    remedy="Subtract the largest logit of each row before exp, and clamp neither logits nor probabilities.",
    applies=always,
    strategy=_at_the_ends,
    check=_largest,
    mutants=(
        "exp-without-max",
        "batch-maximum-subtracted",
        "normaliser-rounded",
        "logits-clamped",
        "log-of-softmax",
        "probability-clamped-at-roundoff",
        "probability-clamped-at-1e-12",
    ),
    formats="each",
)


# --- ties ---------------------------------------------------------------------------------------------------------

#: The first term is cancelled in half of the cases: what is left shows another series.
_EPSILONS = st.sampled_from((1.0, -1.0, 2.0, -1.0, -0.5, -1.0)).map(lambda e: (e,))


@st.composite
def _tied(draw: DrawFn, context: Context) -> Case:
    """A row of which two logits or more, the largest ones or others, are the same number."""
    settable = "epsilon" in context.dialect.settable
    case = draw(cases(context, kinds=BENIGN, epsilon=_EPSILONS if settable else None))
    if "gamma" in context.dialect.settable and draw(st.booleans()):
        case = case.with_spec(gamma=0.0)
    (same,) = draw(logits(context.format, 1, 0, draw(st.sampled_from(EVERY))))
    others = draw(st.sampled_from((0, *range(case.classes - 1))))
    (row,) = case.logits
    at = draw(st.integers(0, case.classes - 1))
    turned = [(at + k) % case.classes for k in range(others)]
    row = tuple(z if k in turned else same for k, z in enumerate(row))
    return replace(case, logits=(row,))


def _ties(case: Case, context: Context) -> Outcome:
    return _matches(case, context, "of a row with equal logits")


TIES = Property(
    id="ties",
    theme="saturation",
    statement="Equal logits have equal probabilities: C of them have the loss of Pt = 1/C, whatever number they are.",
    formula="z_1 = ... = z_C: l = log C + sum_j eps_j (1 - 1/C)^j",
    citation="Definition of softmax",
    remedy="Compute probabilities by softmax of the logits as they are: no offset, no guess from their range.",
    applies=always,
    strategy=_tied,
    check=_ties,
    mutants=(
        "probabilities-guessed",
        "class-count-fixed",
        "remainder-of-one-term",
        "remainder-truncated",
        "complement-through-binary16",
        "focal-factor-offset",
        "three-decimals",
        "offset-of-1e-8",
        "offset-of-1e-12",
    ),
)


# --- impossible classes -------------------------------------------------------------------------------------------


@st.composite
def _with_impossible(draw: DrawFn, context: Context) -> Case:
    """A row of which one class or more, never the target, is impossible."""
    case = draw(cases(context, kinds=(*BENIGN, "margin")))
    (row,), (target,) = case.logits, case.target
    assert isinstance(target, int)
    first = (target + draw(st.integers(1, case.classes - 1))) % case.classes if case.classes > 1 else target
    also = draw(st.tuples(*[st.sampled_from((False, False, True))] * case.classes))
    out = [k != target and (k == first or more) for k, more in enumerate(also)]
    return replace(case, logits=(tuple(-math.inf if gone else z for z, gone in zip(row, out, strict=True)),))


def _impossible(case: Case, context: Context) -> Outcome:
    return _matches(case, context, "of a row with an impossible class")


IMPOSSIBLE = Property(
    id="impossible-classes",
    theme="saturation",
    statement="A class with the logit minus infinity is impossible: loss and gradient of another one are finite.",
    formula="z_k = -inf: p_k = 0, dl/dz_k = 0",
    citation="Definition of softmax; masked_fill(mask, -inf) is the usual way to leave classes out",
    remedy="Take logarithms from log_softmax in the dtype of the logits, and clamp neither logits nor probabilities.",
    applies=needs_softmax,
    strategy=_with_impossible,
    check=_impossible,
    mutants=(
        "one-hot-product",
        "exponentials-in-binary16",
        "exponentials-in-bfloat16",
        "probability-clamped-at-1e-3",
        "probability-clamped-at-1e-12",
        "ten-bit-logits",
    ),
)


# --- certainty under a small gamma --------------------------------------------------------------------------------


def _needs_small_gamma(_: Convention, dialect: Dialect) -> str | None:
    if "gamma" in dialect.settable or 0 < dialect.spec.gamma < 1:
        return None
    return f"gamma is fixed at {dialect.spec.gamma:g}"


_SMALL = st.sampled_from((0.5, 0.25, 0.75))


@st.composite
def _certain(draw: DrawFn, context: Context) -> Case:
    """A row whose target is so certain that 1 - Pt rounds to zero in every format."""
    case = draw(cases(context, kinds=("eighths",)))
    if "gamma" in context.dialect.settable:
        case = case.with_spec(gamma=draw(_SMALL))
    (row,), (target,) = case.logits, case.target
    top = draw(st.sampled_from((40.0, 64.0, 1000.0, context.format.largest)))
    below = draw(st.tuples(*[st.sampled_from((0.0, -top))] * len(row)))
    return replace(case, logits=(tuple(top if k == target else z for k, z in enumerate(below)),))


def _finite_at_certainty(case: Case, context: Context) -> Outcome:
    """The exact results are near zero: whatever is no number stands for one.

    How near is not asked, as a power of an x that rounded to zero is not bounded by any model.
    """
    seen = context.observe(case, gradient=True)
    assert seen.value is not None
    assert seen.gradient is not None
    gamma = context.dialect.own(case).spec.gamma
    found = [("l", v) for v in seen.value]
    found += [(f"dl/dz_{k}", g) for k, g in enumerate(seen.gradient[0])]
    lost = [(what, v) for what, v in found if not math.isfinite(v)]
    what, v = lost[0] if lost else found[-1]
    return Outcome.of(
        math.inf if lost else 0.0,
        "a finite loss and gradient near 0",
        f"{what} = {shown(v)}",
        f"At gamma = {gamma:g} and Pt = 1 the slope of x^{gamma:g} is infinite, and times a zero it is NaN.",
    )


SMALL_GAMMA = Property(
    id="small-gamma-at-certainty",
    theme="saturation",
    statement="A certain right answer has a finite loss and a finite gradient when 0 < gamma < 1 too.",
    formula="0 < gamma < 1, Pt -> 1: l -> 0, dl/dz_k -> 0",
    citation=FOCAL,
    remedy="Give the power a safe argument where x is 0: torch.where(x > 0, torch.where(x > 0, x, 1) ** gamma, 0).",
    applies=all_of(_needs_small_gamma, needs_gradient),
    strategy=_certain,
    check=_finite_at_certainty,
    mutants=("plain-power",),
    formats="each",
    self_scaled=True,
)


# --- what is no number --------------------------------------------------------------------------------------------


def _batches(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=BENIGN, rows=(1, 3))


def _nan(case: Case, context: Context) -> Outcome:
    """The first row's loss, or the one reduced from it, is NaN; no other row's is."""
    expected = "NaN for the first row, numbers for the others"
    seen = answer(context, case, Manner(logit=math.nan))
    if seen is None:
        return Outcome.of(0.0, expected, "an exception")
    assert seen.value is not None
    each = max(1, len(seen.value) // len(case.logits))
    hidden = not math.isnan(seen.value[0])
    spread = case.spec.reduction is Reduction.NONE and any(map(math.isnan, seen.value[each:]))
    text = "A NaN among the logits is hidden: the loss is a number." if hidden else ""
    if spread and not hidden:
        text = "A NaN among the logits of one row makes the loss of another row NaN."
    return Outcome.of(
        math.inf if hidden or spread else 0.0, expected, ", ".join(map(repr, seen.value)), text, _TELL_NAN
    )


_TELL_NAN = "Let NaN pass: no nan_to_num, no clamp or maximum that drops it, and no statistic of the batch."

NAN = Property(
    id="nan-in-nan-out",
    theme="saturation",
    statement="A row with a NaN logit has the loss NaN, or raises an exception, and leaves the other rows alone.",
    formula="z_ik = NaN: l_i = NaN, and no other l_j",
    citation="IEEE 754-2019, section 6.2: NaN propagates",
    remedy=_TELL_NAN,
    applies=always,
    strategy=_batches,
    check=_nan,
    mutants=("nan-to-num", "batch-maximum-subtracted"),
    self_scaled=True,
    of_chance=True,
)


def _others_are_right(context: Context) -> SearchStrategy[Case]:
    return _batches(context).map(_never_the_first)


def _never_the_first(case: Case) -> Case:
    """The first row's label is another class than the first."""
    label = case.target[0] or case.classes - 1
    return replace(case, target=(label, *case.target[1:]))


def _infinite(case: Case, context: Context) -> Outcome:
    expected = "infinity or NaN"
    if case.target[0] == 0:
        return UNDECIDED  # there is one class alone
    seen = answer(context, case, Manner(logit=math.inf))
    if seen is None:
        return Outcome.of(0.0, expected, "an exception")
    assert seen.value is not None
    return Outcome.of(
        math.inf if math.isfinite(seen.value[0]) else 0.0,
        expected,
        shown(seen.value[0]),
        "A class that is infinitely likely leaves another one a finite loss.",
    )


INFINITE = Property(
    id="infinite-logit-is-no-number",
    theme="saturation",
    statement="Where a wrong class has an infinite logit the loss is infinite or NaN, or an exception is raised.",
    formula="z_k = +inf, k != y: l is no finite number",
    citation="IEEE 754-2019, section 6.1: infinity arithmetic",
    remedy="Clamp neither the logits nor the probabilities, and replace no infinity by a number.",
    applies=needs_softmax,
    strategy=_others_are_right,
    check=_infinite,
    mutants=("nan-to-num", "logits-clamped"),
    self_scaled=True,
    of_chance=True,
)

LAWS = (LARGEST, TIES, IMPOSSIBLE, SMALL_GAMMA, NAN, INFINITE)

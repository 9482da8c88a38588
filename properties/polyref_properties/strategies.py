"""Strategies: exact cases that a subject can be asked for, simplest first so that violations shrink to small ones.

A row of logits comes from one of several kinds, so that every regime of Pt is met: small eighths, wide decimals, a
margin that puts the target anywhere between certainly wrong and certainly right, raw bit patterns, and saturation at
the format's largest values.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from itertools import accumulate
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from polyref.case import Case, Row
from polyref.formats import Format
from polyref.property import Context
from polyref.spec import Link, Reduction

#: Kinds of rows in which every law can be told from its violation: no probability is near 0 or 1.
BENIGN = ("eighths", "decimals")
EVERY = ("eighths", "margin", "saturated", "decimals", "margin", "bits", "ties")

_WEIGHTS = (0.5, 1.0, 2.0, 0.25, 1.5, 0.75, 3.0, 0.0, 1024.0, 0.125)  # numbers of every format
_EPSILONS = (1.0, -1.0, 2.0, 0.5, -0.5, 0.0)
_GAMMAS = (0.0, 2.0, 1.0, 0.5)

_T = TypeVar("_T")

# Strategy objects are kept: to make one, and to have it checked, costs more than to draw from it. A row is drawn as
# whole numbers and mapped once: each strategy that Hypothesis draws from costs as much as a number does. Integers are
# drawn from between -100 and 100 only: into wider ranges Hypothesis mixes constants from whatever source files are
# imported, and the same seed would not give the same cases everywhere.


@cache
def logits(fmt: Format, classes: int, target: int, kind: str) -> SearchStrategy[tuple[float, ...]]:
    """One row of logits of a format; ``target`` is the class that a margin is given to."""
    if kind == "margin":

        def placed(row: _Whole, place: int, sign: int) -> Row:
            return lifted(fmt, _eighths(row), target, _reach(fmt, sign * place / 32))

        return st.builds(placed, _eighths_of(classes), st.integers(0, 96), st.sampled_from((1, -1)))
    if kind == "ties":
        return st.builds(lambda a, b, k: (a / 8,) * (classes - k) + (b / 8,) * k, _EIGHTHS, _EIGHTHS, _few(classes))
    if kind == "eighths":
        return _eighths_of(classes).map(_eighths)
    if kind == "decimals":
        # A strategy of its own for each logit: Hypothesis repeats what one has drawn, and so finds rows with ties.
        logit = st.tuples(st.integers(-12, 11), st.integers(0, 99))
        return st.tuples(*[logit] * classes).map(lambda p: tuple(fmt.round(whole + part / 100) for whole, part in p))
    return st.tuples(*[_logit(fmt, kind)] * classes)


_Whole = tuple[int, ...]
_EIGHTHS = st.integers(-32, 32)


@cache
def _eighths_of(classes: int) -> SearchStrategy[_Whole]:
    return st.tuples(*[_EIGHTHS] * classes)


def _eighths(row: _Whole) -> Row:
    return tuple(i / 8 for i in row)


def _few(classes: int) -> SearchStrategy[int]:
    """How many of the classes differ: mostly none."""
    return st.sampled_from((0, 0, *range(classes)))


@cache
def _logit(fmt: Format, kind: str) -> SearchStrategy[float]:
    if kind == "bits":
        sixes = st.integers(0, 63)
        leading = st.builds(lambda a, b, c: a << 12 | b << 6 | c, st.integers(0, 15), sixes, sixes)
        return leading.map(lambda bits: _pattern(fmt, bits)).filter(math.isfinite)
    if kind == "saturated":
        extremes = [0.0, 1.0, fmt.largest, -fmt.largest, fmt.largest / 2, fmt.smallest_subnormal, fmt.smallest_normal]
        return st.sampled_from(extremes)
    raise ValueError(f"{kind!r} is no kind of row: choose one of {', '.join(EVERY)}")


def lifted(fmt: Format, row: Row, target: int | Row, by: float) -> Row:
    """The row with the target's logit raised, and rounded to the format."""
    return tuple(fmt.round(z + by) if k == target else z for k, z in enumerate(row))


def _reach(fmt: Format, place: float) -> float:
    """The margin at a place from -3 to 3, so that each stretch of Pt is met as often as the others.

    Up to 1 both Pt and 1 - Pt have digits of their own beside 1; up to 2 the smaller one is an ordinary number of the
    format; up to 3 it is subnormal, or zero.
    """
    ends = (0, 1.5 * fmt.precision, max(1.5 * fmt.precision, 1.0 - fmt.emin), 1.04 * (fmt.precision - fmt.emin))
    stretch = min(int(abs(place)), 2)
    low, high = ends[stretch], ends[stretch + 1]
    return math.copysign(math.log(2.0) * (low + (abs(place) - stretch) * (high - low)), place)


def _pattern(fmt: Format, leading: int) -> float:
    """The number with these sixteen leading bits, every exponent as likely as the others, and bits made of them."""
    rest = fmt.bits - 16
    return fmt.decode((leading << rest) | (leading * 0x9E3779B97F4A7C15 & ((1 << rest) - 1)))


@cache
def _class_counts(fixed: int | None, *, few: bool) -> SearchStrategy[int]:
    if fixed is not None:
        return st.just(fixed)
    return st.sampled_from((2, 3, 2, 3, 2, 3, 1, 10) if few else (2, 3, 4, 5, 2, 3, 1, 10))


@cache
def _row_counts(least: int, most: int, *, few: bool) -> SearchStrategy[int]:
    # Two rows tell as much as more do: whether rows are mixed up, and what they are divided by.
    return st.sampled_from(range(least, max(least, min(most, 2) if few else most) + 1))


@cache
def _targets(classes: int, rows: int) -> SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(0, classes - 1)] * rows)


@cache
def _one_of(choices: tuple[_T, ...]) -> SearchStrategy[_T]:
    return st.sampled_from(choices)


_SINGLE = st.sampled_from(_EPSILONS).map(lambda e: (e,))
_LISTS = st.one_of(_SINGLE, st.lists(st.sampled_from(_EPSILONS), min_size=1, max_size=4).map(tuple))


def epsilons(context: Context) -> SearchStrategy[tuple[float, ...]]:
    """eps_1, ..., eps_N: one, or up to four where the subject takes a list; its own where it cannot be told."""
    if "epsilon" not in context.dialect.settable:
        return st.just(context.dialect.spec.epsilon)
    return _LISTS if context.convention.epsilon_form == "list" else _SINGLE


@cache
def _weights(classes: int) -> SearchStrategy[tuple[float, ...]]:
    # Not all zero: a law that divides by their mean has nothing to say then.
    return st.tuples(*[st.sampled_from(_WEIGHTS)] * classes).map(lambda w: w if any(w) else (1.0,) * len(w))


@st.composite
def cases(
    draw: DrawFn,
    context: Context,
    *,
    kinds: tuple[str, ...] = EVERY,
    rows: tuple[int, int] = (1, 1),
    epsilon: SearchStrategy[tuple[float, ...]] | None = None,
    gamma: float | None = None,
    weighted: bool | None = None,
) -> Case:
    """A case for a subject.

    Args:
        draw: Hypothesis's.
        context: whose convention and dialect the case fits.
        kinds: the kinds of rows to draw from.
        rows: the least and the greatest number of rows.
        epsilon: the strategy for epsilon, in the place of :func:`epsilons`.
        gamma: the focal exponent, where the subject can be told; 0 to 2 if it is not given.
        weighted: with class weights, without, or either (None).
    """
    fmt, few = context.format, context.convention.few_shapes
    classes = draw(_class_counts(context.convention.classes, few=few))
    target = draw(_targets(classes, draw(_row_counts(*rows, few=few))))
    batch = tuple(draw(logits(fmt, classes, t, draw(_one_of(kinds)))) for t in target)
    if "gamma" not in context.dialect.settable:
        gamma = None
    elif gamma is None:
        gamma = draw(_one_of(_GAMMAS))
    spec = context.spec(epsilon=draw(epsilons(context) if epsilon is None else epsilon), gamma=gamma)
    weight = None
    if weighted is not False and context.can("weight") and (weighted or draw(_one_of((False, True)))):
        weight = draw(_weights(classes))
    return Case(spec, fmt, batch, target, weight)


def single(case: Case, i: int) -> Case:
    """Row ``i`` of a case as a case of its own."""
    return replace(case, logits=(case.logits[i],), target=(case.target[i],))


#: Mostly the ends, where a wrong sign or a wrong weight makes the first coefficient negative; none is below -1.
_ADMISSIBLE = st.sampled_from((-1.0, 2.0, -1.0, 0.5, 2.0, -1.0)).map(lambda e: (e,))
#: What the rows are raised by, in all: a minimum may lie anywhere along the target's logit.
_RAISES = st.tuples(st.sampled_from((0, 8, 0, 24, 0, 48)), st.lists(st.integers(1, 16), min_size=1, max_size=4)).map(
    lambda parts: [i / 8 for i in accumulate(parts[1], initial=parts[0])]
)


@st.composite
def raised_rows(draw: DrawFn, context: Context) -> Case:
    """Two rows or more that differ in the target's logit alone, each with a larger one than the one before.

    Every epsilon that is drawn is at least -1, so no loss of the family has an interior minimum.
    """
    epsilon = _ADMISSIBLE if "epsilon" in context.dialect.settable else None
    case = draw(cases(context, kinds=BENIGN, epsilon=epsilon, weighted=draw(_one_of((False, *(True,) * 4)))))
    (row,), (target,) = case.logits, case.target
    rows = tuple(lifted(context.format, row, target, rise) for rise in draw(_RAISES))
    return replace(case, logits=rows, target=(target,) * len(rows))


#: A number of every format that is at least -1/j, for j = 1, ..., 4.
_LEAST = (-1.0, -0.5, -0.25, -0.25)
_ADMISSIBLE_LISTS = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(
    lambda choices: tuple((_LEAST[j], 2.0, 0.0, 0.5)[c] for j, c in enumerate(choices))
)


def admissible_cases(context: Context, rows: tuple[int, int] = (1, 1)) -> SearchStrategy[Case]:
    """Cases with eps_j of at least -1/j, so that no coefficient is negative; often weighted, as a weight may do it."""
    epsilon = None
    if "epsilon" in context.dialect.settable:
        several = context.convention.epsilon_form == "list"
        epsilon = st.one_of(_ADMISSIBLE, _ADMISSIBLE_LISTS) if several else _ADMISSIBLE
    return st.one_of(
        cases(context, kinds=BENIGN, epsilon=epsilon, rows=rows, weighted=False),
        cases(context, kinds=(*BENIGN, "margin"), epsilon=epsilon, rows=rows),
        cases(context, kinds=BENIGN, epsilon=epsilon, rows=rows, weighted=True),
    )


@st.composite
def certain_rows(draw: DrawFn, context: Context) -> Case:
    """A row whose target leads by so much that x is below the last digit of Pt, or below every number."""
    case = draw(cases(context, kinds=("eighths",), weighted=draw(_one_of((False, True)))))
    (row,), (target,) = case.logits, case.target
    lead = _reach(context.format, draw(st.integers(32, 96)) / 32)
    moved = tuple(context.format.round(z + lead if k == target else z - lead) for k, z in enumerate(row))
    return replace(case, logits=(moved,))


#: Up to a shift that no exponential survives in any format.
_SHIFTS = (1.0, 1024.0, -1.0, -1024.0, 16.0, -16.0, 256.0, 64.0)


@st.composite
def shifted_pairs(draw: DrawFn, context: Context) -> Case:
    """Two rows that differ by one constant in every logit, exactly."""
    case = draw(cases(context, kinds=("eighths",)))
    (row,), (target,) = case.logits, case.target
    exact = tuple(c for c in _SHIFTS if all(context.format.contains(z + c) for z in row))
    shift = draw(_one_of(exact or (0.0,)))
    return replace(case, logits=(row, tuple(z + shift for z in row)), target=(target, target))


def offered(context: Context, *among: Reduction) -> tuple[Reduction, ...]:
    """The reductions that the subject can be asked for, of these or of all, the least reduced first."""
    among = among or (Reduction.NONE, Reduction.SUM, Reduction.MEAN)
    return tuple(r for r in among if str(r) in context.convention.reductions)


def reduced(batches: SearchStrategy[Case], choices: tuple[Reduction, ...]) -> SearchStrategy[Case]:
    """The cases in any of these reductions, the first of them the simplest."""
    return st.builds(lambda case, reduction: case.with_spec(reduction=reduction), batches, _one_of(choices))


@cache
def shares(classes: int, link: Link) -> SearchStrategy[tuple[float, ...]]:
    """A soft label in quarters, which every format holds; for the softmax they add up to 1."""
    if link is Link.SIGMOID:
        return st.tuples(*[st.integers(0, 4).map(lambda i: i / 4)] * classes)
    drawn = st.tuples(*[st.integers(0, classes - 1)] * 4)
    return drawn.map(lambda quarters: tuple(quarters.count(k) / 4 for k in range(classes)))


@st.composite
def softened(draw: DrawFn, batches: SearchStrategy[Case], link: Link) -> Case:
    """The cases with soft labels in the place of the index labels."""
    case = draw(batches)
    return replace(case, target=tuple(draw(shares(case.classes, link)) for _ in case.target))

"""Strategies: exact cases that a subject can be asked for, simplest first so that violations shrink to small ones.

A row of logits comes from one of several kinds, so that every regime of Pt is met: small eighths, wide decimals, a
margin that puts the target anywhere between certainly wrong and certainly right, raw bit patterns, and saturation at
the format's largest values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from polyref.case import Case
from polyref.formats import Format
from polyref.property import Context

#: Kinds of rows in which every law can be told from its violation: no probability is near 0 or 1.
BENIGN = ("eighths", "decimals")
EVERY = (*BENIGN, "margin", "bits", "saturated")

_WEIGHTS = (0.5, 1.0, 2.0, 0.25, 1.5, 3.0)  # numbers of every format
_EPSILONS = (1.0, -1.0, 2.0, 0.5, -0.5, 0.0)


def logits(fmt: Format, classes: int, target: int, kind: str) -> SearchStrategy[tuple[float, ...]]:
    """One row of logits of a format; ``target`` is the class that a margin is given to."""
    eighths = st.integers(-32, 32).map(lambda i: i / 8)
    if kind == "eighths":
        return st.tuples(*[eighths] * classes)
    if kind == "decimals":
        return st.tuples(*[st.floats(-12, 12).map(fmt.round)] * classes)
    if kind == "margin":
        # As far as Pt, or its complement, is still a number of the format, and somewhat beyond.
        reach = 1.1 * math.log(2.0) * (fmt.precision - fmt.emin)
        margins = st.floats(-reach, reach)

        def lifted(parts: tuple[tuple[float, ...], float]) -> tuple[float, ...]:
            row, margin = parts
            return tuple(fmt.round(z + margin) if k == target else z for k, z in enumerate(row))

        return st.tuples(st.tuples(*[eighths] * classes), margins).map(lifted)
    if kind == "bits":
        patterns = st.integers(0, (1 << fmt.bits) - 1).map(fmt.decode).filter(math.isfinite)
        return st.tuples(*[patterns] * classes)
    if kind == "saturated":
        extremes = [0.0, 1.0, fmt.largest, -fmt.largest, fmt.largest / 2, fmt.smallest_subnormal, fmt.smallest_normal]
        return st.tuples(*[st.sampled_from(extremes)] * classes)
    raise ValueError(f"{kind!r} is no kind of row: choose one of {', '.join(EVERY)}")


def class_counts(context: Context) -> SearchStrategy[int]:
    """How many classes: the subject's own number where it insists on one."""
    fixed = context.convention.classes
    return st.just(fixed) if fixed is not None else st.integers(2, 5)


def epsilons(context: Context, choices: Sequence[float] = _EPSILONS) -> SearchStrategy[tuple[float, ...]]:
    """eps_1, ..., eps_N: one, or up to four where the subject takes a list; its own where it cannot be told."""
    if "epsilon" not in context.dialect.settable:
        return st.just(context.dialect.spec.epsilon)
    single = st.tuples(st.sampled_from(choices))
    if context.convention.epsilon_form != "list":
        return single
    return st.one_of(single, st.lists(st.sampled_from(choices), min_size=1, max_size=4).map(tuple))


def gammas(context: Context) -> SearchStrategy[float]:
    """The focal exponent; the subject's own where it cannot be told."""
    if "gamma" not in context.dialect.settable:
        return st.just(context.dialect.spec.gamma)
    return st.sampled_from((0.0, 2.0, 1.0, 0.5))


def weights(classes: int) -> SearchStrategy[tuple[float, ...]]:
    """Positive class weights that every format holds."""
    return st.tuples(*[st.sampled_from(_WEIGHTS)] * classes)


@st.composite
def cases(
    draw: DrawFn,
    context: Context,
    *,
    kinds: Sequence[str] = EVERY,
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
        gamma: a fixed focal exponent.
        weighted: with class weights, without, or either (None).
    """
    fmt = context.format
    classes = draw(class_counts(context))
    count = draw(st.integers(*rows))
    target = draw(st.tuples(*[st.integers(0, classes - 1)] * count))
    batch = tuple(draw(logits(fmt, classes, t, draw(st.sampled_from(kinds)))) for t in target)
    spec = context.spec(epsilon=draw(epsilons(context) if epsilon is None else epsilon), gamma=gamma)
    if gamma is None:
        spec = replace(spec, gamma=draw(gammas(context)))
    takes_weight = context.can("weight")
    weight = (
        draw(weights(classes)) if takes_weight and (weighted or (weighted is None and draw(st.booleans()))) else None
    )
    return Case(spec, fmt, batch, target, weight)


def single(case: Case, i: int) -> Case:
    """Row ``i`` of a case as a case of its own."""
    return replace(case, logits=(case.logits[i],), target=(case.target[i],))


@st.composite
def raised_pairs(draw: DrawFn, context: Context) -> Case:
    """Two rows that differ in the target's logit alone, the second with the larger: a larger Pt.

    Every eps_j is at least -1/j, so no law of the family has an interior minimum.
    """
    # Half of them at -1, where the first coefficient under the whole-loss law is as small as it may be.
    lawful = st.one_of(st.just(-1.0), st.sampled_from((1.0, 0.5, -0.5, 0.0, 2.0))).map(lambda e: (e,))
    epsilon = lawful if "epsilon" in context.dialect.settable else None
    case = draw(cases(context, kinds=BENIGN, epsilon=epsilon, weighted=draw(st.integers(0, 3)) > 0))
    (row,), (target,) = case.logits, case.target
    raise_by = draw(st.integers(1, 64)) / 8
    higher = tuple(context.format.round(z + raise_by) if k == target else z for k, z in enumerate(row))
    return replace(case, logits=(row, higher), target=(target, target))


@st.composite
def shifted_pairs(draw: DrawFn, context: Context) -> Case:
    """Two rows that differ by one constant in every logit, exactly."""
    case = draw(cases(context, kinds=("eighths",)))
    (row,), (target,) = case.logits, case.target
    # Eighths below 4 plus a whole number of this size need no more bits than the narrowest format has.
    shift = draw(
        st.sampled_from([c for c in (1.0, -1.0, 16.0, -16.0, 64.0, 256.0) if _exact(context.format, row, c)] or [0.0])
    )
    return replace(case, logits=(row, tuple(z + shift for z in row)), target=(target, target))


def _exact(fmt: Format, row: tuple[float, ...], shift: float) -> bool:
    return all(fmt.contains(z + shift) for z in row)

"""Hypothesis strategies for specs and cases: every parameter, every format, and the edges of each."""

from __future__ import annotations

import math
from functools import cache

from hypothesis import strategies as st

from polyref.case import Case
from polyref.formats import FORMATS, Format
from polyref.spec import Link, Reduction, Spec, Weighting

GAMMAS = (0.0, 0.5, 1.0, 2.0, 3.25)
EPSILONS = st.sampled_from([-1.0, 0.0, 1.0, 2.0, -0.5, -1 / 3, 0.25]) | st.floats(-10, 10)


@cache
def epsilon_tuples() -> st.SearchStrategy[tuple[float, ...]]:
    """Zero to five coefficients; -1/j for every j, which cancels that many terms of the series, among them."""
    some = st.lists(EPSILONS, max_size=5).map(tuple)
    cancelling = st.integers(1, 5).map(lambda n: tuple(-1 / j for j in range(1, n + 1)))
    return st.one_of(some, some, cancelling)


@st.composite
def specs(draw: st.DrawFn, links: tuple[Link, ...] = tuple(Link)) -> Spec:
    """Any loss of the family."""
    link = draw(st.sampled_from(links))
    alpha = draw(st.sampled_from([None, None, 0.25, 0.75, 0.0, 1.0]))
    polynomial_link = draw(st.sampled_from([None, None, None, Link.SIGMOID])) if link is Link.SOFTMAX else None
    return Spec(
        link=link,
        epsilon=draw(epsilon_tuples()),
        gamma=draw(st.sampled_from(GAMMAS)),
        weighting=draw(st.sampled_from(Weighting)),
        smoothing=draw(st.sampled_from([0.0, 0.0, 0.125, 0.1, 1.0])),
        reduction=draw(st.sampled_from(Reduction)),
        alpha=alpha,
        alpha_on_polynomial=alpha is not None and draw(st.booleans()),
        polynomial_link=polynomial_link,
        polynomial_gamma=draw(st.sampled_from([None, None, 0.0, 2.0])) if polynomial_link else None,
    )


@cache
def finite_values(fmt: Format) -> st.SearchStrategy[float]:
    """Finite numbers of a format: ordinary magnitudes, any bit pattern, and the ends of the range."""
    ordinary = st.floats(-30, 30).map(fmt.round)
    patterns = st.integers(0, (1 << fmt.bits) - 1).map(fmt.decode).filter(math.isfinite)
    tiny, normal, largest = fmt.smallest_subnormal, fmt.smallest_normal, fmt.largest
    below, even = fmt.before(largest), fmt.round(88.0)
    ends = [0.0, -0.0, tiny, -tiny, normal, fmt.before(normal), below, largest, -largest, 1.0, even]
    return st.one_of(ordinary, ordinary, patterns, st.sampled_from(ends))


@st.composite
def logit_rows(draw: st.DrawFn, fmt: Format, classes: int) -> tuple[float, ...]:
    """One row: unrelated logits, equal ones, neighbours, and impossible classes."""
    values = finite_values(fmt)
    impossible = ["impossible"] if fmt.contains(-math.inf) else []
    kind = draw(st.sampled_from(["any", "any", "any", "equal", "near", "ordinary", *impossible]))
    if kind == "equal":
        return (draw(values),) * classes
    if kind == "ordinary":
        return tuple(fmt.round(draw(st.floats(-8, 8))) for _ in range(classes))
    row = [draw(values) for _ in range(classes)]
    if kind == "near":
        start = row[0]
        nearest = [start, fmt.after(start), fmt.before(start)]
        row = [draw(st.sampled_from([v for v in nearest if math.isfinite(v)])) for _ in row]
    if kind == "impossible":
        keep = draw(st.integers(0, classes - 1))
        row = [v if k == keep or draw(st.booleans()) else -math.inf for k, v in enumerate(row)]
    return tuple(row)


@cache
def soft_rows(fmt: Format, classes: int) -> st.SearchStrategy[tuple[float, ...]]:
    """One soft target: numbers of the format in [0, 1], of any sum, and one-hot rows."""
    share = st.sampled_from([0.0, 1.0, 0.5, 0.25]) | st.floats(0, 1).map(fmt.round)
    one_hot = st.integers(0, classes - 1).map(lambda t: tuple(float(k == t) for k in range(classes)))
    return st.one_of(st.tuples(*[share] * classes), one_hot)


@st.composite
def cases(
    draw: st.DrawFn,
    formats: tuple[Format, ...] = tuple(FORMATS.values()),
    spec: st.SearchStrategy[Spec] | None = None,
    max_rows: int = 3,
    max_classes: int = 5,
) -> Case:
    """Any case."""
    chosen = draw(specs() if spec is None else spec)
    fmt = draw(st.sampled_from(formats))
    classes = draw(st.integers(1, max_classes))
    count = draw(st.integers(1, max_rows))
    weight = None
    if draw(st.booleans()):
        weight = tuple(abs(draw(finite_values(fmt))) for _ in range(classes))
        if not any(weight):
            weight = (1.0, *weight[1:])  # the rescaled law divides by the mean
    ignore_index = -100
    if draw(st.integers(0, 3)) == 0:
        target: tuple = tuple(draw(soft_rows(fmt, classes)) for _ in range(count))
    else:
        ignore_index = draw(st.sampled_from([-100, -100, 255, 0]))
        target = tuple(draw(st.sampled_from([*range(classes), ignore_index])) for _ in range(count))
    return Case(
        spec=chosen,
        format=fmt,
        logits=tuple(draw(logit_rows(fmt, classes)) for _ in range(count)),
        target=target,
        weight=weight,
        ignore_index=ignore_index,
    )

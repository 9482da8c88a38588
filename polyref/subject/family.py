"""The family: every member that a convention allows, and how far each is from what a subject answered.

Candidates are compared with the certified reference. What cannot be chosen (epsilon, gamma, weights that are built in)
is tried at its default and at usual values, and an epsilon that is hidden is measured, as answers are linear in it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

import numpy as np

from polyref.case import Case
from polyref.formats import Format, named
from polyref.reference.ball import evaluate_balls
from polyref.spec import Link, Reduction, Spec, Weighting
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.subject.questions import ROWS, WEIGHTS, Sample, ask, first
from polyref.subject.runner import Runner

#: Exponents that a focal loss without a parameter for it is tried with.
_GAMMAS = (0.0, 2.0, 1.0, 3.0, 0.5, 4.0, 5.0, 1.5)
#: The most coefficients that are measured where they cannot be chosen.
_MEASURED = 4


def nearest(candidates: Iterable[Dialect], samples: Sequence[Sample]) -> Dialect | None:
    """The candidate that comes closest, the first of equals; None if all are infinitely far."""
    best: Dialect | None = None
    for candidate in candidates:
        ceiling = math.inf if best is None else best.residual / 4
        residual = distance(candidate, samples, ceiling)
        if residual < ceiling:
            best = replace(candidate, residual=residual)
    return best


def members(convention: Convention, settable: frozenset[str]) -> Iterator[Dialect]:
    """Every member of the family that the convention allows, the likeliest first."""
    if convention.result == "elements":
        yield from _under(Link.SIGMOID, convention, settable)
        return
    yield from _under(Link.SOFTMAX, convention, settable)
    if str(Reduction.NONE) not in convention.reductions:  # one number does not show what it was reduced from
        yield from _under(Link.SIGMOID, convention, settable)


def _under(link: Link, convention: Convention, settable: frozenset[str]) -> Iterator[Dialect]:
    alpha = _number(convention.default("alpha"))
    share = None if alpha is None or not 0 <= alpha <= 1 else alpha  # any other is no weight of a class against another
    given = _number(convention.default("gamma"))
    gammas = (0.0,) if "gamma" in settable else tuple(dict.fromkeys(v for v in (given, *_GAMMAS) if v is not None))
    default = set_epsilon(convention)
    if "epsilon" in settable:
        epsilons: tuple[tuple[float, ...], ...] = (default or (1.0,),)
    else:
        epsilons = ((1.0,), (0.0,), (-1.0,), (2.0,)) if default is None else (default,)
    alphas: tuple[tuple[float | None, bool], ...] = ((None, False),)
    if link is Link.SIGMOID:
        shares = dict.fromkeys(v for v in (share, 0.25) if v is not None)
        alphas += tuple((v, both) for both in (False, True) for v in shares)
    built_in: tuple[tuple[float, ...] | None, ...] = (None,)
    if "weight" not in settable:
        fixed = _numbers(convention.default("weight"))
        built_in += () if fixed is None or min(fixed) < 0 else (fixed,)
        if link is Link.SOFTMAX and share is not None:
            built_in += ((share, 1 - share), (share, share))
        elif link is Link.SOFTMAX and alpha is not None and alpha > 1:
            built_in += ((alpha, alpha),)
    # A polynomial of sigmoids beside a softmax logarithm; its exponent may be fixed where gamma can be chosen.
    polynomials: tuple[tuple[Link | None, float | None], ...] = ((None, None),)
    if link is Link.SOFTMAX:
        polynomials += ((Link.SIGMOID, None), (Link.SIGMOID, 2.0))
    # What a mean divides by shows in the laws that are known by their mean alone; else it is asked for later.
    means: tuple[Reduction, ...] = (Reduction.MEAN,)
    if convention.reductions == (str(Reduction.MEAN),):
        means += (Reduction.MEAN_OVER_SAMPLES,)
    for (poly, exponent), gamma, eps, (a, both), weights, mean in itertools.product(
        polynomials, gammas, epsilons, alphas, built_in, means
    ):
        for weighting in (Weighting.BOTH,) if weights is None and "weight" not in settable else tuple(Weighting):
            yield Dialect(
                formula="",
                spec=Spec(
                    link=link,
                    epsilon=eps,
                    gamma=gamma,
                    weighting=weighting,
                    alpha=a,
                    alpha_on_polynomial=both,
                    polynomial_link=poly,
                    polynomial_gamma=exponent,
                ),
                settable=settable,
                mean=mean,
                built_in=weights,
                weighting=str(weighting) if "weight" in settable else "none",
            )


def set_epsilon(convention: Convention) -> tuple[float, ...] | None:
    """What epsilon is by default or was set to, None where no numbers say so."""
    return _numbers(convention.default("epsilon"))


def _number(value: object) -> float | None:
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _numbers(value: object) -> tuple[float, ...] | None:
    """A number or a list of them as a tuple, None for anything else."""
    found = [_number(v) for v in (value if isinstance(value, tuple) else (value,))]
    return None if None in found or not found else tuple(v for v in found if v is not None)


def explaining(candidates: Iterable[Dialect], samples: Sequence[Sample], limit: float) -> Iterator[Dialect]:
    """The candidates that explain the samples once epsilon is measured, whatever epsilon they have."""
    for family in dict.fromkeys(replace(c, spec=replace(c.spec, epsilon=())) for c in candidates):
        for candidate in _measured(family, samples):
            residual = distance(candidate, samples, limit)
            if residual <= limit:
                yield replace(candidate, residual=residual)


def _measured(candidate: Dialect, samples: Sequence[Sample]) -> Iterator[Dialect]:
    """The candidate with the epsilon that its answers show, which is linear in them: one coefficient, or several."""
    for count in (1, _MEASURED):
        units = [(0.0,) * j + (1.0,) for j in range(count)]
        chosen = [replace(candidate, spec=replace(candidate.spec, epsilon=e)) for e in ((), *units)]
        rows = [[predicted(c, s) for s in samples] for c in chosen]
        answers = [s.value for s in samples]
        if any(len(p) != len(v) for row in rows for p, v in zip(row, answers, strict=True)):
            return
        without, *columns = (np.array(list(itertools.chain.from_iterable(row))) for row in rows)
        table = np.stack([c - without for c in columns], axis=1)
        if not np.isfinite(table).all():
            return
        found = np.linalg.lstsq(table, np.array(list(itertools.chain.from_iterable(answers))) - without, rcond=None)[0]
        epsilon = tuple(tidy(float(e)) for e in found)
        while len(epsilon) > 1 and epsilon[-1] == 0:
            epsilon = epsilon[:-1]
        yield replace(candidate, spec=replace(candidate.spec, epsilon=epsilon))


def tidy(value: float) -> float:
    """The fraction with a small denominator that a measured number stands for, if there is one."""
    near = float(Fraction(value).limit_denominator(1000))
    return near if abs(near - value) <= 1e-10 * max(1.0, abs(value)) else value


def predicted(candidate: Dialect, sample: Sample) -> list[float]:
    """What a candidate answers to the question of a sample; NaN where it has no value."""
    return list(_value(candidate.own(sample.case)))


#: One subject is asked what another was, and the candidates are those of the convention.
@lru_cache(maxsize=1 << 14)
def _value(case: Case) -> tuple[float, ...]:
    balls = evaluate_balls(case, bits=60, floor=-1200).value
    return (math.nan,) if balls is None else tuple(float(v.mid()) for v in balls)


def distance(candidate: Dialect, samples: Sequence[Sample], ceiling: float) -> float:
    """The largest relative difference; given up once it exceeds the ceiling."""
    worst = 0.0
    for sample in samples:
        expected = predicted(candidate, sample)
        if len(expected) != len(sample.value):
            return math.inf
        for p, v in zip(expected, sample.value, strict=True):
            worst = max(worst, abs(p - v) / max(1.0, abs(p)))
        if not worst < ceiling:
            return math.inf
    return worst


def mean_of(runner: Runner, dialect: Dialect) -> Reduction:
    """What the subject's mean divides by: the weights, as torch does, or the number of rows."""
    convention = runner.convention
    if str(Reduction.MEAN) not in convention.reductions:
        return Reduction.MEAN
    samples = ask(runner, [_mean_case(convention, dialect, named(convention.formats[0]))])
    candidates = [replace(dialect, mean=mean) for mean in (Reduction.MEAN, Reduction.MEAN_OVER_SAMPLES)]
    return min(candidates, key=lambda d: distance(d, samples, math.inf)).mean


def _mean_case(convention: Convention, dialect: Dialect, fmt: Format) -> Case:
    classes = convention.classes or 4
    rows = tuple(first(classes, row) for row in ROWS[:3])
    weight = first(classes, WEIGHTS[0]) if convention.can("weight") else None
    return Case(replace(dialect.spec, reduction=Reduction.MEAN), fmt, rows, (0, 1, 2 % classes), weight)


def default_reduction(convention: Convention) -> Reduction:
    parameter = convention.parameter("reduction")
    if parameter is not None and not parameter.required:
        for name, value in convention.reduction_values:
            if type(value) is type(parameter.default) and value == parameter.default:
                return Reduction(name)
    return next((r for r in Reduction if str(r) in convention.reductions), Reduction.NONE)

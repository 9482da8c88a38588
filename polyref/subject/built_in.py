"""Class weights that nothing sets and nothing tells: a constant or a buffer of the subject, measured from its answers.

At a row of class k the loss is linear in the weight of that class, on both parts or on the logarithm alone, so every
answer to a single row shows it. A weight counts as measured where several rows of each class agree on it and the
weights together explain every answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from polyref.case import Case
from polyref.formats import BINARY32, named
from polyref.spec import Link, Weighting
from polyref.subject.dialect import Dialect
from polyref.subject.family import distance, predicted, tidy
from polyref.subject.questions import ROWS, Sample, ask, first, usual_reduction
from polyref.subject.runner import Runner

#: How many answers show the weight of a class at least.
_ENOUGH = 2
#: How many classes are asked for where a subject takes any number: more than a law draws.
_MANY = 16
#: How far from a number of binary32 a weight that is kept in it may be measured.
_NEAR = 1e-12


def weighted(
    runner: Runner, candidates: Sequence[Dialect], samples: Sequence[Sample], limit: float
) -> Iterator[Dialect]:
    """The candidates that explain the samples with a weight for each class.

    Args:
        runner: the subject.
        candidates: members of the family; those under softmax that have no weights yet are tried.
        samples: the answers to the first questions.
        limit: the relative difference up to which an answer counts as explained.
    """
    classes = runner.convention.classes
    for candidate in candidates:
        spec = candidate.spec
        if candidate.built_in is not None or spec.link is not Link.SOFTMAX or spec.mixed:
            continue
        both = "epsilon" in candidate.settable or any(spec.epsilon)
        for weighting in (Weighting.BOTH, Weighting.CE_ONLY) if both else (Weighting.BOTH,):
            plain = replace(candidate, spec=replace(spec, weighting=weighting))
            if _weights(plain, samples, partial=True) is None:
                continue
            further = ask(runner, _every_class(runner, plain, _MANY if classes is None else classes))
            weights = _weights(plain, [*samples, *further] if classes else further, partial=False)
            # A factor that is the same for every class is no weight.
            if weights is None or len(set(weights)) == 1:
                continue
            found = replace(plain, built_in=_shortened(weights))
            residual = distance(found, [*samples, *further], limit)
            if residual <= limit:
                yield replace(found, residual=residual)


def _every_class(runner: Runner, dialect: Dialect, classes: int) -> list[Case]:
    """Questions that show the weight of every class."""
    spec = replace(dialect.spec, weighting=Weighting.BOTH, reduction=usual_reduction(runner.convention))
    fmt = named(runner.convention.formats[0])
    return [
        Case(spec, fmt, (first(classes, (*row[k % 3 :], *row)),), (k,), None)
        for k in range(classes)
        for row in ROWS[k % 4 : k % 4 + _ENOUGH]
    ]


def _weights(candidate: Dialect, samples: Sequence[Sample], *, partial: bool) -> tuple[float, ...] | None:
    """The factor of each class that the answers to single rows show.

    Args:
        candidate: the member of the family without weights; its weighting says which parts they multiply.
        samples: the answers; those to single rows are looked at.
        partial: whether classes may be left out that were not asked for.

    Returns:
        None where the answers to the rows of a class do not agree, or are too few.
    """
    without = replace(candidate, spec=replace(candidate.spec, epsilon=()), settable=candidate.settable - {"epsilon"})
    seen: dict[int, list[tuple[float, float]]] = {}
    for s in samples:
        (target, *others), alone = s.case.target, len(s.value) == 1
        if others or not alone or not isinstance(target, int):
            continue
        whole, logarithm = predicted(candidate, s)[0], predicted(without, s)[0]
        moved = whole if candidate.spec.weighting is Weighting.BOTH else logarithm
        seen.setdefault(target, []).append((moved, s.value[0] - (whole - moved)))
    weights = []
    for k in range(samples[0].case.classes):
        if k not in seen and partial:
            continue
        moved, answered = np.array(seen.get(k, [(math.nan, math.nan)])).T
        weight = float(moved @ answered) / float(moved @ moved)
        agree = np.abs(weight * moved - answered) <= 1e-6 * np.maximum(1.0, np.abs(answered))
        if len(moved) < _ENOUGH or not agree.all() or weight < 0:
            return None
        weights.append(_tidied(weight))
    return tuple(weights)


def _tidied(value: float) -> float:
    """The plain fraction or the number of binary32 that a measured weight stands for, if there is one."""
    single = BINARY32.round(value)
    return single if abs(single - value) <= _NEAR * abs(value) else tidy(value)


def _shortened(weights: tuple[float, ...]) -> tuple[float, ...]:
    """The weights up to the last one that differs: it stands for all further classes."""
    while len(weights) > 1 and weights[-1] == weights[-2]:
        weights = weights[:-1]
    return weights

"""What a subject is asked in order to be identified: rows, settings, and the samples that come back.

The first questions tell the members of the family apart. The further ones look where odd formulas differ: every
reduction, ignored rows, soft and smoothed labels, several epsilons, probabilities near 0 and 1, and the gradient.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from polyref.case import Case, Row
from polyref.formats import Format, named
from polyref.spec import Link, Reduction, Spec
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.subject.runner import Runner

#: Margins of the target over the others, and what the others are: Pt from 0.02 to 0.98, numbers of every format.
ROWS = (
    (0.5, -1.0, 0.25, 1.5),
    (2.0, 0.5, 1.0, -0.5),
    (-0.75, 1.25, 3.0, 0.0),
    (1.0, 1.0, -2.0, 0.5),
    (0.0, 0.125, 0.25, 0.375),
    (-1.5, 2.5, 0.75, 2.0),
    (3.0, -0.25, -1.0, 0.5),
    (0.25, 0.5, -0.5, 2.75),
)
#: Two weight vectors of different means, so that a weight is told from a weight over the mean.
WEIGHTS = ((0.5, 1.5, 0.25, 3.0), (2.0, 0.5, 3.0, 0.25))
#: A weight that is small and no zero.
_SMALL_WEIGHT = (2.0**-12, 1.0, 0.5, 2.0)
#: Margins at which guards and clamps show: Pt from about 3e-20 on, with enough of the smallest to measure a clamp from.
_SATURATED = (-40.0, -35.0, -29.0, -24.0, -18.0, -12.0, -8.0, -5.0, -38.0, -45.0)
#: Probabilities that are logits too: all between 0 and 1, of sum 1.
_LIKE_PROBABILITIES = (0.125, 0.5, 0.25, 0.125)
#: Soft labels, of sum 1, numbers of every format.
_SOFT = ((0.5, 0.25, 0.125, 0.125), (0.0, 1.0, 0.0, 0.0), (0.25, 0.0, 0.75, 0.0), (0.125, 0.125, 0.25, 0.5))
#: Batches that are tried where a subject takes neither eight rows nor one.
_BATCHES = (2, 4, 3, 16, 32)
_SMOOTHING = 0.125


@dataclass(frozen=True)
class Sample:
    """One case that the subject answered, with what it answered."""

    case: Case
    value: tuple[float, ...]
    gradient: tuple[Row, ...] | None = None


def ask(runner: Runner, cases: Sequence[Case], *, gradient: bool = False) -> list[Sample]:
    """The samples of the cases that the subject can be asked for, and answers with finite numbers."""
    supported = [c for c in cases if runner.convention.supports(c)]
    seen = runner.observe_all(supported, gradient=gradient)
    return [
        Sample(case, o.value, o.gradient)
        for case, o in zip(supported, seen, strict=True)
        if o.value is not None and all(map(math.isfinite, o.value))
    ]


def settable(convention: Convention) -> frozenset[str]:
    """Which of epsilon, gamma, weight and smoothing a caller can choose."""
    return frozenset(p for p in ("epsilon", "gamma", "weight", "smoothing") if convention.can(p))


def first(count: int, values: Sequence[float]) -> tuple[float, ...]:
    """So many of the values, from the start again where they run out."""
    return tuple(itertools.islice(itertools.cycle(values), count))


def usual_reduction(convention: Convention) -> Reduction:
    """The reduction that hides least, of those that can be asked for."""
    return next((r for r in Reduction if str(r) in convention.reductions), Reduction.MEAN)


def family_cases(convention: Convention) -> Iterator[Case]:
    """The first questions: they tell the members of the family apart."""
    chosen = settable(convention)
    fmt = named(convention.formats[0])
    classes = convention.classes or 4
    epsilons = (1.0, 0.0, -1.0, 2.0) if "epsilon" in chosen else (0.0,)
    gammas = (0.0, 2.0) if "gamma" in chosen else (0.0,)
    weights: tuple[tuple[float, ...] | None, ...] = (None,)
    if "weight" in chosen:
        weights = (None, *(first(classes, w) for w in WEIGHTS))
    reduction = usual_reduction(convention)
    rows = [first(classes, row) for row in ROWS]
    targets = tuple(i % classes for i in range(len(rows)))
    for epsilon, gamma, weight in itertools.product(epsilons, gammas, weights):
        spec = Spec(epsilon=(epsilon,), gamma=gamma, reduction=reduction)
        # The batch, as a weighted mean over one row loses the weight; each row alone, as a sample's loss must not
        # depend on its neighbours.
        yield Case(spec, fmt, tuple(rows), targets, weight)
        for row, target in zip(rows, targets, strict=True):
            yield Case(spec, fmt, (row,), (target,), weight)
    if convention.epsilon_form == "list":
        for gamma in gammas:
            yield Case(Spec(epsilon=(0.5, -1.0, 2.0), gamma=gamma, reduction=reduction), fmt, tuple(rows), targets)


def batches_of_another_size(convention: Convention) -> Iterator[tuple[int, list[Case]]]:
    """The questions in batches of other sizes, for a subject that takes neither eight rows nor one."""
    for size in _BATCHES:
        cases = []
        for case in family_cases(convention):
            if len(case.logits) == len(ROWS):
                for start in range(0, len(ROWS), size):
                    chosen = [(start + i) % len(ROWS) for i in range(size)]
                    rows, targets = (case.logits[i] for i in chosen), (case.target[i] for i in chosen)
                    cases.append(replace(case, logits=tuple(rows), target=tuple(targets)))
        yield size, cases


def further_cases(convention: Convention, dialect: Dialect) -> Iterator[Case]:
    """Questions on what the first ones leave open, where odd formulas differ."""
    fmt = named(convention.formats[0])
    classes = convention.classes or 4
    reduction = usual_reduction(convention)
    plain = Spec(link=dialect.spec.link, epsilon=(1.0,), reduction=reduction)
    weight = first(classes, WEIGHTS[0]) if convention.can("weight") else None
    rows = tuple(first(classes, row) for row in ROWS)
    targets = tuple(i % classes for i in range(len(rows)))
    weights = tuple(dict.fromkeys((None, weight)))
    specs = [plain]
    if convention.can("gamma"):
        specs.append(replace(plain, gamma=2.0))
    if convention.epsilon_form == "list":
        specs += [replace(spec, epsilon=(0.5, -1.0, 2.0)) for spec in specs]
    for spec, w in itertools.product(specs, weights):
        if convention.can("smoothing"):
            yield Case(replace(spec, smoothing=_SMOOTHING), fmt, rows, targets, w)
        if len(spec.epsilon) > 1:
            yield Case(spec, fmt, rows, targets, w)
        square = [i % len(rows) for i in range(classes)]
        yield Case(spec, fmt, tuple(rows[i] for i in square), tuple(targets[i] for i in square), w)
    if dialect.spec.link is Link.SOFTMAX:
        yield from _saturated(fmt, plain, classes)
        # Where one-hot rows are the form of a label, nothing says that probabilities are taken for what they are.
        if convention.soft and convention.labels in ("index", "index_column"):
            yield from _soft_cases(convention, fmt, specs, weights, rows)
    yield from _reductions(convention, fmt, plain, weights, rows)
    if weight is not None:
        yield Case(plain, fmt, rows, targets, first(classes, _SMALL_WEIGHT))
    if convention.classes is None:
        two = tuple(row[:2] for row in rows)
        yield Case(plain, fmt, two, tuple(i % 2 for i in range(len(two))), None)
    fractions = tuple(tuple(fmt.round(z / 3) for z in row) for row in rows)
    yield Case(plain, fmt, fractions, targets, None)
    yield Case(plain, fmt, (first(classes, _LIKE_PROBABILITIES),) * 2, (0, 1 % classes), None)


def _saturated(fmt: Format, spec: Spec, classes: int) -> Iterator[Case]:
    for i, margin in enumerate(_SATURATED):
        others = ROWS[i % len(ROWS)]
        # What the other logits are differs, so that a clamp of Pt is told from one of the logits.
        row = tuple(margin if k == 0 else others[k % len(others)] for k in range(classes))
        yield Case(spec, fmt, (row,), (0,), None)


def _soft_cases(
    convention: Convention,
    fmt: Format,
    specs: Sequence[Spec],
    weights: Sequence[tuple[float, ...] | None],
    rows: tuple[Row, ...],
) -> Iterator[Case]:
    classes = len(rows[0])
    if classes != len(_SOFT[0]):
        return
    labels = tuple(_SOFT[i % len(_SOFT)] for i in range(len(rows)))
    smoothings = (0.0, _SMOOTHING) if convention.can("smoothing") else (0.0,)
    for spec, w, smoothing in itertools.product(specs, weights, smoothings):
        # What a mean over weighted soft labels divides by is anybody's convention.
        if w is not None and spec.reduction is Reduction.MEAN:
            continue
        asked = replace(spec, smoothing=smoothing)
        yield Case(asked, fmt, rows, labels, w)
        yield Case(asked, fmt, rows[:classes], labels[:classes], w)


def _reductions(
    convention: Convention,
    fmt: Format,
    plain: Spec,
    weights: Sequence[tuple[float, ...] | None],
    rows: tuple[Row, ...],
) -> Iterator[Case]:
    classes = len(rows[0])
    targets = tuple(i % classes for i in range(len(rows)))
    kept_out = tuple(-100 if i == 2 else t for i, t in enumerate(targets))
    for name, w in itertools.product(convention.reductions, weights):
        spec = replace(plain, reduction=Reduction(name))
        yield Case(spec, fmt, rows, targets, w)
        yield Case(spec, fmt, rows[:3], targets[:3], w)
        if convention.can("ignore_index") and plain.link is Link.SOFTMAX:
            yield Case(spec, fmt, rows, kept_out, w)
            yield Case(spec, fmt, rows, targets, w, ignore_index=1)


def gradient_cases(convention: Convention, dialect: Dialect) -> Iterator[Case]:
    """Questions whose gradients are looked at: right and wrong predictions, alone, and a batch in every reduction."""
    fmt = named(convention.formats[0])
    classes = convention.classes or 4
    plain = Spec(link=dialect.spec.link, epsilon=(1.0,), reduction=usual_reduction(convention))
    rows = tuple(first(classes, row) for row in ROWS)
    targets = tuple(i % classes for i in range(len(rows)))
    gammas = (0.0, 2.0) if convention.can("gamma") else (0.0,)
    for gamma in gammas:
        for i in (1, 2, 5):  # without ties, where a formula may have a kink
            yield Case(replace(plain, gamma=gamma), fmt, (rows[i],), (targets[i],), None)
    for name in convention.reductions:
        spec = replace(plain, reduction=Reduction(name))
        yield Case(spec, fmt, rows[:3], targets[:3], None)
        if convention.can("ignore_index") and plain.link is Link.SOFTMAX:
            yield Case(spec, fmt, rows[:3], (targets[0], -100, targets[2]), None)

"""How large the effect of a mutant is: its worst error over the tolerance, on cases that no law has drawn.

The cases are a fixed list for each format: single rows in every regime of Pt, and batches with weights, focal
exponents, lists of epsilon, soft and smoothed labels, ignored rows, reductions, shapes and layouts. A law must kill a
mutant in each format in which this error exceeds the tolerance.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from polyref.case import Case
from polyref.formats import Format
from polyref.property import Broke, Context
from polyref.selftest.recorder import Asked, Recorder, same
from polyref.spec import Reduction, Spec
from polyref.subject.dialect import Dialect
from polyref.subject.local import LocalSubject
from polyref.subject.manner import PLAIN, Manner
from polyref.subject.observation import Observation
from polyref.verdict import Truth, worst
from polyref_properties.mutants import CONVENTION

#: Margins of the target over the other classes, as multiples of the margin at which 1 - Pt, or Pt, underflows.
_PLACES = (-1.04, -0.9, -0.5, -0.2, -0.05, -0.01, 0.0, 0.01, 0.05, 0.2, 0.5, 0.9, 1.04)
_EPSILONS = ((1.0,), (-1.0,), (0.5,), (2.0,), (1.0, -0.5), (-1.0, -0.5, 2.0), (0.0, 0.0, 1.0), (0.0,))
_GAMMAS = (0.0, 2.0, 0.5, 1.0)
_WEIGHTS = (0.5, 2.0, 1.5, 0.25, 3.0)
_SOFT = ((0.5, 0.25, 0.25), (0.0, 1.0, 0.0), (0.125, 0.125, 0.75), (0.0, 0.5, 0.5))


class Probe(NamedTuple):
    """A case and how it is handed over."""

    case: Case
    manner: Manner = PLAIN


@cache
def probes(fmt: Format, seed: int) -> tuple[Probe, ...]:
    """The cases of a format, for a subject that can be told everything."""
    rng = random.Random(f"effect {seed} {fmt.name}")
    return (*_rows(fmt, rng), *_batches(fmt, rng))


def _rows(fmt: Format, rng: random.Random) -> Iterator[Probe]:
    """Single rows, each regime with another epsilon and another exponent."""
    reach = math.log(2) * (fmt.precision - fmt.emin)
    for i, place in enumerate(_PLACES):
        classes = (2, 3, 5)[i % 3]
        target = rng.randrange(classes)
        row = [fmt.round(rng.gauss(0, 1)) for _ in range(classes)]
        rest = math.log(sum(math.exp(z) for k, z in enumerate(row) if k != target))
        row[target] = fmt.round(rest + place * reach)
        for j, gamma in enumerate(_GAMMAS[:2] if i % 2 else _GAMMAS[2:]):
            spec = Spec(epsilon=_EPSILONS[(2 * i + j) % len(_EPSILONS)], gamma=gamma, reduction=Reduction.NONE)
            yield Probe(Case(spec, fmt, (tuple(row),), (target,)))


def _batches(fmt: Format, rng: random.Random) -> Iterator[Probe]:
    """Four rows of three classes, and everything that a case may have beside them."""
    every = (Reduction.NONE, Reduction.SUM, Reduction.MEAN)
    manners = (
        Manner(shape=(2, 2)),
        Manner(shape=(1, 2, 2)),
        Manner(shape=(1, 4)),
        Manner(layout="transposed"),
        Manner(layout="strided"),
        Manner(shape=(2, 2), layout="transposed"),
    )
    for i in range(18):
        logits = tuple(tuple(fmt.round(rng.gauss(0, 2)) for _ in range(3)) for _ in range(4))
        target = tuple(rng.randrange(3) for _ in range(4))
        weight = tuple(rng.choice(_WEIGHTS) for _ in range(3)) if i % 4 else None
        spec = Spec(
            epsilon=_EPSILONS[i % len(_EPSILONS)],
            gamma=rng.choice(_GAMMAS) if i % 3 == 2 else 0.0,
            reduction=every[i % 3],
            smoothing=0.125 if i % 6 == 3 else 0.0,
        )
        case = Case(spec, fmt, logits, target, weight)
        if i % 5 == 4:
            yield Probe(replace(case, target=(case.target[0], -100, *case.target[2:])))
        elif i % 5 == 3:
            yield Probe(replace(case, target=tuple(rng.sample(_SOFT, 4))))
        else:
            yield Probe(case)
        yield Probe(case, manners[i % len(manners)])
    yield from map(Probe, _edges(Case(Spec(epsilon=(1.0,), reduction=Reduction.NONE), fmt, logits, target)))
    one = Case(Spec(epsilon=(1.0,), reduction=Reduction.NONE), fmt, logits[:1], target[:1])
    yield Probe(one, Manner(shape=()))
    yield Probe(replace(one, spec=replace(one.spec, reduction=Reduction.MEAN), weight=(0.5, 2.0, 1.5)))


def _edges(case: Case) -> Iterator[Case]:
    """What a batch may hold beside ordinary numbers, one thing at a time."""
    fmt, (first, *others) = case.format, case.logits
    yield replace(case, weight=(0.0, 2.0, 1.0))
    yield replace(case, weight=(0.0, 2.0, 1.0), target=_SOFT)
    yield replace(case, logits=case.logits[:3], target=_SOFT[:3])
    yield replace(case, ignore_index=1, target=(1, 0, 2, 1))
    yield replace(case, target=(0, 1, 1, 2), logits=((first[0], -math.inf, first[2]), *others))
    yield replace(case, target=(2, 0, 1, 2), spec=replace(case.spec, gamma=0.5), logits=((0.0,) * 3, *others))
    far = fmt.largest / 4
    yield replace(case, logits=((far, far, 0.0), (-far, -far, -far), *others[1:]), target=(0, 1, 2, 0))
    for offset in (50.0, 1000.0, -1000.0):
        yield replace(case, logits=(tuple(fmt.round(z + offset) for z in first), *others))


def asked(probe: Probe, context: Context) -> Probe | None:
    """The probe as the subject can be asked for it; None if it cannot.

    What is called in its own way is not asked for shapes and layouts, which it may refuse.
    """
    case, convention, dialect = probe.case, context.convention, context.dialect
    if probe.manner != PLAIN and convention != CONVENTION:
        return None
    if not context.can("ignore_index") and any(case.ignored(i) for i in range(len(case.target))):
        return None
    spec, mine = case.spec, dialect.spec
    epsilon = spec.epsilon if convention.epsilon_form == "list" else spec.epsilon[:1]
    reduction = spec.reduction if str(spec.reduction) in convention.reductions else context.reduction
    spec = replace(
        mine,
        epsilon=epsilon if "epsilon" in dialect.settable else mine.epsilon,
        gamma=spec.gamma if "gamma" in dialect.settable else mine.gamma,
        smoothing=spec.smoothing if "smoothing" in dialect.settable else mine.smoothing,
        reduction=reduction,
    )
    fitting = replace(case, spec=spec, weight=case.weight if context.can("weight") else None)
    return Probe(fitting, probe.manner) if convention.supports(fitting) else None


class Measure:
    """The effects of many subjects in one format, on the same cases.

    Args:
        seed: of the cases.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._right: dict[tuple[Probe, Case], tuple[Observation, float]] = {}

    def effect(self, subject: LocalSubject, dialect: Dialect, fmt: Format) -> float:
        """The largest error over tolerance of a subject, infinite where a number is due and none comes back."""
        runner = Recorder(subject)
        context = Context(runner, dialect, fmt)
        cases = dict.fromkeys(filter(None, (asked(p, context) for p in probes(fmt, self._seed))))
        return max((self._error(probe, context, runner) for probe in cases), default=0.0)

    def _error(self, probe: Probe, context: Context, runner: Recorder) -> float:
        runner.forget()
        gradient = context.convention.differentiable
        seen = runner.ask(Asked(probe.case, gradient, twice=False, manner=probe.manner))
        key = (probe, context.dialect.own(probe.case))
        if key in self._right and same(seen, self._right[key][0]):
            return self._right[key][1]
        runner.rewind()
        truth = context.truth(probe.case)
        try:
            error = _over_tolerance(context.observe(probe.case, gradient=gradient, manner=probe.manner), truth)
        except Broke:
            error = math.inf
        if error <= 1:
            self._right.setdefault(key, (seen, error))
        return error


def _over_tolerance(seen: Observation, truth: Truth) -> float:
    values, rows = seen.value or (), seen.gradient or ()
    return max(
        worst(truth.value_ratio(i, v) for i, v in enumerate(values)),
        worst(truth.gradient_ratio(i, k, g) for i, row in enumerate(rows) for k, g in enumerate(row)),
    )

"""Identify: which loss does a subject compute?

The subject is asked for a fixed set of rows under a few settings of epsilon, gamma and weight, in the widest format
that it takes, and compared with every member of the family that its convention allows. The one that agrees to better
than the square root of the unit roundoff (half of the digits: no rounding error of a usable formula is that large at
probabilities far from 0 and 1) is its dialect. If none does, its response is fitted (:mod:`polyref.subject.fit`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from polyref.case import Case
from polyref.errors import NothingMeasured
from polyref.formats import BINARY32, Format, named
from polyref.reference.ball import evaluate_balls
from polyref.spec import Link, Reduction, Spec, Weighting
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.subject.fit import fit
from polyref.subject.runner import Runner

#: Margins of the target over the others, and what the others are: Pt from 0.02 to 0.98, numbers of every format.
_ROWS = (
    (0.5, -1.0, 0.25, 1.5),
    (2.0, 0.5, 1.0, -0.5),
    (-0.75, 1.25, 3.0, 0.0),
    (1.0, 1.0, -2.0, 0.5),
    (0.0, 0.125, 0.25, 0.375),
    (-1.5, 2.5, 0.75, 2.0),
    (3.0, -0.25, -1.0, 0.5),
    (0.25, 0.5, -0.5, 2.75),
)
#: What a computation in binary32 leaves: some dozens of its unit roundoff.
_SINGLE = 2.0**-18
#: Exponents that a focal loss without a parameter for it is tried with.
_GAMMAS = (0.0, 2.0, 1.0, 3.0, 0.5, 4.0, 5.0, 1.5)
#: The most coefficients that are measured where they cannot be chosen.
_MEASURED = 4
#: Two weight vectors of different means, so that a weight is told from a weight over the mean.
_WEIGHTS = ((0.5, 1.5, 0.25, 3.0), (2.0, 0.5, 3.0, 0.25))


@dataclass(frozen=True)
class Sample:
    """One case that the subject answered, with what it answered."""

    case: Case
    value: tuple[float, ...]


def identify(runner: Runner) -> Dialect:
    """The dialect of a subject.

    Raises:
        NothingMeasured: if the subject answered no case at all.
    """
    convention = runner.convention
    settable = frozenset(p for p in ("epsilon", "gamma", "weight", "smoothing") if convention.can(p))
    samples = _ask(runner, list(_cases(convention, settable)))
    if not samples:
        raise NothingMeasured(f"{runner.name} answered none of the cases that it was asked to be identified by")
    fmt = samples[0].case.format
    limit = math.sqrt(fmt.unit_roundoff)
    candidates = list(_candidates(convention, settable))
    best = _best(candidates, samples) or candidates[0]
    if best.residual > limit and "epsilon" not in settable:
        best = next(_explaining(candidates, samples, limit), best)
    fitted = fit(best, samples, limit) if best.residual > limit else best
    single = all(BINARY32.contains(v) for s in samples for v in s.value)
    if fitted.residual > limit and best.residual <= _SINGLE and single:
        note = "Its answers are as far from the formula as if they had been computed in binary32, whatever it is given."
        fitted = replace(best, precision=BINARY32.precision, notes=(note,))
    if fitted.known:
        fitted = replace(fitted, formula=formula(fitted, convention), mean=_mean(runner, fitted))
    flushes = frozenset(filter(None, runner.environment().get("flushes", "").split(", ")))
    return replace(fitted, spec=replace(fitted.spec, reduction=_default_reduction(convention)), flushes=flushes)


def _best(candidates: Iterable[Dialect], samples: Sequence[Sample]) -> Dialect | None:
    """The candidate that comes closest, the first of equals; None if all are infinitely far."""
    best: Dialect | None = None
    for candidate in candidates:
        ceiling = math.inf if best is None else best.residual / 4
        residual = _residual(candidate, samples, ceiling)
        if residual < ceiling:
            best = replace(candidate, residual=residual)
    return best


# --- what is asked ------------------------------------------------------------------------------------------------


def _cases(convention: Convention, settable: frozenset[str]) -> Iterator[Case]:
    fmt = named(convention.formats[0])
    classes = convention.classes or 4
    epsilons = (1.0, 0.0, -1.0, 2.0) if "epsilon" in settable else (0.0,)
    gammas = (0.0, 2.0) if "gamma" in settable else (0.0,)
    weights: tuple[tuple[float, ...] | None, ...] = (None,)
    if "weight" in settable:
        weights = (None, *(_first(classes, w) for w in _WEIGHTS))
    reduction = next((r for r in Reduction if str(r) in convention.reductions), Reduction.MEAN)
    rows = [_first(classes, row) for row in _ROWS]
    targets = tuple(i % classes for i in range(len(rows)))
    for epsilon, gamma, weight in itertools.product(epsilons, gammas, weights):
        spec = Spec(epsilon=(epsilon,), gamma=gamma, reduction=reduction)
        # The batch, as a weighted mean over one row loses the weight; each row alone, as a sample's loss must not
        # depend on its neighbours.
        yield Case(spec, fmt, tuple(rows), targets, weight)
        for row, target in zip(rows, targets, strict=True):
            yield Case(spec, fmt, (row,), (target,), weight)
    if convention.epsilon_form == "list":
        yield Case(Spec(epsilon=(0.5, -1.0, 2.0), reduction=reduction), fmt, tuple(rows), targets)


def _first(count: int, values: Sequence[float]) -> tuple[float, ...]:
    """So many of the values, from the start again where they run out."""
    return tuple(itertools.islice(itertools.cycle(values), count))


def _ask(runner: Runner, cases: Sequence[Case]) -> list[Sample]:
    supported = [c for c in cases if runner.convention.supports(c)]
    seen = runner.observe_all(supported, gradient=False)
    return [
        Sample(case, o.value)
        for case, o in zip(supported, seen, strict=True)
        if o.value is not None and all(map(math.isfinite, o.value))
    ]


# --- what it is compared with -------------------------------------------------------------------------------------


def _candidates(convention: Convention, settable: frozenset[str]) -> Iterator[Dialect]:
    """Every member of the family that the convention allows, the likeliest first."""
    if convention.result == "elements":
        yield from _under(Link.SIGMOID, convention, settable)
        return
    yield from _under(Link.SOFTMAX, convention, settable)
    if str(Reduction.NONE) not in convention.reductions:  # one number does not show what it was reduced from
        yield from _under(Link.SIGMOID, convention, settable)


def _under(link: Link, convention: Convention, settable: frozenset[str]) -> Iterator[Dialect]:
    alpha = _number(convention.default("alpha"))
    given = _number(convention.default("gamma"))
    gammas = (0.0,) if "gamma" in settable else tuple(dict.fromkeys(v for v in (given, *_GAMMAS) if v is not None))
    default = _numbers(convention.default("epsilon"))
    if "epsilon" in settable:
        epsilons: tuple[tuple[float, ...], ...] = (default or (1.0,),)
    else:
        epsilons = tuple(dict.fromkeys(filter(None, (default, (1.0,), (0.0,), (-1.0,), (2.0,)))))
    alphas = (None,) if link is Link.SOFTMAX else tuple(dict.fromkeys((None, alpha, 0.25)))
    built_in: tuple[tuple[float, ...] | None, ...] = (None,)
    if "weight" not in settable:
        fixed = _numbers(convention.default("weight"))
        built_in += () if fixed is None else (fixed,)
        if link is Link.SOFTMAX and alpha is not None:
            built_in += ((alpha, 1 - alpha), (alpha, alpha))
    # A polynomial of sigmoids beside a softmax logarithm; its exponent may be fixed where gamma can be chosen.
    polynomials: tuple[tuple[Link | None, float | None], ...] = ((None, None),)
    if link is Link.SOFTMAX:
        polynomials += ((Link.SIGMOID, None), (Link.SIGMOID, 2.0))
    # What a mean divides by shows in the laws that are known by their mean alone; else it is asked for later.
    means: tuple[Reduction, ...] = (Reduction.MEAN,)
    if convention.reductions == (str(Reduction.MEAN),):
        means += (Reduction.MEAN_OVER_SAMPLES,)
    for (poly, exponent), gamma, eps, a, weights, mean in itertools.product(
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
                    polynomial_link=poly,
                    polynomial_gamma=exponent,
                ),
                settable=settable,
                mean=mean,
                built_in=weights,
                weighting=str(weighting) if "weight" in settable else "none",
            )


def _number(value: object) -> float | None:
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _numbers(value: object) -> tuple[float, ...] | None:
    """A number or a list of them as a tuple, None for anything else."""
    found = [_number(v) for v in (value if isinstance(value, tuple) else (value,))]
    return None if None in found or not found else tuple(v for v in found if v is not None)


def _explaining(candidates: Iterable[Dialect], samples: Sequence[Sample], limit: float) -> Iterator[Dialect]:
    """The candidates that explain the samples once epsilon is measured, whatever epsilon they have."""
    for family in dict.fromkeys(replace(c, spec=replace(c.spec, epsilon=())) for c in candidates):
        for candidate in _measured(family, samples):
            residual = _residual(candidate, samples, limit)
            if residual <= limit:
                yield replace(candidate, residual=residual)


def _measured(candidate: Dialect, samples: Sequence[Sample]) -> Iterator[Dialect]:
    """The candidate with the epsilon that its answers show, which is linear in them: one coefficient, or several."""
    for count in (1, _MEASURED):
        units = [(0.0,) * j + (1.0,) for j in range(count)]
        chosen = [replace(candidate, spec=replace(candidate.spec, epsilon=e)) for e in ((), *units)]
        rows = [[_predicted(c, s) for s in samples] for c in chosen]
        answers = [s.value for s in samples]
        if any(len(p) != len(v) for row in rows for p, v in zip(row, answers, strict=True)):
            return
        without, *columns = (np.array(list(itertools.chain.from_iterable(row))) for row in rows)
        table = np.stack([c - without for c in columns], axis=1)
        if not np.isfinite(table).all():
            return
        found = np.linalg.lstsq(table, np.array(list(itertools.chain.from_iterable(answers))) - without, rcond=None)[0]
        epsilon = tuple(_tidy(float(e)) for e in found)
        while len(epsilon) > 1 and epsilon[-1] == 0:
            epsilon = epsilon[:-1]
        yield replace(candidate, spec=replace(candidate.spec, epsilon=epsilon))


def _tidy(value: float) -> float:
    """The fraction with a small denominator that a measured number stands for, if there is one."""
    near = float(Fraction(value).limit_denominator(1000))
    return near if abs(near - value) <= 1e-10 * max(1.0, abs(value)) else value


def _predicted(candidate: Dialect, sample: Sample) -> list[float]:
    balls = evaluate_balls(candidate.own(sample.case), bits=60, floor=-1200).value
    return [math.nan] if balls is None else [float(v.mid()) for v in balls]


def _residual(candidate: Dialect, samples: Sequence[Sample], ceiling: float) -> float:
    """The largest relative difference; given up once it exceeds the ceiling."""
    worst = 0.0
    for sample in samples:
        predicted = _predicted(candidate, sample)
        if len(predicted) != len(sample.value):
            return math.inf
        for p, v in zip(predicted, sample.value, strict=True):
            worst = max(worst, abs(p - v) / max(1.0, abs(p)))
        if not worst < ceiling:
            return math.inf
    return worst


def _mean(runner: Runner, dialect: Dialect) -> Reduction:
    """What the subject's mean divides by: the weights, as torch does, or the number of rows."""
    convention = runner.convention
    if str(Reduction.MEAN) not in convention.reductions:
        return Reduction.MEAN
    samples = _ask(runner, [_mean_case(convention, dialect, named(convention.formats[0]))])
    candidates = [replace(dialect, mean=mean) for mean in (Reduction.MEAN, Reduction.MEAN_OVER_SAMPLES)]
    return min(candidates, key=lambda d: _residual(d, samples, math.inf)).mean


def _mean_case(convention: Convention, dialect: Dialect, fmt: Format) -> Case:
    classes = convention.classes or 4
    rows = tuple(_first(classes, row) for row in _ROWS[:3])
    weight = _first(classes, _WEIGHTS[0]) if convention.can("weight") else None
    return Case(replace(dialect.spec, reduction=Reduction.MEAN), fmt, rows, (0, 1, 2 % classes), weight)


def _default_reduction(convention: Convention) -> Reduction:
    parameter = convention.parameter("reduction")
    if parameter is not None and not parameter.required:
        for name, value in convention.reduction_values:
            if type(value) is type(parameter.default) and value == parameter.default:
                return Reduction(name)
    return next((r for r in Reduction if str(r) in convention.reductions), Reduction.NONE)


# --- what it is called --------------------------------------------------------------------------------------------


def formula(dialect: Dialect, convention: Convention) -> str:
    """The law in one line of text."""
    spec = dialect.spec
    gamma = "gamma" if "gamma" in dialect.settable else f"{spec.gamma:g}" if spec.gamma else ""
    ce = "BCE" if spec.link is Link.SIGMOID else "CE"
    log = f"x^{gamma} {ce}" if gamma else ce
    polynomial = _polynomial(dialect, convention, gamma)
    weighted = convention.can("weight") or dialect.built_in is not None
    if spec.alpha is not None:
        log = f"alpha_t {log}"
    if not polynomial:
        text = f"w {log}" if weighted else log
    elif not weighted:
        text = f"{log} + {polynomial}"
    elif spec.weighting is Weighting.BOTH:
        text = f"w [{log} + {polynomial}]"
    elif spec.weighting is Weighting.CE_ONLY:
        text = f"w {log} + {polynomial}"
    else:
        text = _rescaled(gamma, polynomial, list_of_terms=convention.epsilon_form == "list", log=log)
    if dialect.built_in is not None:
        text += f", w = {_classwise(dialect.built_in)}"
    if spec.alpha is not None:
        text += f", alpha_t = {spec.alpha:g} for the target class, {1 - spec.alpha:g} for the others"
    text = text.replace("+ -", "- ")
    return f"{text}, for each logit by itself" if spec.link is Link.SIGMOID else text


def _polynomial(dialect: Dialect, convention: Convention, gamma: str) -> str:
    x = "mean_k x_k" if dialect.spec.mixed else "x"
    if convention.epsilon_form == "list":
        power = f"x^({gamma}+j)" if gamma else "x^j"
        return f"sum_j eps_j {power}"
    fixed = dialect.spec.polynomial_gamma
    exponent = dialect.spec.gamma if fixed is None else fixed
    follows = gamma == "gamma" and fixed is None

    def term(factor: str, j: int) -> str:
        power = f"^(gamma+{j})" if follows else f"^{exponent + j:g}" if exponent + j != 1 else ""
        return f"{factor}{x}{power}"

    if "epsilon" in dialect.settable:
        text = term("eps ", 1)
    else:
        plain = {1.0: "", -1.0: "-"}
        terms = [term(plain.get(e, f"{e:g} "), j) for j, e in enumerate(dialect.spec.epsilon, start=1) if e]
        if not terms:
            return ""
        text = " + ".join(terms)
    return text + (" (x_k = 1 - Pt of sigmoid)" if dialect.spec.mixed else "")


def _classwise(weights: tuple[float, ...]) -> str:
    if len(weights) == 2:
        return f"{weights[0]:g} for class 0, {weights[1]:g} for the others"
    return f"({', '.join(f'{w:g}' for w in weights)})"


def _rescaled(gamma: str, polynomial: str, *, list_of_terms: bool, log: str) -> str:
    if gamma or list_of_terms or not polynomial.startswith("eps "):
        rescaled = polynomial.replace("x^j", "(1 - Pt w/mu)^j")
        return f"w {log} + {rescaled} with Pt rescaled by w/mu in the polynomial"
    return "w [CE + (eps/mu) x] + eps (1 - w/mu)"

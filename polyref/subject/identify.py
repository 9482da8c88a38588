"""Identify: which loss does a subject compute?

The subject is asked for a fixed set of rows under a few settings of epsilon, gamma and weight, in the widest format
that it takes, and compared with every member of the family that its convention allows. The one that agrees to better
than the square root of the unit roundoff (half of the digits: no rounding error of a usable formula is that large at
probabilities far from 0 and 1) is its dialect. Then it is asked where odd formulas differ: what it does otherwise is
looked for among the hypotheses (:mod:`polyref.subject.deviation`), and if none explains a subject that is no member,
its response is fitted (:mod:`polyref.subject.fit`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from polyref.errors import NothingMeasured
from polyref.formats import BINARY32
from polyref.spec import Link, Reduction, Weighting
from polyref.subject.built_in import weighted
from polyref.subject.convention import Convention
from polyref.subject.course import course
from polyref.subject.deviation import Explained, Search
from polyref.subject.dialect import WHOLE_LOSS_REMEDY, Dialect
from polyref.subject.family import default_reduction, explaining, mean_of, members, nearest, predicted, set_epsilon
from polyref.subject.fit import fit
from polyref.subject.questions import Sample, ask, batches_of_another_size, family_cases, further_cases, settable
from polyref.subject.runner import Runner
from polyref.subject.slope import gradient_deviation
from polyref.subject.wording import law, member_defect

#: The most members of the family that a subject outside it is compared with step by step.
_BASES = 8
#: With how many of them it is compared by two steps, or under conditions.
_NEAREST = 2
_CHANCE = "Its answers are changed by chance: the same question gets another answer."
_NO_CHANCE = "Draw no random numbers in a loss."
#: What a computation in binary32 leaves: some dozens of its unit roundoff.
_SINGLE = 2.0**-18
#: The same of a part, where the other digits do not show it: some units of its roundoff.
_PARTLY_SINGLE = 2.0**-20
#: From how many answers that are off a rounding is told from another formula, and which part of them is off either way.
_MANY, _EITHER_WAY = 8, 0.2


def identify(runner: Runner) -> Dialect:
    """The dialect of a subject.

    Raises:
        NothingMeasured: if the subject answered no case at all.
    """
    convention = runner.convention
    samples, note = _answers(runner)
    limit = math.sqrt(samples[0].case.format.unit_roundoff)
    candidates = list(members(convention, settable(convention)))
    best = nearest(candidates, samples) or candidates[0]
    if best.residual > limit and "epsilon" not in best.settable:
        measured = next(explaining(candidates, samples, limit), best)
        # What epsilon was set to is its meaning, as long as one step that is done otherwise explains the rest.
        if set_epsilon(convention) is None or not _one_step(_bases(best, candidates), samples, limit):
            best = measured
    if best.residual > limit and "weight" not in best.settable:
        best = next(weighted(runner, candidates, samples, limit), best)
    single = all(BINARY32.contains(v) for s in samples for v in s.value)
    if limit < best.residual <= _SINGLE and single:
        text = "Its answers are as far from the formula as if they had been computed in binary32, whatever it is given."
        best = replace(best, precision=BINARY32.precision, notes=(text,))
        limit = _SINGLE
    if best.residual <= limit:
        found = _known(runner, replace(best, mean=mean_of(runner, best)), samples, limit)
    else:
        found = _unknown(runner, best, candidates, samples, limit)
    spec = replace(found.spec, reduction=default_reduction(convention))
    flushes = frozenset(filter(None, runner.environment().get("flushes", "").split(", ")))
    return replace(found, spec=spec, notes=(*found.notes, *note), flushes=flushes)


def _answers(runner: Runner) -> tuple[list[Sample], tuple[str, ...]]:
    """What the subject answers to the first questions, with a note where it takes batches of one size only."""
    samples = ask(runner, list(family_cases(runner.convention)))
    if samples:
        return samples, ()
    for size, cases in batches_of_another_size(runner.convention):
        samples = ask(runner, cases)
        if samples:
            return samples, (f"It answers batches of {size} rows, and neither of 8 nor of 1.",)
    raise NothingMeasured(f"{runner.name} answered none of the cases that it was asked to be identified by")


def _known(runner: Runner, dialect: Dialect, samples: Sequence[Sample], limit: float) -> Dialect:
    """A member of the family, with what it does otherwise where the first questions did not look."""
    findings = [member_defect(dialect)]
    found: list[Explained] = []
    if not dialect.spec.mixed:
        further = ask(runner, list(further_cases(runner.convention, dialect)))
        search = Search(dialect, [*samples, *further], limit)
        if search.failing:
            found = search.everywhere(pairs=False)[:1] or search.by_condition()
            findings += _told(search, found)
    findings += [*_gradient(runner, dialect, found, limit), *_again(runner, samples)]
    return _described(dialect, runner.convention, found, findings)


def _unknown(
    runner: Runner, best: Dialect, candidates: Sequence[Dialect], samples: Sequence[Sample], limit: float
) -> Dialect:
    """A subject outside the family: what it does otherwise than the member that it is nearest to, or a fitted law."""
    convention = runner.convention
    again = ask(runner, [samples[0].case])
    if not again or again[0].value != samples[0].value:
        dialect = replace(best, known=False, weighting="other", deviation=_CHANCE, remedy=_NO_CHANCE)
        return replace(dialect, formula=f"{law(dialect, convention, [])}, changed by chance")
    further = ask(runner, list(further_cases(convention, best)))
    explanation = _explanation(_bases(best, candidates), samples, further, limit)
    if explanation is None:
        if best.residual <= _PARTLY_SINGLE and _scattered(best, samples, limit):
            text = "Its answers are as far from the formula as if a part of it had been computed in binary32."
            rounded = replace(best, precision=BINARY32.precision, notes=(text,), mean=mean_of(runner, best))
            return _known(runner, rounded, samples, _SINGLE)
        fitted = fit(best, samples, limit)
        note = course(runner, best, rounds=False)
        told = "Its formula is no member of the PolyLoss family."
        established = fitted.residual <= limit or _link_shows(runner, best, samples, limit)
        fitted = replace(fitted, link_known=established, deviation=told, remedy=WHOLE_LOSS_REMEDY)
        return replace(fitted, notes=() if note is None else (note,))
    search, found = explanation
    note = course(runner, search.dialect, rounds=_rounds(found))
    dialect = replace(
        search.dialect,
        known=False,
        weighting="other",
        residual=search.residual(found),
        notes=() if note is None else (note,),
    )
    findings = [*_told(search, found), *_gradient(runner, dialect, found, limit), *_again(runner, samples)]
    return _described(dialect, convention, found, findings)


def _described(
    dialect: Dialect, convention: Convention, found: Sequence[Explained], findings: Sequence[tuple[str, str]]
) -> Dialect:
    """The dialect with its formula, and with defects and remedies as texts."""
    told, mended = (" ".join(dict.fromkeys(filter(None, texts))) for texts in zip(*findings, strict=True))
    formula = law(dialect, convention, found)
    return replace(dialect, formula=formula, deviation=told, remedy=mended, otherwise=tuple(found))


def _explanation(
    bases: Sequence[Dialect], samples: Sequence[Sample], further: Sequence[Sample], limit: float
) -> tuple[Search, list[Explained]] | None:
    """What explains the answers, the simplest first.

    Args:
        bases: the members of the family that the answers are compared with.
        samples: the answers to the first questions, which a formula has to explain.
        further: those to the others, where it may follow another one.
        limit: the relative difference up to which an answer counts as explained.
    """
    nearest: list[tuple[Search, Search]] = []
    for base in bases:
        search, among = Search(base, [*samples, *further], limit), Search(base, samples, limit)
        if found := among.everywhere(pairs=False):
            return search, search.by_condition(min(found, key=search.left))
        if len(nearest) < _NEAREST:
            nearest.append((search, among))
    for search, _ in nearest:
        parts = search.by_condition()
        if parts and search.unexplained(parts) is None:
            return search, parts
    for search, among in nearest:
        if found := among.everywhere(pairs=True):
            return search, search.by_condition(min(found, key=search.left))
    return None


def _scattered(dialect: Dialect, samples: Sequence[Sample], limit: float) -> bool:
    """Whether many answers are off the formula, too much as well as too little, as rounding has it."""
    above = [v > p for s in samples for v, p in _off(dialect, s) if abs(v - p) > limit * max(1.0, abs(p))]
    return len(above) >= _MANY and _EITHER_WAY <= sum(above) / len(above) <= 1 - _EITHER_WAY


def _off(dialect: Dialect, sample: Sample) -> Iterator[tuple[float, float]]:
    return zip(sample.value, predicted(dialect, sample), strict=True)


def _link_shows(runner: Runner, best: Dialect, samples: Sequence[Sample], limit: float) -> bool:
    """Whether the answers show the link without a formula: a loss of each logit, or one that no common shift moves."""
    if runner.convention.result == "elements":
        return True
    shifted = [replace(s.case, logits=tuple(tuple(z + 1 for z in row) for row in s.case.logits)) for s in samples]
    moved = {s.case: s.value for s in ask(runner, shifted)}
    invariant = [
        all(abs(a - b) <= limit * max(1.0, abs(a)) for a, b in zip(s.value, moved.get(case, ()), strict=False))
        for s, case in zip(samples, shifted, strict=True)
    ]
    return best.spec.link is Link.SOFTMAX and len(moved) == len(set(shifted)) and all(invariant)


def _one_step(bases: Sequence[Dialect], samples: Sequence[Sample], limit: float) -> bool:
    """Whether a single step that is done otherwise explains the answers."""
    return any(Search(base, samples, limit).everywhere(pairs=False) for base in bases)


def _told(search: Search, found: Sequence[Explained]) -> list[tuple[str, str]]:
    """Defects and remedies in sentences, and where answers are that nothing explains."""
    told = [(e.defect, e.remedy) for e in found]
    where = search.unexplained(found)
    if where is not None:
        told.append((f"Where {where}, no formula was found." if where else "Some answers follow no formula.", ""))
    return told


def _gradient(runner: Runner, dialect: Dialect, found: Sequence[Explained], limit: float) -> list[tuple[str, str]]:
    """What is wrong with the gradient; nothing is said of a value that is rounded on purpose."""
    if _rounds(found):
        return []
    wrong = gradient_deviation(runner, dialect, found, limit)
    return [] if wrong is None else [wrong]


def _rounds(found: Sequence[Explained]) -> bool:
    return any(choice.rounds for e in found for choice, _ in e.formula.chosen)


def _again(runner: Runner, samples: Sequence[Sample]) -> Iterator[tuple[str, str]]:
    """What a second call of one instance, and the tensors that it was given, show beside the numbers."""
    # One row whose class is not the first: what was kept of the first call hardly fits the second by chance.
    alone = [s.case for s in samples if len(s.case.target) == 1 and s.case.target != (0,)]
    weighted = [case for case in alone if case.weight is not None]
    seen = runner.observe((*weighted, *alone, samples[0].case)[0], gradient=False, twice=True)
    if seen.inputs_untouched is False:
        yield "It writes into the tensors that it is given.", "Write into no tensor of the caller's: copy it first."
    if seen.second is not None and not seen.second.value_equal:
        text = "A second call of one instance answers otherwise than the first: something is kept between the calls."
        yield text, "Keep what one batch needs in local variables, not in the module."


def _bases(best: Dialect, candidates: Sequence[Dialect]) -> list[Dialect]:
    """Members of the family that a subject is compared with step by step: whole-loss laws of the nearest one's link."""
    found: dict[Dialect, Dialect] = {}
    for c in (best, *candidates):
        if c.spec.mixed or c.spec.link is not best.spec.link:
            continue
        # What a mean divides by makes no difference without weights.
        for mean in (Reduction.MEAN, Reduction.MEAN_OVER_SAMPLES)[: 2 if "weight" in best.settable else 1]:
            base = replace(c, spec=replace(c.spec, weighting=Weighting.BOTH), mean=mean, weighting="both", residual=0.0)
            found.setdefault(base, base)
    return list(found)[:_BASES]

"""Who is wrong, and on which case it shows: what makes a golden vector one that catches a defect.

Where the spec is the whole-loss law of the softmax, the wrong ones are the mutants that the laws are tested with, run
on the case. For the other laws, which no mutant claims to compute, they are the neighbours in the family: the same
case under a spec with one part changed, computed exactly. Importing this module loads no mutant; asking for them does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from polyref.case import Case
from polyref.errors import PolyrefError
from polyref.formats import BINARY64
from polyref.reference.enclosure import Enclosure
from polyref.spec import Link, Reduction, Spec, Weighting
from polyref.vectors.results import Results, enclosures, excess, rounded

#: What is beyond the tolerance by less is left alone: on another processor it may be within.
CLEARLY = 2.0


class Answer(NamedTuple):
    """What somebody makes of a case; None where no numbers come back."""

    value: Sequence[float] | None
    gradient: Sequence[Sequence[float]] | None


class Beyond(NamedTuple):
    """Which quantities of an answer are clearly beyond the tolerance."""

    value: bool
    gradient: bool


@dataclass(frozen=True)
class Rival:
    """A wrong implementation.

    Attributes:
        name: what it is called.
        defect: the one thing that is wrong with it, in a few words.
        answer: what it makes of a case; None where it does not claim to compute the case's spec.
    """

    name: str
    defect: str
    answer: Callable[[Case], Answer | None]

    def beyond(self, case: Case, found: Results) -> Beyond | None:
        """Where its answer is clearly beyond the tolerance; None where it has none to give."""
        answer = self.answer(case)
        if answer is None:
            return None

        def clearly(seen: Sequence[float] | None, exact: Sequence[Enclosure], tolerance: Sequence[float]) -> bool:
            if seen is None or len(seen) != len(exact):
                return True
            each = zip(seen, exact, tolerance, strict=True)
            return any(excess(o, e, case.format, t) > CLEARLY for o, e, t in each)

        slopes = None if answer.gradient is None else [g for row in answer.gradient for g in row]
        exact, tolerance = found.exact, found.tolerance
        return Beyond(
            clearly(answer.value, exact.value, tolerance.value),
            clearly(slopes, exact.slopes, tolerance.slopes),
        )


def rivals(specs: Sequence[Spec]) -> list[Rival]:
    """Everybody who is wrong about one of these specs at least."""
    found = []
    if any(map(_claimed, specs)):
        found += list(_mutants())
    if not all(map(_claimed, specs)):
        found += [_neighbour(*each) for each in _CHANGES]
    return found


@contextmanager
def at_work(specs: Sequence[Spec]) -> Iterator[None]:
    """The block in which they are asked: on one thread, as the tensors are tiny."""
    with ExitStack() as stack:
        if any(map(_claimed, specs)):
            from polyref.selftest.work import one_thread  # noqa: PLC0415

            stack.enter_context(one_thread())
        yield


# --- mutants --------------------------------------------------------------------------------------------------------

#: Wrong in what no vector holds, as those of behaviour are: that another thing of theirs shows would be an accident.
_BESIDE = frozenset({"curvature-halved"})


def _claimed(spec: Spec) -> bool:
    """Whether the mutants claim to compute a spec: the whole-loss law of the softmax, with torch's own reductions."""
    ours = Spec(epsilon=spec.epsilon, gamma=spec.gamma, smoothing=spec.smoothing, reduction=spec.reduction)
    return spec == ours and spec.reduction is not Reduction.MEAN_OVER_SAMPLES


def _mutants() -> Iterator[Rival]:
    from polyref.selftest import registry  # noqa: PLC0415 - the laws, and torch with them, only where they are asked
    from polyref.subject.chance import SeededSubject  # noqa: PLC0415

    for name, mutant in registry.load_mutants().items():
        if mutant.kind == "behaviour" or name in _BESIDE:
            continue
        subject = SeededSubject(mutant.loss, name=name, convention=mutant.convention)

        def answer(case: Case, subject: SeededSubject = subject) -> Answer | None:
            fmt = case.format
            # What torch does not compute in is computed in binary64, and rounded once.
            wide = fmt.name not in subject.convention.formats
            asked = replace(case, format=BINARY64) if wide else case
            if not _claimed(case.spec) or not subject.convention.supports(asked):
                return None
            subject.afresh()
            seen = subject.observe(asked)
            if not wide:
                return Answer(seen.value, seen.gradient)
            value, gradient = seen.value, seen.gradient
            return Answer(
                None if value is None else [fmt.round(v) for v in value],
                None if gradient is None else [[fmt.round(g) for g in row] for row in gradient],
            )

        yield Rival(name, mutant.defect, answer)


# --- neighbours in the family ---------------------------------------------------------------------------------------


def _neighbour(name: str, defect: str, change: Callable[[Spec], dict[str, Any]]) -> Rival:
    def answer(case: Case) -> Answer | None:
        if _claimed(case.spec):
            return None
        try:
            other = case.with_spec(**change(case.spec))
            if other == case:
                return None
            found = enclosures(other).map(lambda e: rounded(e, case.format))
        except PolyrefError:  # no spec, or one that says nothing about this case
            return None
        return Answer(found.value, found.gradient)

    return Rival(name, defect, answer)


def _to(changes: dict[str, Any]) -> Callable[[Spec], dict[str, Any]]:
    return lambda _: changes


def _mean(to: Reduction, *among: Reduction) -> Callable[[Spec], dict[str, Any]]:
    return lambda s: {"reduction": to} if s.reduction in among else {}


_ALONE = {"polynomial_link": None, "polynomial_gamma": None}

#: (name, defect, what is another thing than the spec has it).
_CHANGES: tuple[tuple[str, str, Callable[[Spec], dict[str, Any]]], ...] = (
    ("weight-on-both", "the class weight on both parts", _to({"weighting": Weighting.BOTH})),
    ("weight-on-the-logarithm", "the class weight on the logarithm alone", _to({"weighting": Weighting.CE_ONLY})),
    ("pt-rescaled", "Pt times w / mean(w) in the polynomial", _to({"weighting": Weighting.RESCALED_P})),
    ("no-polynomial", "the polynomial is missing", _to({"epsilon": (0.0,)})),
    ("epsilon-negated", "epsilon has the wrong sign", lambda s: {"epsilon": tuple(-e for e in s.epsilon)}),
    ("first-term-alone", "eps_1 x alone", lambda s: {"epsilon": s.epsilon[:1]}),
    ("last-term-first", "eps_N in the place of eps_1, alone", lambda s: {"epsilon": s.epsilon[-1:]}),
    ("no-focal-factor", "gamma has no effect", _to({"gamma": 0.0})),
    ("focal-exponent-off", "x^(gamma+1) in the place of x^gamma", lambda s: {"gamma": s.gamma + 1}),
    ("no-smoothing", "labels are not smoothed", _to({"smoothing": 0.0})),
    ("more-smoothing", "label smoothing 0.05 slipped in", lambda s: {"smoothing": min(s.smoothing + 0.05, 1.0)}),
    ("mean-over-rows", "the mean divides by rows", _mean(Reduction.MEAN_OVER_SAMPLES, Reduction.MEAN)),
    ("mean-over-weights", "the mean divides by weights", _mean(Reduction.MEAN, Reduction.MEAN_OVER_SAMPLES)),
    ("mean-not-divided", "the mean is the sum", _mean(Reduction.SUM, Reduction.MEAN, Reduction.MEAN_OVER_SAMPLES)),
    ("sum-divided", "the sum is the mean", _mean(Reduction.MEAN, Reduction.SUM)),
    ("no-alpha", "alpha has no effect", _to({"alpha": None, "alpha_on_polynomial": False})),
    ("alpha-reversed", "alpha for 1 - alpha", lambda s: {} if s.alpha is None else {"alpha": 1 - s.alpha}),
    (
        "alpha-elsewhere",
        "alpha on the polynomial where it should not be, or not where it should",
        lambda s: {"alpha_on_polynomial": s.alpha is not None and not s.alpha_on_polynomial},
    ),
    ("softmax-link", "Pt from softmax", _to({"link": Link.SOFTMAX, **_ALONE})),
    ("sigmoid-link", "Pt from sigmoid, each logit by itself", _to({"link": Link.SIGMOID, **_ALONE})),
)

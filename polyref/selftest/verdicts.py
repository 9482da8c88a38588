"""What follows from the trials: which kills are due, and what is not as it must be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from polyref.formats import Format, named
from polyref.options import AUDITED
from polyref.property import Property
from polyref.report.selftest import Failure, Trial
from polyref.selftest import registry
from polyref.selftest.work import Called, Judged, judged_in
from polyref_properties.mutants import Mutant

#: By name of a mutant and of a format; None where it took too long.
Effects = Mapping[str, Mapping[str, float | None]]


@dataclass(frozen=True)
class Results:
    """All that was found out, as it is judged here.

    Attributes:
        laws: those that took part.
        mutants: those that took part.
        variants: how each harmless variant is called, or why that cannot be found.
        formats: widest first.
        complete: whether every law took part, so that a mutant may be expected to die.
        effects: of the mutants, and of the right implementation.
        judged: what each law said in each format.
    """

    laws: Mapping[str, Property]
    mutants: Mapping[str, Mutant]
    variants: Mapping[str, Called | str]
    formats: tuple[Format, ...]
    complete: bool
    effects: Effects
    judged: tuple[Judged, ...]

    def trials(self, subject: str, fmt: str) -> list[tuple[str, Trial]]:
        """What each law that applies said of a subject in a format."""
        return [(j.law, j.trials[subject]) for j in self.judged if j.format == fmt and subject in j.trials]


def expected(mutant: Mutant, effect: Mapping[str, float | None], formats: Iterable[Format]) -> list[str]:
    """The formats in which some law must kill a mutant.

    What a mutant does beside its numbers shows in every format, another formula in binary64 at least, and all that is
    wrong with numbers wherever its effect exceeds the tolerance.
    """
    accepted = [f for f in formats if f.name in mutant.convention.formats and f.name not in mutant.right_in]
    if mutant.kind == "behaviour":
        return [f.name for f in accepted]
    return [f.name for f in accepted if _exceeds(effect.get(f.name)) or (mutant.kind == "semantic" and f == AUDITED[0])]


def _exceeds(effect: float | None) -> bool:
    return effect is None or effect > 1


def failures(results: Results) -> Iterator[Failure]:
    """Everything that is not as it must be, right implementations first."""
    yield from _accusations(results)
    if results.complete:
        yield from _survivors(results)
    yield from _toothless(results)


def _accusations(results: Results) -> Iterator[Failure]:
    for name, called in results.variants.items():
        if isinstance(called, str):
            text = f"The harmless variant {name} cannot be tried: {called}"
            yield Failure(kind="unusable", subject=name, law=None, format=None, text=text, case="")
    for fmt in results.formats:
        effect = results.effects[registry.TEXTBOOK].get(fmt.name, 0.0)
        if _exceeds(effect):
            text = f"The right implementation is {_times(effect)} on rows that no law has drawn."
            yield Failure(kind="accused", subject=registry.TEXTBOOK, law=None, format=fmt.name, text=text, case="")
    for j in results.judged:
        for name in results.variants:
            trial = j.trials.get(name)
            if trial is not None and trial.verdict == "killed":
                text = f"{j.law} accuses the harmless variant {name}: {_times(trial.ratio)}, {trial.observed}"
                yield Failure(kind="accused", subject=name, law=j.law, format=j.format, text=text, case=j.cases[name])


def _survivors(results: Results) -> Iterator[Failure]:
    for name, mutant in results.mutants.items():
        effect = results.effects[name]
        due = expected(mutant, effect, results.formats)
        dead = [f.name for f in results.formats if _killed(results, name, f.name)]
        for fmt in due:
            if fmt not in dead:
                reason = "what it does shows in every format"
                if _exceeds(effect.get(fmt)):
                    reason = f"its effect is {_times(effect.get(fmt))}"
                elif mutant.kind == "semantic":
                    reason = "it computes another formula"
                late = sum(t.verdict == "timed_out" for _, t in results.trials(name, fmt))
                text = f"No law kills {name} in {fmt}, although {reason}" + (
                    f"; {late} ran out of time." if late else "."
                )
                yield Failure(kind="survived", subject=name, law=None, format=fmt, text=text, case="")
        if not due and not dead and set(results.formats) >= set(AUDITED):
            text = f"No law kills {name} in any format."
            yield Failure(kind="survived", subject=name, law=None, format=None, text=text, case="")


def _killed(results: Results, name: str, fmt: str) -> bool:
    return any(t.verdict == "killed" for _, t in results.trials(name, fmt))


def _toothless(results: Results) -> Iterator[Failure]:
    for j in results.judged:
        law = results.laws[j.law]
        if not judged_in(law, named(j.format)):
            continue
        for name in law.mutants:
            mutant = results.mutants.get(name)
            if mutant is None or j.format not in mutant.convention.formats or j.format in mutant.right_in:
                continue
            trial = j.trials.get(name)
            if trial is not None and trial.verdict == "killed":
                continue
            said = f"does not apply, {j.reasons[name]}" if trial is None else trial.verdict.replace("_", " ")
            text = f"{j.law} does not kill its own mutant {name} in {j.format}: {said}."
            yield Failure(kind="toothless", subject=name, law=j.law, format=j.format, text=text, case="")


def _times(ratio: float | None) -> str:
    if ratio is None:
        return "not measured in time"
    return "infinite" if math.isinf(ratio) else f"{ratio:.3g} times the tolerance"

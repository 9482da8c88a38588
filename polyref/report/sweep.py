"""The one versioned document of a sweep; the terminal shows what is in it."""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from polyref.report import structs
from polyref.report.document import Environment
from polyref.report.files import write_atomically
from polyref.report.structs import Count, GradeName, Quantity, Real, Seconds

SCHEMA: Literal["polyref-sweep/1"] = "polyref-sweep/1"

#: Grades that no correct evaluation gets.
_WRONG = ("degraded", "broken")


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input, and what was observed.

    Attributes:
        place: the bit pattern of the margin, or those of both logits one behind the other, as 0x digits.
        logits: of the target and of the other class, as C99 hexadecimal floats.
        observed: the value, or the derivatives in both logits, as C99 hexadecimal floats.
        size: the error, in ulps or over the textbook tolerance; certified.
    """

    place: str
    logits: list[str]
    observed: list[str]
    size: Real


class Graded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The inputs of one grade: how many in each regime of Pt, from certainly wrong to certainly right."""

    grade: GradeName
    inputs: Count
    by_regime: list[Count]
    first: str


class Special(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One law of logits that are no numbers."""

    law: str
    kept: Count
    broken: Count
    first_broken: str | None


class Swept(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One quantity under one spec.

    Attributes:
        quantity: value or gradient.
        grades: those that occur, best first.
        worst_ulps: the worst inputs by their error in ulps.
        ulps_at_most: no input is further off.
        worst_ratios: the worst inputs by their error over the textbook tolerance.
        ratios_at_most: no input is further off, where the tolerance is finite.
        by_filter: inputs that the filter decided.
        by_balls: inputs that the balls decided.
        special: the laws of NaN and infinite logits.
    """

    quantity: Quantity
    grades: list[Graded]
    worst_ulps: list[Case]
    ulps_at_most: Real
    worst_ratios: list[Case]
    ratios_at_most: Real
    by_filter: Count
    by_balls: Count
    special: list[Special]


class Loss(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One spec, and what was found under it."""

    epsilon: list[float]
    gamma: float
    swept: list[Swept]


class Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A range that was not judged: its first place, the place after its last one, and why."""

    start: str
    stop: str
    reason: str


class Sweep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a sweep has found.

    Attributes:
        target: the target.
        call: how it is called.
        environment: versions and machine.
        kind: margins or pairs.
        format: the name of the format.
        sample: how many pairs the sample has that this is a part of; 0 where all there are were asked for.
        seed: of the sample.
        start: the first place.
        stop: the place after the last one.
        inputs: how many were asked for.
        judged: how many of them were judged.
        losses: by spec.
        failures: ranges that were not judged.
        workers: how many processes or threads swept at once.
        seconds: how long it took, without ranges that a checkpoint held.
        subject_seconds: what the subject took, in all ranges and processes together.
        judge_seconds: what judging it took.
        rate: inputs a second, each under all specs; 0 where all of it came from a checkpoint.
        started: ISO 8601, UTC.
    """

    schema: Literal["polyref-sweep/1"] = SCHEMA
    target: str
    call: str
    environment: Environment
    kind: Literal["margins", "pairs"]
    format: str
    sample: Count
    seed: Count
    start: str
    stop: str
    inputs: Count
    judged: Count
    losses: list[Loss]
    failures: list[Failure]
    workers: Count
    seconds: Seconds
    subject_seconds: Seconds
    judge_seconds: Seconds
    rate: Real
    started: str

    @property
    def wrong(self) -> int:
        """How many results no correct evaluation could have."""
        graded = (g for loss in self.losses for s in loss.swept for g in s.grades if g.grade in _WRONG)
        broken = sum(law.broken for loss in self.losses for s in loss.swept for law in s.special)
        return sum(g.inputs for g in graded) + broken

    @property
    def exit_code(self) -> int:
        """0 all is within the tolerance; 1 something is not, or was not judged; 3 nothing was judged."""
        if not self.judged:
            return 3
        return 1 if self.wrong or self.failures else 0


def dumps(document: Sweep) -> bytes:
    """The document as JSON, the same bytes for an equal document."""
    return structs.text(document)


def loads(data: bytes, *, name: str = "the document") -> Sweep:
    """The document in ``data``; ``name`` is what to call it in a message.

    Raises:
        UsageError: if it is no document of this schema.
    """
    return structs.loads(data, _DECODER, schema=SCHEMA, kind="sweep", name=name)


def write(document: Sweep, path: str | os.PathLike[str]) -> None:
    """Write the document as JSON, whole or not at all.

    Raises:
        UsageError: if the file cannot be written.
    """
    write_atomically(path, dumps(document))


_DECODER = structs.decoder(Sweep)

"""The document of a check: what a program's answers to golden vectors are worth, and what their failures point at."""

from __future__ import annotations

import os
from typing import Literal

import msgspec

from polyref.report import structs
from polyref.report.files import write_atomically
from polyref.report.structs import Count, GradeName, Quantity, Real

SCHEMA: Literal["polyref-vectors-check/1"] = "polyref-vectors-check/1"


class Tally(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answers of one quantity in one regime.

    Attributes:
        quantity: value or gradient.
        regime: "all", or the name of a range of Pt.
        vectors: how many were answered.
        beyond: how many of them are beyond the tolerance.
        grade: that of the worst one.
        max_ulp: the largest error in ulps.
        max_ratio: the largest error over tolerance.
    """

    quantity: Quantity
    regime: str
    vectors: Count
    beyond: Count
    grade: GradeName
    max_ulp: Real
    max_ratio: Real


class Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One quantity of one vector whose answer is beyond the tolerance, and the number in it that tells most.

    Attributes:
        id: of the vector.
        about: what is special about it.
        regime: its range of Pt.
        case: its input, for a person.
        quantity: value or gradient.
        place: of the number: ``value``, ``value[1]``, ``gradient[0][2]``.
        grade: degraded or broken.
        expected: the exact result in decimal.
        expected_hex: the exact result rounded to the format.
        observed: the answer in decimal, or what is wrong with it.
        observed_hex: the answer, empty where it is no number.
        ulp: the error in ulps.
        ratio: the error over the tolerance.
        catches: the defects that the vector is there to catch.
    """

    id: str
    about: str
    regime: str
    case: str
    quantity: Quantity
    place: str
    grade: GradeName
    expected: str
    expected_hex: str
    observed: str
    observed_hex: str
    ulp: Real
    ratio: Real
    catches: list[str]


class Suspect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A defect that the failures may come from.

    Attributes:
        name: what it is called.
        defect: what is wrong, in a few words.
        shows: of the results that were answered, how many it spoils.
        failed: how many of these failed.
        others: how many results failed that it does not spoil.
    """

    name: str
    defect: str
    shows: Count
    failed: Count
    others: Count

    @property
    def likeness(self) -> float:
        """The share of results, among those that it spoils and those that failed, that are both."""
        either = self.shows + self.others
        return self.failed / either if either else 0.0


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of a check.

    Attributes:
        file: the golden vectors.
        results: the answers.
        format: the format.
        vectors: how many vectors there are.
        answered: how many of them have an answer with a number in it.
        grades: by quantity and regime, "all" first.
        failures: the worst first.
        suspects: the defects that look most like the failures, the likest first.
        missing: ids of vectors without an answer.
        duplicate: ids that were answered more than once; the first answer counts.
        unknown: ids of answers to no vector of the file.
        declined: ids of vectors that were answered by null alone: the program does not do them.
    """

    schema: Literal["polyref-vectors-check/1"] = SCHEMA
    file: str
    results: str
    format: str
    vectors: Count
    answered: Count
    grades: list[Tally]
    failures: list[Failure]
    suspects: list[Suspect]
    missing: list[str]
    duplicate: list[str]
    unknown: list[str]
    declined: list[str]

    @property
    def failed(self) -> int:
        """How many vectors are beyond the tolerance."""
        return len({f.id for f in self.failures})

    @property
    def exit_code(self) -> int:
        """0 if every vector was answered once and is within the tolerance or was declined; 1 if not; 3 for nothing."""
        if not self.answered:
            return 3
        return int(bool(self.failures or self.missing or self.duplicate or self.unknown))


def dumps(check: Check) -> bytes:
    """The document as JSON, the same bytes for an equal document."""
    return structs.text(check)


def loads(data: bytes, *, name: str = "the document") -> Check:
    """The document in ``data``.

    Raises:
        UsageError: if it is no document of this schema.
    """
    return structs.loads(data, _DECODER, schema=SCHEMA, kind="check of vectors", name=name)


def write(check: Check, path: str | os.PathLike[str]) -> None:
    """Write the document as JSON, whole or not at all.

    Raises:
        UsageError: if the file cannot be written.
    """
    write_atomically(path, dumps(check))


_DECODER = structs.decoder(Check)

"""Reading golden vectors, and what a program answered: strictly, and one line for what cannot be read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import Dyadic, Format, named
from polyref.reference.enclosure import Enclosure
from polyref.report import structs
from polyref.report.words import visible
from polyref.vectors.numbers import answered, pattern, read_exact, read_number
from polyref.vectors.results import Outputs, rounded
from polyref.vectors.schema import SCHEMA, Answer, Enclosed, Header, Radii, Vector

#: Numbers, with None for each that a program does not give; None alone where it gives nothing of the kind.
Given = tuple[float | None, ...] | None


class Expected:
    """A vector with its numbers read, and held against each other.

    Args:
        vector: the vector as it is written.
        fmt: the format.

    Raises:
        UsageError: if it contradicts itself.
    """

    def __init__(self, vector: Vector, fmt: Format) -> None:
        self.vector = vector
        self.case: Case = vector.case(fmt.name)
        self.exact = Outputs(
            tuple(map(_enclosure, vector.enclosure.value)),
            tuple(tuple(map(_enclosure, row)) for row in vector.enclosure.gradient),
        )
        self.tolerance = _radii(vector.tolerance)
        self.accurate = _radii(vector.accurate)
        value = tuple(map(read_number, vector.value))
        self.rounded = Outputs(value, tuple(tuple(map(read_number, row)) for row in vector.gradient))
        self._check(fmt)

    def _check(self, fmt: Format) -> None:
        vector, case = self.vector, self.case
        shape = (vector.rows, vector.classes)
        if shape != (len(case.logits), case.classes):
            raise UsageError(
                f"it has {len(case.logits)} rows of {case.classes} logits, and says {shape[0]} of {shape[1]}"
            )
        for what in (self.exact, self.tolerance, self.accurate, self.rounded):
            sizes = len(what.value), [len(row) for row in what.gradient]
            if sizes != (len(self.rounded.value), [case.classes] * len(case.logits)):
                raise UsageError("its results are not as many everywhere")
        if self.rounded != self.exact.map(lambda e: rounded(e, fmt)):
            raise UsageError("a result is not what its enclosure rounds to")
        written: list[tuple[Any, Any]] = [
            (vector.logits, vector.logits_bits),
            (vector.soft_target, vector.soft_target_bits),
            (vector.weight, vector.weight_bits),
            (vector.value, vector.value_bits),
            (vector.gradient, vector.gradient_bits),
        ]
        for numbers, bits in written:
            if _patterns(numbers, fmt) != bits:
                raise UsageError("a bit pattern is not that of its number")


def _patterns(numbers: Any, fmt: Format) -> Any:
    if isinstance(numbers, list):
        return [_patterns(n, fmt) for n in numbers]
    return None if numbers is None else pattern(read_number(numbers), fmt)


def _enclosure(text: Enclosed) -> Enclosure:
    mid, rad = read_exact(text.hex_mid), read_exact(text.hex_rad)
    if rad.compare(Dyadic(0, 0)) < 0:
        raise UsageError(f"the radius {text.hex_rad} is below 0")
    return Enclosure(mid, rad)


def _radii(found: Radii) -> Outputs[float]:
    def bound(radius: float | None) -> float:
        return float("inf") if radius is None else radius

    return Outputs(tuple(map(bound, found.value)), tuple(tuple(map(bound, row)) for row in found.gradient))


class Golden(NamedTuple):
    """A file of golden vectors."""

    header: Header
    format: Format
    vectors: dict[str, Expected]


def read_vectors(path: str | os.PathLike[str]) -> Golden:
    """The golden vectors in a file.

    Raises:
        UsageError: if it cannot be read, or is none of this schema; one line that names the file and the line.
    """
    name = os.fspath(path)
    lines = [*_lines(structs.read_bytes(path))]
    if not lines:
        raise UsageError(f"{visible(name)} is empty: give a file that polyref vectors wrote")
    header = structs.loads(
        lines[0][1], _HEADER, schema=SCHEMA, kind="golden vectors", name=f"{name}, line {lines[0][0]}"
    )
    fmt = named(header.format)
    found: dict[str, Expected] = {}
    for n, data in lines[1:]:
        where = f"{name}, line {n}"
        vector = structs.strictly(data, _VECTOR, kind="golden vector", name=where)
        try:
            expected = Expected(vector, fmt)
        except UsageError as e:
            raise _malformed(where, "a golden vector", f"{e}") from e
        if vector.id in found:
            raise _malformed(where, "a golden vector", f"{vector.id!r} is there already")
        if max((*vector.beyond.value, *vector.beyond.gradient), default=-1) >= len(header.defects):
            raise _malformed(where, "a golden vector", "it names a defect that the header has not")
        found[vector.id] = expected
    if len(found) != header.vectors:
        raise UsageError(
            f"{visible(name)} has {len(found)} vectors, and its header says {header.vectors}: write it anew, it was cut"
        )
    return Golden(header, fmt, found)


def _malformed(where: str, what: str, why: str) -> UsageError:
    return UsageError(f"{visible(where)} is not {what} as polyref vectors writes it: {visible(why)}")


class Said(NamedTuple):
    """What a program said to one vector.

    Attributes:
        id: of the vector.
        line: where it said so.
        value: the values.
        gradient: the derivatives, row after row.
    """

    id: str
    line: int
    value: Given
    gradient: Given


def read_answers(path: str | os.PathLike[str], fmt: Format) -> list[Said]:
    """What a program answered, in order; ``-`` is standard input.

    Raises:
        UsageError: if it cannot be read, or a line is no answer; one line that names the file, the line and the value.
    """
    standard = os.fspath(path) == "-"
    name = "standard input" if standard else os.fspath(path)
    data = sys.stdin.buffer.read(structs.LARGEST + 1) if standard else structs.read_bytes(path)
    if len(data) > structs.LARGEST:
        raise UsageError(f"{visible(name)} is larger than {structs.LARGEST >> 20} MiB: give the answers to one file")
    found = []
    for n, text in _lines(data):
        where = f"{name}, line {n}"
        try:
            raw = msgspec.convert(_DECODER.decode(text), Answer)
            gradient = raw.gradient
            if isinstance(gradient, list):
                rows = [row if isinstance(row, list) else [row] for row in gradient]
                gradient = [g for row in rows for g in row]
            found.append(Said(raw.id, n, _numbers(raw.value, fmt), _numbers(gradient, fmt)))
        except UsageError as e:
            raise UsageError(f"{visible(where)}: {visible(str(e))}") from e
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
            raise UsageError(
                f"{visible(where)} is no answer: {visible(str(e))}; "
                'write {"id": "...", "value": ..., "gradient": [...]}'
            ) from e
    return found


def _numbers(given: Any, fmt: Format) -> Given:
    if given is None:
        return None
    each = given if isinstance(given, list) else [given]
    numbers = tuple(None if v is None else answered(v, fmt) for v in each)
    return None if numbers and all(n is None for n in numbers) else numbers


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers from 1."""
    for n, text in enumerate(data.split(b"\n"), start=1):
        if text.strip():
            yield n, text


_HEADER = structs.decoder(Header)
_VECTOR = structs.decoder(Vector)
#: Numbers with a point arrive as they are written, and so do integers that are too long.
_DECODER = msgspec.json.Decoder(float_hook=str)

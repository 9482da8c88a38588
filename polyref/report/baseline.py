"""Baselines: what an audit is held against, a digest of the one before.

A baseline keeps every verdict, every grade, and for each quantity, format and regime the rows with the largest errors,
which the next audit tries again. A law that is broken may be known to be, for a reason and until a day.
"""

from __future__ import annotations

import builtins
import math
import os
from collections.abc import Iterable, Iterator
from datetime import date
from heapq import nsmallest
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from polyref.errors import NotComparable, UsageError
from polyref.regimes import regime_of
from polyref.report import document as doc
from polyref.report import structs
from polyref.report.files import write_atomically
from polyref.report.structs import Count, GradeName, Quantity, Real, Verdict
from polyref.report.summary import QUANTITIES
from polyref.report.words import visible

SCHEMA: Literal["polyref-baseline/1"] = "polyref-baseline/1"

#: How many rows of each quantity, format and regime an audit adds, and how many there are at most.
_KEPT, _MOST = 3, 8

Day: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class Known(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a law may be broken, and until when, the day included; None for no end."""

    reason: Annotated[str, msgspec.Meta(min_length=1)]
    expires: Day | None = None

    def __post_init__(self) -> None:
        if self.expires is not None:
            date.fromisoformat(self.expires)

    def expired(self, today: date) -> bool:
        """Whether the last day is over."""
        return self.expires is not None and date.fromisoformat(self.expires) < today


LawKey: TypeAlias = tuple[str, str | None]
GradeKey: TypeAlias = tuple[Quantity, str, str, str]


class Law(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One law in one format: its verdict, error over tolerance, and whether it is known to be broken."""

    property: str
    format: str | None
    verdict: Verdict
    ratio: Real | None
    known: Known | None = None

    @builtins.property
    def key(self) -> LawKey:
        """What tells it from the others."""
        return self.property, self.format


class Grade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One grade, as a document has it."""

    quantity: Quantity
    format: str
    device: str
    regime: str
    grade: GradeName
    max_ulp: Real
    max_ratio: Real
    examples: Count
    histogram: list[tuple[Real, Count]]

    @property
    def key(self) -> GradeKey:
        """What tells it from the others."""
        return self.quantity, self.format, self.device, self.regime


class Recorded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row that is tried again, and its error in ulps."""

    quantity: Quantity
    device: str
    regime: str
    ulp: Real
    case: dict[str, Any]

    @property
    def format(self) -> str:
        """The format of the case."""
        return str(self.case.get("format"))


class Baseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an audit is held against."""

    schema: Literal["polyref-baseline/1"] = SCHEMA
    subject: doc.Subject
    formula: str
    environment: doc.Environment
    settings: doc.Settings
    laws: list[Law]
    grades: list[Grade]
    cases: list[Recorded]

    def __post_init__(self) -> None:
        for what, keys in (("law", [law.key for law in self.laws]), ("grade", [g.key for g in self.grades])):
            if len(set(keys)) < len(keys):
                raise ValueError(f"a {what} is there twice")


def of(
    document: doc.Document, previous: Baseline | None = None, *, reason: str = "", expires: str | None = None
) -> Baseline:
    """The baseline that a document makes.

    What the document did not run is kept from the previous baseline: laws, grades and rows of other formats. A broken
    law keeps its reason, or gets the one given.

    Args:
        document: what the next audit is held against.
        previous: the baseline before.
        reason: why laws may be broken that had no reason yet.
        expires: the last day of that reason, as YYYY-MM-DD.

    Raises:
        UsageError: if laws are broken and there is no reason, or the day is none.
    """
    known = {law.key: law.known for law in previous.laws if law.known} if previous else {}
    given = None if not reason else Known(reason=reason, expires=expires)
    laws = []
    for f in by_key(document).values():
        why = (known.get((f.property, f.format)) or given) if f.verdict == "violated" else None
        laws.append(Law(property=f.property, format=f.format, verdict=f.verdict, ratio=f.ratio, known=why))
    unknown = [law for law in laws if law.verdict == "violated" and law.known is None]
    if unknown:
        what = ", ".join(dict.fromkeys(law.property for law in unknown))
        raise UsageError(f"{what} may not be broken without a reason: mend it, or give --reason (and --expires)")
    grades = [Grade(**{name: getattr(g, name) for name in Grade.__struct_fields__}) for g in document.grades]
    # A row that was bad once goes on being tried, whatever its error is now.
    again = {text_of(r) for r in previous.cases} if previous else set()
    cases = [*_worst(document), *(r for r in _rows(document) if text_of(r) in again)] if again else [*_worst(document)]
    if previous is not None:
        ran = {law.property for law in laws}
        seen, formats = {law.key for law in laws}, set(document.settings.formats)
        away = (o for o in previous.laws if o.property not in ran or (o.format is not None and o.format not in formats))
        laws += [o for o in away if o.key not in seen]
        graded = {(g.format, g.device) for g in grades}
        grades += [o for o in previous.grades if (o.format, o.device) not in graded]
        cases += [o for o in previous.cases if (o.format, o.device) not in graded]
    return Baseline(
        subject=document.subject,
        formula=document.dialect.formula,
        environment=document.environment,
        settings=document.settings,
        laws=sorted(laws, key=lambda law: (law.property, law.format or "")),
        grades=sorted(grades, key=lambda g: g.key),
        cases=list(_largest(cases)),
    )


def by_key(document: doc.Document) -> dict[LawKey, doc.Finding]:
    """The findings by law and format; of two, which a subject that dies in two ways has, the graver one."""
    return {
        (f.property, f.format): f
        for f in sorted(document.findings, key=lambda f: (f.verdict == "violated", f.ratio or 0.0))
    }


def day(text: str) -> date:
    """The day in a text.

    Raises:
        UsageError: if it is none.
    """
    try:
        if len(text) == len("YYYY-MM-DD"):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise UsageError(f"--expires {text!r} is no day: give it as YYYY-MM-DD")


def _rows(document: doc.Document) -> Iterator[Recorded]:
    """The rows of a document, as they would be recorded."""
    for series in document.series:
        for sample in series.samples:
            yield from (_recorded(document, series, sample, q) for q in QUANTITIES if sample.error(q) is not None)


def _worst(document: doc.Document) -> Iterator[Recorded]:
    """The rows with the largest errors of each cell, at most as many as an audit adds."""
    for series in document.series:
        cells: dict[tuple[Quantity, str], list[tuple[float, int]]] = {}
        for i, sample in enumerate(series.samples):
            for quantity in QUANTITIES:
                if (error := sample.error(quantity)) is not None:
                    cells.setdefault((quantity, regime_of(sample.log_odds)), []).append((-error.ulp, i))
        for (quantity, _), errors in cells.items():
            for _, i in nsmallest(_KEPT, errors):
                yield _recorded(document, series, series.samples[i], quantity)


def _recorded(document: doc.Document, series: doc.Series, sample: doc.Sample, quantity: Quantity) -> Recorded:
    error = sample.error(quantity)
    return Recorded(
        quantity=quantity,
        device=series.device,
        regime=regime_of(sample.log_odds),
        ulp=math.inf if error is None else error.ulp,
        case=document.case_of(series, sample),
    )


def _largest(cases: Iterable[Recorded]) -> Iterator[Recorded]:
    """The rows with the largest errors of each cell, each once, and at most as many as there may be."""
    cells: dict[tuple[str, str, str, str], dict[str, Recorded]] = {}
    for recorded in cases:
        cell = cells.setdefault((recorded.quantity, recorded.format, recorded.device, recorded.regime), {})
        cell.setdefault(text_of(recorded), recorded)
    for _, cell in sorted(cells.items()):
        yield from sorted(cell.values(), key=lambda r: -r.ulp)[:_MOST]


def text_of(recorded: Recorded) -> str:
    """What tells a recorded row from the others."""
    return f"{recorded.quantity} {recorded.device} {msgspec.json.encode(recorded.case, order='sorted').decode()}"


def dumps(baseline: Baseline) -> bytes:
    """The baseline as JSON, the same bytes for an equal one."""
    return structs.text(baseline)


def loads(data: bytes, *, name: str) -> Baseline:
    """The baseline in ``data``; ``name`` is what to call it in a message.

    Raises:
        UsageError: if it is no baseline.
        NotComparable: if it is one of another schema.
    """
    found = structs.schema_of(data, kind="baseline", name=name)
    if found.startswith("polyref-baseline/") and found != SCHEMA:
        raise NotComparable(
            f"{visible(name)} has the schema {visible(repr(found))} and this polyref compares {SCHEMA!r}: make it anew "
            "with --update-baseline"
        )
    return structs.loads(data, _DECODER, schema=SCHEMA, kind="baseline", name=name)


def read(path: str | os.PathLike[str]) -> Baseline:
    """Read a baseline.

    Raises:
        UsageError: if the file cannot be read or is no baseline.
        NotComparable: if it is one of another schema.
    """
    return loads(structs.read_bytes(path), name=os.fspath(path))


def write(baseline: Baseline, path: str | os.PathLike[str]) -> None:
    """Write a baseline, whole or not at all.

    Raises:
        UsageError: if the file cannot be written.
    """
    write_atomically(path, dumps(baseline))


_DECODER = structs.decoder(Baseline)

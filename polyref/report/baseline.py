"""Baselines: what an audit is held against, a digest of the one before.

A baseline keeps every verdict, every grade, and for each quantity, format and regime the rows with the largest errors,
which the next audit tries again. A law that is broken may be known to be, for a reason and until a day.
"""

from __future__ import annotations

import builtins
import math
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from heapq import nsmallest
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import msgspec

from polyref.errors import NotComparable, UsageError
from polyref.formats import FORMATS
from polyref.regimes import regime_of
from polyref.report import document as doc
from polyref.report import structs
from polyref.report.files import write_atomically
from polyref.report.structs import Count, GradeName, Quantity, Real, Verdict
from polyref.report.summary import QUANTITIES
from polyref.report.words import visible

SCHEMA: Literal["polyref-baseline/1"] = "polyref-baseline/1"

DECIDED = ("holds", "violated")
#: What a user chooses that decides which rows are drawn and how.
CHOICES = ("seed", "profile", "init", "call", "forms")

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

    def __post_init__(self) -> None:
        if self.case.get("format") not in FORMATS:
            raise ValueError("a row has no format")

    @property
    def format(self) -> str:
        """The format of the case."""
        return str(self.case.get("format"))


class Baseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an audit is held against.

    Attributes:
        subject: of the audit.
        computes: what it computes by itself, and how it is called.
        environment: of the audit.
        settings: of the audit; the formats are those of every part.
        laws: every verdict.
        grades: every grade.
        cases: the rows that are tried again.
    """

    schema: Literal["polyref-baseline/1"] = SCHEMA
    subject: doc.Subject
    computes: dict[str, str]
    environment: doc.Environment
    settings: doc.Settings
    laws: list[Law]
    grades: list[Grade]
    cases: list[Recorded]

    def __post_init__(self) -> None:
        for what, keys in (("law", [law.key for law in self.laws]), ("grade", [g.key for g in self.grades])):
            if len(set(keys)) < len(keys):
                raise ValueError(f"a {what} is there twice")
        for law in self.laws:
            if law.verdict == "violated" and law.known is None:
                raise ValueError(f"{law.property} is broken without a reason")


def of(
    document: doc.Document,
    previous: Baseline | None = None,
    *,
    reason: str = "",
    expires: str | None = None,
    today: date | None = None,
) -> Baseline:
    """The baseline that a document makes.

    What the document did not run is kept from the previous baseline: laws, grades and rows of other formats, and what
    there was no time for. A broken law keeps its reason unless that has expired or the law is broken worse; then, and
    where there was none, it gets the one given.

    Args:
        document: what the next audit is held against.
        previous: the baseline before.
        reason: why laws may be broken that have no reason that lasts.
        expires: the last day of that reason, as YYYY-MM-DD.
        today: the day on which reasons expire; by default today, UTC.

    Raises:
        UsageError: if laws are broken and there is no reason, or if what is kept was measured otherwise.
    """
    today = today or datetime.now(UTC).date()
    before = {law.key: law for law in previous.laws} if previous else {}
    given = None if not reason else Known(reason=reason, expires=expires)
    laws = [_law(f, before.get(key), given, today) for key, f in by_key(document).items()]
    grades = [Grade(**{name: getattr(g, name) for name in Grade.__struct_fields__}) for g in document.grades]
    # A row that was bad once goes on being tried, whatever its error is now.
    again = {text_of(r) for r in previous.cases} if previous else set()
    cases = [*_worst(document), *(r for r in _rows(document) if text_of(r) in again)] if again else [*_worst(document)]
    settings = document.settings
    if previous is not None:
        kept = _not_run(document, previous)
        if kept.laws or kept.grades:
            _check_alike(document, previous, kept)
        laws, grades, cases = laws + kept.laws, grades + kept.grades, cases + kept.cases
        formats = {*settings.formats, *(g.format for g in grades), *(law.format for law in laws)}
        settings = msgspec.structs.replace(settings, formats=[f for f in FORMATS if f in formats], laws=[])
    broken = [law.property for law in laws if law.verdict == "violated" and law.known is None]
    if broken:
        what = ", ".join(dict.fromkeys(broken))
        raise UsageError(
            f"{what} may not be broken, or broken worse than is known, without a reason: mend it, or give --reason (and"
            " --expires)"
        )
    return Baseline(
        subject=document.subject,
        computes=computes(document),
        environment=document.environment,
        settings=settings,
        laws=sorted(laws, key=lambda law: (law.property, law.format or "")),
        grades=sorted(grades, key=lambda g: g.key),
        cases=list(_largest(cases)),
    )


def _law(f: doc.Finding, was: Law | None, given: Known | None, today: date) -> Law:
    if f.verdict == "inconclusive" and was is not None and was.verdict in DECIDED:
        return was  # there was no time for it, say: that is no reason to expect less
    known = None
    if f.verdict == "violated":
        known = was.known if was is not None and size(f.ratio) <= size(was.ratio) else None
        known = given if known is None or known.expired(today) else known
    return Law(property=f.property, format=f.format, verdict=f.verdict, ratio=f.ratio, known=known)


class _Kept(NamedTuple):
    """What of a baseline did not run."""

    laws: list[Law]
    grades: list[Grade]
    cases: list[Recorded]


def _not_run(document: doc.Document, previous: Baseline) -> _Kept:
    ran, seen = {f.property for f in document.findings}, by_key(document)
    asked = set(document.settings.formats)
    decided = {law.key for law in previous.laws if law.verdict in DECIDED}
    cut = any(f.verdict == "inconclusive" and key in decided for key, f in seen.items())
    graded = {(g.format, g.device) for g in document.grades}

    def stays(o: Grade | Recorded) -> bool:
        return (o.format, o.device) not in graded and bool(o.format not in asked or cut or document.settings.laws)

    laws = (o for o in previous.laws if o.property not in ran or (o.format is not None and o.format not in asked))
    return _Kept(
        [o for o in laws if o.key not in seen],
        [o for o in previous.grades if stays(o)],
        [o for o in previous.cases if stays(o)],
    )


def _check_alike(document: doc.Document, previous: Baseline, kept: _Kept) -> None:
    """Check that what is kept and what is new can stand in one baseline."""
    pairs = [(n, getattr(previous.environment, n), getattr(document.environment, n)) for n in ("machine", "processor")]
    pairs += [(n, getattr(previous.settings, n), getattr(document.settings, n)) for n in CHOICES]
    other = [name for name, before, now in pairs if before != now]
    if other:
        formats = {*document.settings.formats, *(o.format for o in kept.laws), *(o.format for o in kept.grades)}
        listed = ",".join(f for f in FORMATS if f in formats)
        raise UsageError(
            f"the baseline has parts that did not run now and were made with another {' and '.join(other)}: run all of "
            f"it, with --formats {listed}"
        )


def computes(document: doc.Document) -> dict[str, str]:
    """What a subject computes by itself, and how it is called: what no version should change unnoticed."""
    d, c = document.dialect, document.convention
    return {
        "formula": d.formula,
        "deviation": d.deviation,
        "epsilon by default": str(d.epsilon),
        "gamma by default": str(d.gamma),
        "reduction by default": str(d.reduction),
        "weighting": d.weighting,
        "order": c.order,
        "labels": c.labels,
        "inputs": c.inputs,
    }


def place(target: str) -> str:
    """A target that does not depend on how the path of its file was written."""
    file, colon, attribute = target.rpartition(":")
    return f"{os.path.abspath(file)}:{attribute}" if colon and file.endswith(".py") else target


def size(value: float | None) -> float:
    """An error as something to compare: what is not known, or no number, is larger than any."""
    return math.inf if value is None or math.isnan(value) else value


def by_key(document: doc.Document) -> dict[LawKey, doc.Finding]:
    """The findings by law and format; of two, which a subject that dies in two ways has, the graver one."""
    return {
        (f.property, f.format): f
        for f in sorted(document.findings, key=lambda f: (f.verdict == "violated", size(f.ratio)))
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
                    cells.setdefault((quantity, regime_of(sample.log_odds)), []).append((-size(error.ulp), i))
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
        yield from sorted(cell.values(), key=lambda r: -size(r.ulp))[:_MOST]


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

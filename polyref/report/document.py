"""The one versioned document of an audit; every report is drawn from it and from nothing else.

The JSON is strict: an unknown field, a missing one or a wrong type is an error, and so is a document of another
schema.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from polyref.report import structs
from polyref.report.comparison import Comparison
from polyref.report.files import write_atomically
from polyref.report.structs import Count, Real, Seconds
from polyref.report.structs import GradeName as GradeName
from polyref.report.structs import Quantity as Quantity
from polyref.report.structs import Verdict as Verdict

_NO_SERIES, _SERIES = b'"series": []\n}\n', b'"series": [\n'
_NO_SAMPLES, _SAMPLES = b'"samples": []\n}\n', b'"samples": [\n'

SCHEMA: Literal["polyref-audit/3"] = "polyref-audit/3"

WeightingName: TypeAlias = Literal["none", "both", "ce_only", "rescaled_p", "other"]


class Subject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The implementation under test.

    Attributes:
        name: what it calls itself.
        target: what the user asked for, ``package.module:attr`` or ``file.py:attr``.
        file: where it is defined, relative to the working folder when it lies under it.
        line: the line of its definition.
        summary: the first line of its docstring.
        framework: torch, numpy, jax, tensorflow.
    """

    name: str
    target: str
    file: str | None
    line: Annotated[int, msgspec.Meta(ge=1)] | None
    summary: str | None
    framework: str


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Versions and machine; None for what was not loaded, framework too where the subject is of torch.

    The last digits of a result may depend on the processor, as libraries choose their code by it.
    """

    polyref: str
    python: str
    torch: str | None
    numpy: str | None
    mpmath: str | None
    flint: str | None
    platform: str
    machine: str
    cpu_threads: int | None
    device: str
    framework: str | None = None
    processor: str | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user chose, and so what a second run needs in order to find the same.

    Attributes:
        seed: of every random choice.
        profile: how much was tried.
        examples: the number of cases that were tried in all.
        formats: names of the formats that were asked for.
        seconds: how long the audit took.
        started: ISO 8601, UTC.
        init: the arguments of ``--init``, as given.
        call: the arguments of ``--call``, as given.
        forms: what was told of the forms of the data: labels, inputs, order.
        laws: the ids of the laws that were asked for, empty for all of them and the grades.
    """

    seed: int
    profile: Literal["default", "quick", "long"]
    examples: Count
    formats: list[str]
    seconds: Seconds
    started: str
    init: dict[str, str]
    call: dict[str, str]
    forms: dict[str, str] = {}
    laws: list[str] = []


class Attempt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One calling convention that was tried, and what came of it."""

    call: str
    outcome: str


class Convention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the subject is called.

    Attributes:
        text: the convention in one line.
        kind: class, function or factory.
        order: logits first or labels first.
        labels: the labels that it takes: class index, one-hot, both.
        result: the shape or the type that comes back.
        parameters: polyref's name of a parameter to the subject's.
        defaults: the subject's defaults, as text.
        inputs: what it takes of the logits, and in which shape where that is not (N, C).
        untested: the parameters that were left at their defaults, with these as text.
        reductions: the reductions that it knows.
        formats: the formats that it takes.
        attempts: what was tried, in order.
    """

    text: str
    kind: str
    order: str
    labels: str
    result: str
    parameters: dict[str, str]
    defaults: dict[str, str]
    reductions: list[str]
    formats: list[str]
    attempts: list[Attempt]
    inputs: str = "logits"
    untested: dict[str, str] = {}


class Dialect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the subject computes.

    Attributes:
        formula: one line of text.
        epsilon: the subject's default, as a number or as its text; None when it has none.
        reduction: the subject's default.
        weighting: which parts the class weight multiplies.
        residual: what the formula leaves unexplained, relative, in the widest format.
        link: softmax, sigmoid or other.
        gamma: the focal exponent, by default.
        deviation: what it does otherwise than a PolyLoss, in sentences; empty where nothing was found.
        remedy: what mends the deviation, in sentences.
        notes: consequences in a person's words.
    """

    formula: str
    epsilon: str | float | None
    reduction: str | None
    weighting: WeightingName
    residual: Real | None
    link: str
    gamma: str | float | None
    deviation: str
    remedy: str
    notes: list[str]


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One law, one verdict, and the smallest case that shows it.

    Attributes:
        property: the law's id.
        theme: the group that it belongs to.
        verdict: holds, violated, inconclusive or not_applicable.
        statement: the law in one sentence.
        formula: the law as mathematics.
        citation: where the law comes from.
        explanation: what the subject does; for an open verdict, why it is open.
        remedy: what to change.
        format: the format that showed it.
        device: where it ran.
        case: the smallest case, as ``Case.to_json`` gives it.
        case_text: the same for people, decimal and hexadecimal.
        expected: the exact result, as text.
        observed: the subject's result, as text.
        ratio: error over tolerance; above 1 is a violation.
        examples: how many cases were tried.
        reproduce: the command line that shows it again.
    """

    property: str
    theme: str
    verdict: Verdict
    statement: str
    formula: str
    citation: str
    explanation: str
    remedy: str
    format: str | None
    device: str
    case: dict[str, Any] | None
    case_text: str
    expected: str
    observed: str
    ratio: Real | None
    examples: Count
    reproduce: str


class Grade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How accurate the subject is for one quantity, format, device and regime.

    Attributes:
        quantity: value or gradient.
        format: the format's name.
        device: where it ran.
        regime: "all", or the name of a range of Pt.
        grade: one of the six words.
        max_ulp: the largest error in ulps of the format.
        max_ratio: the largest error over tolerance.
        case: the worst case, as ``Case.to_json`` gives it.
        examples: how many cases were graded.
        histogram: pairs of an upper bound in ulps and the number of cases up to it and above the one before.
    """

    quantity: Quantity
    format: str
    device: str
    regime: str
    grade: GradeName
    max_ulp: Real
    max_ratio: Real
    case: dict[str, Any] | None
    examples: Count
    histogram: list[tuple[Real, Count]]


class Error(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One row's error in one quantity, of the number in it that tells most.

    Attributes:
        ulp: in ulps of the format.
        radius: the tolerance of that number, in ulps; infinite where no correct evaluation is bounded.
    """

    ulp: Real
    radius: Real


class Sample(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One row that was graded.

    Attributes:
        log_odds: log(Pt / (1 - Pt)) of its target, for drawing.
        spec: the number of its spec in the document.
        target: the class index.
        logits: C exact numbers of the format.
        value: the error of the value, None where it was not measured.
        gradient: that of the gradient.
    """

    log_odds: Real
    spec: Count
    target: Count
    logits: list[Real]
    value: Error | None
    gradient: Error | None

    def error(self, quantity: Quantity) -> Error | None:
        """The error in a quantity."""
        return self.value if quantity == "value" else self.gradient


class Series(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rows that were graded in one format on one device."""

    format: str
    device: str
    samples: list[Sample]


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An audit: what was tested, how, and what was found.

    Attributes:
        specs: the specs of the samples, as ``Case.to_json`` gives them.
        series: what the grades were made of.
        gate: what moved since a baseline, None where there was none to compare with.
    """

    schema: Literal["polyref-audit/3"] = SCHEMA
    subject: Subject
    environment: Environment
    settings: Settings
    convention: Convention
    dialect: Dialect
    findings: list[Finding]
    grades: list[Grade]
    specs: list[dict[str, Any]] = []
    gate: Comparison | None = None
    series: list[Series] = []

    def __post_init__(self) -> None:
        for series in self.series:
            for sample in series.samples:
                if sample.spec >= len(self.specs) or sample.target >= len(sample.logits):
                    raise ValueError("a sample has a spec or a target that is not there")

    def case_of(self, series: Series, sample: Sample) -> dict[str, Any]:
        """The case of a sample, as ``Case.to_json`` gives it."""
        return {
            "format": series.format,
            "logits": [[float(z).hex() for z in sample.logits]],
            "target": [sample.target],
            "weight": None,
            "ignore_index": -100,
            "spec": self.specs[sample.spec],
        }

    def having(self, verdict: Verdict) -> list[Finding]:
        """The findings with this verdict, in the document's order."""
        return [f for f in self.findings if f.verdict == verdict]

    @property
    def violated(self) -> list[Finding]:
        """The findings of laws that are broken."""
        return self.having("violated")

    @property
    def exit_code(self) -> int:
        """0 when all laws hold, 1 for defects, 3 when no law could be decided: that is never a success.

        Against a baseline it is the comparison's: 0 when nothing got worse.
        """
        if self.gate is not None:
            return self.gate.exit_code
        if self.violated:
            return 1
        return 0 if self.having("holds") else 3


def dumps(document: Document) -> bytes:
    """The document as JSON, indented, the same bytes for an equal document.

    Raises:
        TypeError: if a field holds a value of another type than declared, so that it could not be read back.
    """
    data = structs.text(msgspec.structs.replace(document, series=[]))
    if document.series:
        # A line for each sample: indented like the rest, it would be a line for each number.
        data = data.removesuffix(_NO_SERIES) + _SERIES + b",\n".join(map(_series, document.series)) + b"\n ]\n}\n"
    try:
        _DECODER.decode(data)
    except msgspec.ValidationError as e:
        raise TypeError(f"the document does not follow {SCHEMA}: {e}") from e
    return data


def _series(series: Series) -> bytes:
    head = structs.text(msgspec.structs.replace(series, samples=[])).removesuffix(_NO_SAMPLES)
    lines = (b"    " + msgspec.json.encode(structs.plain(sample)) for sample in series.samples)
    indented = b"".join(b"  " + line + b"\n" for line in head.splitlines())
    return indented.removesuffix(b"\n") + _SAMPLES + b",\n".join(lines) + b"\n   ]\n  }"


def loads(data: bytes, *, name: str = "the document") -> Document:
    """The document in ``data``; ``name`` is what to call it in a message.

    Raises:
        UsageError: if it is no document of this schema.
    """
    return structs.loads(data, _DECODER, schema=SCHEMA, kind="audit", name=name)


def loads_any(data: bytes, *, name: str) -> Document | Finding:
    """The document in ``data``, or the one finding that was cut out of one.

    Raises:
        UsageError: if it is neither.
    """
    if structs.has(data, "property"):
        return structs.strictly(data, _FINDING, kind="finding", name=name)
    return loads(data, name=name)


def write(document: Document, path: str | os.PathLike[str]) -> None:
    """Write the document as JSON, whole or not at all.

    Raises:
        UsageError: if the file cannot be written.
        TypeError: if a field holds a value of another type than declared.
    """
    write_atomically(path, dumps(document))


def read(path: str | os.PathLike[str]) -> Document:
    """Read a document.

    Raises:
        UsageError: if the file cannot be read or is no document of this schema; one line that names the file.
    """
    return loads(structs.read_bytes(path), name=os.fspath(path))


_DECODER = structs.decoder(Document)
_FINDING = structs.decoder(Finding)

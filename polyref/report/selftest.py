"""The one versioned document of a self-test: every law against every mutant in every format, and what follows.

Everything that is shown of a self-test is drawn from it. A pair of a law and a subject is one line of the file, so
that two of them can be compared line by line.
"""

from __future__ import annotations

import os
from typing import Any, Literal, TypeAlias

import msgspec

from polyref.report import structs
from polyref.report.document import Environment
from polyref.report.files import write_atomically
from polyref.report.structs import Count, Real, Seconds

SCHEMA: Literal["polyref-selftest/1"] = "polyref-selftest/1"

#: killed: an example violates the law. survived: some example could tell, and none does. inconclusive: none could
#: tell. timed_out: the examples took too long together, which kills nothing.
TrialVerdict: TypeAlias = Literal["killed", "survived", "inconclusive", "timed_out"]
KindName: TypeAlias = Literal["semantic", "numerical", "behaviour"]
#: survived: no law kills a mutant where one must. toothless: a law does not kill a mutant that it names. accused: a
#: right implementation breaks a law. unusable: a right implementation cannot be called at all.
FailureKind: TypeAlias = Literal["survived", "toothless", "accused", "unusable"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user chose, and how long it took.

    Attributes:
        seed: of every random choice.
        examples: how many cases of a law each subject is tried with at most.
        formats: names of the formats, widest first.
        complete: whether every law and every mutant took part.
        patience: the seconds that one subject may take with one law in one format.
        jobs: how many processes worked.
        seconds: how long it took.
        started: ISO 8601, UTC.
    """

    seed: int
    examples: Count
    formats: list[str]
    complete: bool
    patience: Seconds
    jobs: Count
    seconds: Seconds
    started: str


class Law(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A law that took part.

    Attributes:
        id: its name.
        theme: its group.
        statement: the law in one sentence.
        formats: where an audit judges it: widest or each.
        mutants: the mutants that it names.
        seconds: how long it took in each format.
    """

    id: str
    theme: str
    statement: str
    formats: Literal["widest", "each"]
    mutants: list[str]
    seconds: dict[str, Seconds]


class Mutant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wrong implementation that took part.

    Attributes:
        name: what laws call it.
        theme: its group.
        kind: what sort of thing is wrong.
        defect: what is wrong.
        effect: by format, its largest error over the tolerance on rows that no law has drawn; None if it took too long.
        expected: the formats in which a law must kill it.
    """

    name: str
    theme: str
    kind: KindName
    defect: str
    effect: dict[str, Real | None]
    expected: list[str]


class Variant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A right implementation that no law may accuse.

    Attributes:
        name: what it is called.
        oddity: what is unusual about it.
        computes: the formula that it is judged by.
    """

    name: str
    oddity: str
    computes: str


class Trial(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One law against one subject in one format.

    Attributes:
        verdict: killed, survived, inconclusive or timed out.
        examples: how many cases were tried, the killing one included.
        ratio: the killing case's error over tolerance, or the largest one of those that killed nothing.
        observed: what the subject did with the killing case.
    """

    verdict: TrialVerdict
    examples: Count
    ratio: Real
    observed: str = ""


class Pair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One law against one subject.

    Attributes:
        law: the law's id.
        subject: the name of the mutant or variant.
        reason: why the law does not apply; empty if it does.
        trials: by format; none where it was not tried, as it survived the law in binary64 and an audit judges the law
            only there, or where an example of the law is expensive.
    """

    law: str
    subject: str
    reason: str
    trials: dict[str, Trial]


class Failure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that is not as it must be.

    Attributes:
        kind: what sort of thing.
        subject: the name of the mutant or variant.
        law: the law's id, or None where no single law is to blame.
        format: the format, or None for all.
        text: what happened, in one sentence.
        case: the case that shows it, in decimal and hexadecimal; empty where there is none.
    """

    kind: FailureKind
    subject: str
    law: str | None
    format: str | None
    text: str
    case: str


class SelfTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A self-test: who took part, what each trial said, and what is not as it must be."""

    schema: Literal["polyref-selftest/1"] = SCHEMA
    environment: Environment
    settings: Settings
    laws: list[Law]
    mutants: list[Mutant]
    variants: list[Variant]
    failures: list[Failure]
    kills: list[Pair]
    variant_trials: list[Pair]

    @property
    def exit_code(self) -> int:
        """0 when every kill that is due happened and nobody was accused, 1 if not, 3 when no law could tell."""
        if self.failures:
            return 1
        tried = (t for p in (*self.kills, *self.variant_trials) for t in p.trials.values())
        return 0 if any(t.verdict in ("killed", "survived") for t in tried) else 3


def dumps(document: SelfTest) -> bytes:
    """The document as JSON, one line for each member of a list, the same bytes for an equal document.

    Raises:
        TypeError: if a field holds a value of another type than declared, so that it could not be read back.
    """
    fields = [f'"{name}": {_lines(value)}' for name, value in structs.plain(document).items()]
    data = ("{\n" + ",\n".join(fields) + "\n}\n").encode()
    try:
        _DECODER.decode(data)
    except msgspec.ValidationError as e:
        raise TypeError(f"the document does not follow {SCHEMA}: {e}") from e
    return data


def _lines(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(msgspec.json.encode(item).decode() for item in value) + "\n]"
    return msgspec.json.encode(value).decode()


def loads(data: bytes, *, name: str = "the document") -> SelfTest:
    """The document in ``data``; ``name`` is what to call it in a message.

    Raises:
        UsageError: if it is no document of this schema.
    """
    return structs.loads(data, _DECODER, schema=SCHEMA, kind="self-test", name=name)


def write(document: SelfTest, path: str | os.PathLike[str]) -> None:
    """Write the document as JSON, whole or not at all.

    Raises:
        UsageError: if the file cannot be written.
        TypeError: if a field holds a value of another type than declared.
    """
    write_atomically(path, dumps(document))


def read(path: str | os.PathLike[str]) -> SelfTest:
    """Read a document.

    Raises:
        UsageError: if the file cannot be read or is no document of this schema; one line that names the file.
    """
    return loads(structs.read_bytes(path), name=os.fspath(path))


_DECODER = structs.decoder(SelfTest)

"""What every document has in common: numbers that may be infinite, strict reading, one line for what cannot be read.

JSON has no infinities and no NaN, so a float that is one travels as the string "inf", "-inf" or "nan".
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec

from polyref.errors import UsageError
from polyref.report.files import why
from polyref.report.words import visible

#: No honest document comes near this many bytes.
LARGEST = 64 * 2**20

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]

Verdict: TypeAlias = Literal["holds", "violated", "inconclusive", "not_applicable"]
Quantity: TypeAlias = Literal["value", "gradient"]
GradeName: TypeAlias = Literal["correctly rounded", "faithful", "accurate", "textbook", "degraded", "broken"]

if TYPE_CHECKING:
    Real: TypeAlias = float
else:

    class Real(float):
        """A float field that may be infinite or NaN; a plain float may be given wherever one is asked for."""


_SPECIAL = frozenset({"inf", "-inf", "nan"})
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class _Head(msgspec.Struct):
    """The only field that is read before the schema is known to be ours."""

    schema: str


def decoder(kind: type[_Struct]) -> msgspec.json.Decoder[_Struct]:
    """What reads documents of a kind."""
    return msgspec.json.Decoder(kind, dec_hook=_decode)


def plain(document: Any) -> Any:
    """A document, or a part of one, as dicts, lists, numbers and strings that JSON and UTF-8 can hold.

    Raises:
        TypeError: if it holds a value of another type.
    """
    return jsonable(msgspec.to_builtins(document, enc_hook=_encode))


def converted(data: Any, kind: type[_Struct]) -> _Struct:
    """What :func:`plain` made of a struct, as that struct.

    Raises:
        msgspec.ValidationError: if it is none.
    """
    return msgspec.convert(data, kind, dec_hook=_decode)


def text(document: msgspec.Struct) -> bytes:
    """A document as JSON, indented, the same bytes for an equal document.

    Raises:
        TypeError: if it holds a value of another type than JSON has.
    """
    return msgspec.json.format(msgspec.json.encode(plain(document)), indent=1) + b"\n"


def loads(data: bytes, reader: msgspec.json.Decoder[_Struct], *, schema: str, kind: str, name: str) -> _Struct:
    """The document in ``data``.

    Args:
        data: JSON.
        reader: of :func:`decoder`.
        schema: the only one that is read.
        kind: what such a document is of, in messages: audit.
        name: what to call it in messages.

    Raises:
        UsageError: if it is no document of this schema.
    """
    found = schema_of(data, kind=kind, name=name)
    if found != schema:
        raise UsageError(f"{visible(name)} has the schema {visible(repr(found))}: this polyref reads {schema!r}")
    return strictly(data, reader, kind=kind, name=name)


def schema_of(data: bytes, *, kind: str, name: str) -> str:
    """The schema that a document names; the arguments are those of :func:`loads`.

    Raises:
        UsageError: if it is no document.
    """
    return strictly(data, _HEAD, kind=kind, name=name).schema


def strictly(data: bytes, reader: msgspec.json.Decoder[_Struct], *, kind: str, name: str) -> _Struct:
    """What is in ``data``, which must be as declared; the arguments are those of :func:`loads`.

    Raises:
        UsageError: if it is not.
    """
    name = visible(name)
    if len(data) > LARGEST:
        raise UsageError(f"{name} is larger than {LARGEST >> 20} MiB, so it is no {kind} document")
    try:
        return reader.decode(data)
    except msgspec.ValidationError as e:
        raise UsageError(f"{name} is no {kind} document: {visible(str(e))}") from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise UsageError(f"{name} is no whole JSON file: {visible(str(e))}") from e


def has(data: bytes, field: str) -> bool:
    """Whether ``data`` is a JSON object with this field; False for what is no JSON."""
    try:
        return len(data) <= LARGEST and field in msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a document, never many more than the largest one has, whatever the file claims to be.

    Raises:
        UsageError: if the file cannot be read; one line that names it.
    """
    try:
        with Path(path).open("rb") as stream:
            return stream.read(LARGEST + 1)
    except (OSError, ValueError) as e:
        raise UsageError(f"cannot read {visible(os.fspath(path))}: {why(e)}") from e


def jsonable(value: Any) -> Any:
    """``value`` with non-finite floats as strings, and strings that UTF-8 can hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {jsonable(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    return value


def _encode(value: Any) -> Any:
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"a document cannot hold a {type(value).__name__}")


def _decode(kind: type[Any], value: Any) -> Any:
    if kind is Real:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return Real(value)
        if isinstance(value, str) and value in _SPECIAL:
            return Real(value)
        raise ValueError(f"Expected a number, 'inf', '-inf' or 'nan', got {value!r:.40}")
    raise TypeError(f"a document has no field of type {kind.__name__}")


_HEAD = decoder(_Head)

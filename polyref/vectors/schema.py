"""How golden vectors are written: one JSON object a line, the first a header, and the JSON schema of both.

The fields of a line stand in the order in which they are declared here, without blanks between them, so that a program
without a JSON parser can find them by their names.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from polyref.case import Case
from polyref.report.structs import Count

SCHEMA: Literal["polyref-vectors/1"] = "polyref-vectors/1"

FormatName: TypeAlias = Literal["binary64", "binary32", "binary16", "bfloat16", "e5m2", "e4m3"]
#: C99: ``-0x1.8p+1``; or inf, -inf, nan.
Hex: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^(-?0x[01](\.[0-9a-f]+)?p[+-][0-9]+|-?inf|nan)$")]
Bits: TypeAlias = Annotated[str, msgspec.Meta(pattern="^0x([0-9a-f]{2}){1,8}$")]
Decimal: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^(-?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?|-?inf|nan)$")]
Ulps: TypeAlias = Annotated[float, msgspec.Meta(ge=0)]
HexRow: TypeAlias = list[Hex]
BitsRow: TypeAlias = list[Bits]


class Defect(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wrong implementation that the vectors were tried on.

    Attributes:
        name: what it is called.
        defect: the one thing that is wrong with it, in a few words.
    """

    name: str
    defect: str


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line: what the vectors are of, and what made them.

    Attributes:
        schema: of every line.
        format: the format that inputs and results are numbers of.
        specs: the losses, as ``--spec`` takes them.
        seed: of the inputs.
        vectors: how many lines follow.
        made_by: the versions of what made them.
        defects: the defects that are caught; the vectors name them by their places in this list.
        uncaught: the names of defects that were tried and do not show, in one call and beyond the tolerance, on any
            vector: what ends in a second call, a shape, a refusal.
    """

    schema: Literal["polyref-vectors/1"] = SCHEMA
    format: FormatName
    specs: list[str]
    seed: int
    vectors: Count
    made_by: dict[str, str]
    defects: list[Defect]
    uncaught: list[str]


class Loss(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mathematics of the loss; its numbers are exact in binary64.

    Attributes:
        link: how logits become probabilities.
        epsilon: eps_1, ..., eps_N.
        gamma: the focal exponent.
        weighting: which parts the class weight multiplies.
        smoothing: label smoothing, as torch defines it.
        reduction: none; sum; mean, by the sum of the weights of the targets where these are indices, else by the rows
            that are not ignored (under the sigmoid link by their elements); mean_over_samples, by these rows.
        alpha: the factor on the logarithm of a sigmoid's target, 1 - alpha elsewhere.
        alpha_on_polynomial: whether it is on the polynomial too.
        polynomial_link: the link of the polynomial, where it is another one.
        polynomial_gamma: its focal exponent, where it is another one.
    """

    link: Literal["softmax", "sigmoid"]
    epsilon: list[Hex]
    gamma: Hex
    weighting: Literal["both", "ce_only", "rescaled_p"]
    smoothing: Hex
    reduction: Literal["none", "sum", "mean", "mean_over_samples"]
    alpha: Hex | None
    alpha_on_polynomial: bool
    polynomial_link: Literal["softmax", "sigmoid"] | None
    polynomial_gamma: Hex | None


class Enclosed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A midpoint and a radius that certainly contain the exact result, in decimal and, narrower, in hexadecimal.

    Attributes:
        mid: the midpoint in decimal.
        rad: the radius in decimal; it covers the rounding of ``mid``.
        hex_mid: the midpoint, exact; its exponent may be far below that of every format.
        hex_rad: the radius around ``hex_mid``.
    """

    mid: Decimal
    rad: Decimal
    hex_mid: Hex
    hex_rad: Hex


class Enclosures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The enclosure of every result."""

    value: list[Enclosed]
    gradient: list[list[Enclosed]]


class Radii(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far each result may be from the exact one, in ulps of the format at the exact one.

    null where nothing bounds a correct evaluation, as an intermediate result may overflow; it has to be a number then.
    """

    value: list[Ulps | None]
    gradient: list[list[Ulps | None]]


class Caught(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The defects that were measured to be at least twice the tolerance off here, by their places in the header."""

    value: list[Count]
    gradient: list[Count]


class Vector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One exact input, what is exact about its result, and what it is there to catch.

    Attributes:
        id: what an answer names.
        about: what is special about the input.
        regime: the range of Pt that its least certain row lies in.
        catches: the defects that this vector is there for, in words.
        rows: N.
        classes: C.
        loss: the mathematics.
        logits: N rows of C numbers of the format.
        logits_bits: their bit patterns.
        target: N class indices from 0, or null for soft targets.
        soft_target: N rows of C shares, or null for indices.
        soft_target_bits: their bit patterns.
        weight: C class weights, or null for ones.
        weight_bits: their bit patterns.
        ignore_index: a row with this target counts for nothing.
        value: the loss rounded correctly: one number a row (an element under the sigmoid link) where the reduction is
            none, else a single one.
        value_bits: their bit patterns.
        gradient: N rows of C derivatives in the logits, of the reduced loss, or of the sum where the reduction is none.
        gradient_bits: their bit patterns.
        enclosure: of each exact result.
        tolerance: how far correct textbook evaluations in the format may be off.
        accurate: how far one that cancels nowhere may be off.
        beyond: every defect that shows here.
    """

    id: str
    about: str
    regime: str
    catches: list[str]
    rows: Annotated[int, msgspec.Meta(ge=1)]
    classes: Annotated[int, msgspec.Meta(ge=1)]
    loss: Loss
    logits: list[HexRow]
    logits_bits: list[BitsRow]
    target: list[int] | None
    soft_target: list[HexRow] | None
    soft_target_bits: list[BitsRow] | None
    weight: HexRow | None
    weight_bits: BitsRow | None
    ignore_index: int
    value: list[Hex]
    value_bits: list[Bits]
    gradient: list[HexRow]
    gradient_bits: list[BitsRow]
    enclosure: Enclosures
    tolerance: Radii
    accurate: Radii
    beyond: Caught

    def case(self, format: str) -> Case:
        """The input.

        Raises:
            UsageError: if it is none.
        """
        return Case.from_json(
            {
                "format": format,
                "logits": self.logits,
                "target": self.target if self.target is not None else self.soft_target,
                "weight": self.weight,
                "ignore_index": self.ignore_index,
                "spec": msgspec.to_builtins(self.loss),
            }
        )


#: A number as a program may answer it; see :mod:`polyref.vectors.numbers`.
_NUMBER = {"type": ["number", "string", "null"]}
_ROW = {"type": "array", "items": _NUMBER}


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a program says to one vector, one JSON object a line.

    A number is a JSON number or decimal text, which is rounded to the format; a text that begins with 0x and has a p, a
    C99 hexadecimal float; a text that begins with 0x and has none, a bit pattern with all digits of the format; or
    "nan", "inf", "-inf". null is what the program does not do.

    Attributes:
        id: of the vector.
        value: one number, or a list of them where there are several.
        gradient: N rows of C numbers, or these one after the other.
        note: whatever else it has to say; it is not read.
    """

    id: str
    value: Annotated[Any, msgspec.Meta(extra_json_schema={"anyOf": [_NUMBER, _ROW]})] = None
    gradient: Annotated[
        Any,
        msgspec.Meta(
            extra_json_schema={"anyOf": [{"type": "null"}, {"type": "array", "items": {"anyOf": [_NUMBER, _ROW]}}]}
        ),
    ] = None
    note: str = ""


def json_schema() -> bytes:
    """The JSON schema of a line of golden vectors; that of a line of answers is ``#/$defs/Answer`` in it."""
    (header, vector, _), definitions = msgspec.json.schema_components(
        [Header, Vector, Answer], ref_template="#/$defs/{name}"
    )
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SCHEMA,
        "description": "A line of golden vectors: the header, which is the first one, or a vector.",
        "oneOf": [header, vector],
        "$defs": definitions,
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=1) + b"\n"

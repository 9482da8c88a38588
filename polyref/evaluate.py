"""``polyref eval``: numbers as a person writes them, and one loss, certified to the digits asked."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Literal

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import Format
from polyref.reference.enclosure import Enclosure
from polyref.reference.result import Result

EngineName = Literal["ball", "series"]

#: More than anybody reads, and still within seconds.
MOST_DIGITS = 100_000
#: Decimal exponents beyond this are beyond every format.
_FARTHEST = 5000
#: However few digits are asked for, the result rounds correctly to every format.
_FEWEST_BITS = 120
_HEX = re.compile(r"([+-]?)0x([0-9a-f]*)\.?([0-9a-f]*)(?:p([+-]?[0-9]{1,6}))?", re.ASCII)


def parse_number(text: str, fmt: Format, what: str) -> float:
    """A decimal or C99 hexadecimal number, rounded correctly to a format.

    Raises:
        UsageError: if it is no number, NaN, or beyond the format.
    """
    cleaned = text.strip().lower()
    exact = exact_number(cleaned)
    if exact is None:
        raise UsageError(f"{what} {text.strip()!r} is no number: write it in decimal or as 0x1.8p+1")
    if isinstance(exact, float):
        if math.isnan(exact):
            raise UsageError(f"{what} is {text.strip()!r}, which is no number of {fmt.name}: give a number")
        return exact
    value = fmt.round(exact)
    if not math.isfinite(value):
        raise UsageError(
            f"{what} {text.strip()!r} is beyond {fmt.name}, whose largest number is {fmt.largest!r}: "
            "give a smaller one, or choose a wider format"
        )
    return -0.0 if exact == 0 and cleaned.startswith("-") else value


def exact_number(cleaned: str) -> Fraction | float | None:
    """The number that a text stands for, exact; a float where it is infinite or NaN, None where it is no number."""
    if found := _HEX.fullmatch(cleaned):
        sign, whole, part, exponent = found.groups()
        if not whole + part:
            return None
        number = Fraction(int(whole + part, 16)) * Fraction(2) ** (int(exponent or "0") - 4 * len(part))
        return -number if sign == "-" else number
    try:
        decimal = Decimal(cleaned)
    except InvalidOperation:
        return None
    if not decimal.is_finite():
        return float(decimal) if decimal.is_infinite() else math.nan
    if decimal and abs(decimal.adjusted()) > _FARTHEST:
        return Fraction(0) if decimal.adjusted() < 0 else Fraction(10) ** _FARTHEST * (-1 if decimal < 0 else 1)
    return Fraction(decimal)


def parse_numbers(text: str, fmt: Format, what: str) -> tuple[float, ...]:
    """Numbers separated by commas; none for an empty text.

    Raises:
        UsageError: as :func:`parse_number`.
    """
    return tuple(parse_number(part, fmt, what) for part in text.split(",")) if text.strip() else ()


@dataclass(frozen=True)
class Evaluation:
    """A case of one row, its exact result, and how many digits of it are wanted."""

    case: Case
    result: Result
    digits: int

    @property
    def value(self) -> Enclosure:
        """The loss of the row (the sum over the logits under the sigmoid link)."""
        return self.result.value[0]

    @property
    def pt(self) -> Enclosure:
        """The probability of the target."""
        row = self.result.pt[0]
        target = self.case.target[0]
        return row[target] if len(row) > 1 and isinstance(target, int) else row[0]


def evaluate(case: Case, *, digits: int, engine: EngineName) -> Evaluation:
    """Evaluate a case to so many decimal digits.

    Raises:
        UsageError: for a number of digits below 1 or beyond :data:`MOST_DIGITS`.
    """
    if not 1 <= digits <= MOST_DIGITS:
        raise UsageError(f"{digits} digits cannot be had: ask for 1 to {MOST_DIGITS}")
    if case.ignored(0):
        raise UsageError(
            f"target {case.target[0]} is out of range: with {case.classes} classes give 0 to {case.classes - 1}"
        )
    bits = max(math.ceil(digits * math.log2(10)) + 8, _FEWEST_BITS)
    if engine == "ball":
        from polyref.reference import ball  # noqa: PLC0415 - only the engine that is asked for is loaded

        return Evaluation(case, ball.evaluate(case, bits=bits, max_bits=max(1 << 16, 4 * bits)), digits)
    from polyref.reference import series  # noqa: PLC0415

    return Evaluation(case, series.evaluate(case, bits=bits, max_bits=max(1 << 16, 4 * bits)), digits)


def as_json(evaluation: Evaluation) -> str:
    """The result as JSON: midpoints to the digits asked, radii that cover what the digits leave out."""

    def pair(enclosure: Enclosure) -> dict[str, str]:
        mid, rad = enclosure.decimal(evaluation.digits)
        return {"mid": mid, "rad": rad}

    data: dict[str, Any] = {
        "value": pair(evaluation.value),
        "gradient": [pair(g) for g in evaluation.result.gradient[0]],
        "pt": pair(evaluation.pt),
        "engine": evaluation.result.engine,
    }
    return json.dumps(data, indent=2)

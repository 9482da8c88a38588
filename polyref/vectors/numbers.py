"""Numbers as golden vectors hold them, and as a program in any language may answer them.

A vector has every number of its format twice: as a C99 hexadecimal float (``0x1.8p+1``, or ``inf``, ``-inf``, ``nan``)
and as the bit pattern (``0x40400000``), for a program whose language has no such format. An answer may be

    a JSON number, or a text in decimal    rounded to the format, ties to even
    a text that begins with 0x and has a p    a C99 hexadecimal float, taken as it stands
    a text that begins with 0x and has none   a bit pattern: as many digits as the format has, no more and no fewer
    "nan", "inf", "-inf"                      and what C prints for them
"""

from __future__ import annotations

import math
import re
from typing import Any

from polyref.errors import UsageError
from polyref.evaluate import exact_number
from polyref.formats import BINARY64, Dyadic, Format

_HEX = re.compile(r"(-?)0x([01])(?:\.([0-9a-f]{1,100000}))?p([+-][0-9]{1,20})", re.ASCII)
_NAN = re.compile(r"[+-]?nan(\(.*\))?")
_INFINITY = re.compile(r"([+-]?)inf(inity)?")


def hexadecimal(value: float | Dyadic) -> str:
    """A number as C99 writes it, without zeros at the end, whatever its exponent."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        if value == 0.0:
            return "-0x0p+0" if math.copysign(1.0, value) < 0 else "0x0p+0"
        value = Dyadic.from_float(value)
    man, exp = value
    if man == 0:
        return "0x0p+0"
    places = abs(man).bit_length() - 1
    digits = -(-places // 4)
    fraction = (abs(man) - (1 << places)) << (4 * digits - places)
    text = f"{fraction:0{digits}x}".rstrip("0") if digits else ""
    return f"{'-' if man < 0 else ''}0x1{'.' if text else ''}{text}p{exp + places:+d}"


def read_exact(text: str) -> Dyadic:
    """The finite number that :func:`hexadecimal` wrote.

    Raises:
        UsageError: if it wrote no such text.
    """
    found = _HEX.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r:.80} is no hexadecimal number: write it as 0x1.8p+1")
    sign, whole, part, exponent = found.groups()
    part = part or ""
    man = int(whole + part, 16)
    return Dyadic(-man if sign else man, int(exponent) - 4 * len(part))


def read_number(text: str) -> float:
    """The number of a format that :func:`hexadecimal` wrote.

    Raises:
        UsageError: if it is none, or one that binary64 does not hold.
    """
    if text in ("inf", "-inf", "nan"):
        return float(text)
    value = read_exact(text)
    if value.man == 0:
        return -0.0 if text.startswith("-") else 0.0
    number = BINARY64.round(value)
    if not math.isfinite(number) or Dyadic.from_float(number).compare(value) != 0:
        raise UsageError(f"{text!r:.80} is no number of any format: write one that the format holds")
    return number


def pattern(value: float, fmt: Format) -> str:
    """The bit pattern of a number of a format, with all of its digits."""
    return f"0x{fmt.encode(value):0{fmt.bits // 4}x}"


def answered(given: Any, fmt: Format) -> float:
    """The number that a program answered, by the rules at the head; decimals arrive as texts, so that none is lost.

    Raises:
        UsageError: if it is no number.
    """
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise UsageError(f"{given!r:.80} is no number: {_rule(fmt)}")
    text = str(given).strip().lower()
    if _NAN.fullmatch(text):
        return math.nan
    if found := _INFINITY.fullmatch(text):
        return -math.inf if found[1] == "-" else math.inf
    if text.startswith("0x") and "p" not in text:
        if not re.fullmatch(rf"0x[0-9a-f]{{{fmt.bits // 4}}}", text, re.ASCII):
            raise UsageError(f"{given!r:.80} is no bit pattern of {fmt.name}: {_rule(fmt)}")
        return fmt.decode(int(text, 16))
    number = exact_number(text)
    if number is None or isinstance(number, float) or ("0x" in text and "p" not in text):
        raise UsageError(f"{given!r:.80} is no number: {_rule(fmt)}")
    value = (BINARY64 if "0x" in text else fmt).round(number)
    return -0.0 if value == 0.0 and text.startswith("-") else value


def _rule(fmt: Format) -> str:
    return (
        f"write a number, a text such as '0x1.8p+1', the bit pattern 0x with {fmt.bits // 4} digits, 'nan', 'inf', "
        "or null for what the program does not do"
    )

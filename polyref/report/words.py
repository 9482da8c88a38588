"""How a report says things, on every page the same: numbers, counts, headlines, and what a subject wrote.

What comes from a subject (a name, a docstring, an exception) may hold anything. :func:`visible` is the gate through
which all of it passes on its way to a person.
"""

from __future__ import annotations

import math
import unicodedata

#: Longer texts are cut on a page; the JSON document keeps all of it.
LONGEST = 4000

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def visible(text: str, *, lines: bool = False, whole: bool = False) -> str:
    """``text`` with every control, bidirectional and other invisible character made visible, and cut if very long.

    With ``lines`` newlines are kept as they are, and tabs become spaces. With ``whole`` nothing is cut: a command that
    is to be copied is of no use without its end.
    """
    rest = 0 if whole else len(text) - LONGEST
    cut = "".join(_shown(c, lines) for c in (text[:LONGEST] if rest > 0 else text))
    return cut if rest <= 0 else f"{cut} … ({rest:,} more characters)"


def _shown(char: str, lines: bool) -> str:
    if " " <= char <= "~":
        return char
    if lines and char in "\n\t":
        return char if char == "\n" else "    "
    # Controls, formats (bidirectional overrides, zero-width joiners), surrogates, private use, unassigned, separators.
    if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return f"⟨U+{ord(char):04X}⟩"
    return char


def number(value: float | None, *, superscript: bool = False) -> str:
    """``value`` to 3 significant digits, ∞ for an infinity, and a dash for none.

    Exponents are written ``2.00e14``, or with ``superscript`` ``2.00×10¹⁴``.
    """
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    digits, exponent = f"{value:.2e}".split("e")
    power = int(exponent)
    if -3 <= power <= 3:
        return f"{float(f'{digits}e{power}'):.{max(2 - power, 0)}f}"
    return f"{digits}×10{raised(power)}" if superscript else f"{digits}e{power}"


def raised(power: int) -> str:
    """``power`` in superscript digits."""
    return str(power).translate(_SUPERSCRIPTS)


def count(n: int, one: str, many: str | None = None) -> str:
    """``1 law``, ``12,345 laws``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"

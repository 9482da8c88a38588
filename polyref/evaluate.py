"""``polyref eval``: one loss, certified to the digits asked, and how its series adds up to it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, Format
from polyref.reference.enclosure import Enclosure
from polyref.reference.result import Result
from polyref.spec import Link

EngineName = Literal["ball", "series"]

#: More than anybody reads, and still within seconds.
MOST_DIGITS = 100_000
_TERMS = 8


def parse_number(text: str, fmt: Format, what: str) -> float:
    """A decimal or C99 hexadecimal number, rounded correctly to a format.

    Raises:
        UsageError: if it is no number, or NaN.
    """
    cleaned = text.strip().lower()
    try:
        if "0x" in cleaned:
            value = fmt.round(float.fromhex(cleaned))
        else:
            decimal = Decimal(cleaned)
            if decimal.is_infinite():
                value = math.inf if decimal > 0 else -math.inf
            elif decimal.is_nan():
                value = math.nan
            elif decimal and abs(decimal.adjusted()) > 100_000:
                raise UsageError(f"{what} {text.strip()!r} is far beyond {fmt.name}: give a number of its range")
            else:
                value = fmt.round(Fraction(decimal))
    except (InvalidOperation, ValueError, OverflowError) as e:
        if isinstance(e, UsageError):
            raise
        raise UsageError(f"{what} {text.strip()!r} is no number: write it in decimal or as 0x1.8p+1") from e
    if math.isnan(value):
        raise UsageError(f"{what} is {text.strip()!r}, which is no number of {fmt.name}: give a number")
    return value


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
    bits = math.ceil(digits * math.log2(10)) + 8
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


def show(evaluation: Evaluation, console: Console) -> None:
    """The result for a person: input as it is held, value, gradient, and the first terms of the series."""
    case, digits = evaluation.case, evaluation.digits
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    logits = ", ".join(_held(z) for z in case.logits[0])
    facts.add_row("logits", Text(f"{logits}   ({case.format.name})"))
    facts.add_row("law", Text(_law(case)))
    facts.add_row("Pt", Text(_with_radius(evaluation.pt, digits)))
    facts.add_row("loss", Text(_with_radius(evaluation.value, digits), "bold"))
    for k, g in enumerate(evaluation.result.gradient[0]):
        facts.add_row(f"dl/dz_{k}", Text(_with_radius(g, digits)))
    slope = evaluation.result.pt_gradient[0]
    if slope is not None:
        facts.add_row("dl/dPt", Text(_with_radius(slope, digits)))
    rounded = ((f, evaluation.value.rounded(f)) for f in (BINARY64, BINARY32, BINARY16, BFLOAT16))
    nearest = "   ".join(f"{f.name} {v!r}" for f, v in rounded if v is not None)
    facts.add_row("rounds to", Text(nearest, "dim"))
    console.print(facts)
    if not case.spec.mixed:
        console.print()
        console.print(_series(evaluation))


def _series(evaluation: Evaluation) -> Table:
    """The first terms and their running sum: what PolyLoss is about."""
    from polyref.reference import series  # noqa: PLC0415

    case = evaluation.case
    target = case.target[0]
    y = target if isinstance(target, int) else 0
    response = case.spec.responses(case.weight, case.classes).positive[y]
    pt = evaluation.pt
    one = Enclosure.exactly(1.0)
    x = Enclosure(one.mid.plus(pt.mid.negated()), pt.rad)
    gamma = "" if not response.gamma else f"{float(response.gamma):g}+"
    title = f"the series of the target's loss in x = 1 - Pt = {x.decimal(12)[0]}"
    table = Table(title=title, title_justify="left", title_style="dim", box=None, padding=(0, 2, 0, 0))
    table.add_column("term", no_wrap=True)
    table.add_column("coefficient", justify="right", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("running sum", justify="right", no_wrap=True)
    table.add_column("still to come, at most", justify="right", no_wrap=True)
    for term in series.terms(response, x, _TERMS):
        coefficient = f"{term.coefficient}" if term.coefficient.denominator < 1000 else f"{float(term.coefficient):.6g}"
        cells = (term.term.decimal(12)[0], term.total.decimal(12)[0], f"{float(term.rest):.3g}")
        table.add_row(f"x^({gamma}{term.j})" if gamma else f"x^{term.j}", coefficient, *cells)
    return table


def _law(case: Case) -> str:
    spec = case.spec
    target = case.target[0]
    w = case.weights[target] if isinstance(target, int) else Fraction(1)
    parts = [
        f"{spec.link}, target {target}",
        f"epsilon {', '.join(f'{e:g}' for e in spec.epsilon) or 'none'}",
        f"gamma {spec.gamma:g}",
    ]
    if case.weight is not None:
        parts.append(f"weight {float(w):g} ({spec.weighting})")
    if spec.link is Link.SIGMOID:
        parts.append("summed over the logits")
    return ", ".join(parts)


def _held(value: float) -> str:
    return f"{value:g}" if math.isinf(value) or float(f"{value:g}") == value else f"{value!r} = {value.hex()}"


def _with_radius(enclosure: Enclosure, digits: int) -> str:
    mid, rad = enclosure.decimal(digits)
    return mid if rad == "0" else f"{mid} ± {rad}"

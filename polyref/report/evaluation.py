"""One loss for a person who wants to understand it: law, certified numbers, and the series that adds up to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from polyref.case import Case
from polyref.evaluate import Evaluation
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, Dyadic, Format
from polyref.reference import ball, series
from polyref.reference.enclosure import Enclosure
from polyref.spec import Link, Reduction, Spec, Weighting

#: Terms that are shown: at least so many, two beyond the polynomial, at most so many.
_FEWEST, _MOST = 8, 20
#: Significant digits of the series, and the bits that make sure of them.
_DIGITS, _BITS = 10, 200
#: Losses from 1e-4 to 1e6 are printed in fixed point, so that the running sum settles before the reader's eyes.
_SMALLEST, _LARGEST = -4, 6
_LABEL = 10


class _Line(NamedTuple):
    label: str
    enclosure: Enclosure
    style: str = ""


def show(evaluation: Evaluation, console: Console) -> None:
    """Print the input as it is held, the law, value and gradient, and the first terms of the series."""
    for label, text in _facts(evaluation.case):
        _print(console, Text.assemble((label.ljust(_LABEL), "dim"), text))
    console.print()
    for line in _numbers(evaluation, console.width):
        _print(console, line)
    for label, text in _rounded(evaluation):
        _print(console, Text.assemble((label.ljust(_LABEL), "dim"), (text, "dim")))
    console.print()
    for line in _series(evaluation.case):
        _print(console, line)


def _print(console: Console, line: Text) -> None:
    """One line, never broken by us: a number of 1,000 digits is copied whole."""
    console.print(line, soft_wrap=True)


# --- what is evaluated ----------------------------------------------------------------------------------------------


def _facts(case: Case) -> list[tuple[str, str]]:
    spec, y = case.spec, _target(case)
    formula, names = _law(case)
    facts = [
        ("logits", f"{', '.join(map(_held, case.logits[0]))}   ({case.format.name})"),
        ("target", f"class {y} of {case.classes} (counted from 0), {spec.link}"),
        ("loss", formula),
    ]
    values = ["x = 1 - Pt", *(f"{name} = {value}" for name, value in names)]
    facts.append(("", "with " + ", ".join(values)))
    if spec.link is Link.SIGMOID:
        facts.append(("", "summed over the logits; where a logit is not the target, Pt is 1 - p"))
    return facts


def _target(case: Case) -> int:
    target = case.target[0]
    assert isinstance(target, int)
    return target


def _law(case: Case) -> tuple[str, list[tuple[str, str]]]:
    """The formula of the loss, and the letters in it with what they stand for."""
    spec, n = case.spec, len(case.spec.epsilon)
    weighted = case.weight is not None
    rescaled = weighted and spec.weighting is Weighting.RESCALED_P
    focal = "x^gamma " if spec.gamma else ""
    logarithm = f"{focal}(-log Pt)" if focal else "-log Pt"
    base = "(1 - Pt w/mu)" if rescaled else "x"

    def power(j: str) -> str:
        if spec.mixed:
            gamma = spec.gamma if spec.polynomial_gamma is None else spec.polynomial_gamma
            return f"mean_k x_k^({gamma:g}+{j})" if gamma else f"mean_k x_k^{j}"
        if rescaled:
            return f"{focal}{base}" + ("" if j == "1" else f"^{j}")
        return f"x^(gamma+{j})" if focal else "x" if j == "1" else f"x^{j}"

    if n == 0:
        polynomial = ""
    elif n <= 3:
        polynomial = " + ".join(f"eps{'' if n == 1 else f'_{j}'} {power(str(j))}" for j in range(1, n + 1))
    else:
        polynomial = f"sum_j eps_j {power('j')}"
    if not weighted:
        formula = f"{logarithm} + {polynomial}" if polynomial else logarithm
    elif spec.weighting is Weighting.BOTH:
        formula = f"w ({logarithm} + {polynomial})" if polynomial else f"w ({logarithm})"
    else:
        formula = f"w {logarithm if focal else '(-log Pt)'}" + (f" + {polynomial}" if polynomial else "")
    names = [("eps" if n == 1 else f"eps_1..{n}", ", ".join(map(_held, spec.epsilon)))] if n else []
    if focal:
        names.append(("gamma", _held(spec.gamma)))
    if spec.mixed:
        names.append(("x_k", "1 - Pt of logit k by itself, from sigmoid"))
    if case.weight is not None:
        names.append(("w", _held(case.weight[_target(case)])))
        if rescaled:
            names.append(("mu", _ratio(sum(case.weights, Fraction(0)) / case.classes)))
    return formula, names


def _held(value: float) -> str:
    """A number as it is held: in decimal, and in hexadecimal too where the short decimal is not exactly it."""
    short = f"{value:g}"
    return short if math.isinf(value) or float(short) == value else f"{value!r} = {value.hex()}"


# --- the certified numbers ------------------------------------------------------------------------------------------


def _numbers(evaluation: Evaluation, width: int) -> Iterable[Text]:
    """Pt, the loss and its derivatives, one a line, the decimal points under each other."""
    case, result = evaluation.case, evaluation.result
    lines = [_Line("Pt", evaluation.pt)]
    if len(parts := _elements(case)) > 1:
        lines += [_Line(f"loss of {k}", part) for k, part in enumerate(parts)]
    lines.append(_Line("loss", evaluation.value, "bold"))
    slope = result.pt_gradient[0]
    if slope is not None:
        lines.append(_Line("dl/dPt", slope))
    lines += [_Line(f"dl/dz_{k}", g) for k, g in enumerate(result.gradient[0])]
    shown = [_decimal(line.enclosure, evaluation.digits) for line in lines]
    before = max(len(_whole(mid)) for mid, _ in shown)
    padded = [(" " * (before - len(_whole(mid))) + mid, rad) for mid, rad in shown]
    longest = max(len(mid) for mid, _ in padded)
    for line, (mid, rad) in zip(lines, padded, strict=True):
        room = longest if _LABEL + longest + 13 <= width else 0
        text = Text.assemble((line.label.ljust(_LABEL), "dim"), (mid.ljust(room) if rad else mid, line.style))
        yield text.append(f"  {rad}", "dim") if rad else text


def _elements(case: Case) -> Sequence[Enclosure]:
    """The losses of the single logits under the sigmoid link, whose sum is the loss; else none."""
    if case.spec.link is not Link.SIGMOID:
        return ()
    return ball.evaluate(case.with_spec(reduction=Reduction.NONE), bits=_BITS).value


def _decimal(enclosure: Enclosure, digits: int) -> tuple[str, str]:
    """Midpoint and radius for a person: an exact number is short, and says so."""
    mid, rad = enclosure.decimal(digits)
    if enclosure.special is not None:
        return ("-infinite" if mid.startswith("-") else "infinite"), ""
    if rad != "0":
        return mid, f"± {rad}"
    return (mid.rstrip("0").rstrip(".") if "." in mid and "e" not in mid else mid), "exactly"


def _whole(mid: str) -> str:
    """What stands before the decimal point."""
    return mid.partition(".")[0].partition("e")[0]


def _rounded(evaluation: Evaluation) -> Iterable[tuple[str, str]]:
    """The loss rounded correctly to the common formats, two a line."""
    formats = list(dict.fromkeys([BINARY64, BINARY32, BINARY16, BFLOAT16, evaluation.case.format]))
    cells = [f"{fmt.name} {_shortest(evaluation.value.rounded(fmt), fmt)}" for fmt in formats]
    for i in range(0, len(cells), 2):
        pair = cells[i : i + 2]
        yield ("rounded" if i == 0 else ""), "   ".join([pair[0].ljust(27), *pair[1:]]).rstrip()


def _shortest(value: float | None, fmt: Format) -> str:
    """The shortest decimal that reads back as this number of the format."""
    if value is None:
        return "not decided by these digits"
    if not math.isfinite(value):
        return str(value)
    texts = (f"{value:.{digits}g}" for digits in range(1, 18))
    return next(text for text in texts if fmt.round(Fraction(text)) == value)


# --- the series -----------------------------------------------------------------------------------------------------


def _series(case: Case) -> Iterable[Text]:
    """The first terms, their running sum and what is still to come: what PolyLoss is about."""
    if case.spec.mixed:
        yield Text("No one series: the polynomial has probabilities of its own.", "dim")
        return
    y = _target(case)
    response = case.spec.responses(case.weight, case.classes).positive[y]
    x, loss = _x(case), _loss_of_target(case)
    if x.mid.man == 0 and x.rad.man == 0:
        yield Text("The series: x = 1 - Pt is 0, and with it every power of x.", "dim")
        return
    count = min(max(_FEWEST, len(response.epsilon) + 2), _MOST)
    terms = series.terms(response, x, count, bits=_BITS)
    places = _places([loss, *(t.total for t in terms)])
    head = ("power", "coefficient", "term", "running sum", "still to come")
    rows = [
        (
            _power(response.gamma + t.j),
            _coefficient(response.log_weight, t.j, response.coefficients),
            _number(t.term, places),
            _number(t.total, places),
            _number(_rest(loss, t), places),
        )
        for t in terms
    ]
    rows.append(("...", "", "", _number(loss, places), "the loss" + (f" of logit {y}" if _elements(case)[1:] else "")))
    yield Text(f"The loss as a series in x = 1 - Pt = {_short(x)}; {_rule(case)}", "dim")
    widths = [max(len(row[i]) for row in [head, *rows[:-1]]) for i in range(5)]
    for i, row in enumerate([head, *rows]):
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
        cells += [cell.rjust(width) for cell, width in zip(row[2:4], widths[2:4], strict=True)]
        cells.append(row[4].rjust(widths[4]) if i <= count else row[4])
        yield Text("  ".join(cells).rstrip(), "dim" if i == 0 else "")


def _x(case: Case) -> Enclosure:
    """1 - Pt without cancellation: minus the slope of the cross-entropy in the target's logit."""
    plain = replace(case, weight=None, spec=Spec(link=case.spec.link, epsilon=()))
    slope = ball.evaluate(plain, bits=_BITS).gradient[0][_target(case)]
    return Enclosure(slope.mid.negated(), slope.rad)


def _loss_of_target(case: Case) -> Enclosure:
    parts = ball.evaluate(case.with_spec(reduction=Reduction.NONE), bits=_BITS).value
    return parts[_target(case)] if case.spec.link is Link.SIGMOID else parts[0]


def _rest(loss: Enclosure, term: series.Term) -> Enclosure:
    """Loss minus running sum; where that cancels the terms fall so fast that the proven bound is as good."""
    if loss.special is not None:
        return loss
    difference = Enclosure(loss.mid.plus(term.total.mid.negated()), loss.rad.plus(term.total.rad))
    return difference if difference.bits() > 4 * _DIGITS else term.rest


def _rule(case: Case) -> str:
    """The coefficient of the power of index j, in the letters of the law."""
    if case.weight is None:
        return "coefficient 1/j + eps_j"
    if case.spec.weighting is Weighting.BOTH:
        return "coefficient w (1/j + eps_j)"
    if case.spec.weighting is Weighting.CE_ONLY:
        return "coefficient w/j + eps_j"
    return "coefficient w/j, and what\n(1 - Pt w/mu)^j = (1 - w/mu + x w/mu)^j adds, expanded in x"


def _power(exponent: Fraction) -> str:
    return f"x^{float(exponent):g}" if exponent else "1"


def _coefficient(log_weight: Fraction, j: int, polynomial: Sequence[Fraction]) -> str:
    """``1/2 - 1/2 = 0``: what the logarithm gives, what the polynomial adds, and the sum."""
    c = polynomial[j] if j < len(polynomial) else Fraction(0)
    if j == 0:
        return _ratio(c)
    ours = _ratio(log_weight / j)
    if j >= len(polynomial):
        return ours
    return f"{ours} {'-' if c < 0 else '+'} {_ratio(abs(c))} = {_ratio(log_weight / j + c)}"


def _ratio(value: Fraction) -> str:
    """A short fraction as it is, any other in decimal."""
    return f"{float(value):.6g}" if value.denominator > 999 or abs(value) >= 10**6 else str(value)


def _places(sums: Iterable[Enclosure]) -> int | None:
    """Decimal places for the whole table; None where its numbers are too large or too small for fixed point."""
    sizes = [abs(float(s)) for s in sums if s.special is None]
    largest = max(sizes, default=0.0)
    if not 10.0**_SMALLEST <= largest < 10.0**_LARGEST:
        return None
    return _DIGITS - 1 - math.floor(math.log10(largest))


def _number(enclosure: Enclosure, places: int | None) -> str:
    if enclosure.special is not None:
        return "infinite"
    if enclosure.mid.man == 0:
        return "0"
    small = places is not None and enclosure.mid.magnitude < -math.log2(10) * (places - 1)
    if places is None or small:
        return enclosure.decimal(3 if small else 7)[0]
    scaled = round(_fraction(enclosure.mid) * 10**places)
    digits = str(abs(scaled)).rjust(places + 1, "0")
    return f"{'-' if scaled < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _fraction(value: Dyadic) -> Fraction:
    return Fraction(value.man) * Fraction(2) ** value.exp


def _short(enclosure: Enclosure) -> str:
    mid, rad = enclosure.decimal(12)
    return mid if rad != "0" else _decimal(enclosure, 12)[0]

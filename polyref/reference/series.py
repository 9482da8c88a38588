"""The series engine: the definition of the loss, summed term by term, with any number of proven digits.

With Pt the target's probability, x = 1 - Pt and C_i the exact coefficients of a :class:`~polyref.spec.Response`,

    l = A x^gamma (-log Pt) + x^gamma sum_i C_i x^i = C_0 x^gamma + sum_{j>=1} (A/j + C_j) x^(gamma+j).

For x <= 1/2 this series itself is summed, so eps_j = -1/j leaves an exact zero and not a difference. Above, the
logarithm is that of Pt = 2^-k q with q in (1/2, 1], and log q and log 2 come from the same series. Probabilities are
quotients of sums of exponentials, x as well: nothing is ever subtracted from 1.

The arithmetic and its proofs are in ``_intervals``, one class's loss in ``_expansion``, rows and gradients in
``_rows``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import Dyadic
from polyref.reference._expansion import Expansion, Extended, enclosure, times
from polyref.reference._intervals import Interval, Reals
from polyref.reference._rows import Batch, Finished, Wanted
from polyref.reference.enclosure import ZERO, Enclosure
from polyref.reference.result import Result
from polyref.spec import Link, Reduction, Response

_GUARD_BITS = 24
_MAX_BITS = 1 << 16
#: An output that still may be 0 this many bits beyond the wanted ones is given up as exactly 0. Logits differ by
#: 2^-1074 at least, so what cancels to the first or second order in them is told from 0 well before.
_HOPELESS_BITS = 3200

_EXACT_ZERO = Enclosure(ZERO, ZERO)
_NAN = Enclosure(ZERO, ZERO, math.nan)


def evaluate(case: Case, *, bits: int = 120, floor: int | None = None, max_bits: int = _MAX_BITS) -> Result:
    """The loss of a case, its gradient and its probabilities, N rows of C logits, as proven enclosures.

    Args:
        case: the exact input.
        bits: the relative radius wanted, 2^-bits for every output.
        floor: an absolute radius of 2^floor will do as well.
        max_bits: the largest working precision; an output not narrow enough with it comes back as wide as it is.

    Raises:
        UsageError: for a polynomial of its own link under the sigmoid, and for rescaled weights of mean 0.
    """
    count = len(case.logits)
    kept = [i for i in range(count) if not case.ignored(i)]
    rows: dict[int, Finished] = {}
    stale = kept
    prec = min(bits + _GUARD_BITS + (count * case.classes).bit_length(), max_bits)
    while True:
        batch = Batch(case, Reals.at(prec))
        wanted = Wanted(bits, floor, prec >= bits + _HOPELESS_BITS)
        for i in stale:
            rows[i] = batch.finish(i, wanted)
        values, unsettled = _reduced(batch, rows, wanted)
        stale = [i for i in kept if i in unsettled or not rows[i].settled]
        if not stale or prec >= max_bits:
            break
        prec = min(2 * prec, max_bits)
    blank = _NAN if case.denominator == 0 else _EXACT_ZERO
    absent = Finished([], (blank,) * case.classes, (), None, True)
    every = [rows.get(i, absent) for i in range(count)]
    return Result(
        value=values,
        gradient=tuple(row.gradient for row in every),
        pt=tuple(row.pt for row in every),
        pt_gradient=tuple(row.pt_gradient for row in every),
        engine="series",
        bits=prec,
    )


def derivative(response: Response, pt: Enclosure | Fraction, order: int, *, bits: int = 120) -> Enclosure:
    """The derivative d^order l / dPt^order at Pt in [0, 1]; at the ends the one-sided limit, infinite or not.

    A rational or exact Pt gives a relative radius of at most 2^-bits, an enclosure of Pt as much as it allows.

    Raises:
        UsageError: for a negative order, a Pt outside [0, 1], or an enclosure that reaches a pole.
    """
    if order < 0:
        raise UsageError(f"order {order} is not allowed: give 0 for the value, 1 for the slope, and so on")
    exact = isinstance(pt, Fraction) or pt.rad.man == 0
    _check_unit("Pt", pt)
    prec = bits + _GUARD_BITS + 4 * order
    found: Enclosure | None = None
    while True:
        reals = Reals.at(prec)
        wanted = Wanted(bits, None, prec >= bits + _HOPELESS_BITS)
        if isinstance(pt, Fraction):
            p, x = reals.rational(pt), reals.rational(1 - pt)
        else:
            p = reals.clip(reals.enclosed(pt))
            x = reals.clip(reals.one - p)
        slope = Expansion(response, reals).jet(x, p, (order,))[0]
        before, found = found, enclosure(reals, times(slope, -1 if order % 2 else 1))
        if wanted.settles(found) or prec >= _MAX_BITS:
            return found
        if not exact and before is not None and _doubled(found.rad).compare(before.rad) > 0:
            return found
        prec *= 2


def _reduced(
    batch: Batch, rows: Mapping[int, Finished], wanted: Wanted
) -> tuple[tuple[Enclosure, ...], Collection[int]]:
    """The loss as the reduction gives it, and the rows whose values it needs to more digits."""
    case = batch.case
    if case.spec.reduction is Reduction.NONE:
        each = case.classes if case.spec.link is Link.SIGMOID else 1
        found = [
            [batch.enclose(v) for v in rows[i].values] if i in rows else [_EXACT_ZERO] * each
            for i in range(len(case.logits))
        ]
        return tuple(chain.from_iterable(found)), ()
    total = batch.total(chain.from_iterable(row.values for row in rows.values()))
    if wanted.settles(total):
        return (total,), ()
    size = max(total.mid.magnitude, total.rad.magnitude) - wanted.bits - len(rows).bit_length()
    wide = {i for i, row in rows.items() if any(batch.radius(v) > size for v in row.values)}
    return (total,), wide or rows.keys()


def _doubled(value: Dyadic) -> Dyadic:
    return Dyadic(value.man, value.exp + 1)


def _check_unit(name: str, value: Fraction | Enclosure) -> None:
    """Refuses what certainly lies outside [0, 1]."""
    if isinstance(value, Fraction):
        inside = 0 <= value <= 1
    else:
        inside = value.special is None and value.upper.man >= 0 and value.lower.compare(Dyadic(1, 0)) <= 0
    if not inside:
        shown = value if isinstance(value, Fraction) else float(value)
        raise UsageError(f"{name} is {shown}, no probability: give a number from 0 to 1")


@dataclass(frozen=True)
class Term:
    """One term of the series about Pt = 1.

    Attributes:
        j: its index; the power of x is gamma + j.
        coefficient: A/j + C_j, exact.
        term: its value.
        total: the sum of the terms up to this one.
        rest: a proven bound on the magnitude of everything after it; infinite at x = 1.
    """

    j: int
    coefficient: Fraction
    term: Enclosure
    total: Enclosure
    rest: Enclosure


def terms(response: Response, x: Fraction | Enclosure, count: int, *, bits: int = 120) -> tuple[Term, ...]:
    """The first ``count`` terms of the series at x = 1 - Pt in [0, 1], from j = 0 where C_0 is not zero, else from 1.

    With M >= N the last index summed, the rest is at most |A| x^(M+gamma+1) / ((M+1)(1-x)); polynomial coefficients
    that are still to come are added to it in magnitude.

    Raises:
        UsageError: for an x outside [0, 1].
    """
    _check_unit("x", x)
    reals = Reals.at(bits + 2 * _GUARD_BITS + count.bit_length())
    at = reals.rational(x) if isinstance(x, Fraction) else reals.clip(reals.enclosed(x))
    first = 0 if response.series_coefficient(0) else 1
    total, result = reals.zero, []
    for j in range(first, first + count):
        coefficient = response.series_coefficient(j)
        term = reals.rational(coefficient) * reals.power(at, response.gamma + j) if coefficient else reals.zero
        total = total + term
        rest = _rest(response, reals, at, j)
        result.append(Term(j, coefficient, *(enclosure(reals, v) for v in (term, total, rest))))
    return tuple(result)


def _rest(response: Response, reals: Reals, x: Interval, summed: int) -> Extended:
    """A bound on the sum of all terms after index ``summed``."""
    degree = max(summed, len(response.coefficients) - 1)
    bound = reals.zero
    for j in range(summed + 1, degree + 1):
        bound = bound + reals.rational(abs(response.series_coefficient(j))) * reals.power(x, response.gamma + j)
    if response.log_weight == 0:
        return bound
    gap = reals.clip(reals.one - x)
    if reals.reaches_zero(gap):
        return math.inf
    scale = reals.rational(abs(response.log_weight) / (degree + 1))
    return bound + scale * reals.power(x, response.gamma + degree + 1) / gap

"""The inputs that golden vectors are chosen from: every regime of Pt, every boundary, and batches, for each spec.

The same seed gives the same inputs everywhere. What a boundary needs that a format does not have is left out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from polyref.case import Case, Row
from polyref.formats import Format
from polyref.reference.ball import evaluate
from polyref.regimes import REGIMES
from polyref.spec import Link, Spec
from polyref.vectors.results import nearness_to_halfway
from polyref.vectors.specs import text_of

#: Class weights and shares of a soft label: numbers of every format.
_WEIGHTS = (0.5, 2.0, 1.5, 0.25, 3.0)
_SHARES = ((0.5, 0.25, 0.25), (0.125, 0.125, 0.75), (0.0, 0.5, 0.5), (0.25, 0.75, 0.0), (0.0, 1.0, 0.0))
#: How many rows are looked at for the one that rounds hardest.
_LOOKED_AT = 64
#: Of so many specs in a row each boundary meets one.
_TURNS = 3
_TINY = 1e-30


class Candidate(NamedTuple):
    """An input.

    Attributes:
        case: the input.
        about: what is special about it, in a few words.
    """

    case: Case
    about: str


class _Draw(NamedTuple):
    format: Format
    spec: Spec
    rng: random.Random


def candidates(fmt: Format, specs: Sequence[Spec], seed: int) -> Iterator[Candidate]:
    """The inputs of a format, spec by spec."""
    for i, spec in enumerate(specs):
        draw = _Draw(fmt, spec, random.Random(f"vectors {seed} {fmt.name} {text_of(spec)}"))
        yield from _regimes(draw)
        # A boundary is that of the format, and not of a loss: where there are many specs, each meets some of them.
        turns = min(len(specs), _TURNS)
        yield from (c for j, c in enumerate(_boundaries(draw)) if (i + j) % turns == 0)
        yield from _batches(draw)


def _regimes(draw: _Draw) -> Iterator[Candidate]:
    """A row in every regime of Pt that the format has numbers for."""
    fmt, rng = draw.format, draw.rng
    reach = math.log(2) * (fmt.precision - fmt.emin)
    starts = (-math.inf, *(upper for _, upper in REGIMES[:-1]))
    for (name, above), below in zip(REGIMES, starts, strict=True):
        lower, upper = max(below, -reach), min(above, reach)
        if lower < upper:
            classes, log_odds = rng.choice((2, 3, 3, 5)), rng.uniform(lower, upper)
            yield from _row(draw, classes=classes, log_odds=log_odds, about=f"a row, {name}")


def _row(draw: _Draw, *, classes: int, log_odds: float, about: str) -> Iterator[Candidate]:
    """A row whose target has these log-odds, nearly; none where the format has no such logits."""
    fmt, spec, rng = draw
    target = rng.randrange(classes)
    row = [fmt.round(rng.gauss(0, 1)) for _ in range(classes)]
    if spec.link is Link.SIGMOID:
        row = [fmt.round(-log_odds - abs(z)) for z in row]
        row[target] = fmt.round(log_odds)
    else:
        row[target] = fmt.round(math.log(sum(math.exp(z) for k, z in enumerate(row) if k != target)) + log_odds)
    if all(map(math.isfinite, row)):
        yield Candidate(Case(spec, fmt, (tuple(row),), (target,)), about)


def _boundaries(draw: _Draw) -> Iterator[Candidate]:
    """Single rows where something ends."""
    fmt, spec, rng = draw

    def of(about: str, target: int, *row: float) -> Iterator[Candidate]:
        if all(fmt.contains(z) for z in row):
            yield Candidate(Case(spec, fmt, (tuple(row),), (target,)), about)

    plain = [fmt.round(rng.gauss(0, 1)) for _ in range(3)]
    tie = fmt.round(rng.uniform(1, 2))
    yield from of("all logits are the same", 1, tie, tie, tie)
    yield from of("the target ties with the largest logit", 2, tie, -tie, tie)
    yield from of("two other classes tie for the largest logit", 0, -tie, tie, tie)
    yield from of("one class alone", 0, tie)
    yield from of("an impossible class, its logit -inf", 0, plain[0], -math.inf, plain[2])
    # exp of these overflows, or underflows, unless the largest logit is subtracted.
    up, down = _apart(fmt)
    yield from of("logits whose exponentials overflow", 1, *(fmt.round(z + up) for z in plain))
    yield from of("logits whose exponentials underflow", 1, *(fmt.round(z + down) for z in plain))
    huge = fmt.round(fmt.largest / 2)
    yield from of("equal logits of half the largest number", 1, huge, huge)
    yield from of("a certain answer at the largest number", 0, fmt.largest, 0.0)
    yield from of("a wrong answer that costs half the largest number", 1, huge, 0.0)
    yield from of("a wrong answer that costs a large number", 1, fmt.round(fmt.largest / 64), 0.0, 1.0)
    small = -math.log(fmt.smallest_normal) + 1.5
    if fmt.smallest_normal < _TINY:
        yield from _row(draw, classes=3, log_odds=math.log(_TINY), about="Pt is about 1e-30")
        yield from _row(draw, classes=3, log_odds=-math.log(_TINY), about="1 - Pt is about 1e-30")
    yield from _row(draw, classes=2, log_odds=small, about="1 - Pt is subnormal")
    yield from _row(draw, classes=2, log_odds=-small, about="Pt is subnormal")
    yield from of("logits that are subnormal", 1, fmt.smallest_subnormal, -fmt.smallest_subnormal, 0.0)
    yield _hardest(draw)


def _hardest(draw: _Draw) -> Candidate:
    """Of many rows the one whose value lies nearest to the middle between two numbers of the format."""
    fmt, rng = draw.format, draw.rng
    rows = [
        candidate.case
        for _ in range(_LOOKED_AT)
        for candidate in _row(draw, classes=3, log_odds=rng.uniform(-2.0, 2.0), about="")
    ]
    bits = fmt.precision + 40
    hard = min(rows, key=lambda c: nearness_to_halfway(evaluate(c, bits=bits).value[0], fmt))
    return Candidate(hard, "the value is almost halfway between two numbers")


def _batches(draw: _Draw) -> Iterator[Candidate]:
    """Rows together, and what only they can have."""
    fmt, spec, rng = draw

    def rows(n: int, classes: int = 3) -> tuple[Row, ...]:
        return tuple(tuple(fmt.round(rng.gauss(0, 2)) for _ in range(classes)) for _ in range(n))

    def weight(classes: int = 3) -> Row:
        return tuple(rng.sample(_WEIGHTS, classes))

    plain = Case(spec, fmt, rows(3), tuple(rng.sample(range(3), 3)))
    pair = Case(spec, fmt, rows(2, 2), tuple(rng.randrange(2) for _ in range(2)))
    one = Case(spec, fmt, rows(1), (rng.randrange(3),))
    shares = tuple(rng.sample(_SHARES, 2))
    yield Candidate(pair, "two rows of two classes")
    yield Candidate(plain, "a batch of as many rows as classes")
    yield Candidate(replace(one, weight=weight()), "class weights on one row")
    yield Candidate(replace(plain, weight=weight()), "class weights on a batch")
    yield Candidate(replace(pair, weight=(0.0, 2.0), target=(0, 1)), "a class of weight 0")
    yield Candidate(replace(one, target=shares[:1]), "a soft label")
    yield Candidate(replace(one, target=shares[1:], weight=weight()), "a soft label and class weights")
    yield Candidate(replace(plain, target=(*shares, (0.0, 0.0, 1.0))), "soft labels, as many rows as classes")
    yield Candidate(replace(plain, target=(plain.target[0], -100, plain.target[2])), "an ignored row")
    apart = tuple(tuple(fmt.round(z + shift) for z in row) for row, shift in zip(pair.logits, _apart(fmt), strict=True))
    yield Candidate(replace(pair, logits=apart), "rows whose logits are far apart")
    ignoring = replace(plain, target=(0, 1, 2), ignore_index=1, weight=weight())
    yield Candidate(ignoring, "an ignored row that carries a class index, and class weights")


def _apart(fmt: Format) -> tuple[float, float]:
    """Shifts of two rows: the exponentials of one overflow, those of the other underflow."""
    far = 1.5 * math.log(fmt.largest)
    return far, -far

"""The engines of the reference, the rounding model, and a closed form in mpmath that proves nothing."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

from mpmath.ctx_mp import MPContext

from polyref.bench.contender import Contender, Group
from polyref.case import Case
from polyref.formats import BINARY32, BINARY64
from polyref.reference import ball, model, series
from polyref.spec import Spec

ENGINES = "reference: value and all gradients"
MODEL = "rounding model: both tolerances of a case"
CHECK_VALUE = "one check value and its gradient"

#: The check value of the design: logits (2, 0.5, 1), target 1, epsilon 1.
CHECK = Case(Spec(epsilon=(1.0,)), BINARY64, ((2.0, 0.5, 1.0),), (1,))

#: What the ball engine adds to the bits wanted; the closed form gets as many.
_GUARD = 32
_SCALE = 3.0


def bits_of(digits: int) -> int:
    """The bits of a relative radius of so many decimal digits."""
    return math.ceil(digits * math.log2(10))


def batch(rows: int, classes: int, *, seed: int = 1) -> Case:
    """Rows of normal logits of scale 3 in binary32, Poly-1 with epsilon 1, no reduction."""
    draw = random.Random(seed)
    logits = tuple(tuple(BINARY32.round(draw.gauss(0, _SCALE)) for _ in range(classes)) for _ in range(rows))
    return Case(Spec(epsilon=(1.0,)), BINARY32, logits, tuple(draw.randrange(classes) for _ in range(rows)))


def closed_form(case: Case, bits: int) -> list[tuple[Any, list[Any]]]:
    """Value and gradient of each row of a Poly-1 case, as one would write them in mpmath, at one fixed precision."""
    mp = MPContext()
    mp.prec = bits + _GUARD
    eps = mp.mpf(case.spec.epsilon[0])
    results = []
    for logits, target in zip(case.logits, case.target, strict=True):
        top = max(logits)
        powers = [mp.exp(mp.mpf(z) - top) for z in logits]
        total = mp.fsum(powers)
        p = [e / total for e in powers]
        pt = p[int(target)]  # type: ignore[arg-type]  # an index: soft targets are not benchmarked
        slope = 1 + eps * pt
        gradient = [slope * (q - (k == target)) for k, q in enumerate(p)]
        results.append((eps * (1 - pt) - mp.log(pt), gradient))
    return results


def engines(rows: int, classes: int, digits: int, budget: float) -> Group:
    """Ball engine, series engine and closed form at so many digits.

    ``balls`` is the ball engine without the conversion of its results to the reference's own type.
    """
    case, bits = batch(rows, classes), bits_of(digits)
    return Group(
        section=ENGINES,
        title=f"C={classes}, {digits} digits",
        contenders=(
            Contender("ball", lambda: ball.evaluate(case, bits=bits)),
            Contender("balls", lambda: ball.evaluate_balls(case, bits=bits)),
            Contender("series", lambda: series.evaluate(case, bits=bits)),
            Contender("mpmath", lambda: closed_form(case, bits)),
        ),
        pairs=(("series", "ball"), ("mpmath", "ball"), ("mpmath", "balls"), ("ball", "balls")),
        budget=budget,
        work=rows,
        unit="row",
    )


def models(rows: int, classes: int, budget: float) -> Group:
    """The rounding models of a case whose exact result is known, beside the ball evaluation that gives the result."""
    case = batch(rows, classes)
    exact, bits = model.reference_for(case), bits_of(50)
    return Group(
        section=MODEL,
        title=f"C={classes}, binary32",
        contenders=(
            Contender("textbook", lambda: model.textbook(case, exact=exact)),
            Contender("cancellation-free", lambda: model.cancellation_free(case, exact=exact)),
            Contender("its reference", lambda: model.reference_for(case)),
            Contender("ball, 50 digits", lambda: ball.evaluate(case, bits=bits)),
        ),
        pairs=(
            ("textbook", "its reference"),
            ("textbook", "ball, 50 digits"),
            ("cancellation-free", "its reference"),
        ),
        budget=budget,
        work=rows,
        unit="row",
    )


def check_value(digits: int, budget: float) -> Group:
    """The first check value of the design to many digits."""
    bits = bits_of(digits)
    return Group(
        section=CHECK_VALUE,
        title=f"{digits:,} digits",
        contenders=(
            Contender("ball", lambda: ball.evaluate(CHECK, bits=bits)),
            Contender("series", lambda: series.evaluate(CHECK, bits=bits)),
            Contender("mpmath", lambda: closed_form(CHECK, bits)),
        ),
        pairs=(("series", "ball"), ("mpmath", "ball")),
        budget=budget,
        unit="row",
    )


def engine_groups(*, rows: int, points: tuple[tuple[int, int], ...], digits: int, budget: float) -> Iterator[Group]:
    """The engines; ``points`` are pairs of classes and digits, ``digits`` are those of the check value."""
    for classes, wanted in points:
        yield engines(rows, classes, wanted, budget)
    yield check_value(digits, budget)


def model_groups(*, rows: int, classes: tuple[int, ...], budget: float) -> Iterator[Group]:
    """The rounding models, for so many classes each."""
    for count in classes:
        yield models(rows, count, budget)

"""What the strategies meet, and how often: the regimes and rare events that a defect may hide in.

Each event states the least part of a law's cases in which it happens, in every format. A strategy that is changed so
that it meets an event less often is found by the test of these statements, and not by the defect that it then misses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from flint import arb

from polyref.case import Case
from polyref.reference.ball import Balls
from polyref.reference.model import reference_for
from polyref.regimes import REGIMES, regime_of
from polyref.spec import Reduction


@dataclass(frozen=True)
class Event:
    """Something that a case may show.

    Attributes:
        name: what happens, in a few words.
        law: the id of the law whose strategy has to meet it.
        chance: the least part of the cases in which it happens, in every format.
        happens: whether a row shows it: from the case, the row's number, and the row's exact result.
        every: whether all rows have to show it, and not one of them.
    """

    name: str
    law: str
    chance: float
    happens: Callable[[Case, int, Balls], bool]
    every: bool = False

    def of(self, case: Case) -> bool:
        """Whether it happens in a case."""
        found = (self.happens(case, i, _row(case, i)) for i in range(len(case.logits)))
        return all(found) if self.every else any(found)


def _row(case: Case, i: int) -> Balls:
    """The exact result of one row alone, unreduced and unweighted."""
    spec = replace(case.spec, reduction=Reduction.NONE)
    return reference_for(replace(case, spec=spec, logits=(case.logits[i],), target=(case.target[i],), weight=None))


VALUE = "value-matches-the-reference"


def _in(regime: str) -> Callable[[Case, int, Balls], bool]:
    return lambda case, _, exact: case.classes > 1 and regime_of(_log_odds(exact)) == regime


def _log_odds(exact: Balls) -> float:
    """log(Pt / (1 - Pt)) of the first row, infinite where one of the two is zero to working precision."""
    pt = min(exact.pt[0], key=float)
    complement = 1 - pt
    if not pt > 0:
        return -math.inf
    return float((pt.log() - complement.log()).mid()) if complement > 0 else math.inf


def _pt_underflows(case: Case, _: int, exact: Balls) -> bool:
    # Half of the smallest subnormal number rounds to zero.
    return bool(min(exact.pt[0], key=float) < arb((1, case.format.emin - case.format.precision)))


def _x_below_u(case: Case, i: int, exact: Balls) -> bool:
    # x is positive whenever another class is possible, however near to 0 its enclosure is.
    others = sum(z > -math.inf for z in case.logits[i]) > 1
    return others and bool(1 - min(exact.pt[0], key=float) < case.format.unit_roundoff)


def _equal(case: Case, i: int, _: Balls) -> bool:
    return case.classes > 1 and len(set(case.logits[i])) == 1


def _subnormal_gradient(case: Case, _: int, exact: Balls) -> bool:
    return any(0 < abs(float(g)) < case.format.smallest_normal for g in exact.gradient[0])


def _weight_zero(case: Case, i: int, _: Balls) -> bool:
    target = case.target[i]
    return case.weight is not None and isinstance(target, int) and case.weight[target] == 0


def _largest(case: Case, i: int, _: Balls) -> bool:
    return any(abs(z) == case.format.largest for z in case.logits[i])


def _subnormal_logit(case: Case, i: int, _: Balls) -> bool:
    return any(0 < abs(z) < case.format.smallest_normal for z in case.logits[i])


def _neighbour_of_a_power_of_two(case: Case, i: int, _: Balls) -> bool:
    fmt = case.format
    return any(math.frexp(near)[0] == 0.5 for z in case.logits[i] if z > 1 for near in (fmt.before(z), fmt.after(z)))


#: The regimes of Pt come from margins: about a third of the rows, spread over six stretches.
_REGIME = 0.04

EVENTS = (
    *(Event(f"regime {name}", VALUE, _REGIME, _in(name)) for name, _ in REGIMES),
    Event("Pt below every number of the format", VALUE, 0.1, _pt_underflows),
    Event("0 < 1 - Pt < u", VALUE, 0.1, _x_below_u),
    Event("all logits of a row equal", VALUE, 0.05, _equal),
    Event("a subnormal derivative", VALUE, 0.01, _subnormal_gradient),
    Event("a logit of the format's largest value", VALUE, 0.1, _largest),
    Event("a subnormal logit", VALUE, 0.03, _subnormal_logit),
    Event("a logit beside a power of two", VALUE, 0.01, _neighbour_of_a_power_of_two),
    Event("a target of weight zero", VALUE, 0.04, _weight_zero),
    Event("one class", VALUE, 0.05, lambda case, _, __: case.classes == 1),
    Event("ten classes", VALUE, 0.05, lambda case, _, __: case.classes == 10),
    Event("0 < gamma < 1", VALUE, 0.1, lambda case, _, __: 0 < case.spec.gamma < 1),
    Event("epsilon_1 = -1", VALUE, 0.08, lambda case, _, __: case.spec.epsilon[:1] == (-1.0,)),
    Event("several terms", VALUE, 0.2, lambda case, _, __: len(case.spec.epsilon) > 1),
)

"""Local search for the worst case of a law: from a case on, over neighbouring numbers of its format.

Random cases find the regimes, a climb finds the worst roundings within one: the error of a given formula is a jagged
function of the last bits of its inputs. The steps are whole places in the order of the format's numbers, so a step is
one ulp whatever the size of the number, and crosses zero, subnormals and binades like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from polyref.case import Case
from polyref.formats import Format

#: First steps, in places, coarse to fine: as a power of the format's significand.
_STEPS = (0.75, 0.4, 0.1)


def place(fmt: Format, value: float) -> int:
    """Where a finite number stands in the order of the format's numbers: 0 for zero, -1 for what is before it."""
    magnitude = fmt.encode(abs(value))
    return -magnitude if math.copysign(1.0, value) < 0 else magnitude


def number(fmt: Format, at: int) -> float:
    """The number at a place; the largest one beyond the last."""
    most = fmt.encode(fmt.largest)
    return math.copysign(fmt.decode(min(abs(at), most)), at)


def moved(case: Case, steps: list[int]) -> Case:
    """The case with every finite logit moved by so many places, row by row."""
    left = iter(steps)
    rows = tuple(
        tuple(number(case.format, place(case.format, z) + next(left)) if math.isfinite(z) else z for z in row)
        for row in case.logits
    )
    return replace(case, logits=rows)


def climb(case: Case, ratio: Callable[[Case], float], *, budget: int, enough: float = math.inf) -> Case:
    """A case near this one with a ratio at least as large.

    Nelder and Mead's simplex (scipy.optimize) over the places of the logits, three times, from coarse steps to fine
    ones; each begins where the one before ended. The same arguments give the same case.

    Args:
        case: where to begin.
        ratio: what is to be made large; 0 where a case says nothing.
        budget: how many cases may be tried, the first one included.
        enough: stop at a ratio above this.
    """
    import numpy as np  # noqa: PLC0415 - import polyref stays light
    from scipy.optimize import minimize  # noqa: PLC0415 - scipy is slow to import

    finite = sum(math.isfinite(z) for row in case.logits for z in row)
    best, highest, spent = case, ratio(case), 1

    class Spent(Exception):
        pass

    def cost(at: np.ndarray, start: Case) -> float:
        nonlocal best, highest, spent
        if spent >= budget or highest > enough:
            raise Spent
        spent += 1
        candidate = moved(start, [round(v) for v in at])
        found = ratio(candidate)
        if found > highest:
            best, highest = candidate, found
        return -found

    share = max((budget - 1) // len(_STEPS), 1)
    for exponent in _STEPS:
        size = max(2.0 ** (exponent * case.format.precision), 1.0)
        corners = np.zeros((finite + 1, finite))
        corners[1:] = size * np.eye(finite)
        try:
            minimize(
                cost,
                np.zeros(finite),
                args=(best,),
                method="Nelder-Mead",
                options={"initial_simplex": corners, "maxfev": share, "xatol": 0.5, "fatol": 0.0},
            )
        except Spent:
            break
    return best

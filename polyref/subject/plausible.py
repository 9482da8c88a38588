"""Is it a loss that is called rightly? What a call makes of predictions whose cost anybody can tell.

A call may go through by accident: labels taken for numbers, roles swapped, logits taken for probabilities. Under the
right convention a certain right prediction costs next to nothing, whichever class is the target, a certain wrong one a
lot, and an undecided one something in between.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from polyref.case import Case, Row
from polyref.subject.convention import Convention
from polyref.subject.trial import Trials

#: A logit of certainty: its probability is 1 in every format, and that of the others no zero in binary32.
_CERTAIN = 30.0
#: What a certain right prediction may cost of a certain wrong one; label smoothing leaves some.
_NOTHING = 0.25
#: How far from both an undecided prediction must be, as a part of what a certain wrong one costs.
_APART = 1e-6
#: A loss moves by less than this part of itself when one logit moves by 1/64; a guess about the inputs moves it more.
_JUMP = 0.15


class Judgement(NamedTuple):
    """What the predictions cost.

    Attributes:
        plausible: whether they cost what they should.
        negated: whether that is so with the sign turned.
        words: what they cost.
    """

    plausible: bool
    negated: bool
    words: str


def judged(trials: Trials, convention: Convention, case: Case) -> Judgement:
    """Ask for five predictions of the shape of ``case``."""
    targets = [t for t in case.target if isinstance(t, int)]
    following = [(t + 1) % case.classes for t in targets]
    right = _cost(trials, convention, case, [sure(case, t) for t in targets])
    other = _cost(trials, convention, case, [sure(case, t) for t in following], following)
    wrong = _cost(trials, convention, case, [sure(case, t) for t in following])
    # Of one sign, so that logits taken for probabilities and cut off there are all certain.
    undecided = [_cost(trials, convention, case, [(z,) * case.classes] * len(targets)) for z in (2.0, -2.0)]
    words = f"a certain right prediction costs {right:.3g}, a certain wrong one {wrong:.3g}"
    for sign in (1, -1):
        most = sign * wrong
        apart = _APART * min(most, 1e4)
        least = [sign * right, sign * other]
        if most > 0 and max(map(abs, least)) <= _NOTHING * most:
            if all(max(least) + apart < sign * u < most - apart for u in undecided):
                return Judgement(True, sign < 0, words)
            words += f", and undecided ones {undecided[0]:.3g} and {undecided[1]:.3g}"
    return Judgement(False, False, words)


def sure(case: Case, k: int) -> Row:
    """Logits that are certain of class k."""
    return tuple(_CERTAIN if i == k else -_CERTAIN for i in range(case.classes))


def _cost(
    trials: Trials, convention: Convention, case: Case, logits: list[Row], target: list[int] | None = None
) -> float:
    """The mean loss of some logits, NaN if there is none."""
    asked = replace(case, logits=tuple(logits), target=case.target if target is None else tuple(target))
    outcome = trials.run(convention, asked, quiet=True)
    if outcome is None or outcome.value is None:
        return math.nan
    return float(outcome.value.double().mean())


def per_element(trials: Trials, convention: Convention, case: Case) -> bool:
    """Whether probabilities are taken as those of two classes each, so that the other elements cost something too."""
    convention = replace(convention, inputs="sigmoid_probabilities")
    targets = [t for t in case.target if isinstance(t, int)]

    def cost(others: float) -> float:
        return _cost(
            trials, convention, case, [tuple(2.0 if k == t else others for k in range(case.classes)) for t in targets]
        )

    low, high = cost(-_CERTAIN), cost(_CERTAIN)
    # One that divides by the sum of a row sees a certain prediction in the first.
    return 1e-4 < low < high / 4


def guess_about_inputs(trials: Trials, convention: Convention, case: Case) -> str | None:
    """Which logits are taken for probabilities, in words, if some are: a loss of logits has no jump anywhere."""
    rest = (0.0,) * (case.classes - 2)
    for row, which in (
        ((0.5, 0.25, *rest), "lie in [0, 1]"),
        ((0.75, 0.25, *rest), "lie in [0, 1] and sum to 1"),
    ):
        inside = _cost(trials, convention, case, [row] * len(case.target), [0] * len(case.target))
        beside = (row[0], row[1] - 1 / 64, *(z - 1 / 64 for z in rest))
        outside = _cost(trials, convention, case, [beside] * len(case.target), [0] * len(case.target))
        if not abs(inside - outside) <= _JUMP * max(abs(inside), abs(outside)):
            return which
    return None

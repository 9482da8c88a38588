"""The laws of logits that are no numbers: NaN, and infinities of either sign.

NaN gives NaN: an undefined logit must not be hidden. So do two equal infinities, which leave no distribution.
An impossible class (-inf beside a number) leaves the loss of the other one: 0 where that is the target, with no
gradient; infinite where the target is the impossible one, with the gradient (-1, 1).
A logit of +inf gives NaN, as log_softmax has it (inf - inf), or the limit of what is defined before it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from polyref.sweep.tally import Special, Tally

#: What each law is called in a report.
UNDEFINED = "NaN, or no distribution: NaN"
IMPOSSIBLE_OTHER = "the other class impossible: 0"
IMPOSSIBLE_TARGET = "the target impossible: infinite"
UNBOUNDED = "a logit of +inf: NaN or the limit"


def judge_special(tally: Tally, places: Tensor, logits: Tensor, observed: Tensor) -> None:
    """Count how the laws fare where a logit is no number.

    Args:
        tally: of one quantity; its ``special`` is filled.
        places: (N,), the inputs' places.
        logits: (N, 2), in binary64.
        observed: (N, 1) values or (N, 2) gradients.
    """
    target, other = logits[:, 0], logits[:, 1]
    undefined = logits.isnan().any(1) | (target == other)
    unbounded = (logits == math.inf).any(1) & ~undefined
    right = target > other
    at_right, at_wrong = ([0.0], [math.inf]) if observed.shape[1] == 1 else ([0.0, 0.0], [-1.0, 1.0])
    limits = torch.where(right[:, None], observed.new_tensor(at_right), observed.new_tensor(at_wrong))
    is_nan, at_limit = observed.isnan().any(1), (observed == limits).all(1)
    numbered = ~undefined & ~unbounded
    for law, mask, kept in (
        (UNDEFINED, undefined, is_nan),
        (IMPOSSIBLE_OTHER, numbered & right, at_limit),
        (IMPOSSIBLE_TARGET, numbered & ~right, at_limit),
        (UNBOUNDED, unbounded, is_nan | at_limit),
    ):
        broken = places[mask & ~kept]
        count = int(mask.sum())
        if count:
            first = int(broken.min()) if len(broken) else None
            found = Special(count - len(broken), len(broken), first)
            tally.special[law] = tally.special.get(law, Special()).merged(found)

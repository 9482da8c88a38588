"""Regimes: the ranges of Pt that accuracy is looked at in, from certainly wrong to certainly right."""

from __future__ import annotations

import math

#: Names of the regimes, from certainly wrong to certainly right, and the log-odds of Pt that they reach up to.
REGIMES: tuple[tuple[str, float], ...] = (
    ("Pt < 2^-64", -64 * math.log(2)),
    ("Pt < 2^-16", -16 * math.log(2)),
    ("Pt < 1/4", -math.log(3)),
    ("even", math.log(3)),
    ("1-Pt < 1/4", 16 * math.log(2)),
    ("1-Pt < 2^-16", 64 * math.log(2)),
    ("1-Pt < 2^-64", math.inf),
)


def regime_of(log_odds: float) -> str:
    """The regime that these log-odds lie in."""
    return next(name for name, upper in REGIMES if log_odds <= upper)

"""Verdicts: what one case says about one law, always as error over a derived tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from polyref.case import Case
from polyref.formats import Format
from polyref.reference.arithmetic import FLUSHING_CPU, TORCH_CPU
from polyref.reference.ball import Balls, enclosure
from polyref.reference.enclosure import Enclosure, error_over
from polyref.reference.model import Tolerance, reference_for, textbook


class Verdict(StrEnum):
    """What is known of a law after a case, or after many."""

    HOLDS = "holds"
    VIOLATED = "violated"
    #: The model bounds nothing here (an overflow, say), so neither answer would be honest.
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True)
class Outcome:
    """What one case says about one law.

    Attributes:
        verdict: holds, violated or inconclusive.
        ratio: error over tolerance; above 1 is a violation.
        expected: what the law asks for, as text.
        observed: what the subject did, as text.
        explanation: what that means, one sentence; empty where the law holds.
        remedy: what mends this very violation, where it is another thing than the law's own remedy.
        fatal: the subject ended its process, so that another try costs a new one.
    """

    verdict: Verdict
    ratio: float
    expected: str = ""
    observed: str = ""
    explanation: str = ""
    remedy: str = ""
    fatal: bool = False

    @classmethod
    def of(
        cls, ratio: float, expected: str = "", observed: str = "", explanation: str = "", remedy: str = ""
    ) -> Outcome:
        """Holds up to a ratio of 1, violated above."""
        verdict = Verdict.VIOLATED if ratio > 1 else Verdict.HOLDS
        return cls(verdict, ratio, expected, observed, *((explanation, remedy) if verdict is Verdict.VIOLATED else ()))


@dataclass(frozen=True)
class Truth:
    """The exact result of a case and how far a correct textbook evaluation may be from it."""

    case: Case
    balls: Balls
    tolerance: Tolerance
    flushed: bool = False

    @classmethod
    def of(cls, case: Case, *, compute: Format | None = None, flushed: bool = False) -> Truth:
        """Evaluate a case and its model, ``flushed`` where subnormal numbers become zeros."""
        balls = reference_for(case)
        library = FLUSHING_CPU if flushed else TORCH_CPU
        return cls(case, balls, textbook(case, compute=compute, library=library, exact=balls), flushed)

    def value(self, i: int) -> Enclosure:
        """The exact value ``i``; NaN where a mean has nothing to divide by."""
        if self.balls.value is None:
            return Enclosure.exactly(math.nan)
        return enclosure(self.balls.value[i])

    def gradient(self, i: int, k: int) -> Enclosure:
        """The exact derivative in logit ``k`` of row ``i``."""
        return enclosure(self.balls.gradient[i][k])

    @property
    def values(self) -> int:
        """How many values the reference has."""
        return 1 if self.balls.value is None else len(self.balls.value)

    def value_ratio(self, i: int, observed: float) -> float:
        """Error over tolerance of one observed value."""
        radius = self.tolerance.value[i] if self.tolerance.value else 0.0
        return error_over(observed, self.value(i), self.case.format, radius)

    def gradient_ratio(self, i: int, k: int, observed: float) -> float:
        """Error over tolerance of one observed derivative."""
        return error_over(observed, self.gradient(i, k), self.case.format, self.tolerance.gradient[i][k])


def worst(ratios: Iterable[float]) -> float:
    """The largest ratio, NaN counting as infinite; 0 of nothing."""
    return max((math.inf if math.isnan(r) else r for r in ratios), default=0.0)


def shown(value: float) -> str:
    """A number for a finding: the shortest decimal that reads back, and its hexadecimal form."""
    if not math.isfinite(value):
        return repr(value)
    return f"{value!r} ({value.hex()})" if value not in (0.0, 1.0, -1.0) else repr(value)


def describe(case: Case) -> str:
    """A case in one line for a person: format, logits in decimal and hexadecimal, target and parameters."""
    rows = "; ".join(", ".join(map(_plain, row)) for row in case.logits)
    exact = "; ".join(", ".join(z.hex() for z in row) for row in case.logits)
    parts = [f"{case.format.name} logits [{rows}]"]
    if any(not float(z).is_integer() for row in case.logits for z in row if math.isfinite(z)):
        parts[0] += f" = [{exact}]"
    targets = "; ".join(str(t) if isinstance(t, int) else f"({', '.join(map(_plain, t))})" for t in case.target)
    parts.append(f"target {targets}")
    if case.weight is not None:
        parts.append(f"weight [{', '.join(map(_plain, case.weight))}]")
    spec = case.spec
    parts.append(f"epsilon {', '.join(map(_plain, spec.epsilon)) or '0'}")
    if spec.gamma:
        parts.append(f"gamma {_plain(spec.gamma)}")
    if spec.smoothing:
        parts.append(f"smoothing {_plain(spec.smoothing)}")
    parts.append(f"reduction {spec.reduction}")
    return ", ".join(parts)


def _plain(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)

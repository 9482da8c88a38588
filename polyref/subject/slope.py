"""The gradient of what was identified: whether it is that of the value, and if not, whose it is.

The value is a formula F; what autograd returns may be the gradient of another one, G: F with a part cut off from the
logits, or F's own, scaled, clipped or turned round. Derivatives of odd formulas are taken by central differences,
which leave more than enough digits to tell hypotheses apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polyref.case import Case
from polyref.reference.ball import evaluate_balls
from polyref.spec import Reduction
from polyref.subject.deviation import Explained, distance, number, tidy
from polyref.subject.dialect import Dialect
from polyref.subject.hypotheses import Formula
from polyref.subject.questions import Sample, ask, gradient_cases
from polyref.subject.rows import Array, Pieces, Rows, pieces, prepared, reduced
from polyref.subject.runner import Runner

_STEP = 2.0**-17
#: What central differences in binary64 leave, and a little more.
_LIMIT = 1e-6


@dataclass(frozen=True)
class Cut:
    """A part that is cut off from the logits.

    Attributes:
        part: the part, in words.
        left: what the gradient is of, in words.
        made: the pieces of the loss from those at the moving logits, at the standing ones, and at logits of which the
            target's own stands still; and by how much each logit has moved.
    """

    part: str
    left: str
    made: Callable[[Pieces, Pieces, Pieces, Array], Pieces]


_CUTS = (
    Cut(
        "the polynomial has",
        "the logarithmic part alone",
        lambda live, still, held, moved: replace(live, polynomial=still.polynomial),
    ),
    Cut(
        "the logarithmic part has",
        "the polynomial alone",
        lambda live, still, held, moved: replace(still, polynomial=live.polynomial),
    ),
    Cut(
        "the focal factor has",
        "the loss with a constant in the place of its focal factor",
        lambda live, still, held, moved: replace(live, focal=still.focal),
    ),
    Cut(
        "the logarithm has",
        "the loss with a constant in the place of its logarithm",
        lambda live, still, held, moved: replace(live, logarithm=still.logarithm),
    ),
    Cut(
        "log-sum-exp has",
        "the loss with a constant in the place of log-sum-exp",
        lambda live, still, held, moved: replace(live, logarithm=still.logarithm - moved),
    ),
    Cut(
        "the target's logit has, in x,",
        "the loss with a constant in the place of the target's logit in x",
        lambda live, still, held, moved: replace(held, logarithm=live.logarithm),
    ),
    Cut(
        "the target's logit has, in the cross-entropy,",
        "the loss with p in the place of p - 1 in the cross-entropy's",
        lambda live, still, held, moved: replace(live, logarithm=live.logarithm + moved),
    ),
)

_ATTACHED = "Compute every part from the logits themselves: no detach(), no torch.tensor(t), no .data, no .item()."
_NO_CUT = Cut("", "", lambda live, still, held, moved: live)


def gradient_deviation(
    runner: Runner, dialect: Dialect, found: Sequence[Explained], limit: float
) -> tuple[str, str] | None:
    """What is wrong with the gradient and what mends it, in sentences; None where it is that of the value.

    Args:
        runner: the subject.
        dialect: the member of the family that it is nearest to.
        found: what its value was found to do otherwise.
        limit: the relative difference at which two values count as equal.
    """
    if not runner.convention.differentiable:
        return None
    samples = ask(runner, list(gradient_cases(runner.convention, dialect)), gradient=True)
    if samples and all(s.gradient is None for s in samples):
        return "It has no gradient at all: the value is cut off from the logits.", _ATTACHED
    known = [Slope.of(s, dialect, found, limit) for s in samples if s.gradient is not None]
    slopes = [s for s in known if s is not None]
    tolerance = max(limit, _LIMIT)
    failing = [s for s in slopes if not _near(s.answer, s.expected, tolerance)]
    if not failing:
        return None
    return _explained(slopes, failing, tolerance)


@dataclass(frozen=True, eq=False)
class Slope:
    """The gradient of one case, with what it should be by the value's own formula."""

    case: Case
    formula: Formula
    rows: Rows | None
    answer: Array
    expected: Array

    @classmethod
    def of(cls, sample: Sample, dialect: Dialect, found: Sequence[Explained], limit: float) -> Slope | None:
        """The slope of a sample; None where no formula explains its value."""
        own = dialect.own(sample.case)
        answer = np.array(sample.gradient)
        if dialect.spec.mixed:
            return cls(own, Formula(), None, answer, _certified(own))
        rows = Rows.of(own)
        for formula in (Formula(), *(e.formula for e in found)):
            if distance(formula, rows, np.array(sample.value)) <= limit:
                right = not formula.chosen
                return cls(own, formula, rows, answer, _certified(own) if right else derivative(formula, rows))
        return None

    @property
    def wrong(self) -> Array:
        """The rows whose largest logit is another class's, (N, 1)."""
        top = np.argmax(np.array(self.case.logits), axis=1)
        return np.array([[k != target] for k, target in zip(top, self.case.target, strict=True)])

    @property
    def ignored(self) -> Array:
        """The rows that are ignored, (N, 1)."""
        return np.array([[self.case.ignored(n)] for n in range(len(self.case.logits))])


def _certified(case: Case) -> Array:
    balls = evaluate_balls(case, bits=60, floor=-1200).gradient
    return np.array([[float(g.mid()) for g in row] for row in balls])


def derivative(formula: Formula, rows: Rows, cut: Cut = _NO_CUT) -> Array:
    """The gradient of the summed value by central differences, with a part of the loss standing still."""
    still, log_labels, poly_labels = prepared(formula, rows)
    standing = pieces(formula, still)
    own = rows.q > 0

    def total(z: Array) -> float:
        live = prepared(formula, replace(rows, z=z))[0]
        held = prepared(formula, replace(rows, z=np.where(own, rows.z, z)))[0]
        made = cut.made(pieces(formula, live), standing, pieces(formula, held), z - rows.z)
        return float(reduced(formula, live, made, log_labels, poly_labels).sum())

    result = np.zeros(rows.z.shape)
    for place in np.ndindex(*rows.z.shape):
        step = np.zeros(rows.z.shape)
        step[place] = _STEP
        result[place] = (total(rows.z + step) - total(rows.z - step)) / (2 * _STEP)
    return result


def _near(a: Array, b: Array, limit: float) -> bool:
    return a.shape == b.shape and bool(np.all(np.abs(a - b) <= limit * np.maximum(1.0, np.abs(b))))


_WHERE: tuple[tuple[str, Callable[[Slope], bool]], ...] = (
    ("", lambda s: True),
    ("reduction is mean", lambda s: s.case.spec.reduction in (Reduction.MEAN, Reduction.MEAN_OVER_SAMPLES)),
    ("reduction is sum", lambda s: s.case.spec.reduction is Reduction.SUM),
    ("gamma is above 0", lambda s: s.case.spec.gamma > 0),
    ("the batch has several rows", lambda s: len(s.case.logits) > 1),
)


def _explained(slopes: Sequence[Slope], failing: Sequence[Slope], limit: float) -> tuple[str, str]:
    told, mended = _reason(failing, limit)
    # A condition is worth saying where slopes that are right lie outside of it.
    right = [s for s in slopes if s not in failing]
    for words, holds in _WHERE:
        if all(map(holds, failing)) and not any(map(holds, right)):
            return f"Where {words}: {told}" if words else told, mended
    return told, mended


def _reason(failing: Sequence[Slope], limit: float) -> tuple[str, str]:
    if all(_near(s.answer, np.where(s.ignored, s.answer, s.expected), limit) for s in failing):
        return "Ignored rows have a gradient.", "Take the ignored rows out before anything is computed from them."
    if all(not s.answer.any() for s in failing):
        return "The gradient is zero everywhere: the value is cut off from the logits.", _ATTACHED
    for cut in _CUTS:
        if all(s.rows is not None and _near(s.answer, derivative(s.formula, s.rows, cut), limit) for s in failing):
            return f"The gradient is not that of the value but that of {cut.left}: {cut.part} no gradient.", _ATTACHED
    if all(_near(s.answer, np.where(s.wrong, -s.expected, s.expected), limit) for s in failing):
        text = "The gradient is turned round where the prediction is wrong: training makes it worse."
        return text, "Return the gradient of the value."
    factor = _factor(failing)
    if all(_near(s.answer, factor * s.expected, limit) for s in failing):
        return f"The gradient is {number(factor)} times that of the value.", "Return the gradient of the value."
    bound = max(float(np.abs(s.answer).max()) for s in failing)
    if all(_near(s.answer, s.expected.clip(-bound, bound), limit) for s in failing):
        bound = tidy(bound)
        text = f"The gradient is clipped to [-{number(bound)}, {number(bound)}]."
        return text, "Clip, if at all, in the training loop."
    return "The gradient is not that of the value, nor of one that a part was cut off from.", _ATTACHED


def _factor(failing: Sequence[Slope]) -> float:
    answer = np.concatenate([s.answer.ravel() for s in failing])
    expected = np.concatenate([s.expected.ravel() for s in failing])
    square = float(expected @ expected)
    return tidy(float(answer @ expected) / square) if square else math.nan

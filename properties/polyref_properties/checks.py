"""What the checks share: comparing observations with exact results, in error over tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from polyref.case import Case
from polyref.property import Broke, Context
from polyref.reference.enclosure import Enclosure
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.subject.manner import Manner
from polyref.subject.observation import Observation
from polyref.verdict import Outcome, Truth, Verdict, shown

PAPER = "Leng et al., PolyLoss, ICLR 2022, arXiv 2204.12511"
FOCAL = "Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002"
TORCH = "torch.nn.functional.cross_entropy, documentation"

_NO_NUMBER = (
    "Keep infinities out of products, as 0 * inf is NaN: pick the target with gather or torch.where, take logarithms "
    "from log_softmax or logsigmoid, and form no power of 0 below 1."
)

_UNBOUNDED = Outcome(Verdict.INCONCLUSIVE, 0.0)
#: Exact numbers with a smaller binary exponent count as zero in differences: below every format by far.
_TINY = -4000
#: Results with binary exponents beyond this one are not written out.
_FAR = 4000


def compare_values(seen: Observation, truth: Truth, explanation: str) -> Outcome:
    """Every value against the exact one; the outcome is the worst."""
    assert seen.value is not None
    radii = truth.tolerance.value or (0.0,)
    if all(math.isinf(r) for r in radii):
        return _UNBOUNDED
    ratios = [truth.value_ratio(i, v) for i, v in enumerate(seen.value)]
    i = max(range(len(ratios)), key=ratios.__getitem__)
    lost = _not_a_number("value", seen.value[i], truth.value(i))
    return Outcome.of(
        ratios[i], exact_text(truth.value(i)), shown(seen.value[i]), lost or explanation, _NO_NUMBER * bool(lost)
    )


def compare_gradients(seen: Observation, truth: Truth, explanation: str) -> Outcome:
    """Every derivative against the exact one; the outcome is the worst."""
    assert seen.gradient is not None
    if all(math.isinf(r) for row in truth.tolerance.gradient for r in row):
        return _UNBOUNDED
    ratios = {(i, k): truth.gradient_ratio(i, k, g) for i, row in enumerate(seen.gradient) for k, g in enumerate(row)}
    i, k = max(ratios, key=ratios.__getitem__)
    where = f"dl/dz_{k}" + (f" of row {i}" if len(seen.gradient) > 1 else "")
    lost = _not_a_number("gradient", seen.gradient[i][k], truth.gradient(i, k))
    return Outcome.of(
        ratios[i, k],
        f"{where} = {exact_text(truth.gradient(i, k))}",
        f"{where} = {shown(seen.gradient[i][k])}",
        lost or explanation,
        _NO_NUMBER * bool(lost),
    )


def _not_a_number(what: str, observed: float, exact: Enclosure) -> str | None:
    if math.isfinite(observed) or exact.special is not None:
        return None
    return f"The {what} is {observed} where the exact one is {float(exact):.6g}."


def worse(*outcomes: Outcome) -> Outcome:
    """The outcome with the largest ratio; inconclusive only where all are."""
    decided = [o for o in outcomes if o.verdict is not Verdict.INCONCLUSIVE]
    return max(decided, key=lambda o: o.ratio) if decided else _UNBOUNDED


def over(error: Fraction | float, tolerance: float) -> float:
    """Error over tolerance; an error that is no number is infinite, a tolerance that is none allows everything."""
    if isinstance(error, float) and not math.isfinite(error):
        return 0.0 if math.isinf(tolerance) else math.inf
    if math.isinf(tolerance):
        return 0.0
    if error == 0:
        return 0.0
    return float(abs(Fraction(error)) / Fraction(tolerance)) if tolerance else math.inf


def rational(value: Enclosure | float) -> Fraction:
    """The midpoint of an enclosure, or a float, as a fraction; what is below every format counts as zero.

    Raises:
        OverflowError: for an infinity or a NaN.
    """
    if isinstance(value, Enclosure):
        if value.special is not None:
            raise OverflowError(str(value.special))
        if value.mid.man == 0 or value.mid.magnitude < _TINY:
            return Fraction(0)
        return Fraction(value.mid.man) * Fraction(2) ** value.mid.exp
    if not math.isfinite(value):
        raise OverflowError(str(value))
    return Fraction(value)


def total(values: Sequence[float]) -> Fraction:
    """The exact sum of finite floats.

    Raises:
        OverflowError: for an infinity or a NaN among them.
    """
    return sum((rational(v) for v in values), Fraction(0))


def exact_text(value: Enclosure) -> str:
    """An exact result for a finding; one that no format comes near is not written out."""
    if value.special is None and value.mid.man and abs(value.mid.magnitude) > _FAR:
        if value.mid.magnitude < 0:
            return "0 (nearer than any format tells)"
        return f"{'-' if value.mid.man < 0 else ''}infinity (beyond every format)"
    return value.decimal(20)[0]


def total_tolerance(truth: Truth) -> float:
    """The tolerance of the sum of a case's values."""
    return sum(truth.tolerance.value)


def answer(context: Context, case: Case, manner: Manner, *, gradient: bool = False) -> Observation | None:
    """What the subject returns for a case in a manner that it is free to refuse with an exception; None if it does.

    Raises:
        Broke: if its process died, or if what it returned is no loss.
    """
    seen = context.attempt(case, gradient=gradient, manner=manner)
    if seen.killed is None and seen.error is not None and not seen.error.startswith("returned "):
        return None
    if seen.value is None:
        raise Broke(seen, seen.trouble or "returned nothing")
    return seen


# --- when a law applies -------------------------------------------------------------------------------------------


Condition = Callable[[Convention, Dialect], str | None]


def always(_: Convention, __: Dialect) -> str | None:
    """Every subject."""
    return None


def needs_epsilon(_: Convention, dialect: Dialect) -> str | None:
    """A subject whose epsilon a caller can choose."""
    return None if "epsilon" in dialect.settable else "epsilon cannot be chosen"


def needs_gradient(convention: Convention, _: Dialect) -> str | None:
    """A subject that can be differentiated."""
    return None if convention.differentiable else "it accepts no logits that require a gradient"


def needs_softmax(_: Convention, dialect: Dialect) -> str | None:
    """A single-label loss: one softmax over the logits of a row."""
    if dialect.spec.link != "softmax":
        return "its probabilities are sigmoids, each logit by itself"
    return None


def needs_no_focal_factor(_: Convention, dialect: Dialect) -> str | None:
    """A subject whose gamma is, or can be set to, zero."""
    if "gamma" in dialect.settable or dialect.spec.gamma == 0:
        return None
    return f"gamma is fixed at {dialect.spec.gamma:g}, so its first term is x^{dialect.spec.gamma + 1:g}"


def needs_plain_classes(_: Convention, dialect: Dialect) -> str | None:
    """A subject without built-in class weights."""
    if dialect.built_in is not None or dialect.spec.alpha is not None:
        return "it has class weights built in: see the law under class weights"
    return None


def needs_class_weights(convention: Convention, dialect: Dialect) -> str | None:
    """A subject with class weights, given or built in."""
    if convention.can("weight") or needs_plain_classes(convention, dialect):
        return None
    return "it takes no class weights"


def all_of(*conditions: Condition) -> Condition:
    """Every one of the conditions; the first objection counts."""

    def applies(convention: Convention, dialect: Dialect) -> str | None:
        return next(filter(None, (condition(convention, dialect) for condition in conditions)), None)

    return applies

"""What the checks share: comparing observations with exact results, in error over tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Literal, NamedTuple

from polyref.case import Case
from polyref.property import Broke, Context
from polyref.reference.enclosure import Enclosure
from polyref.spec import Link, Reduction
from polyref.subject.manner import Manner
from polyref.subject.observation import Observation
from polyref.verdict import Outcome, Truth, Verdict, shown

PAPER = "Leng et al., PolyLoss, ICLR 2022, arXiv 2204.12511"
FOCAL = "Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002"
TORCH = "torch.nn.functional.cross_entropy, documentation"

#: What mends a NaN in the place of a number.
NO_NUMBER = (
    "Keep infinities out of products, as 0 * inf is NaN: pick the target with gather or where, take logarithms "
    "from log_softmax or logsigmoid, and form no power of 0 below 1."
)

#: What a case says that cannot tell.
UNDECIDED = Outcome(Verdict.INCONCLUSIVE, 0.0)
#: Exact numbers with a smaller binary exponent count as zero in differences: below every format by far.
_TINY = -4000
#: Results with binary exponents beyond this one are not written out.
_FAR = 4000


def compare_values(seen: Observation, truth: Truth, explanation: str) -> Outcome:
    """Every value against the exact one; the outcome is the worst."""
    assert seen.value is not None
    radii = truth.tolerance.value or (0.0,)
    if all(math.isinf(r) for r in radii):
        return UNDECIDED
    ratios = [truth.value_ratio(i, v) for i, v in enumerate(seen.value)]
    i = max(range(len(ratios)), key=ratios.__getitem__)
    lost = _not_a_number("value", seen.value[i], truth.value(i))
    return Outcome.of(
        ratios[i],
        exact_text(truth.value(i)),
        shown(seen.value[i]),
        lost or explanation,
        _mended(seen.value[i]) if lost else "",
    )


def compare_gradients(seen: Observation, truth: Truth, explanation: str) -> Outcome:
    """Every derivative against the exact one; the outcome is the worst."""
    assert seen.gradient is not None
    if truth.balls.value is None:
        return UNDECIDED  # a mean over a total weight of zero has no derivative
    if all(math.isinf(r) for row in truth.tolerance.gradient for r in row):
        return UNDECIDED
    ratios = {(i, k): truth.gradient_ratio(i, k, g) for i, row in enumerate(seen.gradient) for k, g in enumerate(row)}
    i, k = max(ratios, key=ratios.__getitem__)
    where = f"dl/dz_{k}" + (f" of row {i}" if len(seen.gradient) > 1 else "")
    lost = _not_a_number("gradient", seen.gradient[i][k], truth.gradient(i, k))
    return Outcome.of(
        ratios[i, k],
        f"{where} = {exact_text(truth.gradient(i, k))}",
        f"{where} = {shown(seen.gradient[i][k])}",
        lost or explanation,
        _mended(seen.gradient[i][k]) if lost else "",
    )


def compare(case: Case, context: Context, truth: Truth, value: str, gradient: str) -> Outcome:
    """What the subject returns for a case, its gradient if it has one, against the exact result; the worse outcome.

    Args:
        case: the case.
        context: the subject.
        truth: what is due.
        value: the explanation where a value is wrong.
        gradient: the explanation where a derivative is.
    """
    differentiable = context.convention.differentiable
    seen = context.observe(case, gradient=differentiable)
    outcome = compare_values(seen, truth, value)
    return worse(outcome, compare_gradients(seen, truth, gradient)) if differentiable else outcome


def _mended(lost: float) -> str:
    """What mends a NaN; an infinity may have as many causes as another wrong number."""
    return NO_NUMBER if math.isnan(lost) else ""


def _not_a_number(what: str, observed: float, exact: Enclosure) -> str | None:
    if math.isfinite(observed) or exact.special is not None:
        return None
    return f"The {what} is {observed} where the exact one is {float(exact):.6g}."


def worse(*outcomes: Outcome) -> Outcome:
    """The outcome with the largest ratio; inconclusive only where all are."""
    decided = [o for o in outcomes if o.verdict is not Verdict.INCONCLUSIVE]
    return max(decided, key=lambda o: o.ratio) if decided else UNDECIDED


def over(error: Fraction | float, tolerance: float) -> float:
    """Error over tolerance; an error that is no number is infinite, a tolerance that is none allows everything."""
    if isinstance(error, float) and not math.isfinite(error):
        return 0.0 if math.isinf(tolerance) else math.inf
    if math.isinf(tolerance):
        return 0.0
    if error == 0:
        return 0.0
    try:
        return float(abs(Fraction(error)) / Fraction(tolerance)) if tolerance else math.inf
    except OverflowError:
        return math.inf


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


def exact_total(truth: Truth) -> Fraction:
    """The sum of a case's exact values.

    Raises:
        OverflowError: for an infinity or a NaN among them.
    """
    return sum((rational(truth.value(i)) for i in range(truth.values)), Fraction(0))


def family(truth: Truth) -> Truth:
    """The truth in the family proper: a polynomial with a link of its own is no member of it."""
    if not truth.case.spec.mixed:
        return truth
    return Truth.of(truth.case.with_spec(polynomial_link=None, polynomial_gamma=None), flushed=truth.flushed)


def answer(context: Context, case: Case, manner: Manner, *, gradient: bool = False) -> Observation | None:
    """What the subject returns for a case in a manner that it is free to refuse with an exception; None if it does.

    Raises:
        Broke: if its process died, or if what it returned is no loss.
    """
    seen = context.attempt(case, gradient=gradient, manner=manner)
    if refuses(seen):
        return None
    if seen.value is None:
        raise Broke(seen, seen.trouble or "returned nothing")
    return seen


# --- answers of the subject that are due to be equal --------------------------------------------------------------


class Place(NamedTuple):
    """Where a number stands in an answer: a loss, or a derivative in a logit.

    Attributes:
        quantity: l or dl/dz.
        row: the row of the batch; None for the reduced loss.
        column: the class; None for the loss of a row.
    """

    quantity: Literal["l", "dl/dz"]
    row: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        """As findings show it."""
        index = "" if self.column is None else f"_{self.column}"
        return f"{self.quantity}{index}" + ("" if self.row is None else f" of row {self.row}")


#: Every number of an answer, with the tolerance of the case.
Answers = dict[Place, tuple[float, float]]


def answers(seen: Observation, truth: Truth) -> Answers:
    """The numbers of an observation by their place; those of a mean that is undefined are left out."""
    case = truth.case
    if truth.balls.value is None:
        return {}
    places = [Place("l")]
    if case.spec.reduction is Reduction.NONE:
        columns = range(case.classes) if case.spec.link is Link.SIGMOID else (None,)
        places = [Place("l", i, k) for i in range(len(case.logits)) for k in columns]
    found: Answers = {}
    if seen.value is not None:
        found |= zip(places, zip(seen.value, truth.tolerance.value, strict=True), strict=True)
    for i, (row, radii) in enumerate(zip(seen.gradient or (), truth.tolerance.gradient, strict=False)):
        found |= {Place("dl/dz", i, k): pair for k, pair in enumerate(zip(row, radii, strict=True))}
    return found


def asked(case: Case, context: Context) -> Answers:
    """The numbers that the subject returns for a case, its gradient if it has one."""
    return answers(context.observe(case, gradient=context.convention.differentiable), context.truth(case))


def agree(
    first: Answers,
    second: Answers,
    explanation: str,
    where: Callable[[Place], Place | None] = lambda place: place,
    factor: int = 1,
) -> Outcome:
    """Each number of the first answer against the second one's, within both tolerances; the outcome is the worst.

    Args:
        first: what is relied on.
        second: what is compared.
        explanation: of a violation.
        where: the place in the second answer, None for what is not compared.
        factor: how many times the first number the second one is due to be.
    """
    outcomes = []
    for place, (number, radius) in first.items():
        other = where(place)
        if other is None:
            continue
        got, slack = second[other]
        tolerance = factor * radius + slack
        if math.isinf(tolerance):
            continue
        due = factor * number
        outcomes.append(
            Outcome.of(_apart(due, got, tolerance), f"{other} = {due!r}", f"{other} = {shown(got)}", explanation)
        )
    return worse(*outcomes)


def all_zero(found: Answers, places: Iterable[Place], explanation: str) -> Outcome:
    """The numbers at some places against zero, exactly; the outcome is the worst."""
    exactly = {place: (number, 0.0) for place, (number, _) in found.items()}
    return agree(dict.fromkeys(places, (0.0, 0.0)), exactly, explanation)


def by_either_mean(check: Callable[[Case, Context], Outcome], case: Case, context: Context) -> Outcome:
    """The better outcome of a subject whose mean divides by the weights, and of one whose mean divides by the rows."""
    means = (Reduction.MEAN, Reduction.MEAN_OVER_SAMPLES)
    contexts = [replace(context, dialect=replace(context.dialect, mean=mean)) for mean in means]
    return min((check(case, c) for c in contexts), key=lambda outcome: outcome.ratio)


def refuses(seen: Observation) -> bool:
    """Whether the subject refused the call with an exception, as a wrong argument asks for.

    Raises:
        Broke: if its process died.
    """
    if seen.killed is not None:
        raise Broke(seen, seen.trouble or "died")
    return seen.error is not None and not seen.error.startswith("returned ")


def measured(seen: Observation, truth: Truth) -> list[tuple[str, float, float]]:
    """Every value and derivative that came back: its name, itself and its tolerance."""
    assert seen.value is not None
    radii = truth.tolerance.value or (math.inf,)
    found = [(f"value {i}", v, radius) for i, (v, radius) in enumerate(zip(seen.value, radii, strict=True))]
    for i, row in enumerate(zip(seen.gradient or (), truth.tolerance.gradient, strict=False)):
        found += [(f"dl/dz_{k} of row {i}", g, radius) for k, (g, radius) in enumerate(zip(*row, strict=True))]
    return found


def same_numbers(seen: Observation, plain: Observation, truth: Truth, explanation: str) -> Outcome:
    """Two results of one case, each of which may be within the tolerance of the exact one: no further apart than both.

    Derivatives are compared where the plain result has them and the other's backward pass is not refused.
    """
    if plain.gradient is not None and seen.gradient is None and "raised" not in (seen.gradient_reason or ""):
        return Outcome(Verdict.VIOLATED, math.inf, "a gradient", f"none: {seen.gradient_reason}", explanation)
    # The shorter of the two ends with the values.
    pairs = zip(measured(seen, truth), measured(plain, truth), strict=False)
    bounded = [(what, a, b, 2 * radius) for (what, a, radius), (_, b, _) in pairs if math.isfinite(radius)]
    if not bounded:
        return UNDECIDED
    what, a, b, tolerance = max(bounded, key=lambda found: _apart(*found[1:]))
    return Outcome.of(_apart(a, b, tolerance), f"{what} = {shown(b)}", f"{what} = {shown(a)}", explanation)


def _apart(a: float, b: float, tolerance: float) -> float:
    if repr(a) == repr(b):  # NaN and NaN too
        return 0.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return over(Fraction(a) - Fraction(b), tolerance)

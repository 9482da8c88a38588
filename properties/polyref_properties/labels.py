"""Laws of the labels: indices, soft labels, smoothing, and rows that are left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from polyref.case import Case
from polyref.property import Broke, Context, Property
from polyref.spec import Link, Reduction
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.subject.manner import Manner
from polyref.verdict import Outcome
from polyref_properties.checks import (
    PAPER,
    TORCH,
    UNDECIDED,
    Place,
    agree,
    all_zero,
    answers,
    asked,
    compare,
    refuses,
    worse,
)
from polyref_properties.conditions import all_of, needs_index_labels, needs_known_formula, needs_soft_labels
from polyref_properties.strategies import BENIGN, cases, offered, reduced, shares, softened

_SZEGEDY = "Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7"


def _is_the_reference(case: Case, context: Context, what: str) -> Outcome:
    """Value and gradient against the exact ones of the subject's own law."""
    truth = context.truth(case)
    if truth.balls.value is None:
        return UNDECIDED  # over a total weight of 0 a smoothed mean may be infinite
    return compare(case, context, truth, f"The value is not that of {what}.", f"The gradient is not that of {what}.")


def _unless_refused(check: Callable[[Case, Context], Outcome]) -> Callable[[Case, Context], Outcome]:
    """Whoever takes soft labels may still refuse them together with weights, say."""

    def outcome(case: Case, context: Context) -> Outcome:
        try:
            return check(case, context)
        except Broke as broke:
            if refuses(broke.observation):
                return UNDECIDED
            raise

    return outcome


# --- soft labels --------------------------------------------------------------------------------------------------


def _one_hot_cases(context: Context) -> SearchStrategy[Case]:
    # A weighted mean of soft labels divides by the number of rows, so that it is another one on purpose.
    weighted = False if context.reduction is Reduction.MEAN else None
    return cases(context, kinds=BENIGN, rows=(1, 3), weighted=weighted)


def _one_hot(case: Case, context: Context) -> Outcome:
    rows = tuple(tuple(float(k == t) for k in range(case.classes)) for t in case.target)
    return agree(
        asked(case, context),
        asked(replace(case, target=rows), context),
        "A one-hot row of probabilities gives another loss than the index that it stands for.",
    )


ONE_HOT = Property(
    id="one-hot-equals-index",
    theme="labels",
    statement="A one-hot row of probabilities gives the value and the gradient that its index gives.",
    formula="l(z, e_y) = l(z, y)",
    citation=TORCH,
    remedy="Let both forms of a label go through one computation, weights included.",
    applies=all_of(needs_soft_labels, needs_index_labels),
    strategy=_one_hot_cases,
    check=_unless_refused(_one_hot),
    mutants=("labels-shifted", "soft-labels-taken-for-logits", "soft-labels-unweighted"),
)


def _soft_cases(context: Context) -> SearchStrategy[Case]:
    soft = softened(cases(context, kinds=BENIGN, rows=(1, 2)), context.dialect.spec.link)
    return reduced(soft, offered(context))


def _expectation(case: Case, context: Context) -> Outcome:
    return _is_the_reference(case, context, "the expectation over the soft label")


EXPECTATION = Property(
    id="soft-target-is-the-expectation",
    theme="labels",
    statement="A soft label gives the expectation of the losses of its classes, each with the class's own weight.",
    formula="l(z, q) = sum_k q_k w_k l_k(z)",
    citation=f"{TORCH}: probabilities; {PAPER}, section 3, for a target of one class",
    remedy="Add up q_k w_k times the loss of each class; for one epsilon the polynomial is eps (1 - sum_k q_k p_k).",
    applies=all_of(needs_soft_labels, needs_known_formula),
    strategy=_soft_cases,
    check=_unless_refused(_expectation),
    mutants=(
        "soft-labels-made-indices",
        "soft-product",
        "soft-squares",
        "soft-labels-taken-for-logits",
        "soft-labels-unweighted",
        "soft-weight-of-the-likeliest",
    ),
)


# --- smoothing ----------------------------------------------------------------------------------------------------


def _needs_smoothing(_: Convention, dialect: Dialect) -> str | None:
    return None if "smoothing" in dialect.settable else "it has no parameter for label smoothing"


_SMOOTHINGS = st.sampled_from((0.5, 0.125, 1.0, 0.25))


def _smoothed_cases(context: Context) -> SearchStrategy[Case]:
    given = cases(context, kinds=BENIGN, rows=(1, 2))
    if needs_soft_labels(context.convention, context.dialect) is None:
        given = st.one_of(given, given, softened(given, context.dialect.spec.link))
    smoothed = st.builds(lambda case, s: case.with_spec(smoothing=s), given, _SMOOTHINGS)
    return reduced(smoothed, offered(context))


def _smoothing(case: Case, context: Context) -> Outcome:
    classes = "2" if case.spec.link is Link.SIGMOID else "C"
    return _is_the_reference(case, context, f"the target (1 - s) q + s / {classes}, s = {case.spec.smoothing:g}")


SMOOTHING = Property(
    id="smoothing-is-a-soft-target",
    theme="labels",
    statement="Label smoothing s is the soft label (1 - s) q + s / C, in the logarithm and in the polynomial.",
    formula="l_s(z, q) = sum_k ((1 - s) q_k + s / C) w_k l_k(z)",
    citation=f"{_SZEGEDY}; {TORCH}: label_smoothing",
    remedy="Smooth the target once, and give both parts the smoothed one.",
    applies=all_of(_needs_smoothing, needs_known_formula),
    strategy=_smoothed_cases,
    check=_unless_refused(_smoothing),
    mutants=(
        "smoothing-in-cross-entropy-only",
        "smoothing-in-polynomial-only",
        "smoothing-over-other-classes",
        "smoothing-of-indices-only",
        "soft-weight-of-the-likeliest",
    ),
)


# --- rows that are left out ---------------------------------------------------------------------------------------


def _needs_ignore_index(convention: Convention, _: Dialect) -> str | None:
    return None if convention.can("ignore_index") else "it has no parameter ignore_index"


#: One that torch has by default, others that are no class, and one that is.
_IGNORED = st.sampled_from((-100, -1, 255, 1))
#: Which rows are left out, by bits; all of them too.
_LEFT_OUT = st.integers(1, 15)


@st.composite
def _with_ignored(draw: DrawFn, context: Context) -> Case:
    case = draw(reduced(cases(context, kinds=BENIGN, rows=(1, 4)), offered(context)))
    ignored, bits = draw(_IGNORED), draw(_LEFT_OUT)
    target = tuple(ignored if bits >> i & 1 else t for i, t in enumerate(case.target))
    return replace(case, target=target, ignore_index=ignored)


def _ignored(case: Case, context: Context) -> Outcome:
    kept = [i for i in range(len(case.logits)) if not case.ignored(i)]
    seen = context.observe(case, gradient=context.convention.differentiable)
    if not kept and case.spec.reduction is Reduction.MEAN:
        assert seen.value is not None
        (mean,) = seen.value
        return Outcome.of(
            0.0 if mean == 0 or math.isnan(mean) else math.inf,
            "l = NaN or 0, the mean of nothing",
            f"l = {mean!r}",
            "Every row is ignored, and the mean is a number.",
        )
    found = answers(seen, context.truth(case))
    nothing = [p for p in found if not kept or (p.row is not None and case.ignored(p.row))]
    outcomes = [all_zero(found, nothing, "An ignored row counts: it has a loss or a gradient.")]
    if kept:
        rest = replace(case, logits=tuple(case.logits[i] for i in kept), target=tuple(case.target[i] for i in kept))

        def where(place: Place) -> Place:
            return place if place.row is None else place._replace(row=kept[place.row])

        text = "With rows that are ignored the loss is not that of the other rows alone."
        outcomes.append(agree(asked(rest, context), found, text, where))
    return worse(*outcomes)


IGNORED = Property(
    id="ignored-rows-count-for-nothing",
    theme="labels",
    statement="Rows with the ignored label count for nothing: not in value, gradient or the denominator of the mean.",
    formula="l_i = 0 and dl/dz_i = 0 where y_i = ignore_index; mean = sum w_i l_i / sum w_i over the others",
    citation=f"{TORCH}: ignore_index",
    remedy="Take such rows out with a mask that the polynomial and the mean's denominator see too.",
    applies=all_of(_needs_ignore_index, needs_index_labels),
    strategy=_with_ignored,
    check=_ignored,
    mutants=(
        "ignored-label-wraps",
        "ignored-rows-in-the-denominator",
        "ignored-rows-with-a-gradient",
        "ignore-index-is-minus-hundred",
    ),
)


# --- labels that name no class ------------------------------------------------------------------------------------


def _needs_errors(convention: Convention, _: Dialect) -> str | None:
    return "a program of JAX under jit cannot raise an exception for a value" if convention.framework == "jax" else None


def _few(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=("eighths",), rows=(1, 2))


def _out_of_range(case: Case, context: Context) -> Outcome:
    labels = [case.classes]
    if -1 not in (case.ignore_index, context.convention.default("ignore_index")):
        labels.append(-1)
    outcomes = []
    for label in labels:
        seen = context.attempt(case, manner=Manner(labels=label))
        returned = ", ".join(map(repr, seen.value or ())) or "nothing"
        outcomes.append(
            Outcome.of(
                0.0 if seen.refused or refuses(seen) else math.inf,
                f"an exception for label {label} of {case.classes} classes",
                f"returned {returned}",
                f"Label {label} names none of the {case.classes} classes, and the loss takes it.",
            )
        )
    return worse(*outcomes)


OUT_OF_RANGE = Property(
    id="label-out-of-range-is-an-error",
    theme="labels",
    statement="A label that names no class raises an exception and gives no number.",
    formula="y not in 0 .. C-1 and y != ignore_index: an error",
    citation=f"{TORCH}: class indices in [0, C)",
    remedy="Index with gather or one_hot, which check their range; no modulo, no clamp, no label -1 from the end.",
    applies=all_of(needs_index_labels, _needs_errors),
    strategy=_few,
    check=_out_of_range,
    mutants=("label-clamped", "label-wrapped", "label-from-the-end", "label-out-of-range-ignored"),
    of_chance=True,
)


# --- as many rows as classes --------------------------------------------------------------------------------------

#: More classes than this are not met by as many rows: such a batch would say no more, and take long.
_SQUARE = 4


def _square_enough(convention: Convention, _: Dialect) -> str | None:
    if convention.classes is None or convention.classes <= 2 * _SQUARE:
        return None
    return f"it works with {convention.classes} classes only"


@st.composite
def _square_cases(draw: DrawFn, context: Context) -> Case:
    fixed = context.convention.classes
    rows = fixed or _SQUARE
    case = draw(cases(context, kinds=BENIGN, rows=(rows, rows)))
    n = fixed or min(case.classes, _SQUARE)
    case = replace(
        case,
        logits=tuple(row[:n] for row in case.logits[:n]),
        target=tuple(t % n for t in case.target[:n] if isinstance(t, int)),
        weight=None if case.weight is None or not any(case.weight[:n]) else case.weight[:n],
    )
    if needs_soft_labels(context.convention, context.dialect) is None and draw(st.booleans()):
        return replace(case, target=tuple(draw(shares(n, context.dialect.spec.link)) for _ in case.target))
    return case


def _square(case: Case, context: Context) -> Outcome:
    """Against the batch twice over, which has more rows than classes."""
    twice = replace(case, logits=case.logits * 2, target=case.target * 2)
    once, doubled = asked(case, context), asked(twice, context)
    text = f"With as many rows as classes, {case.classes}, the loss is another: batch and classes are confused."
    outcomes = []
    for quantity in ("l", "dl/dz"):
        some = {place: number for place, number in once.items() if place.quantity == quantity}
        # A sum doubles, and a mean gives each row half of the gradient that it had.
        summed = quantity == "l" and case.spec.reduction is Reduction.SUM
        shared = quantity == "dl/dz" and case.spec.reduction is Reduction.MEAN
        if shared:
            outcomes.append(agree({place: doubled[place] for place in some}, some, text, factor=2))
        else:
            outcomes.append(agree(some, doubled, text, factor=2 if summed else 1))
    return worse(*outcomes)


SQUARE = Property(
    id="n-equal-to-c-is-not-confused",
    theme="labels",
    statement="A batch of as many rows as there are classes is a batch like any other: the same as in twice the batch.",
    formula="N = C: l(z, y) = l((z, z), (y, y))_1..N",
    citation=f"{TORCH}: input (N, C), target (N) or (N, C)",
    remedy="Name the dimension of every softmax and sum, and tell labels apart by dtype and rank, not by size.",
    applies=_square_enough,
    strategy=_square_cases,
    check=_unless_refused(_square),
    mutants=("classes-over-the-batch", "soft-labels-transposed"),
)

LAWS = (ONE_HOT, EXPECTATION, SMOOTHING, IGNORED, OUT_OF_RANGE, SQUARE)

"""Laws of symmetry: what a loss must not see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from polyref.case import Case
from polyref.property import Context, Property
from polyref.spec import Link, Reduction, Weighting
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.verdict import Outcome, Truth, Verdict
from polyref_properties.checks import (
    NO_NUMBER,
    UNDECIDED,
    Place,
    agree,
    asked,
    over,
    rational,
    total,
    total_tolerance,
    worse,
)
from polyref_properties.conditions import all_of, always, needs_softmax, needs_unreduced
from polyref_properties.strategies import BENIGN, cases, shifted_pairs, single

# --- a constant in every logit ------------------------------------------------------------------------------------


def _shift(case: Case, context: Context) -> Outcome:
    here, there = single(case, 0), single(case, 1)
    constant = there.logits[0][0] - here.logits[0][0]
    truths = [context.truth(half) for half in (here, there)]
    if any(truth.balls.value is None for truth in truths):
        return UNDECIDED  # a mean with nothing to divide by
    tolerance = sum(map(total_tolerance, truths))
    values = [context.observe(half).value or () for half in (here, there)]
    try:
        before = total(values[0])
    except OverflowError:
        return UNDECIDED  # no number without the shift either: another law's matter
    try:
        after = total(values[1])
    except OverflowError:
        return Outcome(
            Verdict.VIOLATED, float("inf"), "finite losses", "an infinity or a NaN", "The shifted logits overflow."
        )
    return Outcome.of(
        over(after - before, tolerance),
        f"l(z + {constant:g}) = l(z) = {float(before)!r}",
        f"l(z + {constant:g}) = {float(after)!r}",
        f"Adding {constant:g} to every logit changes the loss: it does not see the logits through softmax alone.",
    )


SHIFT = Property(
    id="shift-invariance",
    theme="symmetries",
    statement="Adding one constant to every logit changes nothing, as softmax does not see it.",
    formula="l(z + c) = l(z)",
    citation="Definition of softmax",
    remedy="Use softmax for every probability of a single-label loss, and subtract the largest logit before exp.",
    applies=needs_softmax,
    strategy=shifted_pairs,
    check=_shift,
    mutants=("sigmoid-probability", "exp-without-max"),
)


# --- permutations -------------------------------------------------------------------------------------------------


def _permutations(count: int) -> tuple[tuple[int, ...], ...]:
    """Two that all others are made of: each place gets what stood in the next one; the first two are exchanged."""
    onwards = (*range(1, count), 0)
    exchanged = (1, 0, *range(2, count))
    return (onwards, exchanged) if count > 2 else (onwards,)


def _no_built_in_weights(_: Convention, dialect: Dialect) -> str | None:
    return None if dialect.built_in is None else "its class weights are built in, and do not move with the classes"


def _batches(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=BENIGN, rows=(1, 3))


def _classes_permuted(case: Case, context: Context) -> Outcome:
    before, outcomes = asked(case, context), []
    for order in _permutations(case.classes) if case.classes > 1 else ():
        moved = replace(
            case,
            logits=tuple(_in_order(row, order) for row in case.logits),
            target=tuple(order.index(t) for t in case.target if isinstance(t, int)),
            weight=None if case.weight is None else _in_order(case.weight, order),
        )

        def where(place: Place, order: Sequence[int] = order) -> Place:
            return place if place.column is None else place._replace(column=order.index(place.column))

        text = f"With the classes in the order {', '.join(map(str, order))} the loss is another: it depends on "
        outcomes.append(agree(before, asked(moved, context), text + "what a class is numbered.", where))
    return worse(*outcomes)


def _in_order(row: Sequence[float], order: Sequence[int]) -> tuple[float, ...]:
    return tuple(row[k] for k in order)


CLASS_PERMUTATION = Property(
    id="class-permutation",
    theme="symmetries",
    statement="Classes have no order: permuting logits, target and weights permutes the gradient and keeps the value.",
    formula="l(P z, P y, P w) = l(z, y, w); dl/dz permuted by P",
    citation="Definition of the cross-entropy: a sum over classes",
    remedy="Use a label to pick a class only, with gather or one_hot, and never as a number.",
    applies=_no_built_in_weights,
    strategy=_batches,
    check=_classes_permuted,
    mutants=("index-as-number", "labels-shifted", "classes-sorted"),
)


def _several(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=BENIGN, rows=(2, 4))


def _rows_permuted(case: Case, context: Context) -> Outcome:
    before, outcomes = asked(case, context), []
    for order in _permutations(len(case.logits)):
        moved = replace(case, logits=tuple(case.logits[i] for i in order), target=tuple(case.target[i] for i in order))

        def where(place: Place, order: Sequence[int] = order) -> Place:
            return place if place.row is None else place._replace(row=order.index(place.row))

        text = f"With the rows in the order {', '.join(map(str, order))} a row has another loss: rows are not treated "
        outcomes.append(agree(before, asked(moved, context), text + "alike.", where))
    return worse(*outcomes)


BATCH_PERMUTATION = Property(
    id="batch-permutation",
    theme="symmetries",
    statement="Rows have no order: permuting the batch permutes the losses and the gradient.",
    formula="l(P z, P y) = P l(z, y) for none; sum and mean do not change",
    citation="Definition of the empirical risk: a sum over samples",
    remedy="Compute each row from its own logits and label, and reduce once at the end.",
    applies=always,
    strategy=_several,
    check=_rows_permuted,
    mutants=("first-row-for-all", "batch-reversed"),
)


def _alone(case: Case, context: Context) -> Outcome:
    together, outcomes = asked(case, context), []
    for i in range(len(case.logits)):

        def where(place: Place, i: int = i) -> Place:
            return place._replace(row=i)

        text = f"Row {i} has another loss in this batch than alone: it depends on its neighbours."
        outcomes.append(agree(asked(single(case, i), context), together, text, where))
    return worse(*outcomes)


NEIGHBOURS = Property(
    id="neighbours-do-not-matter",
    theme="symmetries",
    statement="The loss of a row and its gradient are those that the row has alone.",
    formula="l(z, y)_i = l(z_i, y_i)",
    citation="Definition of the empirical risk: a sum over samples",
    remedy="Compute both parts per sample, the cross-entropy with reduction='none', and softmax along the classes.",
    applies=needs_unreduced,
    strategy=_several,
    check=_alone,
    mutants=(
        "batch-mean-plus-samples",
        "first-row-for-all",
        "probabilities-over-the-batch",
        "batch-reversed",
        "none-is-mean",
        "classes-over-the-batch",
    ),
)


# --- a class that cannot be ---------------------------------------------------------------------------------------


def _any_number_of_classes(convention: Convention, _: Dialect) -> str | None:
    return None if convention.classes is None else f"it works with {convention.classes} classes only"


def _impossible_cases(context: Context) -> SearchStrategy[Case]:
    """Cases with one class of logit -inf; the last one where classes have weights of their own."""
    some = cases(context, kinds=(*BENIGN, "margin"), rows=(1, 2), weighted=False)
    last = context.dialect.built_in is not None
    return st.builds(lambda case, place: _with_impossible(case, -1 if last else place), some, st.integers(0, 2))


def _with_impossible(case: Case, place: int) -> Case:
    """The place counts from the end where it is negative; it is the end where there are not as many classes."""
    at = case.classes if place < 0 else min(place, case.classes)
    return replace(
        case,
        logits=tuple((*row[:at], -math.inf, *row[at:]) for row in case.logits),
        target=tuple(t + (t >= at) for t in case.target if isinstance(t, int)),
    )


def _impossible(case: Case, context: Context) -> Outcome:
    at = case.logits[0].index(-math.inf)
    bare = replace(
        case,
        logits=tuple((*row[:at], *row[at + 1 :]) for row in case.logits),
        target=tuple(t - (t > at) for t in case.target if isinstance(t, int)),
    )
    with_it = asked(case, context)

    def where(place: Place) -> Place:
        return place if place.column is None else place._replace(column=place.column + (place.column >= at))

    own = {place: (0.0, 0.0) for place in with_it if place.quantity == "dl/dz" and place.column == at}
    outcome = worse(
        agree(asked(bare, context), with_it, f"Class {at} has probability 0, and changes the loss.", where),
        agree(own, with_it, f"Class {at} has probability 0, and has a gradient."),
    )
    lost = outcome.verdict is Verdict.VIOLATED and outcome.observed.endswith("nan")
    return replace(outcome, remedy=NO_NUMBER) if lost else outcome


IMPOSSIBLE = Property(
    id="impossible-class-changes-nothing",
    theme="symmetries",
    statement="A class of logit -inf has probability 0: it changes neither the loss nor the other derivatives.",
    formula="l(z, -inf) = l(z); dl/dz of that class = 0",
    citation="Definition of softmax: exp(-inf) = 0; logits are masked with -inf",
    remedy="Add no constant to probabilities, clamp none, and let the number of classes appear nowhere.",
    applies=all_of(needs_softmax, _any_number_of_classes),
    strategy=_impossible_cases,
    check=_impossible,
    mutants=("logits-floored", "one-hot-times-logarithm", "smoothing-slipped-in"),
)


# --- two classes --------------------------------------------------------------------------------------------------


def _two_classes(convention: Convention, _: Dialect) -> str | None:
    return None if convention.classes in (None, 2) else f"it works with {convention.classes} classes only"


def _pairs(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=("eighths",)).filter(lambda case: case.classes >= 2).map(_pair)


def _pair(case: Case) -> Case:
    """(z_1, z_2) and (z_1 - z_2, 0), both with the first row's target: differences of eighths are exact."""
    (first, second, *_), target = case.logits[0], case.target[0]
    assert isinstance(target, int)
    weight = None if case.weight is None else case.weight[:2]
    if weight is not None and not any(weight):
        weight = None
    return replace(case, logits=((first, second), (first - second, 0.0)), target=(target % 2,) * 2, weight=weight)


def _is_sigmoid(case: Case, context: Context) -> Outcome:
    here, there = single(case, 0), single(case, 1)
    z1, z2 = here.logits[0]
    first, second = asked(here, context), asked(there, context)
    text = f"The loss of two classes is another at ({z1:g}, {z2:g}) than at ({z1 - z2:g}, 0), "
    outcome = agree(first, second, text + "which have the same probabilities.")
    # Of a formula that is not known there is no closed form, only the nearest one's.
    closed = _closed(context.dialect.own(here), context) if context.dialect.known else None
    if closed is None or first.keys().isdisjoint(_VALUES):
        return outcome
    (place,) = first.keys() & _VALUES
    number, radius = first[place]
    due = rational(closed.value(0))
    closed_form = Outcome.of(
        over(Fraction(number) - due, radius) if math.isfinite(number) else math.inf,
        f"{place} = {float(due)!r}, from sigmoid(z_0 - z_1)",
        f"{place} = {number!r}",
        "The loss of two classes is not that of the sigmoid of the difference of their logits.",
    )
    return worse(outcome, closed_form)


#: Where the loss of one row stands, reduced or not.
_VALUES = {Place("l"), Place("l", 0)}


def _closed(own: Case, context: Context) -> Truth | None:
    """The loss of one logit z_1 - z_2 under a sigmoid; None where the law of the weights has no such form."""
    spec, target = own.spec, own.target[0]
    weighted = own.weight is not None
    of_rows = spec.reduction in (Reduction.NONE, Reduction.SUM)
    if spec.mixed or (weighted and (spec.weighting is Weighting.RESCALED_P or not of_rows)):
        return None
    assert isinstance(target, int)
    sigmoid = replace(
        own,
        spec=replace(spec, link=Link.SIGMOID, reduction=Reduction.NONE),
        logits=((own.logits[0][0] - own.logits[0][1],),),
        target=((1.0 - target,),),
        weight=None if own.weight is None else (own.weight[target],),
    )
    return context.truth_of(sigmoid)


TWO_CLASSES = Property(
    id="two-class-softmax-is-sigmoid",
    theme="symmetries",
    statement="With two classes the softmax is the sigmoid of the difference of the logits, and so is the loss.",
    formula="l(z_1, z_2) = l(z_1 - z_2, 0) = w [x^gamma softplus(-d) + sum_j eps_j x^(gamma+j)], x = sigmoid(-d)",
    citation="Definition of softmax: exp(z_1) / (exp(z_1) + exp(z_2)) = 1 / (1 + exp(z_2 - z_1))",
    remedy="Use one softmax over both logits, and no special case for two classes.",
    applies=all_of(needs_softmax, _two_classes),
    strategy=_pairs,
    check=_is_sigmoid,
    mutants=("sigmoid-probability", "softmax-twice", "second-logit-alone"),
)

LAWS = (SHIFT, CLASS_PERMUTATION, BATCH_PERMUTATION, NEIGHBOURS, IMPOSSIBLE, TWO_CLASSES)

"""Laws of shapes and layouts: the same rows, handed over otherwise, have the same losses."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from polyref.case import Case
from polyref.formats import Format
from polyref.property import Context, Property
from polyref.spec import Reduction
from polyref.subject.manner import Manner
from polyref.verdict import Outcome
from polyref_properties.checks import TORCH, UNDECIDED, answer, same_numbers, worse
from polyref_properties.conditions import all_of, always, needs_classes_second, needs_layouts, needs_softmax
from polyref_properties.strategies import BENIGN, cases, logits

# --- one row ------------------------------------------------------------------------------------------------------


def _single_rows(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=(*BENIGN, "margin"))


def _without_a_batch(case: Case, context: Context) -> Outcome:
    differentiable = context.convention.differentiable
    plain = context.observe(case, gradient=differentiable)
    seen = answer(context, case, Manner(shape=()), gradient=differentiable)
    if seen is None:
        return UNDECIDED
    assert plain.value is not None
    assert seen.value is not None
    if len(seen.value) != len(plain.value):
        return Outcome.of(
            math.inf,
            _losses(len(plain.value)),
            f"{_losses(len(seen.value))} of shape {seen.shape}",
            f"A row of {case.classes} logits is not taken as one sample.",
        )
    explanation = "A row of logits without a batch has another loss than the same row as a batch of one."
    return same_numbers(seen, plain, context.truth(case), explanation)


def _losses(count: int) -> str:
    return "one loss" if count == 1 else f"{count} losses"


WITHOUT_A_BATCH = Property(
    id="row-without-a-batch",
    theme="shapes",
    statement="Logits (C,) with one label have the loss of the same row as a batch of one, or are refused.",
    formula="f(z, y) = f([z], [y])",
    citation=f"{TORCH}: input (C), (N, C) or (N, C, d_1, ..., d_K)",
    remedy="Take logits of one dimension as one row, logits[None], or raise an exception.",
    applies=always,
    strategy=_single_rows,
    check=_without_a_batch,
    mutants=("row-as-a-batch",),
)


# --- places -------------------------------------------------------------------------------------------------------


@cache
def _shapes(classes: int) -> tuple[tuple[int, ...], ...]:
    """Shapes of positions: with as many places, or as long a batch, as there are classes, and with others."""
    every = ((1, classes), (2, classes), (2, 2), (2, 1), (1, 2, classes), (2, 2, 1))
    return tuple(dict.fromkeys(s for s in every if math.prod(s) <= 16))


@cache
def _further_rows(fmt: Format, classes: int, count: int) -> SearchStrategy[tuple[tuple[float, ...], ...]]:
    return st.tuples(*[st.one_of([logits(fmt, classes, 0, kind) for kind in BENIGN])] * count)


@cache
def _labels(classes: int, count: int) -> SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[st.integers(0, classes - 1)] * count)


@st.composite
def _placed(draw: DrawFn, context: Context) -> Case:
    """As many rows as one of the shapes has positions."""
    case = draw(cases(context, kinds=BENIGN))
    further = math.prod(draw(st.sampled_from(_shapes(case.classes)))) - 1
    rows = draw(_further_rows(context.format, case.classes, further))
    target = draw(_labels(case.classes, further))
    return replace(case, logits=case.logits + rows, target=case.target + target)


def _before_places(case: Case, context: Context) -> Outcome:
    """Every shape that the rows fill."""
    differentiable = context.convention.differentiable
    plain = context.observe(case, gradient=differentiable)
    outcomes = [UNDECIDED]
    for shape in _shapes(case.classes):
        if math.prod(shape) != len(case.logits):
            continue
        seen = answer(context, case, Manner(shape=shape), gradient=differentiable)
        if seen is None:
            continue
        given = (shape[0], case.classes, *shape[1:])
        if case.spec.reduction is Reduction.NONE and not _is_shape(seen.shape, shape, context):
            outcomes.append(
                Outcome.of(
                    math.inf,
                    f"losses of shape {shape}",
                    f"a result of shape {seen.shape}",
                    f"Logits of shape {given} have one loss for each position but the classes, and another shape came.",
                )
            )
            continue
        explanation = (
            f"Logits of shape {given} have other losses than the same {len(case.logits)} rows of {case.classes} "
            "classes: the classes are not looked for on the second axis, or labels and logits are flattened otherwise."
        )
        outcomes.append(same_numbers(seen, plain, context.truth(case), explanation))
    return worse(*outcomes)


def _is_shape(seen: tuple[int, ...], positions: tuple[int, ...], context: Context) -> bool:
    """Whether a result has the shape of the positions, the axis of a subject that returns columns left out."""
    if context.convention.result == "column":
        return [n for n in seen if n != 1] == [n for n in positions if n != 1]
    return seen == positions


BEFORE_PLACES = Property(
    id="classes-before-places",
    theme="shapes",
    statement="Logits (N, C, d_1, ...) have the classes second and a loss for every place, or are refused.",
    formula="f(z, y)[n, d] = f(z[n, :, d], y[n, d])",
    citation=f"{TORCH}: input (N, C, d_1, ..., d_K)",
    remedy="Take softmax, gather and sum over dimension 1, or move it last for logits and soft labels alike.",
    applies=all_of(needs_classes_second, needs_softmax),
    strategy=_placed,
    check=_before_places,
    mutants=("class-axis-last", "labels-in-another-order", "mean-over-places", "squeezed"),
)


# --- layouts ------------------------------------------------------------------------------------------------------


def _batches(context: Context) -> SearchStrategy[Case]:
    return cases(context, kinds=BENIGN, rows=(2, 4))


def _layouts(case: Case, context: Context) -> Outcome:
    """Transposed and strided logits, and the first row's memory behind a batch of equal rows."""
    differentiable = context.convention.differentiable
    outcomes = [UNDECIDED]
    equal = replace(case, logits=case.logits[:1] * len(case.logits))
    # The gradient of an expanded tensor goes to the one row there is, so values alone are compared.
    manners = (Manner(layout="transposed"), Manner(layout="strided")), (Manner(layout="expanded"),)
    for given, several, gradient in ((case, manners[0], differentiable), (equal, manners[1], False)):
        plain = context.observe(given, gradient=gradient)
        for manner in several:
            seen = answer(context, given, manner, gradient=gradient)
            if seen is None:
                continue
            explanation = f"The same logits in a tensor that is {manner.layout} in memory have another loss."
            outcomes.append(same_numbers(seen, plain, context.truth(given), explanation))
    return worse(*outcomes)


LAYOUT = Property(
    id="layout-does-not-matter",
    theme="shapes",
    statement="Transposed, strided and expanded logits have the loss of contiguous ones, or are refused.",
    formula="f(z) = f(z.contiguous())",
    citation="torch.Tensor.view and torch.as_strided, documentation",
    remedy="Index tensors by their dimensions, never by their storage; use reshape or contiguous before view.",
    applies=needs_layouts,
    strategy=_batches,
    check=_layouts,
    mutants=("storage-read", "polynomial-as-a-column", "batch-size-fixed"),
)

LAWS = (WITHOUT_A_BATCH, BEFORE_PLACES, LAYOUT)

"""Laws of precision: what a format of sixteen bits costs, and nothing more."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY16, Format, named
from polyref.property import Context, Property
from polyref.reference.enclosure import Enclosure, error_over
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.verdict import Outcome, shown
from polyref_properties.checks import UNDECIDED, measured, worse
from polyref_properties.strategies import EVERY, cases

_SIXTEEN_BITS = (BINARY16, BFLOAT16)


def _needs_both(convention: Convention, _: Dialect) -> str | None:
    widths = {named(f).bits for f in convention.formats}
    if 16 not in widths:
        return "it takes no format of sixteen bits"
    return None if max(widths) > 16 else "it takes no format of more than sixteen bits"


def _narrow_cases(context: Context) -> SearchStrategy[Case]:
    """Numbers of a format of sixteen bits, in the wide one."""
    # Margins make results that are subnormal, and those are nowhere as frequent as in sixteen bits.
    drawn = [
        cases(replace(context, format=fmt), kinds=kinds, rows=(1, 2))
        for kinds in (EVERY, ("margin",))
        for fmt in _SIXTEEN_BITS
        # Numbers of one format of sixteen bits are not all of the other, and the law has nothing to say of either.
        if fmt.name in context.convention.formats and (context.format.bits > 16 or fmt == context.format)
    ]
    return st.one_of(drawn).map(lambda case: replace(case, format=context.format))


def _follows(case: Case, context: Context) -> Outcome:
    """In every format of sixteen bits that holds the numbers."""
    if context.format.bits <= 16:
        return UNDECIDED
    numbers = {z for row in case.logits for z in row} | set(case.weight or ())
    outcomes = [UNDECIDED]
    for fmt in _SIXTEEN_BITS:
        if fmt.name in context.convention.formats and all(map(fmt.contains, numbers)):
            outcomes.append(_follows_in(case, context, fmt))
    return worse(*outcomes)


def _follows_in(case: Case, context: Context, fmt: Format) -> Outcome:
    narrow_case = replace(case, format=fmt)
    differentiable = context.convention.differentiable
    wide = context.observe(case, gradient=differentiable)
    narrow = context.observe(narrow_case, gradient=differentiable)
    pairs = zip(measured(narrow, context.truth(narrow_case)), measured(wide, context.truth(case)), strict=False)
    bounded = [(what, a, b, t + u) for (what, a, t), (_, b, u) in pairs if math.isfinite(t + u)]
    if not bounded:
        return UNDECIDED
    ratios = [error_over(a, Enclosure.exactly(b), fmt, radius) for _, a, b, radius in bounded]
    worst = max(range(len(ratios)), key=ratios.__getitem__)
    what, a, b, _ = bounded[worst]
    return Outcome.of(
        ratios[worst],
        f"{what} = {shown(b)}, from {context.format.name}",
        f"{what} = {shown(a)} in {fmt.name}",
        f"The result in {fmt.name} is further from the one in {context.format.name} than any correct textbook "
        f"evaluation in {fmt.name}: an intermediate overflows or loses its digits there.",
    )


FOLLOWS = Property(
    id="half-precision-follows-the-wide-result",
    theme="precision",
    statement="In sixteen bits loss and gradient are those of the wide format, as nearly as sixteen bits allow.",
    formula="|f_16(z) - f(z)| <= radius of the rounding model in sixteen bits + that in the wide format",
    citation="Micikevicius et al., Mixed Precision Training, ICLR 2018, arXiv 1710.03740",
    remedy="Compute sixteen-bit logits in float32, or subtract the row's maximum first and scale nothing up.",
    applies=_needs_both,
    strategy=_narrow_cases,
    check=_follows,
    mutants=("scaled-up", "exp-without-max-in-half", "denormals-flushed"),
    effort=3,
)

LAWS = (FOLLOWS,)

"""Cases for the tests of subjects."""

from __future__ import annotations

from polyref.case import Case
from polyref.formats import BINARY64, Format
from polyref.spec import Reduction, Spec


def case(classes: int = 3, *, format: Format = BINARY64, reduction: Reduction = Reduction.NONE, **spec) -> Case:
    """Two rows of quarters, exact in every format."""
    rows = tuple(tuple(((5 * i + 3 * k) % 11 - 5) / 4 for k in range(classes)) for i in range(2))
    return Case(Spec(reduction=reduction, **spec), format, rows, (1, classes - 1))


#: The two rows of the articles, and the losses that they print.
PRINTED = Case(Spec(), BINARY64, ((2.0, 0.5, 1.0), (0.1, 1.0, 3.0)), (1, 2))
POLY_1 = (2.8241244009418563571, 0.33417147673784707224)

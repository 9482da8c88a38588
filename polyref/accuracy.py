"""The accuracy of a subject as the document holds it: the grades, and the rows that they were made of."""

from __future__ import annotations

import json
from typing import Any, cast

from polyref.formats import Format
from polyref.grades import BOUNDS, Error, Graded, Row, grade_format
from polyref.options import PROFILES, Options
from polyref.report import document as doc
from polyref.subject.dialect import Dialect
from polyref.subject.runner import Runner

#: Digits of a place on the axis: it is for drawing, and the logits are exact.
_DIGITS = 4


def measured(runner: Runner, dialect: Dialect, fmt: Format, options: Options) -> Graded:
    """Grade a subject in one format."""
    _, rows = PROFILES[options.profile]
    again = [c for c in options.again if c.format == fmt]
    return grade_format(runner, dialect, fmt, rows=rows, seed=options.seed, again=again)


class Accuracy:
    """What has been graded so far.

    Attributes:
        grades: of every quantity, format and regime.
        series: the rows of each format.
        specs: those of the rows, each once.
    """

    def __init__(self) -> None:
        self.grades: list[doc.Grade] = []
        self.series: list[doc.Series] = []
        self.specs: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    def record(self, fmt: Format, graded: Graded) -> None:
        """Add what was found in one more format."""
        self.grades += [
            doc.Grade(
                quantity=cast(doc.Quantity, quantity),
                format=fmt.name,
                device="cpu",
                regime=regime,
                grade=tally.grade.value,
                max_ulp=tally.max_ulp,
                max_ratio=tally.max_ratio,
                case=None if tally.case is None else tally.case.to_json(),
                examples=tally.examples,
                histogram=list(zip(BOUNDS, tally.histogram, strict=True)),
            )
            for quantity, regime, tally in graded
        ]
        if graded.rows:
            samples = [self._sample(row) for row in graded.rows]
            self.series.append(doc.Series(format=fmt.name, device="cpu", samples=samples))

    def _sample(self, row: Row) -> doc.Sample:
        ((logits,), (target,)) = row.case.logits, row.case.target
        value, gradient = (_error(row.errors.get(quantity)) for quantity in ("value", "gradient"))
        return doc.Sample(
            round(row.log_odds, _DIGITS), self._spec(row), cast(int, target), list(logits), value, gradient
        )

    def _spec(self, row: Row) -> int:
        spec = row.case.to_json()["spec"]
        number = self._numbers.setdefault(json.dumps(spec), len(self.specs))
        if number == len(self.specs):
            self.specs.append(spec)
        return number


def _error(error: Error | None) -> doc.Error | None:
    return None if error is None else doc.Error(*error)

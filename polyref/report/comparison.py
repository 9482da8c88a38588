"""What moved between two audits: laws, grades, and single cases that were recorded; and whether that fails a gate."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from polyref.report.structs import Count, GradeName, Quantity, Real, Verdict

#: new: broken now, and not before. lost: measured before, asked for, and not measured now. added: measured now only.
Move: TypeAlias = Literal["new", "expired", "worse", "lost", "fixed", "better", "added", "unchanged", "not run"]

#: The gravest first.
MOVES: tuple[Move, ...] = ("new", "expired", "worse", "lost", "fixed", "better", "added", "unchanged", "not run")


class Side(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the two: what was audited, when, and what it computed."""

    name: str
    target: str
    started: str
    formula: str
    polyref: str
    torch: str | None
    machine: str


class LawMove(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of one law in one format.

    Attributes:
        property: the law's id.
        format: the format, None where the law did not apply.
        move: what became of it.
        old: the verdict before, None if there was none.
        new: the verdict now.
        old_ratio: error over tolerance before.
        new_ratio: error over tolerance now.
        known: the reason why it may be broken, "" if it may not.
        expires: the last day of that, None for no end.
        fails: whether it fails the gate.
        why: what else is to be said, a sentence.
    """

    property: str
    format: str | None
    move: Move
    old: Verdict | None
    new: Verdict | None
    old_ratio: Real | None
    new_ratio: Real | None
    fails: bool
    known: str = ""
    expires: str | None = None
    why: str = ""


class GradeMove(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of one grade.

    Attributes:
        quantity: value or gradient.
        format: the format's name.
        device: where it ran.
        regime: "all", or the name of a range of Pt.
        move: what became of it.
        old: the grade before, None if there was none.
        new: the grade now.
        old_ulp: the worst error before, in ulps.
        new_ulp: the worst error now.
        grew: rows whose error grew, of those that both have; counted for the regime "all".
        shrank: rows whose error became smaller.
        same: rows whose error is the same.
        old_histogram: rows by error before, as a grade has them; for the regime "all".
        new_histogram: rows by error now.
        fails: whether it fails the gate.
    """

    quantity: Quantity
    format: str
    device: str
    regime: str
    move: Move
    old: GradeName | None
    new: GradeName | None
    old_ulp: Real | None
    new_ulp: Real | None
    fails: bool
    grew: Count = 0
    shrank: Count = 0
    same: Count = 0
    old_histogram: list[tuple[Real, Count]] = []
    new_histogram: list[tuple[Real, Count]] = []


class CaseMove(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of the error in one recorded case, in ulps."""

    quantity: Quantity
    format: str
    device: str
    move: Move
    old_ulp: Real
    new_ulp: Real | None
    case: dict[str, Any]
    fails: bool


class Comparison(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new audit held against an old one.

    Attributes:
        old: what is compared with.
        new: what is compared.
        gate: whether the old one is a baseline, and not another document.
        environment: how the environments differ, a line each.
        notes: what could not be compared, and why.
        incomparable: why nothing can be said, empty where something can.
        changed: what it computes otherwise now, or how it is called, a line each.
        measured: whether both audits decided a law.
        laws: every law and format of either side.
        grades: every grade of either side.
        cases: every recorded case that was tried again.
    """

    old: Side
    new: Side
    gate: bool
    environment: list[str]
    notes: list[str]
    incomparable: list[str]
    changed: list[str]
    measured: bool
    laws: list[LawMove]
    grades: list[GradeMove]
    cases: list[CaseMove]

    @property
    def exit_code(self) -> int:
        """0 where nothing fails; else, the gravest first: 3 nothing was measured, 5 not comparable, 1 a law is broken
        that may not be, 4 a precision regression."""
        if not self.measured:
            return 3
        if self.incomparable:
            return 5
        if any(law.fails and law.new == "violated" for law in self.laws):
            return 1
        if self.gate and self.changed:  # then the laws can be compared, and the errors cannot
            return 5
        moves: tuple[LawMove | GradeMove | CaseMove, ...] = (*self.laws, *self.grades, *self.cases)
        return 4 if any(move.fails for move in moves) else 0

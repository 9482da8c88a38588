"""What a comparison says, in words: the same on every page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias, TypeVar

from polyref.report.comparison import MOVES, CaseMove, Comparison, GradeMove, LawMove, Move
from polyref.report.words import count, number

AnyMove: TypeAlias = LawMove | GradeMove | CaseMove

_Move = TypeVar("_Move", LawMove, GradeMove, CaseMove)

#: What is not listed: nothing moved.
_STILL: tuple[Move, ...] = ("unchanged", "not run", "added")


def outcome(c: Comparison) -> Literal["hold", "broken", "nothing"]:
    """The answer in one word."""
    if c.exit_code in (3, 5):
        return "nothing"
    return "broken" if c.exit_code else "hold"


def headline(c: Comparison) -> str:
    """The answer in one sentence, without a full stop."""
    if c.exit_code == 3:
        return "Nothing was measured, so nothing can be compared"
    if c.exit_code == 5:
        return f"Not comparable: {'; '.join(c.incomparable or c.changed)}"
    broken = len({law.property for law in c.laws if law.fails and law.new == "violated"})
    if broken:
        how = "broken, which the baseline does not allow" if c.gate else "newly broken, or broken worse than before"
        return f"{count(broken, 'law')} {'is' if broken == 1 else 'are'} {how}"
    worse = [m for m in moved(c.grades) if m.fails], [m for m in moved(c.cases) if m.fails]
    lost = [m for m in c.laws if m.fails]
    if not c.exit_code:
        return "Nothing got worse"
    parts = [
        count(len(found), one, many)
        for found, one, many in (
            (worse[0], "grade", "grades"),
            (worse[1], "recorded row", "recorded rows"),
            (lost, "law that was decided", "laws that were decided"),
        )
        if found
    ]
    return f"Precision regressed: {', '.join(parts)}"


def accepted(c: Comparison) -> str:
    """What an update takes as it is now, though it fails the gate: ``2 grades, 3 recorded rows``."""
    found = (("law", c.laws), ("grade", c.grades), ("recorded row", c.cases))
    counts = [(one, sum(m.fails for m in group)) for one, group in found]
    return ", ".join([*c.changed, *(count(n, one) for one, n in counts if n)])


def moved(moves: Sequence[_Move]) -> list[_Move]:
    """What moved, the gravest first, and of single rows those that moved most."""
    found = [m for m in moves if m.move not in _STILL]
    return sorted(found, key=lambda m: (not m.fails, MOVES.index(m.move), -_distance(m)))


def _distance(move: AnyMove) -> float:
    if not isinstance(move, CaseMove) or move.new_ulp is None:
        return 0.0
    return abs(move.new_ulp - move.old_ulp)


def tally(moves: Sequence[LawMove] | Sequence[GradeMove] | Sequence[CaseMove], one: str) -> str:
    """``52 laws: 1 new, 1 fixed, 50 unchanged``."""
    counts = Counter(m.move for m in moves)
    parts = ", ".join(f"{counts[m]:,} {m}" for m in MOVES if counts[m])
    return f"{count(len(moves), one)}: {parts}" if parts else f"no {one}"


def name(m: AnyMove) -> str:
    """What moved."""
    if isinstance(m, LawMove):
        return law_name(m)
    return grade_name(m) if isinstance(m, GradeMove) else case_name(m)


def text(m: AnyMove) -> str:
    """How it moved."""
    if isinstance(m, LawMove):
        return law_text(m)
    return grade_text(m) if isinstance(m, GradeMove) else case_text(m)


def law_name(law: LawMove) -> str:
    """The law, and the format."""
    return " ".join(filter(None, (law.property, law.format)))


def grade_name(grade: GradeMove) -> str:
    """The quantity, the format and the regime, where it is one."""
    return _place(grade) if grade.regime == "all" else f"{_place(grade)}, {grade.regime}"


def case_name(case: CaseMove) -> str:
    """The quantity, the format and the row."""
    return f"{_place(case)} at {row_of(case)}"


def _place(m: GradeMove | CaseMove) -> str:
    return " ".join(filter(None, (m.quantity, m.format, "" if m.device == "cpu" else m.device)))


def law_text(law: LawMove) -> str:
    """What became of a law's verdict and error."""
    text = f"{_verdict(law.old, law.old_ratio)} → {_verdict(law.new, law.new_ratio)}"
    if law.known:
        text += f"; known: {law.known}" + (f", until {law.expires}" if law.expires else "")
    return f"{text}. {law.why}" if law.why else text


def _verdict(verdict: str | None, ratio: float | None) -> str:
    if verdict is None:
        return "not run"
    words = verdict.replace("_", " ")
    return words if ratio is None or verdict != "violated" else f"{words}, {number(ratio)} times the tolerance"


def grade_text(grade: GradeMove) -> str:
    """What became of a grade and of its worst error."""
    words: str = grade.old or "not graded"
    if grade.new != grade.old:
        words += f" → {grade.new or 'not graded'}"
    old, new = grade.old_ulp, grade.new_ulp
    alike = old != new and number(old) == number(new)
    shown = precise if alike else number
    errors = f"{shown(old)} → {shown(new)} ulp"
    return f"{words}, {errors}" + (f"; {rows_text(grade)}" if grade.grew or grade.shrank or grade.same else "")


def rows_text(grade: GradeMove) -> str:
    """How many rows went which way."""
    return f"error larger in {count(grade.grew, 'row')}, smaller in {grade.shrank:,}, the same in {grade.same:,}"


def case_text(case: CaseMove) -> str:
    """What became of the error in one row."""
    if case.new_ulp is None:
        return f"{number(case.old_ulp)} ulp → not tried, though it was recorded"
    return f"{precise(case.old_ulp)} → {precise(case.new_ulp)} ulp"


def precise(ulp: float | None) -> str:
    """More digits than elsewhere: an error that grew at all has grown."""
    return number(ulp) if ulp is None or not math.isfinite(ulp) else f"{ulp:.10g}"


def row_of(case: CaseMove) -> str:
    """The logits and the target of a recorded row, in decimal."""
    try:
        (logits,), (target,) = case.case["logits"], case.case["target"]
        return f"[{', '.join(f'{float.fromhex(z):.6g}' for z in logits)}], target {target}"
    except (KeyError, TypeError, ValueError):
        return "a row that cannot be read"

"""Comparing: a new audit held against a baseline, or against the document of an old one.

Each law is compared by itself, each grade by itself, and each recorded row with itself. The errors are exact, so where
both audits ran on the same kind of machine an error that grew has grown: there is no threshold. What cannot be compared
is said, and never passes for equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any, NamedTuple, TypeAlias

import msgspec

from polyref.report import baseline as base
from polyref.report import document as doc
from polyref.report.comparison import CaseMove, Comparison, GradeMove, LawMove, Move, Side
from polyref.report.summary import GRADES, QUANTITIES

_VERSIONS = ("polyref", "python", "torch", "framework", "numpy", "mpmath", "flint")
_PLACE = ("platform", "machine", "processor", "cpu_threads", "device")

_Cell: TypeAlias = tuple[doc.Quantity, str, str]
_RowKey: TypeAlias = tuple[str, str, str, int, tuple[float, ...]]


class _Terms(NamedTuple):
    """On which terms two audits are compared.

    Attributes:
        errors: whether errors may be held against each other: the arithmetic is that of the same kind of machine.
        rows: whether both drew the same rows.
        formats: that the new audit was asked for.
        laws: that it was asked for, empty for all of them and the grades.
        gate: whether the old one is a baseline, whose rows the new audit was to try again.
        today: the day on which known failures expire.
    """

    errors: bool
    rows: bool
    formats: frozenset[str]
    laws: frozenset[str]
    gate: bool
    today: date


def compare_documents(old: doc.Document, new: doc.Document) -> Comparison:
    """A document held against an old one; a law that was broken before and is not worse fails nothing.

    Their subjects may differ: two implementations are compared like two versions of one.
    """
    broken = any(f.verdict == "violated" for f in old.findings)
    digest = base.of(old, reason="it was broken before" if broken else "")
    return _compared(digest, new, _rows(old), datetime.now(UTC).date(), gate=False)


def compare_with(baseline: base.Baseline, new: doc.Document, *, today: date | None = None) -> Comparison:
    """A document held against a baseline.

    Args:
        baseline: what is expected.
        new: the document.
        today: the day on which known failures expire; by default today, UTC.
    """
    return _compared(baseline, new, {}, today or datetime.now(UTC).date())


def _compared(
    old: base.Baseline, new: doc.Document, rows: dict[_RowKey, doc.Sample], today: date, *, gate: bool = True
) -> Comparison:
    environment = list(_differences(old, new))
    same_machine = all(getattr(old.environment, f) == getattr(new.environment, f) for f in ("machine", "processor"))
    chosen = [c for c in base.CHOICES if getattr(old.settings, c) != getattr(new.settings, c)]
    asked = new.settings
    terms = _Terms(same_machine, not chosen, frozenset(asked.formats), frozenset(asked.laws), gate, today)
    now = _rows(new)
    notes = []
    if not same_machine:
        notes.append("The machines differ, and so may the last digits: what moved within the tolerance fails nothing.")
    if chosen and not gate:
        notes.append(f"The two were made with another {' and '.join(chosen)}, so their grades are of other rows.")
    return Comparison(
        old=_side(old, old.computes["formula"]),
        new=_side(new, new.dialect.formula),
        gate=gate,
        environment=environment,
        notes=notes,
        incomparable=[*_incomparable(old, new, same_subject=gate), *(_chosen(old, new, chosen) if gate else ())],
        changed=list(_changed(old.computes, base.computes(new))),
        measured=all(any(f.verdict in base.DECIDED for f in side) for side in (old.laws, new.findings)),
        laws=list(_laws(old, new, terms)),
        grades=list(_grades(old, new, terms, _moved(rows, now) if rows else {})),
        cases=list(_cases(old, now, terms)),
    )


def _side(of: base.Baseline | doc.Document, formula: str) -> Side:
    return Side(
        name=of.subject.name,
        target=of.subject.target,
        started=of.settings.started,
        formula=formula,
        polyref=of.environment.polyref,
        torch=of.environment.framework or of.environment.torch,
        machine=of.environment.machine,
    )


def _differences(old: base.Baseline, new: doc.Document) -> Iterator[str]:
    for field in (*_VERSIONS, *_PLACE):
        before, now = getattr(old.environment, field), getattr(new.environment, field)
        if before != now:
            yield f"{field.replace('_', ' ')}: {before} before, {now} now"


def _incomparable(old: base.Baseline, new: doc.Document, *, same_subject: bool) -> Iterator[str]:
    if same_subject and base.place(old.subject.target) != base.place(new.subject.target):
        yield f"the baseline is of {old.subject.target}, and this is {new.subject.target}"
    if old.environment.device != new.environment.device:
        yield f"the device was {old.environment.device}, and is {new.environment.device}"
    if not set(old.settings.formats) & set(new.settings.formats):
        yield f"the formats were {', '.join(old.settings.formats)}, and are {', '.join(new.settings.formats)}"


def _chosen(old: base.Baseline, new: doc.Document, chosen: list[str]) -> Iterator[str]:
    for c in chosen:
        yield f"the baseline was made with {c} {getattr(old.settings, c)!r}, and this with {getattr(new.settings, c)!r}"


def _changed(before: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    for what in dict.fromkeys([*before, *now]):
        was, found = before.get(what, ""), now.get(what, "")
        if was != found:
            yield f"{what}: {was or 'nothing'} before, {found or 'nothing'} now"


def _laws(old: base.Baseline, new: doc.Document, terms: _Terms) -> Iterator[LawMove]:
    before = {law.key: law for law in old.laws}
    now = base.by_key(new)
    decided = {f.property for f in new.findings if f.verdict in base.DECIDED}
    for key in dict.fromkeys([*now, *before]):
        was, found = before.get(key), now.get(key)
        if found is None and was is not None and key[0] in decided and key[1] not in terms.formats:
            continue  # it did not apply, or was judged in a format that is not asked for, and is judged in others now
        if was is None and found is not None:
            was = _elsewhere(old, key, terms)
        move, why = _law_move(was, found, terms)
        broken = was is not None and found is not None and found.verdict == "violated"
        known = was.known if was is not None and broken and terms.gate else None
        yield LawMove(
            property=key[0],
            format=key[1],
            move=move,
            old=was.verdict if was else None,
            new=found.verdict if found else None,
            old_ratio=was.ratio if was else None,
            new_ratio=found.ratio if found else None,
            fails=move in ("new", "expired", "worse", "lost"),
            known=known.reason if known else "",
            expires=known.expires if known else None,
            why=why,
        )


def _law_move(was: base.Law | None, found: doc.Finding | None, terms: _Terms) -> tuple[Move, str]:
    if found is None:
        asked = was is not None and was.format in terms.formats and (not terms.laws or was.property in terms.laws)
        due = asked and was is not None and was.verdict in base.DECIDED
        return ("lost", "It was asked for, and did not run.") if due else ("not run", "")
    if found.verdict == "violated":
        if was is None or was.verdict != "violated":
            return "new", ""
        if was.known is not None and was.known.expired(terms.today):
            return "expired", "Mend it, or renew the reason with --update-baseline --reason and --expires."
        # Two machines may each be one tolerance away from the exact result, in opposite directions say.
        allowed = base.size(was.ratio) + (0 if terms.errors else 1)
        worse = was.format == found.format and terms.rows and base.size(found.ratio) > allowed
        return ("worse" if worse else "unchanged"), ""
    if was is None:
        return "added", ""
    if found.verdict == "holds":
        return ("fixed" if was.verdict == "violated" else "unchanged"), ""
    if was.verdict in base.DECIDED:
        return "lost", found.explanation
    return "unchanged", ""


def _elsewhere(old: base.Baseline, key: base.LawKey, terms: _Terms) -> base.Law | None:
    """The verdict on a law that is judged in the widest format only, where that is another one now."""
    found = [law for law in old.laws if law.property == key[0] and law.format not in terms.formats]
    return found[0] if len(found) == 1 and found[0].verdict in base.DECIDED else None


def _grades(
    old: base.Baseline, new: doc.Document, terms: _Terms, moved: dict[_Cell, Counter[str]]
) -> Iterator[GradeMove]:
    before = {g.key: g for g in old.grades}
    now: dict[base.GradeKey, doc.Grade] = {(g.quantity, g.format, g.device, g.regime): g for g in new.grades}
    for key in dict.fromkeys([*now, *before]):
        was, found = before.get(key), now.get(key)
        move = _grade_move(was, found, terms)
        counts = moved.get(key[:3], Counter()) if key[3] == "all" else Counter()
        yield GradeMove(
            quantity=key[0],
            format=key[1],
            device=key[2],
            regime=key[3],
            move=move,
            old=was.grade if was else None,
            new=found.grade if found else None,
            old_ulp=was.max_ulp if was else None,
            new_ulp=found.max_ulp if found else None,
            fails=move == "lost" or (move == "worse" and (terms.errors or _beyond(was, found))),
            grew=counts["grew"],
            shrank=counts["shrank"],
            same=counts["same"],
            old_histogram=was.histogram if was and key[3] == "all" else [],
            new_histogram=found.histogram if found and key[3] == "all" else [],
        )


def _grade_move(was: base.Grade | None, found: doc.Grade | None, terms: _Terms) -> Move:
    if found is None:
        return "lost" if was is not None and was.format in terms.formats and not terms.laws else "not run"
    if was is None:
        return "added"
    if not terms.rows:
        return "unchanged" if was.grade == found.grade else "not run"
    ways = {_way(GRADES.index(was.grade), GRADES.index(found.grade))}
    if terms.errors:
        ways |= {_way(was.max_ulp, found.max_ulp), _way(was.max_ratio, found.max_ratio)}
        if was.examples == found.examples:
            ways |= {_way(a, b) for a, b in zip(_above(was.histogram), _above(found.histogram), strict=False)}
    return "worse" if 1 in ways else "better" if -1 in ways else "unchanged"


def _way(before: float, now: float) -> int:
    """1 for larger, -1 for smaller."""
    return (base.size(now) > base.size(before)) - (base.size(now) < base.size(before))


def _above(histogram: list[tuple[float, int]]) -> list[int]:
    """How many rows are beyond each bound of a distribution."""
    counts = [n for _, n in sorted(histogram)]
    return [sum(counts[i + 1 :]) for i in range(len(counts))]


def _beyond(was: base.Grade | None, found: doc.Grade | None) -> bool:
    """Whether it left the tolerance, or is a whole tolerance farther from it: on no machine is that rounding."""
    if was is None or found is None:
        return False
    before, now = base.size(was.max_ratio), base.size(found.max_ratio)
    return now > (1 if before <= 1 else before + 1)


def _cases(old: base.Baseline, rows: dict[_RowKey, doc.Sample], terms: _Terms) -> Iterator[CaseMove]:
    for recorded in old.cases:
        key = _key(recorded)
        sample = None if key is None else rows.get(key)
        error = None if sample is None else sample.error(recorded.quantity)
        if error is None:
            if not terms.gate or terms.laws or recorded.format not in terms.formats:
                continue
            move: Move = "lost"
        else:
            grew = _way(recorded.ulp, error.ulp)
            move = "worse" if grew > 0 else "better" if grew < 0 else "unchanged"
        yield CaseMove(
            quantity=recorded.quantity,
            format=recorded.format,
            device=recorded.device,
            move=move,
            old_ulp=recorded.ulp,
            new_ulp=None if error is None else error.ulp,
            case=recorded.case,
            fails=move == "lost" or (move == "worse" and terms.errors),
        )


def _key(recorded: base.Recorded) -> _RowKey | None:
    """What :func:`_rows` has a recorded row under; None for a case that is no single row."""
    try:
        (logits,), (target,) = recorded.case["logits"], recorded.case["target"]
        spec, row = _text(recorded.case["spec"]), tuple(map(float.fromhex, logits))
    except (KeyError, TypeError, ValueError):
        return None
    return recorded.format, recorded.device, spec, target, row


def _rows(document: doc.Document) -> dict[_RowKey, doc.Sample]:
    specs = [_text(spec) for spec in document.specs]
    return {
        (series.format, series.device, specs[s.spec], s.target, tuple(s.logits)): s
        for series in document.series
        for s in series.samples
    }


def _moved(rows: dict[_RowKey, doc.Sample], now: dict[_RowKey, doc.Sample]) -> dict[_Cell, Counter[str]]:
    """How many of the rows that both have went which way, by quantity, format and device."""
    found: dict[_Cell, Counter[str]] = {}
    for key, sample in now.items():
        was = rows.get(key)
        if was is None:
            continue
        for quantity in QUANTITIES:
            before, after = was.error(quantity), sample.error(quantity)
            if before is not None and after is not None:
                way = {1: "grew", -1: "shrank", 0: "same"}[_way(before.ulp, after.ulp)]
                found.setdefault((quantity, key[0], key[1]), Counter())[way] += 1
    return found


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()

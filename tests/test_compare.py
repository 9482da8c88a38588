"""Comparing two audits: every move of a law, a grade and a row, and what cannot be compared."""

from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from report.example import build, finding, series

from polyref import cli
from polyref.case import Case
from polyref.compare import compare_documents, compare_with
from polyref.errors import UsageError
from polyref.options import Options
from polyref.report import baseline as base
from polyref.report import compared, compared_html, html, moves, structs
from polyref.report import document as doc
from polyref.report.comparison import Comparison
from polyref.report.screen import plain


def good(**changes: Any) -> doc.Document:
    """A document without a broken law."""
    held = [
        finding("a", "holds"),
        finding("b", "holds", format="bfloat16"),
        finding("c", "not_applicable", format=None),
    ]
    return msgspec.structs.replace(build(findings=held), **changes)


def replaced(document: doc.Document, part: str, **changes: Any) -> doc.Document:
    return msgspec.structs.replace(document, **{part: msgspec.structs.replace(getattr(document, part), **changes)})


def with_errors(document: doc.Document, change: Any) -> doc.Document:
    """The document with ``change`` applied to the error in ulps of each value."""
    changed = [
        msgspec.structs.replace(
            s,
            samples=[
                msgspec.structs.replace(x, value=doc.Error(change(i, x.value.ulp), x.value.radius))
                for i, x in enumerate(s.samples)
            ],
        )
        for s in document.series
    ]
    return msgspec.structs.replace(document, series=changed)


def with_grades(document: doc.Document, **changes: Any) -> doc.Document:
    first = msgspec.structs.replace(document.grades[0], **changes)
    return msgspec.structs.replace(document, grades=[first, *document.grades[1:]])


def gated(old: doc.Document, new: doc.Document) -> Comparison:
    return compare_with(base.of(old, reason="of old" if old.violated else ""), new)


def test_the_same_is_unchanged() -> None:
    for c in (compare_documents(build(), build()), gated(build(), build())):
        assert c.exit_code == 0
        assert {m.move for m in (*c.laws, *c.grades, *c.cases)} == {"unchanged"}
        assert c.cases
    first = next(g for g in compare_documents(build(), build()).grades if g.regime == "all")
    assert (first.grew, first.shrank, first.same) == (0, 0, 14)


@pytest.mark.parametrize(
    ("old", "new", "move", "code"),
    [
        (finding("a", "holds"), finding("a", "violated", ratio=3.0), "new", 1),
        (None, finding("a", "violated", ratio=3.0), "new", 1),
        (finding("a", "not_applicable"), finding("a", "violated", ratio=3.0), "new", 1),
        (finding("a", "violated", ratio=3.0), finding("a", "violated", ratio=3.0), "unchanged", 0),
        (finding("a", "violated", ratio=3.0), finding("a", "violated", ratio=3.1), "worse", 1),
        (finding("a", "violated", ratio=3.0), finding("a", "violated", ratio=2.9), "unchanged", 0),
        (finding("a", "violated", ratio=math.inf), finding("a", "violated", ratio=math.inf), "unchanged", 0),
        (finding("a", "violated", ratio=3.0), finding("a", "holds"), "fixed", 0),
        (finding("a", "holds"), finding("a", "inconclusive"), "lost", 4),
        (finding("a", "holds"), finding("a", "not_applicable", format=None), "lost", 4),
        (finding("a", "holds"), None, "lost", 4),
        (finding("a", "holds", format="binary16"), None, "not run", 0),
        (finding("a", "holds", ratio=0.1), finding("a", "holds", ratio=0.9), "unchanged", 0),
        (None, finding("a", "holds"), "added", 0),
        (finding("a", "inconclusive"), finding("a", "inconclusive"), "unchanged", 0),
    ],
)
def test_a_law_moves(old: doc.Finding | None, new: doc.Finding | None, move: str, code: int) -> None:
    rest = [finding("z", "holds")]
    before, after = (build(findings=[*rest, *filter(None, [f])]) for f in (old, new))
    for c in (compare_documents(before, after), gated(before, after)):
        (law,) = [law for law in c.laws if law.property == "a" and law.move == move]
        assert law.fails == (code != 0)
        assert c.exit_code == code


@pytest.mark.parametrize(
    ("changes", "move", "code"),
    [
        ({}, "unchanged", 0),
        ({"grade": "broken"}, "worse", 4),
        ({"grade": "correctly rounded", "max_ulp": 0.1}, "better", 0),
        ({"max_ulp": 1e9}, "worse", 4),
        ({"max_ulp": 0.0}, "better", 0),
    ],
)
def test_a_grade_moves(changes: dict[str, Any], move: str, code: int) -> None:
    old = with_grades(good(), grade="accurate", max_ulp=1.0)
    c = compare_documents(old, with_grades(old, **changes))
    assert c.grades[0].move == move
    assert c.exit_code == code


def test_a_grade_that_is_gone_is_lost_unless_its_format_was_not_asked_for() -> None:
    fewer = [g for g in good().grades if g.format == "binary32"]
    gone = good(grades=fewer)
    assert compare_documents(good(), gone).exit_code == 4
    c = compare_documents(good(), replaced(gone, "settings", formats=["binary32"]))
    assert {g.move for g in c.grades if g.format == "bfloat16"} == {"not run"}


def test_a_recorded_row_is_held_against_itself() -> None:
    old = good()
    grown = with_errors(old, lambda i, ulp: ulp * (1 + 1e-12) if i == 6 else ulp)
    for c in (compare_documents(old, grown), gated(old, grown)):
        assert {m.move for m in c.cases if m.quantity == "gradient"} == {"unchanged"}
        worse = [m for m in c.cases if m.move == "worse"]
        assert {m.format for m in worse} == {"binary32", "bfloat16"}
        assert c.exit_code == 4
    better = gated(old, with_errors(old, lambda _, ulp: ulp / 2))
    assert {m.move for m in better.cases if m.quantity == "value"} == {"better"}
    assert better.exit_code == 0
    moved = compare_documents(old, grown)
    assert [(g.grew, g.shrank, g.same) for g in moved.grades if (g.quantity, g.regime) == ("value", "all")] == [
        (1, 0, 13)
    ] * 2


def test_a_recorded_row_that_was_not_tried_is_lost() -> None:
    old = good()
    fewer = good(series=[series("binary32", rows=2), series("bfloat16", rows=2)])
    c = gated(old, fewer)
    assert "lost" in {m.move for m in c.cases}
    assert c.exit_code == 4
    assert "lost" not in {m.move for m in compare_documents(old, fewer).cases}  # those drew rows of their own


def test_on_another_machine_errors_are_shown_and_not_judged() -> None:
    old = good()
    grown = with_errors(with_grades(old, max_ulp=old.grades[0].max_ulp + 1), lambda _, ulp: ulp + 1)
    assert compare_documents(old, grown).exit_code == 4
    c = compare_documents(old, replaced(grown, "environment", machine="arm64"))
    assert c.exit_code == 0
    assert c.environment == ["machine: x86_64 before, arm64 now"]
    assert "what moved within the tolerance fails nothing" in c.notes[0]
    assert "worse" in {m.move for m in c.cases}
    faithful = with_grades(old, grade="faithful", max_ratio=0.2)
    within = replaced(with_grades(old, grade="accurate", max_ratio=0.9), "environment", processor="another")
    assert compare_documents(faithful, within).exit_code == 0
    beyond = replaced(with_grades(old, grade="degraded", max_ratio=1.1), "environment", processor="another")
    assert compare_documents(faithful, beyond).exit_code == 4


def test_other_rows_are_not_compared() -> None:
    old = with_grades(good(), grade="faithful")
    other = replaced(with_grades(old, grade="broken", max_ulp=1e9), "settings", seed=7)
    c = compare_documents(old, other)
    assert c.grades[0].move == "not run"
    assert "another seed" in c.notes[0]
    assert c.exit_code == 0
    # A gate that let it pass would be open to whoever chooses another seed.
    c = gated(old, other)
    assert c.incomparable == ["the baseline was made with seed 0, and this with 7"]
    assert c.exit_code == 5


def test_what_a_subject_does_by_default_is_compared() -> None:
    for part, changes, line in (
        ("dialect", {"epsilon": 2.0}, "epsilon by default: 1.0 before, 2.0 now"),
        ("dialect", {"reduction": "sum"}, "reduction by default: mean before, sum now"),
        ("convention", {"order": "labels first"}, "order: logits first before, labels first now"),
    ):
        c = gated(good(), replaced(good(), part, **changes))
        assert c.changed == [line]
        assert c.exit_code == 5
        assert line in moves.headline(c)
        assert compare_documents(good(), replaced(good(), part, **changes)).exit_code == 0


def test_a_distribution_that_got_worse_below_the_worst_error() -> None:
    old = with_grades(good(), histogram=[(0.5, 80), (1.0, 20)], examples=100)
    assert compare_documents(old, with_grades(old, histogram=[(0.5, 79), (1.0, 21)])).grades[0].move == "worse"
    assert compare_documents(old, with_grades(old, histogram=[(0.5, 81), (1.0, 19)])).grades[0].move == "better"
    assert compare_documents(old, with_grades(old, max_ratio=old.grades[0].max_ratio * 2)).grades[0].move in (
        "worse",
        "unchanged",  # infinite before
    )


def test_nan_is_worse_than_any_number() -> None:
    old = with_errors(with_grades(good(), max_ulp=1.0, grade="accurate"), lambda _, __: 1.0)
    nan = with_errors(with_grades(old, max_ulp=math.nan), lambda _, __: math.nan)
    c = gated(old, nan)
    assert c.grades[0].move == "worse"
    assert {m.move for m in c.cases if m.quantity == "value"} == {"worse"}
    assert {m.move for m in gated(nan, old).cases if m.quantity == "value"} == {"better"}


def test_on_another_machine_a_whole_tolerance_is_no_rounding() -> None:
    old = build(findings=[finding("a", "violated", ratio=3.0), finding("b", "holds")])
    for ratio, code in ((3.9, 0), (4.1, 1)):
        new = build(findings=[finding("a", "violated", ratio=ratio), finding("b", "holds")])
        assert gated(old, replaced(new, "environment", processor="another")).exit_code == code


def test_both_sides_must_have_measured_something() -> None:
    nothing = good(findings=[finding("a", "inconclusive")])
    assert compare_documents(nothing, good()).exit_code == 3


def test_a_law_of_the_widest_format_is_known_in_the_next() -> None:
    old = build(findings=[finding("a", "violated", ratio=3.0, format="binary64"), finding("b", "holds")])
    old = replaced(old, "settings", formats=["binary64", "binary32", "bfloat16"])
    c = gated(old, build(findings=[finding("a", "violated", ratio=9.0), finding("b", "holds")]))
    assert [(m.move, m.known) for m in c.laws if m.property == "a"] == [("unchanged", "of old")]


def test_one_file_written_in_two_ways_is_one_subject(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    old = replaced(good(), "subject", target="losses.py:L")
    for target, code in ((f"{tmp_path}/losses.py:L", 0), ("./losses.py:L", 0), ("losses.py:M", 5), ("pkg.losses:L", 5)):
        assert gated(old, replaced(good(), "subject", target=target)).exit_code == code


def test_laws_that_were_not_asked_for_are_not_lost() -> None:
    some = good(findings=[finding("a", "holds")], grades=[], series=[], specs=[])
    assert gated(good(), replaced(some, "settings", laws=["a"])).exit_code == 0
    assert gated(good(), some).exit_code == 4


@pytest.mark.parametrize(
    ("part", "changes", "why"),
    [
        ("environment", {"device": "cuda"}, "the device was cpu, and is cuda"),
        ("settings", {"formats": ["binary16"]}, "the formats were binary32, bfloat16, and are binary16"),
    ],
)
def test_what_cannot_be_compared(part: str, changes: dict[str, Any], why: str) -> None:
    for c in (
        compare_documents(good(), replaced(good(), part, **changes)),
        gated(good(), replaced(good(), part, **changes)),
    ):
        assert c.incomparable == [why]
        assert c.exit_code == 5


def test_a_baseline_is_of_one_subject_and_formula_and_a_comparison_of_any_two() -> None:
    for part, changes in (("subject", {"target": "other.py:loss"}), ("dialect", {"formula": "CE"})):
        other = replaced(good(), part, **changes)
        assert gated(good(), other).exit_code == 5
        assert compare_documents(good(), other).exit_code == 0


def test_nothing_measured_comes_first() -> None:
    nothing = good(findings=[finding("a", "inconclusive")])
    assert compare_documents(good(), nothing).exit_code == 3
    assert moves.headline(compare_documents(good(), nothing)).startswith("Nothing was measured")


# --- baselines ------------------------------------------------------------------------------------------------------


def test_a_baseline_comes_back() -> None:
    made = base.of(build(), reason="of old", expires="2030-01-01")
    assert base.loads(base.dumps(made), name="b") == made
    again = base.of(build(), made)
    assert again.laws == made.laws
    assert again.cases == made.cases


def test_the_rows_of_a_baseline_are_the_worst_of_each_cell() -> None:
    many = good(series=[series("binary32", rows=60)])
    made = base.of(many)
    cells: dict[Any, list[base.Recorded]] = {}
    for r in made.cases:
        cells.setdefault((r.quantity, r.format, r.regime), []).append(r)
    assert max(map(len, cells.values())) == 3
    assert max(r.ulp for r in made.cases if r.quantity == "gradient") == math.inf
    assert all(Case.from_json(r.case).format.name == r.format for r in made.cases)


def test_a_row_that_was_bad_once_goes_on_being_tried() -> None:
    old = good(series=[series("binary32", rows=60)])
    made = base.of(old)
    mended = with_errors(old, lambda _, __: 0.0)
    texts = {base.text_of(r) for r in base.of(mended, made).cases}
    assert {base.text_of(r) for r in made.cases} <= texts


def test_pruning_removes_only_what_ran() -> None:
    made = base.of(good())
    narrower = replaced(
        good(
            findings=[finding("b", "holds")],
            grades=[g for g in good().grades if g.format == "binary32"],
            series=[series("binary32")],
        ),
        "settings",
        formats=["binary32"],
    )
    after = base.of(narrower, made)
    assert after.settings.formats == ["binary32", "bfloat16"]
    assert {law.key for law in after.laws} == {("a", "binary32"), ("b", "binary32"), ("b", "bfloat16"), ("c", None)}
    assert {g.format for g in after.grades} == {"binary32", "bfloat16"}
    assert {r.format for r in after.cases} == {"binary32", "bfloat16"}


def test_what_there_was_no_time_for_is_kept() -> None:
    made = base.of(build(), reason="of old", expires="2030-01-01")
    cut = build(findings=[msgspec.structs.replace(f, verdict="inconclusive") for f in build().findings], grades=[])
    after = base.of(cut, made)
    assert {law.key: law.known for law in after.laws if law.known} == {
        law.key: law.known for law in made.laws if law.known
    }
    assert after.grades == made.grades


def test_an_update_takes_what_is_gone_as_gone() -> None:
    fewer = good(grades=[g for g in good().grades if g.format == "binary32"], series=[series("binary32")])
    after = base.of(fewer, base.of(good()))
    assert compare_with(after, fewer).exit_code == 0


def test_a_reason_is_for_what_was_known() -> None:
    old = build(findings=[finding("a", "violated", ratio=2.0)])
    made = base.of(old, reason="of old", expires="2030-01-01")
    worse = build(findings=[finding("a", "violated", ratio=2.5)])
    with pytest.raises(UsageError, match="broken worse than is known"):
        base.of(worse, made)
    with pytest.raises(UsageError, match="without a reason"):
        base.of(old, made, today=date(2031, 1, 1))
    renewed = base.of(old, made, reason="still", expires="2040-01-01", today=date(2031, 1, 1))
    assert [law.known and law.known.reason for law in renewed.laws] == ["still"]
    assert base.of(old, made, reason="of another").laws == made.laws


def test_parts_of_a_baseline_are_of_one_machine_and_one_choice() -> None:
    made = base.of(good())
    part = replaced(good(grades=[], series=[]), "settings", formats=["binary32"])
    part = msgspec.structs.replace(part, findings=[finding("a", "holds")])
    assert base.of(part, made).settings.formats == ["binary32", "bfloat16"]
    for where, changes in (
        ("environment", {"processor": "another"}),
        ("settings", {"formats": ["binary32"], "seed": 1}),
    ):
        with pytest.raises(UsageError, match=r"run all of it, with --formats binary32,bfloat16"):
            base.of(replaced(part, where, **changes), made)


def changed(change: Any) -> bytes:
    data = json.loads(base.dumps(base.of(good())))
    change(data)
    return json.dumps(data).encode()


BAD = {
    "empty": (b"", "no whole JSON"),
    "cut short": (base.dumps(base.of(good()))[:-100], "no whole JSON"),
    "a bare NaN": (base.dumps(base.of(good())).replace(b'"inf"', b"NaN"), "no whole JSON"),
    "deeply nested": (b'{"schema": ' + b"[" * 100_000, "no"),
    "larger than any": (b"[" * (structs.LARGEST + 1), "larger than 64 MiB"),
    "an audit": (doc.dumps(good()), "has the schema 'polyref-audit/3'"),
    "no schema": (changed(lambda d: d.pop("schema")), "schema"),
    "an unknown field": (changed(lambda d: d.update(extra=1)), "extra"),
    "a wrong type": (changed(lambda d: d["grades"][0].update(max_ulp="much")), r"grades\[0\]\.max_ulp"),
    "a wrong word": (changed(lambda d: d["laws"][0].update(verdict="fine")), r"laws\[0\]\.verdict"),
    "a grade twice": (changed(lambda d: d["grades"].append(d["grades"][0])), "a grade is there twice"),
    "a law twice": (changed(lambda d: d["laws"].append(d["laws"][0])), "a law is there twice"),
    "a broken law without a reason": (
        changed(lambda d: d["laws"][0].update(verdict="violated")),
        "a is broken without a reason",
    ),
    "a row without a format": (changed(lambda d: d["cases"][0]["case"].pop("format")), "a row has no format"),
    "a day that is none": (
        changed(lambda d: d["laws"][0].update(known={"reason": "r", "expires": "2026-02-30"})),
        "day is out of range",
    ),
    "a reason that is none": (changed(lambda d: d["laws"][0].update(known={"reason": ""})), "length >= 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_baseline_is_one_line_that_names_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, message = BAD[name]
    path, new = tmp_path / "b.json", tmp_path / "new.json"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=message) as caught:
        base.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    doc.write(good(), new)
    assert cli.run(["audit", "a:b", "--baseline", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert path.read_bytes() == data


def test_a_baseline_with_a_row_that_is_none_is_told_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(changed(lambda d: d["cases"][0].update(case={"format": "binary32"})))
    with pytest.raises(UsageError, match="the baseline has a row that is no case"):
        _ = Options(baseline=base.read(path)).again


# --- pages ----------------------------------------------------------------------------------------------------------


def test_pages_say_the_answer_first() -> None:
    old = with_errors(
        build(findings=[finding("a", "holds"), finding("b", "violated", ratio=2.0)]), lambda _, ulp: ulp / 2
    )
    new = build(findings=[finding("a", "violated", ratio=5.0), finding("b", "holds")])
    c = compare_documents(old, new)
    text = plain(lambda console: compared.render(c, console))
    assert text.startswith("✗ 1 law is newly broken, or broken worse than before")
    assert "✗ new" in text
    assert "fixed" in text
    page = compared_html.render(c)
    assert "1 law is newly broken" in page
    assert "<script" not in page


def test_pages_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    nasty = "<script>alert(1)</script>\x1b[31m"
    old, new = good(), replaced(replaced(good(), "subject", name=nasty, target=nasty), "dialect", formula=nasty)
    new = msgspec.structs.replace(new, findings=[finding("a", "violated", ratio=2.0), finding(nasty, "holds")])
    c = compare_documents(old, new)
    assert "<script" not in compared_html.render(c)
    assert "\x1b" not in compared_html.render(c) + plain(lambda console: compared.render(c, console))


def test_the_command(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, html = tmp_path / "old.json", tmp_path / "new.json", tmp_path / "c.html"
    doc.write(good(), old)
    doc.write(with_errors(good(), lambda _, ulp: ulp + 1), new)
    assert cli.run(["compare", str(old), str(new), "--html", str(html), "--json", str(tmp_path / "c.json")]) == 4
    assert "Precision regressed" in capsys.readouterr().out
    assert "Precision regressed" in html.read_text()
    base.write(base.of(good()), old)
    assert cli.run(["compare", str(old), str(new)]) == 4
    assert cli.run(["compare", str(new), str(tmp_path / "none.json")]) == 2
    kept = new.read_bytes()
    for same in (["--json", str(new)], ["--html", str(old)], ["--json", str(html), "--html", str(html)]):
        assert cli.run(["compare", str(old), str(new), *same]) == 2
    assert new.read_bytes() == kept
    capsys.readouterr()
    assert cli.run(["compare", str(old), str(new), "--json", "-"]) == 4
    assert json.loads(capsys.readouterr().out)["gate"] is True
    old.write_text("{}")
    capsys.readouterr()
    assert cli.run(["compare", str(old), str(new)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_audit_shows_what_moved() -> None:
    new = with_errors(good(), lambda _, ulp: ulp + 1)
    plain_page = html.render(new)
    page = html.render(msgspec.structs.replace(new, gate=gated(good(), new)))
    assert "Recorded rows that moved" in page
    assert "Precision regressed" in page
    assert "Recorded rows that moved" not in plain_page

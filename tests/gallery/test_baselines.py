"""The project's own baselines: every subject that has one is held against it, and breaks the laws on record."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyref.gallery import ENTRIES
from polyref.gallery.baselines import Gated, audited, subjects
from polyref.nn._backend import unavailable
from polyref.report import baseline as base
from polyref.report import moves

FOLDER = Path(__file__).parents[2] / "reports" / "baselines"
SUBJECTS = {s.name: s for s in subjects()}
IN_OTHER_FORMATS = {"onehot-cross-entropy", "gather-rescaled"}
ENTRIES_BY_ID = {e.id: e for e in ENTRIES}


def test_every_file_has_a_subject_and_every_subject_a_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(SUBJECTS)


@pytest.mark.parametrize("name", SUBJECTS)
def test_nothing_got_worse(name: str) -> None:
    subject: Gated = SUBJECTS[name]
    if subject.backend and (why := unavailable(subject.backend)):
        pytest.skip(why)
    kept = base.read(FOLDER / f"{name}.json")
    found = audited(subject, kept)
    assert found.gate is not None
    listed = [(m.move, moves.law_name(m), moves.law_text(m)) for m in found.gate.laws if m.fails]
    listed += [(m.move, moves.grade_name(m), moves.grade_text(m)) for m in found.gate.grades if m.fails]
    listed += [(m.move, moves.case_name(m), moves.case_text(m)) for m in found.gate.cases if m.fails]
    assert listed == []
    if name in ENTRIES_BY_ID:
        broken, on_record = {f.property for f in found.violated}, {d.property_id for d in ENTRIES_BY_ID[name].defects}
        # Some defects show in other formats only: tests/test_auditor.py looks there.
        assert broken <= on_record if name in IN_OTHER_FORMATS else broken == on_record
    assert found.exit_code == 0, moves.headline(found.gate)

"""Every hostile subject, audited with the limits that a user gets; what came of it goes into reports/isolation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ledger import ledger

from polyref.auditor import Options
from polyref.formats import BINARY64
from polyref.subject.client import Subject
from subject.hostile.audited import audited, complaints
from subject.hostile.table import ENTRIES
from subject.parent import parent_state

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("one_thread")]

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "reports" / "isolation" / "hostile.json"
MADE = {"profile": "quick", "formats": "binary64", "limits": "the defaults; budget 20 s for hanging:slow"}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_an_audit_of_it_ends_and_says_what_it_did(entry, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened: list[Subject] = []
    start = Subject._first_start

    def noted(self):
        opened.append(self)
        return start(self)

    monkeypatch.setattr(Subject, "_first_start", noted)

    def anywhere(text: str) -> str:
        """What was said, with the folders of this machine left out."""
        return text.replace(f"{ROOT}/", "").replace(str(tmp_path), "the folder of the test")

    before = parent_state()
    budget = 20.0 if entry.name == "hanging:slow" else None
    found = audited(entry, Options(profile="quick", formats=(BINARY64,), budget=budget))
    after = parent_state()
    violated = found.document.violated if found.document else []
    with ledger(
        REPORT,
        about="What an audit says of each hostile subject, and how long it takes",
        made=MADE | {"torch": torch.__version__.partition("+")[0]},
        part="subjects",
    ) as subjects:
        subjects[entry.name] = {
            "exit_code": found.exit_code,
            "refusal": anywhere(found.refusal),
            "broken": {f.property: anywhere(f.explanation) for f in violated},
            "notes": [anywhere(n) for n in found.document.dialect.notes] if found.document else [],
            "killed": sorted({d.killed for s in opened for d in s.deaths}),
            "restarts": sum(s.restarts for s in opened),
            "seconds": round(found.seconds, 1),
        }
    assert complaints(entry, found) == []
    assert {k: after[k] for k in before if after[k] != before[k]} == {}

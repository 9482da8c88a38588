"""A million examples a format: no law accuses a right implementation.

What was tried is a measurement: it is written to reports/selftest/survival.json, chunk by chunk, so that an interrupted
run goes on where it ended. ``POLYREF_SURVIVAL`` sets another number of examples a format.
"""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from ledger import ledger

from polyref.formats import Format
from polyref.options import AUDITED
from polyref.property import Context, Property
from polyref.search import Found, search
from polyref.subject.local import LocalSubject
from polyref.verdict import Verdict
from polyref_properties import ALL
from polyref_properties.mutants import CLAIMED, CONVENTION
from polyref_properties.mutants.base import Textbook

SEED = 20220426
EXAMPLES = int(os.environ.get("POLYREF_SURVIVAL", "1000000"))
CHUNK = 2000

REPORT = Path(__file__).parents[2] / "reports" / "selftest" / "survival.json"

#: Laws that are cheap enough to be tried without end; the others get the examples of their limit.
FREE = [law for law in ALL if law.limit is None]


def pairs():
    """Every law in every format that it is judged in; the laws of one format share its examples."""
    for fmt in AUDITED:
        for law in ALL:
            if law.formats == "each" or fmt is AUDITED[0]:
                yield pytest.param(law, fmt, id=f"{fmt.name}-{law.id}")


def share(law: Property, fmt: Format) -> int:
    """How many examples of a law make a million of its format, all laws together."""
    if law.limit is not None:
        return law.limit
    judged = [each for each in FREE if each.formats == "each" or fmt is AUDITED[0]]
    return -(-EXAMPLES // len(judged))


def record(law: Property, fmt: Format, chunk: int, found: Found | None) -> bool:
    """Enter a chunk into the report; whether it was there before. Other processes do the same, one at a time."""
    made = {
        "seed": SEED,
        "subject": "polyref_properties.mutants.base:Textbook",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "hypothesis": version("hypothesis"),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "chunk": CHUNK,
    }
    about = "examples that a right implementation survived, and the worst error over tolerance, by law"
    with ledger(REPORT, about=about, made=made, part="formats") as formats:
        entry = formats.setdefault(fmt.name, {"examples": 0, "violations": 0, "laws": {}})
        of_law = entry["laws"].setdefault(law.id, {"examples": 0, "chunks": 0, "worst": 0.0})
        if found is None:
            return bool(of_law["chunks"] > chunk)
        violated = found.verdict is Verdict.VIOLATED
        of_law["examples"] += found.examples
        of_law["chunks"] = chunk + 1
        of_law["worst"] = max(of_law["worst"], round(found.worst_ratio, 4)) if not violated else "violated"
        entry["examples"] += found.examples
        entry["violations"] += violated
        return False


@pytest.mark.long
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("law", "fmt"), list(pairs()))
def test_no_law_accuses_a_right_implementation(law: Property, fmt: Format) -> None:
    context = Context(LocalSubject(Textbook, convention=CONVENTION), CLAIMED, fmt)
    if law.applies(context.convention, CLAIMED) is not None:
        pytest.skip("it does not apply")
    wanted = share(law, fmt)
    for chunk, first in enumerate(range(0, wanted, CHUNK)):
        if record(law, fmt, chunk, None):
            continue
        examples = min(CHUNK, wanted - first)
        found = search(law, context, examples=examples, seed=SEED + chunk)
        record(law, fmt, chunk, found)
        assert found.verdict is not Verdict.VIOLATED, (found.case, found.outcome)

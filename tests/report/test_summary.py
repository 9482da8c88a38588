"""What the document says as a whole."""

from __future__ import annotations

import pytest

from polyref.report import summary
from polyref.report.document import Finding

from .example import build, finding

B, H, U, N = "violated", "holds", "inconclusive", "not_applicable"


def _findings(*pairs: tuple[str, str]) -> list[Finding]:
    return [finding(name, verdict) for name, verdict in pairs]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pairs", "headline", "short", "outcome", "code"),
    [
        ([], "Nothing was measured", "nothing measured", "nothing", 3),
        ([("a", U), ("b", N)], "Nothing was measured", "nothing measured", "nothing", 3),
        ([("a", H)], "The one law holds", "1 hold", "hold", 0),
        ([("a", H), ("b", H), ("c", N)], "All 2 laws hold", "2 hold", "hold", 0),
        ([("a", H), ("b", U)], "The one law that could be decided holds, 1 could not", "1 hold, 1 open", "open", 0),
        ([("a", B)], "The one law that was decided is broken", "1 of 1 broken", "broken", 1),
        ([("a", B), ("b", H), ("c", U)], "1 of 2 laws is broken", "1 of 2 broken", "broken", 1),
        ([("a", B), ("b", B)], "2 of 2 laws are broken", "2 of 2 broken", "broken", 1),
        ([("a", H), ("a", B), ("a", U)], "The one law that was decided is broken", "1 of 1 broken", "broken", 1),
    ],
)
def test_headline(pairs: list[tuple[str, str]], headline: str, short: str, outcome: str, code: int) -> None:
    document = build(findings=_findings(*pairs))
    assert summary.headline(document) == headline
    assert summary.short_verdict(document) == short
    assert summary.outcome(document) == outcome
    assert document.exit_code == code


def test_each_law_is_counted_once() -> None:
    found = summary.laws(build(findings=_findings(("a", H), ("a", B), ("b", H), ("b", U), ("c", N), ("d", U))))
    assert (found.broken, found.held, found.undecided, found.not_applicable) == (("a",), ("b",), ("d",), ("c",))
    assert found.decided == 2


def test_a_broken_law_is_not_undecided_too() -> None:
    document = build(findings=_findings(("a", B), ("a", U), ("b", H), ("b", U), ("c", U)))
    assert [f.property for f in summary.undecided(document)] == ["b", "c"]


def test_some() -> None:
    assert summary.some(()) == ""
    assert summary.some(("a", "b", "c", "d")) == "a, b, c, d"
    assert summary.some(("a", "b", "c", "d", "e")) == "a, b, c and 2 more"


def test_worst_grades() -> None:
    document = build(formats=("bfloat16", "binary64", "binary32"))
    assert summary.formats_of(document) == ["binary64", "binary32", "bfloat16"]
    assert summary.worst_grades(document) == {"binary64": "textbook", "binary32": "broken", "bfloat16": "faithful"}
    assert len(summary.overall(document)) == 6
    assert len(summary.by_regime(document)) == 36


def test_reasons_are_grouped() -> None:
    same = [finding("a", "inconclusive", explanation="x"), finding("b", "inconclusive", explanation="x")]
    assert summary.by_reason([*same, finding("c", "inconclusive")]) == [("x", ["a", "b"]), ("no reason given", ["c"])]


def test_place() -> None:
    document = build()
    assert summary.place(document) == "losses/poly.py:12"

"""The choice: every defect is covered, then every boundary, then defects are told apart; at little cost."""

from __future__ import annotations

from itertools import combinations

from polyref.case import Case
from polyref.formats import BINARY32
from polyref.spec import Spec
from polyref.vectors.choose import Measured, assigned, choose
from polyref.vectors.draw import Candidate
from polyref.vectors.results import results
from polyref.vectors.rivals import Beyond

BOTH, VALUE, SLOPE = Beyond(True, True), Beyond(True, False), Beyond(False, True)
SMALL = Case(Spec(), BINARY32, ((0.0, 1.0),), (0,))
LARGE = Case(Spec(), BINARY32, ((0.0, 1.0, 2.0),) * 8, (0,) * 8)
FOUND = {SMALL: results(SMALL), LARGE: results(LARGE)}


def measured(beyond: dict[str, Beyond], *, about: str = "a", regime: str = "r", case: Case = SMALL) -> Measured:
    return Measured(Candidate(case, about), FOUND[case], regime, beyond, frozenset(beyond))


def test_few_cover_all() -> None:
    among = [
        measured({"x": BOTH}),
        measured({"x": BOTH, "y": BOTH}),
        measured({"z": BOTH}),
        measured({}),
        measured({"y": BOTH, "z": BOTH}),
    ]
    assert choose(among, 2) == [1, 2]
    # One that catches nothing is never in it, however many may be.
    assert choose(among, 10) == [0, 1, 2, 4]
    assert choose(among, 1) == [1]
    assert choose([measured({})], 5) == []
    assert choose([], 5) == []


def test_what_costs_less_comes_first() -> None:
    among = [measured({"x": BOTH}, case=LARGE), measured({"x": BOTH})]
    assert choose(among, 1) == [1]
    # Unless it covers less by far.
    among = [measured(dict.fromkeys("abcdefghijklmnop", BOTH), case=LARGE), measured({"a": BOTH})]
    assert choose(among, 1) == [0]


def test_boundaries_and_regimes_are_covered_after_the_defects() -> None:
    among = [
        measured({"x": BOTH, "y": BOTH}),
        measured({"x": BOTH}, about="tie"),
        measured({"x": BOTH}, regime="even"),
        measured({"z": BOTH}, about="a"),
        measured({}, about="never"),
    ]
    assert choose(among, 2) == [0, 3]
    assert choose(among, 4) == [0, 1, 2, 3]


def test_defects_are_told_apart() -> None:
    """Two defects that one input catches alike are told apart by one that catches them otherwise."""
    among = [
        measured({"x": BOTH, "y": BOTH, "z": BOTH}),
        measured({"x": BOTH, "y": BOTH, "z": BOTH}),
        measured({"x": VALUE, "y": SLOPE}),
        measured({"x": VALUE, "y": VALUE}),
    ]
    assert choose(among, 2) == [0, 2]
    kept = [among[i] for i in choose(among, 2)]
    for one, other in combinations("xyz", 2):
        assert any(m.beyond.get(one) != m.beyond.get(other) for m in kept)


def test_every_defect_is_named_and_the_rare_ones_where_they_show() -> None:
    caught = [{"a", "b", "c"}, {"a", "b"}, {"a", "rare", "b"}, {"a"}]
    found = assigned(caught)
    assert found[2][0] == "rare"
    assert {n for names in found for n in names} == {"a", "b", "c", "rare"}
    assert all(names and set(names) <= mine for names, mine in zip(found, caught, strict=True))
    assert found == assigned([sorted(names, reverse=True) for names in caught])
    # More than a few defects of one vector: the rest are named where they can be.
    (only,) = assigned([set("abcdef")])
    assert sorted(only) == list("abcdef")

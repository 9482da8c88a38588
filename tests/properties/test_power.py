"""The strategies meet every regime and every rare event, at least as often as it is stated."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from polyref.case import Case
from polyref.formats import BINARY64, named
from polyref.options import AUDITED
from polyref.property import Context
from polyref.search import draw
from polyref.subject.local import LocalSubject
from polyref_properties import ALL
from polyref_properties.mutants import CLAIMED, CONVENTION
from polyref_properties.mutants.base import Textbook
from polyref_properties.power import EVENTS, VALUE
from polyref_properties.strategies import BENIGN, cases

pytestmark = pytest.mark.usefixtures("one_thread")

LAWS = {law.id: law for law in ALL}
DRAWS = 400


@cache
def context(name: str) -> Context:
    return Context(LocalSubject(Textbook, convention=CONVENTION), CLAIMED, named(name))


@cache
def drawn(law: str, name: str) -> tuple[Case, ...]:
    return draw(LAWS[law], context(name), examples=DRAWS, seed=11)


@pytest.mark.parametrize("fmt", [f.name for f in AUDITED])
@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.name)
def test_an_event_is_met_as_often_as_stated(event, fmt):
    given = drawn(event.law, fmt)
    assert sum(map(event.of, given)) >= event.chance * len(given)


def test_a_strategy_that_meets_less_is_found():
    benign = replace(LAWS[VALUE], strategy=lambda c: cases(c, kinds=BENIGN, weighted=False))
    given = draw(benign, context(BINARY64.name), examples=DRAWS, seed=11)
    missed = {e.name for e in EVENTS if e.law == VALUE and sum(map(e.of, given)) < e.chance * len(given)}
    assert {"regime Pt < 2^-64", "regime 1-Pt < 2^-64", "0 < 1 - Pt < u", "a target of weight zero"} <= missed
    assert not {"regime even", "one class", "several terms"} & missed

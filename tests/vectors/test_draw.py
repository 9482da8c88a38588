"""The inputs: the same for the same seed, in every regime, at every boundary, numbers of the format all of them."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from polyref.formats import FORMATS, Format, named
from polyref.reference.ball import evaluate
from polyref.regimes import REGIMES
from polyref.spec import Link
from polyref.vectors import specs
from polyref.vectors.draw import candidates
from polyref.vectors.results import nearness_to_halfway, regime

DEFAULT = [specs.parse(text) for text in specs.DEFAULT]


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda f: f.name)
def test_the_same_seed_draws_the_same(fmt: Format) -> None:
    asked = DEFAULT[:4]
    first = list(candidates(fmt, asked, 0))
    assert first == list(candidates(fmt, asked, 0))
    assert first != list(candidates(fmt, asked, 1))
    # A case refuses numbers that are none of its format; and what a text names is there.
    assert all(c.case.format is fmt and c.about for c in first)
    assert {c.case.spec for c in first} == set(asked)


def test_every_regime_of_every_spec() -> None:
    found = list(candidates(named("binary32"), DEFAULT, 0))
    for spec in DEFAULT:
        mine = [c for c in found if c.case.spec == spec]
        assert {regime(c.case) for c in mine} == {name for name, _ in REGIMES}
        assert {len(c.case.logits) for c in mine} >= {1, 2, 3}
    rows = [c for c in found if c.about.startswith("a row, ")]
    assert all(c.about == f"a row, {regime(c.case)}" for c in rows)


def test_boundaries_are_what_they_say() -> None:
    fmt = named("binary32")
    every = list(candidates(fmt, DEFAULT[:1], 0))
    said = Counter(c.about for c in every)
    assert max(said.values()) == 1
    cases = {c.about: c.case for c in every}
    assert len(set(cases["all logits are the same"].logits[0])) == 1
    assert -math.inf in cases["an impossible class, its logit -inf"].logits[0]
    assert cases["one class alone"].classes == 1
    top = math.log(fmt.largest)
    assert all(z > top for z in cases["logits whose exponentials overflow"].logits[0])
    assert all(z < -top - 16 for z in cases["logits whose exponentials underflow"].logits[0])
    for about, sign in (("Pt is about 1e-30", 0), ("1 - Pt is about 1e-30", 1)):
        exact = evaluate(cases[about]).pt[0][0]
        assert float(exact) == pytest.approx(1.0 if sign else 1e-30, rel=1e-5)
    small = evaluate(cases["Pt is subnormal"]).pt[0][0]
    assert 0 < float(small) < fmt.smallest_normal
    assert all(0 < abs(z) < fmt.smallest_normal or z == 0 for z in cases["logits that are subnormal"].logits[0])
    hard = evaluate(cases["the value is almost halfway between two numbers"]).value[0]
    assert nearness_to_halfway(hard, fmt) < 1 / 64
    ignored = [c.case for c in every if any(c.case.ignored(i) for i in range(len(c.case.target)))]
    assert {c.ignore_index for c in ignored} == {-100, 1}


def test_many_specs_share_the_boundaries() -> None:
    found = list(candidates(named("bfloat16"), DEFAULT, 0))
    said = Counter(c.about for c in found if c.about == "one class alone")
    assert said["one class alone"] in (len(DEFAULT) // 3, len(DEFAULT) // 3 + 1)


def test_a_sigmoid_row_has_the_odds_that_it_says() -> None:
    sigmoid = specs.parse("link=sigmoid")
    for c in candidates(named("binary64"), [sigmoid], 0):
        assert c.case.spec.link is Link.SIGMOID
        if c.about.startswith("a row, "):
            assert c.about == f"a row, {regime(c.case)}"


def test_a_format_without_infinities_has_no_impossible_class() -> None:
    found = list(candidates(named("e4m3"), DEFAULT[:1], 0))
    assert not any("impossible" in c.about or "1e-30" in c.about for c in found)

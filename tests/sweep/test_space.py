"""The inputs of a sweep: places, names, parts, and what cannot be swept."""

from __future__ import annotations

import math

import pytest
import torch

from polyref.errors import UsageError
from polyref.spec import Spec
from polyref.sweep.space import Space, part


@pytest.mark.parametrize("name", ["bfloat16", "binary16", "binary32"])
def test_every_margin_is_the_number_of_its_bit_pattern(name):
    space = Space("margins", name)
    for start in (0, space.size // 2 - 3, space.size - 5):
        logits = space.logits(start, start + 5).double()
        for i, (m, other) in enumerate(logits.tolist()):
            want = space.format.decode(start + i)
            assert m == want or (math.isnan(m) and math.isnan(want))
            assert other == 0
            assert space.numbers(start + i) == (want, 0.0) or math.isnan(want)


def test_pairs_are_both_patterns_one_behind_the_other():
    space = Space("pairs", "bfloat16")
    assert space.size == 1 << 32
    assert space.logits(0x3F80C000, 0x3F80C001).tolist() == [[1.0, -2.0]]
    assert space.numbers(0x3F80C000) == (1.0, -2.0)
    assert space.name(0x3F80C000) == "0x3f80c000"
    assert Space("margins", "binary16").name(5) == "0x0005"
    case = space.case(0x3F80C000, Spec())
    assert (case.logits, case.target) == (((1.0, -2.0),), (0,))
    assert space.logits(0, 3).dtype is torch.bfloat16


@pytest.mark.parametrize(("kind", "name"), [("margins", "binary64"), ("margins", "e5m2"), ("pairs", "binary32")])
def test_what_cannot_be_swept_is_refused_with_what_can(kind, name):
    with pytest.raises(UsageError, match=f"all {kind} of {name} cannot be swept: choose bfloat16"):
        Space(kind, name)


def test_magnitudes_of_a_part():
    space = Space("margins", "bfloat16")
    assert space.magnitudes(0x3F80, 0x4001) == (1.0, 2.0)
    assert space.magnitudes(0xBF80, 0xC001) == (1.0, 2.0)
    assert space.magnitudes(0x0000, 0x8000) == (0.0, math.inf)
    assert space.magnitudes(0x8000, 0x8001) == (0.0, 0.0)
    assert space.magnitudes(0x7F90, 0x7FA0) == (space.format.largest, math.inf)
    assert space.magnitudes(0x7FFF, 0x8002) == (0.0, math.inf)
    assert Space("pairs", "bfloat16").magnitudes(5, 6) == (0.0, math.inf)


def test_parts():
    space = Space("margins", "bfloat16")
    assert part("0x3f80:0x4000", space) == (0x3F80, 0x4000)
    assert part(":16", space) == (0, 16)
    assert part("65000:", space) == (65000, 65536)
    for wrong in ("5", "7:7", "9:8", "-1:5", "0:65537", "a:b", ""):
        with pytest.raises(
            UsageError, match=f"range {wrong!r} is no part of the 0x10000 margins of bfloat16: give A:B"
        ):
            part(wrong, space)


@pytest.mark.parametrize("name", ["binary32", "bfloat16"])
def test_a_sample_is_the_same_in_any_parts(name):
    space = Space("pairs", name, 1000, seed=3)
    whole = space.logits(0, 1000)
    assert torch.equal(torch.cat([space.logits(0, 7), space.logits(7, 1000)]), whole) or whole.isnan().any()
    for place in (0, 1, 999):
        for seen, want in zip(whole[place].tolist(), space.numbers(place), strict=True):
            assert seen == want or (math.isnan(seen) and math.isnan(want))
    bits = space.format.bits
    patterns = int(space.name(5), 16)
    assert (space.format.decode(patterns >> bits), space.format.decode(patterns & ((1 << bits) - 1))) == space.numbers(
        5
    )
    assert len({space.name(p) for p in range(1000)}) == 1000
    assert space.name(5) != Space("pairs", name, 1000, seed=4).name(5)
    assert space.bound(1000) == "0x3e8"
    assert part("10:20", space) == (10, 20)


def test_the_sample_is_that_of_splitmix64():
    """The first numbers of the generator's published implementation for the seed 0."""
    space = Space("pairs", "binary32", 2)
    assert [space.name(p) for p in range(2)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


def test_a_sample_that_cannot_be_drawn():
    with pytest.raises(UsageError, match="choose bfloat16 or binary16, or a --sample of them"):
        Space("pairs", "binary32")
    with pytest.raises(UsageError, match="--sample 5 is for --pairs: all margins can be swept"):
        Space("margins", "bfloat16", 5)
    with pytest.raises(UsageError, match="a sample of -1 with the seed 0 cannot be drawn"):
        Space("pairs", "bfloat16", -1)
    with pytest.raises(UsageError, match="all pairs of binary64 cannot be swept"):
        Space("pairs", "binary64", 5)

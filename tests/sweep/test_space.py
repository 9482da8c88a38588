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

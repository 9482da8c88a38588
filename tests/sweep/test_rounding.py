"""Rounding and errors in ulps of binary64 results, against the exact arithmetic of the formats."""

from __future__ import annotations

import math
import random

import pytest
import torch

from polyref.formats import BFLOAT16, BINARY16, BINARY32
from polyref.sweep.rounding import look, offsets, rounded

FORMATS = [BFLOAT16, BINARY16, BINARY32]


def numbers(fmt):
    rng = random.Random(2)
    found = [
        rng.choice((-1, 1)) * math.ldexp(rng.random(), rng.randrange(fmt.emin - 30, fmt.emax + 3)) for _ in range(3000)
    ]
    for _ in range(500):  # numbers of the format, and those half-way between two
        a = fmt.decode(rng.randrange(1 << fmt.bits))
        if math.isfinite(a):
            found += [a, a + float(fmt.ulp(a)) / 2]
    return [
        *found,
        0.0,
        fmt.largest,
        fmt.smallest_subnormal / 2,
        fmt.smallest_subnormal * 0.75,
        1.0,
        math.nextafter(1.0, 0),
    ]


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_rounding_is_that_of_the_format(fmt):
    exact = torch.tensor(numbers(fmt), dtype=torch.float64)
    none = torch.zeros_like(exact)
    nearest, sure = rounded(exact, none, none, fmt)
    for v, r, certain in zip(exact.tolist(), nearest.tolist(), sure.tolist(), strict=True):
        halfway = math.isinf(r) or abs(v - r) * 2 >= float(fmt.ulp(r)) / 2
        assert r == fmt.round(v)
        assert certain or halfway
    seen = nearest.clone()
    assert (look(seen, exact, none, fmt).correct == sure).all()
    # An infinity is its own neighbour, and -2 is where v and 1.5 v + 1 meet.
    other = torch.where((seen == -2) | seen.isinf(), torch.nan, seen * 1.5 + 1)
    assert not look(other, exact, none, fmt).correct.any()


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_errors_in_ulps_hold_the_true_one_between_them(fmt):
    rng = random.Random(4)
    exact = torch.tensor(numbers(fmt), dtype=torch.float64)
    error = exact.abs() * 1e-15
    seen = torch.tensor(
        [fmt.round(v * (1 + rng.uniform(-2, 2) * 2.0**-fmt.precision)) for v in exact.tolist()]
    ).double()
    off = offsets(seen, exact, error, torch.zeros_like(exact), fmt)
    for v, s, least, most in zip(
        exact.tolist(), seen.tolist(), off.ulps_least.tolist(), off.ulps_most.tolist(), strict=True
    ):
        ceiling = float(fmt.ceiling)
        kept, shown = max(min(v, ceiling), -ceiling), max(min(s, ceiling), -ceiling)
        true = abs(shown - kept) / float(fmt.ulp(kept))
        assert least <= true * (1 + 1e-12)
        assert true <= most * (1 + 1e-12)
    first = look(seen, exact, error, fmt)
    assert torch.equal(first.ulps_most, off.ulps_most)


def test_a_lean_decides_a_tie_and_an_error_of_one_ulp():
    fmt = BFLOAT16
    exact = torch.tensor([257.0, 257.0, 257.0, 258.0, 258.0], dtype=torch.float64)
    lean = torch.tensor([1.0, -1.0, 0.0, 1.0, -1.0], dtype=torch.float64)
    tiny = torch.full_like(exact, 1e-100)
    nearest, sure = rounded(exact, tiny, lean, fmt)
    assert nearest.tolist() == [258, 256, 256, 258, 258]
    assert sure.tolist() == [True, True, False, True, True]
    off = offsets(torch.full_like(exact, 260.0), exact, tiny, lean, fmt)
    # From 258 to 260 is one ulp; an exact value a little above 258 is nearer than that, one below is farther.
    assert off.below.tolist() == [True, False, False, True, False]
    assert off.ulps_most[3] == 1.0
    assert off.ulps_least[4] == 1.0

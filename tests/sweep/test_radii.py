"""The tables of radii: the model's own radius lies between their two bounds, which lie close together."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY16, BINARY32
from polyref.reference.model import cancellation_free, reference_for, textbook
from polyref.spec import Spec
from polyref.sweep.radii import BASE, CELLS, SHIFT, edges, tables

#: A table takes a second: of each kind of spec one.
SPECS = [
    Spec(epsilon=(1.0,)),
    Spec(epsilon=(-1.0, -0.5)),
    Spec(epsilon=()),
    Spec(epsilon=(0.1, -2.0), gamma=0.5),
]

FORMATS = [BFLOAT16, BINARY16, BINARY32]


def margins(fmt, count):
    rng = random.Random(5)
    drawn = [fmt.decode(rng.randrange(1 << fmt.bits)) for _ in range(count)]
    drawn += [fmt.round(rng.uniform(-100, 100)) for _ in range(count)] + [
        fmt.round(rng.gauss(0, 3)) for _ in range(count)
    ]
    ends = [0.0, fmt.largest, -fmt.largest, fmt.smallest_subnormal, -fmt.smallest_subnormal, 1.0, -1.0]
    return [m for m in drawn + ends if math.isfinite(m)]


def cell(margin):
    number = (np.float64(abs(margin)).view(np.int64) >> SHIFT) - BASE
    return int(margin >= 0), min(max(int(number), 0), CELLS - 1)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.epsilon}-{s.gamma}")
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_the_model_s_radius_lies_between_the_bounds(fmt, spec):
    found = tables(spec, fmt)
    shares = []
    for m in margins(fmt, 40):
        case = Case(spec, fmt, ((m, 0.0),), (0,))
        exact = reference_for(case)
        for model, radii in ((textbook, found.textbook), (cancellation_free, found.free)):
            tolerance = model(case, exact=exact)
            for radius, bounds in zip((tolerance.value[0], *tolerance.gradient[0]), radii, strict=True):
                inner, outer = bounds.inner[cell(m)], bounds.outer[cell(m)]
                assert inner <= radius <= outer, (m, inner, radius, outer)
                if outer < math.inf:
                    shares.append(inner / outer)
    assert np.median(shares) > 0.95


def test_cells_cover_every_margin():
    ends = edges()
    assert len(ends) == CELLS + 1
    assert (np.diff(ends) > 0).all()
    for m in margins(BFLOAT16, 200):
        _, number = cell(m)
        assert ends[number] <= abs(m) <= ends[number + 1]


def test_a_radius_that_is_known_by_heart():
    """At equal logits softmax is (1/2, 1/2); the plain cross-entropy's model has the radius that the balls give."""
    spec = Spec(epsilon=())
    case = Case(spec, BINARY16, ((0.0, 0.0),), (0,))
    bounds = tables(spec, BINARY16).textbook[0]
    assert bounds.inner[cell(0.0)] == pytest.approx(textbook(case).value[0], rel=1e-3)


def test_a_part_of_the_cells_has_the_same_radii_and_of_the_others_nothing_is_said():
    spec = Spec(epsilon=(1.0,))
    whole, part = tables(spec, BINARY16), tables(spec, BINARY16, 1.0, 2.0)
    _, first = cell(1.0)
    _, last = cell(2.0)
    for ours, theirs in zip((*part.textbook, *part.free), (*whole.textbook, *whole.free), strict=True):
        for bound, unknown in (("inner", 0.0), ("outer", np.inf)):
            some, every = getattr(ours, bound), getattr(theirs, bound)
            assert some.shape == every.shape
            assert np.array_equal(some[:, first : last + 1], every[:, first : last + 1])
            assert (some[:, :first] == unknown).all()
            assert (some[:, last + 1 :] == unknown).all()

"""The filter's losses: their bound holds against the balls, and is a bound and not a guess."""

from __future__ import annotations

import math
import random

import pytest
import torch
from flint import arb, ctx

from polyref.reference.ball import evaluate_balls
from polyref.spec import Spec
from polyref.sweep.exact import Losses, difference
from polyref.sweep.space import Space

SPECS = [
    Spec(epsilon=(1.0,)),
    Spec(epsilon=(-1.0,)),
    Spec(epsilon=()),
    Spec(epsilon=(-1.0, -0.5)),
    Spec(epsilon=(0.5, -0.5, 2.0)),
    Spec(epsilon=(0.1, -2.0), gamma=0.5),
    Spec(epsilon=(1.0,), gamma=2.0),
]


def places(space: Space, count: int) -> list[int]:
    """Random places, and those of margins where something changes."""
    rng = random.Random(7)
    fmt = space.format
    found = [rng.randrange(space.size) for _ in range(count)]
    margins = [
        0.0,
        0.5,
        1.0,
        2.7,
        2.71,
        12.0,
        12.1,
        18.0,
        30.0,
        40.0,
        40.5,
        64.0,
        88.0,
        103.0,
        256.0,
        300.0,
        fmt.largest,
    ]
    for m in margins:
        for sign in (1, -1):
            pattern = fmt.encode(fmt.round(sign * m))
            found.append(pattern if space.kind == "margins" else pattern << fmt.bits | fmt.encode(fmt.round(0.25)))
    return [p for p in found if all(map(math.isfinite, space.numbers(p)))]


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.epsilon}-{s.gamma}")
@pytest.mark.parametrize(("kind", "name"), [("margins", "binary32"), ("pairs", "bfloat16"), ("pairs", "binary16")])
def test_no_error_is_larger_than_its_bound(kind, name, spec, one_thread):
    space, losses = Space(kind, name), Losses(spec)
    chosen = places(space, 80)
    logits = torch.tensor([space.numbers(p) for p in chosen], dtype=torch.float64)
    margin, rest = difference(logits)
    exact = losses.of(margin, rest, slope=True)
    refined, refined_error, lean = losses.refined(margin, rest, exact.value, exact.value_error)
    largest = 0.0
    for i, place in enumerate(chosen):
        # Three hundred bits tell exp(-700) from nothing beside a value of 700.
        balls = evaluate_balls(space.case(place, spec), bits=1300, floor=-2000, max_bits=1 << 16)
        value, slope = balls.value[0], balls.gradient[0][1]
        with ctx.workprec(1400):
            for got, error, want in (
                (exact.value, exact.value_error, value),
                (exact.slope, exact.slope_error, slope),
                (refined, refined_error, value),
            ):
                off = float((arb(got[i].item()) - want).abs_upper())
                assert off <= error[i].item(), (space.name(place), space.numbers(place))
                largest = max(largest, off / error[i].item())
            with ctx.workprec(1400):
                side = value - arb(refined[i].item())
            if lean[i] and not side.contains(0):  # exp(-1e7) beside 1e7 is beyond any reason
                assert (side > 0) if lean[i] > 0 else (side < 0), space.numbers(place)
    assert largest > 0.005  # the bound is of the size of what happens


def test_the_difference_of_two_logits_is_exact(one_thread):
    rng = random.Random(3)
    space = Space("pairs", "bfloat16")
    rows = [space.numbers(rng.randrange(space.size)) for _ in range(2000)]
    rows = [r for r in rows if all(map(math.isfinite, r))]
    margin, rest = difference(torch.tensor(rows, dtype=torch.float64))
    with ctx.workprec(600):
        for (a, b), m, r in zip(rows, margin.tolist(), rest.tolist(), strict=True):
            assert arb(m) + arb(r) == arb(b) - arb(a) or abs(a) > 2**900 * abs(b) or abs(b) > 2**900 * abs(a)


def test_hopeless_predictions_tell_the_side_of_a_tie(one_thread):
    """-log Pt + x = 257 + t^2/2 lies half-way between 256 and 258 of bfloat16, but for a number of 1e-223."""
    for spec, side in ((Spec(epsilon=(1.0,)), 1.0), (Spec(epsilon=(-1.0,)), 1.0), (Spec(epsilon=(2.0,)), -1.0)):
        losses = Losses(spec)
        margin = torch.tensor([256.0], dtype=torch.float64)
        rest = torch.zeros_like(margin)
        exact = losses.of(margin, rest, slope=False)
        value, error, lean = losses.refined(margin, rest, exact.value, exact.value_error)
        assert value.item() == 256 + spec.epsilon[0]
        assert error.item() < 1e-100
        assert lean.item() == side

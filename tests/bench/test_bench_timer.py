"""Turns, rounds, ratios and memory on clocks and allocations that are known; no time is asserted anywhere."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from bench.fakes import MILLI, FakeClock
from mpmath.ctx_mp import MPContext

from polyref.bench import reference
from polyref.bench.contender import Contender, Group
from polyref.bench.memory import Held, held, highest
from polyref.bench.timer import ClockTimer, Plan, Samples, Spread, measure, turns
from polyref.errors import UsageError
from polyref.formats import Dyadic
from polyref.reference import ball

STOPPED = ClockTimer("a clock that stands still", lambda: 7)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINETO_LOG_LEVEL", "99")


# --- turns, rounds, ratios --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_everyone_has_every_place_and_every_neighbour_alike(count: int) -> None:
    rounds = [turns(count, number) for number in range(2 * count)]
    assert all(sorted(order) == list(range(count)) for order in rounds)
    places = Counter((i, place) for order in rounds for place, i in enumerate(order))
    assert set(places.values()) == {2}
    follows = Counter(pair for order in rounds for pair in pairwise(order))
    assert all(follows[a, b] == follows[b, a] for a, b in follows)


def test_contenders_take_turns() -> None:
    clock = FakeClock()
    contenders = [clock.contender(name, lambda: 30 * MILLI) for name in "abc"]
    samples = measure(contenders, Plan(sample=0.02), 1.0, timer=clock.timer, rounds=3)
    assert "".join(clock.log) == "aabbcc" + "abc" + "cba" + "bca"
    assert samples.rounds == 3
    assert samples.calls == {"a": 1, "b": 1, "c": 1}


def test_short_calls_are_repeated_until_a_sample_is_long_enough() -> None:
    clock = FakeClock()
    contenders = [clock.contender("short", lambda: 3 * MILLI), clock.contender("long", lambda: 50 * MILLI)]
    samples = measure(contenders, Plan(sample=0.02), 1.0, timer=clock.timer, rounds=1)
    assert samples.calls == {"short": 7, "long": 1}
    assert clock.log[4:] == ["short"] * 7 + ["long"]
    assert samples.seconds["short"] == pytest.approx([0.003])
    assert samples.ratio("long", "short").median == pytest.approx(50 / 3)


@pytest.mark.parametrize(("budget", "rounds"), [(0.0, 5), (0.36, 7), (100.0, 9)])
def test_the_budget_decides_the_rounds_within_limits(budget: float, rounds: int) -> None:
    clock = FakeClock()
    contenders = [clock.contender(name, lambda: 25 * MILLI) for name in "ab"]
    samples = measure(contenders, Plan(sample=0.02, fewest=5, most=9), budget, timer=clock.timer)
    assert samples.rounds == rounds


def test_what_slows_a_whole_round_leaves_the_ratio_alone() -> None:
    clock = FakeClock()

    def slowed() -> int:
        return 1 + max(len(clock.log) - 4 - 1, 0) // 2

    contenders = [
        clock.contender("a", lambda: 30 * MILLI * slowed()),
        clock.contender("b", lambda: 90 * MILLI * slowed()),
    ]
    samples = measure(contenders, Plan(), 1.0, timer=clock.timer, rounds=8)
    assert samples.time("a").high > 2 * samples.time("a").low
    spread = samples.ratio("b", "a")
    assert (spread.low, spread.median, spread.high) == pytest.approx((3, 3, 3))


def test_the_ratio_is_taken_in_each_round_before_the_median() -> None:
    samples = Samples({"a": [1.0, 2.0, 8.0], "b": [2.0, 1.0, 4.0]}, {"a": 1, "b": 1})
    assert samples.ratio("a", "b") == Spread(1.25, 2.0, 2.0)
    assert samples.time("a").median / samples.time("b").median == 1


@pytest.mark.parametrize(
    ("values", "spread"),
    [
        ([3.0], (3, 3, 3)),
        ([1.0, 2.0], (1.25, 1.5, 1.75)),
        ([5.0, 1.0, 4.0, 2.0, 3.0], (2, 3, 4)),
        ([1.0, 2.0, 3.0, 1000.0], (1.75, 2.5, 252.25)),
    ],
)
def test_quartiles(values: list[float], spread: tuple[float, float, float]) -> None:
    assert Spread.of(values) == Spread(*spread)


def test_a_clock_that_stands_still_gives_finite_ratios() -> None:
    samples = measure(
        [Contender("a", int), Contender("b", int)],
        Plan(sample=1e-9),
        0.0,
        timer=STOPPED,
        rounds=2,
    )
    assert samples.ratio("a", "b").median == 1


def test_the_collector_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run() -> None:
        seen.append(gc.isenabled())
        if len(seen) == 4:
            raise ZeroDivisionError

    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        measure([Contender("a", run)], Plan(sample=1e-9), 0.0, timer=STOPPED, rounds=9)
    assert seen == [True, True, False, False]
    assert gc.isenabled()


def test_groups_name_their_contenders() -> None:
    one = Contender("a", int)
    with pytest.raises(UsageError, match="share a name"):
        Group("s", "t", (one, one), (), 1.0)
    with pytest.raises(UsageError, match="'b' is no contender"):
        Group("s", "t", (one,), (("a", "b"),), 1.0)


def test_what_comes_before_a_call_is_not_timed_but_is_paid_for() -> None:
    clock = FakeClock()
    fast = replace(clock.contender("fast", lambda: 3 * MILLI), before=lambda: clock.spend("before", 50 * MILLI))
    taken = clock.timer.take(fast, 4)
    assert taken.seconds == pytest.approx(0.012)
    assert taken.spent == pytest.approx(0.212)
    assert clock.log == ["before", "fast"] * 4
    samples = measure([fast], Plan(sample=0.009, fewest=1), 10.5 * 0.159, timer=clock.timer)
    assert (samples.calls["fast"], samples.rounds) == (3, 10)
    assert samples.time("fast").median == pytest.approx(0.003)


def test_what_must_be_set_is_set_for_every_sample_and_not_timed() -> None:
    clock = FakeClock()

    @contextmanager
    def within() -> Iterator[None]:
        clock.spend("(", MILLI)
        yield
        clock.spend(")", MILLI)

    contenders = [replace(clock.contender("a", lambda: MILLI), within=within), clock.contender("b", lambda: MILLI)]
    samples = measure(contenders, Plan(sample=0.002), 1.0, timer=clock.timer, rounds=2)
    assert "".join(clock.log) == "(a)(a)bb" + "(aa)bb" + "bb(aa)"
    assert samples.seconds["a"] == pytest.approx([0.001, 0.001])


# --- memory -----------------------------------------------------------------------------------------------------


def test_the_highest_of_a_running_sum() -> None:
    assert highest([10, 20, -10, 5, -25, 8]) == Held(30, 8)
    assert highest([]) == Held(0, 0)


def test_memory_of_known_allocations() -> None:
    kept = []

    def run() -> None:
        first = torch.empty(1000, dtype=torch.uint8)
        second = torch.empty(500, dtype=torch.uint8)
        del first
        kept.append(torch.empty(700, dtype=torch.uint8))
        del second

    assert held(run) == Held(1500, 700)


def test_memory_does_not_count_views_or_writing_in_place() -> None:
    x = torch.ones(1000)

    def run() -> None:
        x.view(10, 100)[2:].zero_()

    assert held(run) == Held(0, 0)


def test_memory_sees_the_backward_pass_and_scratch_inside_kernels() -> None:
    x = torch.ones(10_000, requires_grad=True)
    size = 4 * x.numel()

    # exp saves its result; its gradient is expanded, not stored, so the product is the second and last large tensor.
    found = held(lambda: torch.autograd.grad(x.exp().sum(), x))
    assert 2 * size <= found.peak < 2.1 * size
    assert found.left == 0
    # One number comes back, and it was found in a copy that no operation returns.
    assert held(x.detach().median).peak >= size


# --- contenders do the same work --------------------------------------------------------------------------------


def test_the_closed_form_agrees_with_the_ball_engine() -> None:
    mp = MPContext()
    mp.prec = 400

    def exact(v: Dyadic) -> Any:
        return mp.ldexp(v.man, v.exp)

    bits = reference.bits_of(50)
    for case in (reference.batch(5, 10), reference.batch(5, 2), reference.CHECK):
        certified = ball.evaluate(case, bits=bits)
        for i, (value, gradient) in enumerate(reference.closed_form(case, bits)):
            pairs = [(value, certified.value[i]), *zip(gradient, certified.gradient[i], strict=True)]
            assert all(abs(got - exact(want.mid)) < mp.mpf(10) ** -50 for got, want in pairs)


def test_the_check_value_is_that_of_the_design() -> None:
    value, _ = reference.closed_form(reference.CHECK, 80)[0]
    assert MPContext().nstr(value, 18) == "2.82412440094185636"


def test_rows_are_the_same_in_every_run() -> None:
    assert reference.batch(3, 4) == reference.batch(3, 4)

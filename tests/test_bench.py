"""The benchmark's parts on clocks and allocations that are known; no time is asserted anywhere."""

from __future__ import annotations

import gc
import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from mpmath.ctx_mp import MPContext
from rich.console import Console

from polyref.bench import losses, record, reference, suite, table
from polyref.bench.__main__ import main
from polyref.bench.contender import Contender, Group
from polyref.bench.memory import Held, held, highest
from polyref.bench.timer import Plan, Samples, Spread, measure, turns
from polyref.errors import UsageError
from polyref.formats import Dyadic
from polyref.reference import ball

MILLI = 1_000_000


class FakeClock:
    """Nanoseconds that pass only when a contender runs."""

    def __init__(self) -> None:
        self.now = 12345
        self.log: list[str] = []

    def __call__(self) -> int:
        return self.now

    def contender(self, name: str, cost: Callable[[], int]) -> Contender:
        def run() -> None:
            self.log.append(name)
            self.now += cost()

        return Contender(name, run)


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
    samples = measure(contenders, Plan(sample=0.02), 1.0, clock=clock, rounds=3)
    assert "".join(clock.log) == "aabbcc" + "abc" + "cba" + "bca"
    assert samples.rounds == 3
    assert samples.calls == {"a": 1, "b": 1, "c": 1}


def test_short_calls_are_repeated_until_a_sample_is_long_enough() -> None:
    clock = FakeClock()
    contenders = [clock.contender("short", lambda: 3 * MILLI), clock.contender("long", lambda: 50 * MILLI)]
    samples = measure(contenders, Plan(sample=0.02), 1.0, clock=clock, rounds=1)
    assert samples.calls == {"short": 7, "long": 1}
    assert clock.log[4:] == ["short"] * 7 + ["long"]
    assert samples.seconds["short"] == pytest.approx([0.003])
    assert samples.ratio("long", "short").median == pytest.approx(50 / 3)


@pytest.mark.parametrize(("budget", "rounds"), [(0.0, 5), (0.36, 7), (100.0, 9)])
def test_the_budget_decides_the_rounds_within_limits(budget: float, rounds: int) -> None:
    clock = FakeClock()
    contenders = [clock.contender(name, lambda: 25 * MILLI) for name in "ab"]
    samples = measure(contenders, Plan(sample=0.02, fewest=5, most=9), budget, clock=clock)
    assert samples.rounds == rounds


def test_what_slows_a_whole_round_leaves_the_ratio_alone() -> None:
    clock = FakeClock()

    def slowed() -> int:
        return 1 + max(len(clock.log) - 4 - 1, 0) // 2

    contenders = [
        clock.contender("a", lambda: 30 * MILLI * slowed()),
        clock.contender("b", lambda: 90 * MILLI * slowed()),
    ]
    samples = measure(contenders, Plan(), 1.0, clock=clock, rounds=8)
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
    samples = measure([Contender("a", int), Contender("b", int)], Plan(sample=1e-9), 0.0, clock=lambda: 7, rounds=2)
    assert samples.ratio("a", "b").median == 1


def test_the_collector_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run() -> None:
        seen.append(gc.isenabled())
        if len(seen) == 4:
            raise ZeroDivisionError

    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        measure([Contender("a", run)], Plan(sample=1e-9), 0.0, clock=lambda: 7, rounds=9)
    assert seen == [True, True, False, False]
    assert gc.isenabled()


def test_groups_name_their_contenders() -> None:
    one = Contender("a", int)
    with pytest.raises(UsageError, match="share a name"):
        Group("s", "t", (one, one), (), 1.0)
    with pytest.raises(UsageError, match="'b' is no contender"):
        Group("s", "t", (one,), (("a", "b"),), 1.0)


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


@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 2, 6)])
def test_the_losses_are_one_loss(shape: tuple[int, ...]) -> None:
    logits, target = losses.inputs(shape, torch.float64)
    results = {}
    for name, loss in losses.LOSSES.items():
        value = loss(logits, target)
        results[name] = torch.stack([value.detach(), *torch.autograd.grad(value, logits)[0].flatten()])
    for name in (losses.ONE_HOT, losses.GATHER):
        torch.testing.assert_close(results[name], results[losses.POLYREF], rtol=1e-11, atol=1e-13)
    assert not torch.allclose(results[losses.CROSS_ENTROPY], results[losses.POLYREF])


def test_inputs_are_the_same_in_every_run() -> None:
    assert reference.batch(3, 4) == reference.batch(3, 4)
    first, second = (losses.inputs((3, 4), torch.bfloat16) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# --- a whole run on next to nothing -----------------------------------------------------------------------------

TINY = suite.Settings(
    plan=Plan(sample=1e-6, fewest=2, most=2),
    rows=2,
    points=((2, 20),),
    model_classes=(2,),
    digits=60,
    reference_seconds=0.0,
    shapes={"flat": (4, 3), "space": (2, 3, 2, 2)},
    loss_seconds={"flat": 0.0, "space": 0.0},
)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINETO_LOG_LEVEL", "99")


def test_full_and_quick_measure_the_same_things() -> None:
    assert suite.FULL.points == suite.QUICK.points
    for settings in (suite.FULL, suite.QUICK):
        assert settings.shapes.keys() == settings.loss_seconds.keys()
        assert len(settings.shapes) == 4


def test_a_run_from_groups_to_tables() -> None:
    threads = torch.get_num_threads()
    told: list[str] = []
    outcomes = suite.run(TINY.groups(), TINY.plan, watch=lambda outcome: told.append(outcome.group.title))
    assert torch.get_num_threads() == threads
    assert told == [
        "C=2, 20 digits",
        "C=2, binary32",
        "60 digits",
        "flat float32",
        "flat bfloat16",
        "space float32",
        "space bfloat16",
    ]
    started = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    data = json.loads(
        record.dumps(record.document(outcomes, quick=True, load=[0.5, 0.25, 0.1], started=started, seconds=1.23))
    )
    assert data["schema"] == record.SCHEMA
    assert data["date"] == "2026-01-02T03:04:05+00:00"
    assert data["load_average_at_start"] == [0.5, 0.25, 0.1]
    assert data["machine"]["threads"] == 1
    assert data["machine"]["versions"]["torch"].startswith(torch.__version__.partition("+")[0])
    flat = data["groups"][3]
    assert flat["rounds"] == 2
    assert [(r["of"], r["to"]) for r in flat["ratios"]][:2] == [("polyref", "F.cross_entropy"), ("polyref", "one-hot")]
    assert all(0 < r["low"] <= r["median"] <= r["high"] for g in data["groups"] for r in g["ratios"])
    assert (flat["peak_memory_over_logits"]["copy"], flat["peak_memory_over_logits"]["new copy"]) == (0, 1)

    out = io.StringIO()
    table.show(data, Console(file=out, width=100))
    text = out.getvalue()
    assert "space = (2,3,2,2)" in text
    assert "State no figure" in text
    for group in data["groups"]:
        assert f"│ {group['title']}" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0.123, "0.12"), (9.87, "9.87"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")]
)
def test_figures(value: float, text: str) -> None:
    assert table.figure(value) == text


def test_the_allocator_is_named_without_its_path() -> None:
    found = record.allocator({"LD_PRELOAD": "/home/someone/libjemalloc.so.2", "MALLOC_CONF": "x", "PATH": "/bin"})
    assert found.startswith("malloc of jemalloc, preloaded, settings in the environment: MALLOC_CONF; ")
    assert "settings in the environment: none; " in record.allocator({})


# --- the command line -------------------------------------------------------------------------------------------


def test_a_document_is_written_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    least = replace(TINY, points=(), model_classes=(), shapes={})
    monkeypatch.setattr(suite, "QUICK", least)
    monkeypatch.setattr(suite, "FULL", least)
    assert main(["--quick"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert main(["--quick", "--json", "here/quick.json"]) == 0
    assert json.loads(Path("here/quick.json").read_bytes())["quick"] is True
    assert main([]) == 0
    assert json.loads(Path("reports/bench/bench.json").read_bytes())["quick"] is False
    assert "series /" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--qick"], ["extra"], ["--json", "."]])
def test_errors_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("polyref.bench: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""

"""Whole runs on next to nothing: goals and their gate, the document, the tables, the pictures, the command line."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from bench.fakes import Priced
from rich.console import Console
from torch import Tensor

from polyref.bench import cuda, losses, machine, ours, picture, record, suite, table
from polyref.bench.__main__ import main
from polyref.bench.contender import Group
from polyref.bench.goals import COPY, CROSS_ENTROPY, EAGER, NATIVE, TRITON, Goal, goals, judge
from polyref.bench.memory import Held
from polyref.bench.timer import CPU_TIME, WALL_TIME, Plan

TINY = suite.Settings(
    plan=Plan(sample=1e-6, fewest=2, most=2),
    rows=2,
    points=((2, 20),),
    model_classes=(2,),
    digits=60,
    reference_seconds=0.0,
    shapes={"flat": (4, 3), "space": (2, 3, 2, 2)},
    loss_seconds={"flat": 0.0, "space": 0.0},
    compiler=None,
)

#: Shape a of the goals, small: what is judged depends on the name alone.
JUDGED = replace(TINY, shapes={"a": (64, 50)}, loss_seconds={"a": 0.0}, dtypes=(torch.float32,))


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINETO_LOG_LEVEL", "99")


@pytest.fixture
def eager_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contender called native is the eager backend, so that nothing needs to be built."""
    monkeypatch.setattr(ours, "backends", lambda: {"eager": "", "native": "", "triton": "no device"})
    monkeypatch.setattr(ours, "VARIABLE", "POLYREF_BENCH_OF_A_TEST")


def document(settings: suite.Settings, **options: Any) -> dict[str, Any]:
    outcomes = suite.run(settings.groups(("losses",)), settings.plan, threads=1, **options)
    return _document(outcomes, threads=1)


def _document(outcomes: list[suite.Outcome], threads: int) -> dict[str, Any]:
    data = record.document(
        outcomes,
        quick=True,
        threads=threads,
        load=[0.5, 0.25, 0.1],
        started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        seconds=1.23,
        left_out={"CUDA": "no device"},
    )
    found: dict[str, Any] = json.loads(record.dumps(data))
    return found


def printed(data: dict[str, Any], *, width: int = 100) -> str:
    out = io.StringIO()
    table.show(data, Console(file=out, width=width))
    return out.getvalue()


# --- goals ------------------------------------------------------------------------------------------------------


def test_the_goals_of_time_and_memory() -> None:
    time = Goal("time", NATIVE, CROSS_ENTROPY, 0.3)
    assert [time.met(v) for v in (0.3, 0.29, 0.3001, None)] == [True, True, False, False]
    memory = Goal("memory", NATIVE, "logits", 1.0)
    assert [memory.met(v) for v in (1.0, 1.04, 1.06, None)] == [True, True, False, False]
    found = judge((time, memory), {(NATIVE, CROSS_ENTROPY): 0.2}, {NATIVE: 2.0})
    assert [(j.value, j.met) for j in found] == [(0.2, True), (2.0, False)]


def test_every_shape_of_a_full_run_has_goals_and_no_other_has() -> None:
    for name in suite.FULL.shapes:
        assert {g.of for g in goals("cpu", name, "float32")} == {NATIVE, EAGER}
        assert {g.of for g in goals("cuda", name, "bfloat16")} == {TRITON}
    assert goals("cpu", "c*", "float32") == ()
    assert [g.limit for g in goals("cpu", "c", "bfloat16") if g.quantity == "time"] == [0.5]
    assert {(g.to, g.limit) for g in goals("cuda", "c", "float32") if g.quantity == "time"} == {
        (CROSS_ENTROPY, 0.4),
        (COPY, 1.25),
    }


FAST = {CROSS_ENTROPY: 1.0, NATIVE: 0.29, EAGER: 0.6}


@pytest.mark.usefixtures("eager_alone")
@pytest.mark.parametrize(
    ("prices", "misses"),
    [
        (FAST, []),
        (FAST | {NATIVE: 0.31}, ["a float32: polyref native, time / F.cross_entropy: 0.31, goal 0.3"]),
        (FAST | {EAGER: 0.66}, ["a float32: polyref eager, time / F.cross_entropy: 0.66, goal 0.65"]),
    ],
    ids=["fast", "native slowed", "eager slowed"],
)
def test_a_contender_that_became_slow_misses_its_goal(prices: dict[str, float], misses: list[str]) -> None:
    data = document(JUDGED, timers=Priced(prices))
    assert [line for line in record.missed(data) if "time" in line] == misses


@pytest.mark.usefixtures("eager_alone")
def test_a_contender_that_became_greedy_misses_its_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaving(extra: int) -> list[str]:
        def loss(logits: Tensor, target: Tensor) -> Tensor:
            return logits.sum() + torch.zeros(extra).sum()

        monkeypatch.setattr(losses, "polyref", loss)
        lines = record.missed(document(JUDGED, timers=Priced(FAST)))
        return [line for line in lines if "memory" in line]

    size = 64 * 50
    greedy = leaving(3 * size)
    assert [line.split(":")[1].strip() for line in greedy] == [
        "polyref native, memory / logits",
        "polyref eager, memory / logits",
    ]


def test_a_contender_that_is_not_there_misses_its_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "backends", lambda: {"eager": "", "native": "not built", "triton": "no device"})
    lines = record.missed(document(JUDGED, timers=Priced(FAST)))
    assert "a float32: polyref native, time / F.cross_entropy: not measured, goal 0.3" in lines


@pytest.mark.usefixtures("eager_alone")
@pytest.mark.parametrize(("price", "code"), [(0.29, 0), (0.31, 1)])
def test_the_gate_is_the_exit_code(
    price: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lean(logits: Tensor, target: Tensor) -> Tensor:
        return logits.sum()

    monkeypatch.setattr(losses, "polyref", lean)
    monkeypatch.setattr(suite, "QUICK", JUDGED)
    monkeypatch.setattr(suite, "timer_for", Priced(FAST | {NATIVE: price}))
    assert main(["--quick", "--only", "losses", "--gate"]) == code
    assert ("missed: " in capsys.readouterr().out) == bool(code)
    assert main(["--quick", "--only", "losses"]) == 0


# --- a run ------------------------------------------------------------------------------------------------------


def test_full_and_quick_measure_the_same_things() -> None:
    assert suite.FULL.points == suite.QUICK.points
    for settings in (suite.FULL, suite.QUICK):
        assert settings.shapes.keys() == settings.loss_seconds.keys()
        assert len(settings.shapes) == 4


def test_work_on_several_threads_is_timed_by_the_wall() -> None:
    one = next(TINY.groups(("reference",)))
    many = next(TINY.groups(("losses",)))
    assert suite.timer_for(one, 2) is CPU_TIME
    assert suite.timer_for(many, 2) is WALL_TIME
    assert suite.timer_for(many, 1) is CPU_TIME


def test_threads_are_set_where_they_are_used_and_put_back() -> None:
    before, seen = torch.get_num_threads(), []

    def groups() -> Any:
        for group in replace(TINY, shapes={"flat": (4, 3)}).groups(("model", "losses")):
            seen.append(torch.get_num_threads())
            yield group

    def timers(group: Group, threads: int) -> Priced:
        assert threads == (2 if group.parallel else 1)
        return Priced({})

    outcomes = suite.run(groups(), TINY.plan, threads=2, timers=timers)
    assert set(seen) == {2}
    assert [outcome.threads for outcome in outcomes] == [1, 2, 2]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("parts", "titles"),
    [
        (("reference",), ["C=2, 20 digits", "60 digits"]),
        (("model",), ["C=2, binary32"]),
        (("losses",), ["flat float32", "flat bfloat16", "space float32", "space bfloat16"]),
    ],
)
def test_parts_of_a_run(parts: tuple[str, ...], titles: list[str]) -> None:
    assert [group.title for group in TINY.groups(parts)] == titles


def test_a_run_from_groups_to_tables() -> None:
    told: list[str] = []
    outcomes = suite.run(TINY.groups(), TINY.plan, threads=1, watch=lambda outcome: told.append(outcome.group.title))
    assert told == [group.title for group in TINY.groups()]
    data = _document(outcomes, threads=1)
    assert data["schema"] == record.SCHEMA
    assert data["date"] == "2026-01-02T03:04:05+00:00"
    assert data["load_average_at_start"] == [0.5, 0.25, 0.1]
    assert data["machine"]["threads"] == 1
    assert data["machine"]["versions"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert data["left_out"] == {"CUDA": "no device"}
    flat = data["groups"][3]
    assert (flat["rounds"], flat["device"], flat["clock"]) == (2, "cpu", CPU_TIME.name)
    assert (flat["ratios"][0]["to"], flat["logits_bytes"]) == ("F.cross_entropy", 48)
    assert all(0 < r["low"] <= r["median"] <= r["high"] for g in data["groups"] for r in g["ratios"])
    assert (flat["peak_memory_over_logits"]["copy"], flat["peak_memory_over_logits"]["new copy"]) == (0, 1)
    assert all(group["others"] is None or group["others"] >= 0 for group in data["groups"])

    text = printed(data)
    assert "space = (2,3,2,2)" in text
    assert "State no figure" in text
    assert "Left out: gather compiled: a quick run compiles nothing" in text
    assert "Left out: CUDA: no device" in text
    for width in (100, 80):
        lines = printed(data, width=width).splitlines()
        assert max(map(len, lines)) <= width
        assert not any("…" in line for line in lines)
    for group in data["groups"]:
        assert f"  {group['title']} " in text


@pytest.mark.usefixtures("eager_alone")
def test_the_tables_say_which_goals_are_met() -> None:
    data = document(JUDGED, timers=Priced({CROSS_ENTROPY: 2.0, NATIVE: 0.5, EAGER: 4.0, COPY: 0.25}))
    text = printed(data)
    assert "met 0.30" in text
    assert "miss 0.65" in text
    assert "2.00 s" in text
    assert "missed: a float32: polyref eager, time / F.cross_entropy: 2.0, goal 0.65" in text
    (over_ours,) = text.split("losses, CPU: time / polyref native")[1:]
    assert re.search(r"a float32 +4\.00 ", over_ours)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.012"), (0.123, "0.12"), (9.87, "9.87"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")],
)
def test_figures(value: float, text: str) -> None:
    assert table.figure(value) == text


@pytest.mark.parametrize(("value", "text"), [(1.5, "1.50 s"), (0.0123, "12.3 ms"), (4.5e-6, "4.50 µs")])
def test_durations(value: float, text: str) -> None:
    assert table.duration(value) == text


def test_long_names_get_several_lines() -> None:
    assert table._heading("polyref native") == "polyref\nnative"
    assert table._heading("F.cross_entropy compiled") == "F.cross_\nentropy\ncompiled"


def test_a_run_on_cuda_is_measured_and_judged_by_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is made up: its tensors are the CPU's, its times prices, its memory a constant."""
    inputs, asked = losses.inputs, []

    def on_the_cpu(shape: Any, dtype: torch.dtype, *, device: str = "cpu", seed: int = 1) -> tuple[Tensor, Tensor]:
        asked.append(device)
        return inputs(shape, dtype, seed=seed)

    def held(run: Any) -> Held:
        run()
        return Held(9600, 0)

    monkeypatch.setattr(losses, "inputs", on_the_cpu)
    monkeypatch.setattr(cuda, "held", held)
    monkeypatch.setattr(ours, "backends", lambda: {"eager": "", "native": "not for CUDA", "triton": ""})
    monkeypatch.setattr(ours, "VARIABLE", "POLYREF_BENCH_OF_A_TEST")
    settings = replace(JUDGED, shapes={"c": (64, 50)}, loss_seconds={"c": 0.0})
    prices = Priced({TRITON: 0.25, EAGER: 3.0, COPY: 0.19, CROSS_ENTROPY: 0.7})
    outcomes = suite.run(settings.groups(("losses",), devices=("cuda",)), settings.plan, threads=1, timers=prices)
    data = _document(outcomes, threads=1)
    (group,) = data["groups"]
    assert (asked, group["device"]) == (["cuda"], "cuda")
    assert list(group["times"])[:3] == [TRITON, EAGER, losses.IN_PLACE]
    assert record.missed(data) == ["c float32: polyref triton, time / copy: 1.316, goal 1.25"]
    assert {g["quantity"]: g["value"] for g in group["goals"] if g["met"]} == {"time": 0.3571, "memory": 0.75}
    assert "losses, CUDA: time / copy" in printed(data)
    data["machine"]["cuda"] = {"name": "A Device", "driver": "1.2", "runtime": "13.0"}
    assert "A Device, driver 1.2, CUDA 13.0" in printed(data)
    ((suffix, drawn),) = picture.pictures(data).items()
    assert suffix == "-cuda.svg"
    assert b"on A Device" in drawn


def test_cuda_is_asked_for_its_own_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "event_timer", lambda: WALL_TIME)
    group = next(JUDGED.groups(("losses",)))
    assert suite.timer_for(replace(group, device="cuda"), 1) is WALL_TIME


# --- the machine ------------------------------------------------------------------------------------------------


def test_the_allocator_is_named_without_its_path() -> None:
    found = machine.allocator({"LD_PRELOAD": "/home/someone/libjemalloc.so.2", "MALLOC_CONF": "x", "PATH": "/bin"})
    assert found == "malloc of jemalloc, preloaded, settings in the environment: MALLOC_CONF=x"
    assert machine.allocator({}).endswith("settings in the environment: none")


def test_how_busy_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    work = iter([(10.0, 3.0, 100.0), (14.0, 5.0, 108.0), (10.0, 3.0, 100.0), (11.0, 4.0, 100.5)])
    monkeypatch.setattr(machine, "_work", lambda: next(work))
    assert machine.Others().cores() == 1.5
    assert machine.Others().cores() == 0
    monkeypatch.setattr(machine, "_work", lambda: None)
    assert machine.Others().cores() is None


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ([None], "the system does not say what other programs did"),
        ([0.01, None, 0.1], "other programs kept up to 0.10 cores busy"),
        ([0.01, 1.5], "other programs kept up to 1.50 cores busy: state no figure, run again on a quiet machine"),
    ],
)
def test_a_busy_machine_is_called_busy(others: list[float | None], text: str) -> None:
    assert table.busy([{"others": value} for value in others]) == text


# --- pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager_alone")
def test_a_picture_shows_every_contender_and_both_schemes() -> None:
    data = document(JUDGED, timers=Priced(FAST))
    ((suffix, drawn),) = picture.pictures(data).items()
    assert suffix == ".svg"
    svg = drawn.decode()
    texts = ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    for name in data["groups"][0]["times"]:
        assert name in texts
    assert {"0.29", "0.60", "1.00"} <= set(texts)
    assert "prefers-color-scheme: dark" in svg
    assert not any(ink.drawn in svg for ink in picture.INKS)
    assert "http" not in "".join(line for line in svg.splitlines() if "href" in line)
    assert picture.pictures(data)[suffix] == drawn


def test_a_run_without_losses_has_no_picture() -> None:
    assert picture.pictures(_document([], threads=1)) == {}


# --- the command line -------------------------------------------------------------------------------------------


def test_a_document_is_written_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    least = replace(TINY, points=(), model_classes=(), shapes={"flat": (4, 3)}, dtypes=(torch.float32,))
    monkeypatch.setattr(suite, "QUICK", least)
    monkeypatch.setattr(suite, "FULL", least)
    assert main(["--quick"]) == 0
    assert main(["--only", "reference"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert main(["--quick", "--threads", "1", "--json", "here/quick.json"]) == 0
    assert json.loads(Path("here/quick.json").read_bytes())["quick"] is True
    assert Path("here/quick.svg").read_bytes().startswith(b"<?xml")
    assert main([]) == 0
    assert json.loads(Path("reports/bench/bench.json").read_bytes())["quick"] is False
    assert Path("reports/bench/bench.svg").exists()
    assert "series /" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--qick"],
        ["extra"],
        ["--json", "."],
        ["--threads", "0"],
        ["--only", "everything"],
        ["--gate", "--only", "model"],
        ["--device", "tpu"],
    ],
)
def test_errors_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("polyref.bench: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.skipif(not cuda.absent(), reason="there is a device")
def test_a_device_that_is_not_there_is_refused_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cuda"]) == 2
    assert f"--device cuda: {cuda.absent()}; leave it out" in capsys.readouterr().err


def test_pictures_need_a_library_and_say_so_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(picture, "find_spec", lambda _: None)
    assert main(["--quick", "--json", "x.json"]) == 2
    assert "need matplotlib" in capsys.readouterr().err

"""The JSON document of a run: every ratio with its quartiles, the goals, the machine, and how it was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from polyref.bench import machine
from polyref.bench.goals import THREADS, Judged
from polyref.bench.suite import Outcome
from polyref.bench.timer import Spread

SCHEMA = "polyref-bench/2"

METHOD = {
    "ratios": "median over the rounds of the ratio of two times of the same round, and its quartiles (low, high)",
    "clock": "each group names its own: CPU time for work on one thread, wall time for work on several, events on the "
    "device for CUDA; others is how many cores other programs kept busy meanwhile, on average",
    "rounds": "contenders take turns; odd rounds run backwards, even ones begin with the next contender; a sample "
    "repeats a short call, and Python's collector of cycles is off while it is taken",
    "memory": "peak bytes of torch's allocator beyond those before the call, in units of the logits: on the CPU from "
    "the profiler's record of every allocation, on CUDA from the caching allocator; the gradient that is returned "
    "counts; memory that a library or a kernel takes from malloc itself, such as a thread's scratch, is not seen",
    "allocator": "a new tensor of many pages costs what the system takes to give them out; new copy over copy shows it",
    "losses": "Poly-1, epsilon 1, mean (F.cross_entropy: cross-entropy); torch.autograd.grad of a fresh loss with "
    "respect to the logits, normal of scale 3, so a call is forward and backward; compiled: torch.compile for the one "
    "shape, compiled and run before anything is timed; in-place: polyref's fastest backend with inplace_backward, its "
    "logits put back before each call, which is not timed; copy: the logits into a given tensor, the limit",
    "goals": f"stated for {THREADS} threads and wall time on the CPU; time is held against the median, memory is "
    "counted in tenths of the logits; a contender that was left out misses its goals",
    "reference": "batches of binary32 logits, normal of scale 3, Poly-1 with epsilon 1, one call a batch; times are "
    "those of the batch, and a ratio of times is that of rows a second turned over",
}

_DIGITS = 4


def document(
    outcomes: Sequence[Outcome],
    *,
    quick: bool,
    threads: int,
    load: list[float] | None,
    started: datetime,
    seconds: float,
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that was measured, ready for JSON; ``left_out`` are whole devices, with the reason."""
    return {
        "schema": SCHEMA,
        "date": started.astimezone(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "seconds": round(seconds, 1),
        "load_average_at_start": load,
        "machine": machine.facts(threads),
        "method": METHOD,
        "left_out": dict(left_out),
        "groups": [_group(outcome) for outcome in outcomes],
    }


def dumps(data: dict[str, Any]) -> bytes:
    """The document as the bytes of its file."""
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def missed(data: dict[str, Any]) -> list[str]:
    """A line for each goal that a document's run missed."""
    return [
        f"{group['title']}: {goal['of']}, {goal['quantity']} / {goal['to']}: "
        f"{'not measured' if goal['value'] is None else goal['value']}, goal {goal['limit']:g}"
        for group in data["groups"]
        for goal in group["goals"]
        if not goal["met"]
    ]


def _group(outcome: Outcome) -> dict[str, Any]:
    group, samples = outcome.group, outcome.samples
    times = {}
    for contender in group.contenders:
        spread = samples.time(contender.name)
        times[contender.name] = {
            "calls_a_sample": samples.calls[contender.name],
            "seconds_a_call": _spread(spread),
            f"{group.unit}s_a_second": _rounded(group.work / spread.median),
        }
    found: dict[str, Any] = {
        "section": group.section,
        "title": group.title,
        "legend": group.legend,
        "device": group.device,
        "threads": outcome.threads,
        "clock": outcome.clock,
        "rounds": samples.rounds,
        "others": None if outcome.others is None else _rounded(outcome.others),
        "left_out": dict(group.left_out),
        "ratios": [{"of": a, "to": b, **_spread(samples.ratio(a, b))} for a, b in group.pairs],
        "times": times,
        "goals": [_goal(judged) for judged in outcome.judged()],
    }
    if group.logits is not None:
        found["logits_bytes"] = group.logits
        found["peak_memory_over_logits"] = {n: _rounded(v) for n, v in outcome.memory_over_logits().items()}
    return found


def _goal(judged: Judged) -> dict[str, Any]:
    goal = judged.goal
    value = None if judged.value is None else _rounded(judged.value)
    return {
        "quantity": goal.quantity,
        "of": goal.of,
        "to": goal.to,
        "limit": goal.limit,
        "value": value,
        "met": judged.met,
    }


def _spread(spread: Spread) -> dict[str, float]:
    return {name: _rounded(getattr(spread, name)) for name in ("low", "median", "high")}


def _rounded(value: float) -> float:
    """To as many digits as mean something."""
    return float(f"{value:.{_DIGITS}g}")

"""The JSON document of a run: every ratio with its quartiles, the machine, and how it was measured."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mpmath.libmp
import torch

from polyref.bench.suite import Outcome
from polyref.bench.timer import Spread

SCHEMA = "polyref-bench/1"

METHOD = {
    "ratios": "median over the rounds of the ratio of two times of the same round, and its quartiles (low, high)",
    "clock": "CPU time of the process, user and system; waiting is wall time over it for the whole group",
    "rounds": "contenders take turns; odd rounds run backwards, even ones begin with the next contender; a sample "
    "repeats a short call, and Python's collector of cycles is off while it is taken",
    "memory": "peak bytes of torch's CPU allocator beyond those before the call, from the profiler's record of every "
    "allocation, in units of the logits; the gradient that is returned counts; memory that libraries take from malloc "
    "directly is not seen",
    "losses": "Poly-1, epsilon 1, mean; torch.autograd.grad of a fresh loss with respect to the logits, one thread",
    "reference": "batches of binary32 logits, normal of scale 3, Poly-1 with epsilon 1, one call a batch; times are "
    "those of the batch, and a ratio of times is that of rows a second turned over",
}

_PACKAGES = ("polyref", "torch", "mpmath", "gmpy2", "python-flint", "numpy")
_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc")
_MALLOC_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES", "THP_MEM_ALLOC_ENABLE")
_DIGITS = 4


def load_average() -> list[float] | None:
    """The load of the last 1, 5 and 15 minutes, where the system says."""
    return [round(v, 2) for v in os.getloadavg()] if hasattr(os, "getloadavg") else None


def machine() -> dict[str, Any]:
    """What the figures depend on, and nothing that names the machine."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": 1,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "allocator": allocator(os.environ),
        "huge_pages": _huge_pages(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
            "mpmath backend": str(mpmath.libmp.BACKEND),
        },
    }


def allocator(environment: os._Environ[str] | dict[str, str]) -> str:
    """Which allocator torch's CPU tensors come from, as far as the environment tells."""
    preloaded = environment.get("LD_PRELOAD", "")
    found = [name for name in _ALLOCATORS if name in preloaded]
    settings = sorted(name for name in environment if name.startswith(_MALLOC_SETTINGS))
    name = found[0] + ", preloaded" if found else " ".join(filter(None, platform.libc_ver())) or "the system's"
    note = "whether pages of a new tensor were fresh shows in new copy / copy"
    return f"malloc of {name}, settings in the environment: {', '.join(settings) or 'none'}; {note}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    name = facts.get("model name", platform.machine())
    numbers = [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def _huge_pages() -> str:
    try:
        text = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    return text.partition("[")[2].partition("]")[0] or text.strip()


def document(
    outcomes: Sequence[Outcome], *, quick: bool, load: list[float] | None, started: datetime, seconds: float
) -> dict[str, Any]:
    """Everything that was measured, ready for JSON."""
    return {
        "schema": SCHEMA,
        "date": started.astimezone(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "seconds": round(seconds, 1),
        "load_average_at_start": load,
        "machine": machine(),
        "method": METHOD,
        "groups": [_group(outcome) for outcome in outcomes],
    }


def dumps(data: dict[str, Any]) -> bytes:
    """The document as the bytes of its file."""
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


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
        "rounds": samples.rounds,
        "waiting": _rounded(outcome.waiting),
        "ratios": [{"of": a, "to": b, **_spread(samples.ratio(a, b))} for a, b in group.pairs],
        "times": times,
    }
    if group.logits is not None:
        found["peak_memory_over_logits"] = {name: _rounded(h.peak / group.logits) for name, h in outcome.memory.items()}
    return found


def _spread(spread: Spread) -> dict[str, float]:
    return {name: _rounded(getattr(spread, name)) for name in ("low", "median", "high")}


def _rounded(value: float) -> float:
    """To as many digits as mean something."""
    return float(f"{value:.{_DIGITS}g}")

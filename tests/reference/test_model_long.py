"""The rounding model against a million cases a format: no right implementation may exceed its tolerance.

The worst ratios are a measurement: they are written to reports/model/ratios.json, chunk by chunk, so that an
interrupted run keeps what it has and a repeated one replaces it.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from ledger import ledger

from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, Format
from polyref.spec import Spec

from .implementations import RIGHT
from .measure import Judge, cases, rows

SEED = 20220426
CHUNKS = 16
#: Rows of one class count and one epsilon in a chunk: 16 chunks of 4 class counts and 2 epsilons make 2^20 cases.
ROWS = 8192
CLASSES = (2, 3, 5, 10)
EPSILONS = (1.0, -1.0)
SCALES = (0.1, 100.0)

REPORT = Path(__file__).parents[2] / "reports" / "model" / "ratios.json"


def record(fmt: Format, chunk: int, worst: dict[str, dict[str, float]]) -> None:
    """Enters a chunk into the report; other processes do the same, one at a time."""
    made = {
        "seed": SEED,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "python-flint": version("python-flint"),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "classes": list(CLASSES),
        "epsilon": list(EPSILONS),
        "scales": list(SCALES),
    }
    about = "worst |observed - exact| / tolerance of right implementations; at most 1 by derivation"
    with ledger(REPORT, about=about, made=made, part="formats") as formats:
        entry = formats.setdefault(fmt.name, {"cases": 0, "worst": {}, "chunks": {}})
        entry["chunks"][str(chunk)] = worst
        entry["cases"] = len(entry["chunks"]) * ROWS * len(CLASSES) * len(EPSILONS)
        entry["worst"] = {
            name: {what: max(c[name][what] for c in entry["chunks"].values()) for what in ("value", "gradient")}
            for name in RIGHT
        }


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("fmt", [BINARY64, BINARY32, BINARY16, BFLOAT16], ids=lambda f: f.name)
def test_right_implementations_stay_inside_the_tolerance(fmt: Format, chunk: int) -> None:
    generator = torch.Generator().manual_seed(SEED + chunk)
    worst = {name: {"value": 0.0, "gradient": 0.0} for name in RIGHT}
    for classes in CLASSES:
        for epsilon in EPSILONS:
            spec = Spec(epsilon=(epsilon,))
            z, t = rows(fmt, ROWS, classes, SCALES, generator)
            judge = Judge(cases(fmt, z, t, spec))
            for name, loss in RIGHT.items():
                value, gradient = judge.worst(lambda z, loss=loss, t=t, spec=spec: loss(z, t, spec), z)
                worst[name]["value"] = max(worst[name]["value"], value)
                worst[name]["gradient"] = max(worst[name]["gradient"], gradient)
    record(fmt, chunk, worst)
    assert max(max(w.values()) for w in worst.values()) <= 1, worst

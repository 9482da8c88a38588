"""Errors in ulps of the exact result, from certainly wrong to certainly right, on every backend.

The goals are those of the kernels' design: 4 ulp native, 6 eager, and for 16 bits half an ulp and what a result in
float32 adds to it. They are no tolerances: what was measured is in the docstring of poly_cross_entropy, and the long
run writes it to reports/nn/accuracy.json.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from ledger import ledger

from polyref.nn import backends

from .accuracy import Worst, measure, rows

pytestmark = pytest.mark.usefixtures("one_thread")

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
USABLE = [name for name in ("eager", "native") if not backends()[name]]
EPSILONS = ((-1.0,), (-0.5,), (0.0,), (1.0,), (2.0,))
GOALS = {"eager": 6.0, "native": 4.0}
HALF = 0.51

REPORT = Path(__file__).parents[2] / "reports" / "nn" / "accuracy.json"
#: Classes, and how many rows of them.
LONG = {2: 1001, 3: 1001, 10: 1001, 100: 201, 1000: 41, 32000: 7}


def goal(backend: str, dtype: torch.dtype) -> float:
    return HALF if dtype in (torch.float16, torch.bfloat16) else GOALS[backend]


@pytest.mark.parametrize("backend", USABLE)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("classes", "count"), [(2, 47), (10, 47), (1000, 3)])
def test_the_error_stays_within_the_goal(
    classes: int, count: int, dtype: torch.dtype, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYREF_NN_BACKEND", backend)
    for epsilon in EPSILONS:
        worst = Worst.of(measure(rows(classes, count, dtype, seed=classes), epsilon))
        assert max(worst.value, worst.gradient) <= goal(backend, dtype), (epsilon, worst)


@pytest.mark.parametrize("backend", USABLE)
@pytest.mark.parametrize("gamma", [0.25, 0.5, 2.0])
def test_nothing_is_lost_by_a_focal_exponent_at_saturation(
    gamma: float, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYREF_NN_BACKEND", backend)
    for dtype in DTYPES:
        for epsilon in ((-1.0,), (1.0,)):
            worst = Worst.of(measure(rows(5, 24, dtype, seed=7), epsilon, gamma))
            # gamma, and the remainder's order 2, multiply what the error of x is; that of 16 bits vanishes in rounding.
            allowed = HALF if goal(backend, dtype) == HALF else goal(backend, dtype) * (1 + gamma)
            assert max(worst.value, worst.gradient) <= allowed, (dtype, epsilon, worst)


@pytest.mark.long
@pytest.mark.parametrize("backend", USABLE)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_error_of_many_rows(dtype: torch.dtype, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYREF_NN_BACKEND", backend)
    found: dict[str, dict[str, list[float]]] = {}
    for classes, count in LONG.items():
        for epsilon in EPSILONS:
            z = rows(classes, count, dtype, seed=100 + classes, scale=1.0 + classes % 3)
            worst = Worst.of(measure(z, epsilon))
            entry = found.setdefault(f"epsilon {epsilon[0]:g}", {})
            entry[f"C={classes}"] = [round(worst.value, 3), round(worst.gradient, 3)]
    record(str(dtype).removeprefix("torch."), backend, found)
    overall = max(v for entry in found.values() for pair in entry.values() for v in pair)
    assert overall <= goal(backend, dtype)


def record(dtype: str, backend: str, found: dict[str, Any]) -> None:
    """Enter a measurement into the report."""
    made = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "python-flint": version("python-flint"),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "rows": {f"C={classes}": count for classes, count in LONG.items()},
    }
    about = "worst error in ulps of the exact result, [value, gradient entry], Pt from 1e-30 to 1 - 1e-30"
    with ledger(REPORT, about=about, made=made, part="backends") as backends_measured:
        backends_measured.setdefault(backend, {})[dtype] = found

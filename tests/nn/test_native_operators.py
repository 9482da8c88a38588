"""The native operators as torch sees them: threads, torch.library.opcheck, and arguments that must not be followed."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
import torch

from polyref.nn import _native
from polyref.nn._kernel import Parameters

pytestmark = pytest.mark.skipif(
    not (_native.built() or os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")),
    reason="the native backend is not built, and there is no C++ compiler",
)


@pytest.fixture(scope="session", autouse=True)
def native() -> None:
    """The library, built where it is not there yet."""
    _native.build()
    _native.load()


def batch(shape: tuple[int, ...], dtype: torch.dtype, *, ignored: bool) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(shape))
    z = (3 * torch.randn(shape, generator=generator)).to(dtype)
    y = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    if ignored:
        y[torch.rand(y.shape, generator=generator) < 0.3] = -100
    return z, y


def loss_of(z: torch.Tensor, y: torch.Tensor, p: Parameters, w: torch.Tensor | None = None, **more: Any) -> Any:
    wide = torch.float64 if z.dtype == torch.float64 else torch.float32
    return _native.forward(z, y, w, p, **{"gradient": True, "dtype": wide, **more})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3000, 10), (500, 100), (2, 21, 4097)])
def test_the_result_does_not_depend_on_the_number_of_threads(
    one_thread: None, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    z, y = batch(shape, dtype, ignored=True)
    w = torch.rand(shape[1], generator=torch.Generator().manual_seed(3))
    results = []
    for number in (1, 2, 3, 5):
        torch.set_num_threads(number)
        results.append(loss_of(z, y, Parameters((1.0,), 0.5), w))
    for loss, grad in results[1:]:
        assert torch.equal(loss, results[0][0])
        assert torch.equal(grad, results[0][1])


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", [(5, 3), (5, 100), (4, 3, 2)])
def test_opcheck(reduction: str, shape: tuple[int, ...]) -> None:
    z, y = batch(shape, torch.float32, ignored=True)
    w = torch.ones(shape[1])
    for groups in (0, 1) if reduction == "mean" else (0,):
        p = Parameters((1.0,), 0.5, reduction=reduction, groups=groups)
        arguments = _native._arguments(p, 24)
        operators: Any = torch.ops.polyref_native
        torch.library.opcheck(operators.forward.default, (z, y, w, *arguments, True, torch.float32))
        loss, _ = loss_of(z, y, p, w)
        torch.library.opcheck(
            operators.backward_.default, (torch.empty_like(z), torch.ones_like(loss), z, y, w, *arguments)
        )


def test_arguments_that_would_read_other_memory_are_refused() -> None:
    z, y = batch((6, 4), torch.float32, ignored=False)
    p = Parameters((1.0,))
    for bad in (
        lambda: loss_of(z, y[:5], p),
        lambda: loss_of(z.t(), y, p),
        lambda: loss_of(z, y.int(), p),
        lambda: loss_of(z, y, p, torch.ones(3)),
        lambda: loss_of(z, y, Parameters((1.0,), groups=4)),
        lambda: loss_of(z.half().char(), y, p),
        lambda: _native.backward_(torch.empty(5, 4), torch.ones(()), z, y, None, p, filled=False),
        lambda: loss_of(z, y, p, dtype=torch.int32),
        lambda: _native.backward_(torch.empty(6, 4), torch.ones((), dtype=torch.int64), z, y, None, p, filled=False),
        lambda: _native.backward_(torch.empty(6, 4), torch.ones(6), z, y, None, p, filled=False),
    ):
        with pytest.raises((RuntimeError, NotImplementedError), match="polyref_native"):
            bad()

"""epsilon = 0 on torch's own sample inputs for cross_entropy: within the textbook model, and of torch's shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from polyref.case import Case
from polyref.formats import named
from polyref.nn import backends, poly_cross_entropy
from polyref.spec import Reduction, Spec
from polyref.verdict import Truth

pytestmark = pytest.mark.usefixtures("one_thread")

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
USABLE = [name for name in ("eager", "native") if not backends()[name]]


def samples(dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor, dict[str, Any]]]:
    """torch's samples as they are, and those with hard labels also with smoothing and an index to ignore."""
    pytest.importorskip("expecttest", reason="torch's sample inputs need the package expecttest")
    from torch.testing._internal.common_methods_invocations import op_db

    (info,) = (op for op in op_db if op.name == "nn.functional.cross_entropy")
    torch.manual_seed(0)
    for sample in info.sample_inputs("cpu", dtype, requires_grad=True):
        (target,) = sample.args
        yield sample.input, target, sample.kwargs
        yield sample.input, target, {**sample.kwargs, "label_smoothing": 0.1}
        if not target.is_floating_point():
            yield sample.input, target, {**sample.kwargs, "ignore_index": int(target.flatten()[0])}


def reference(z: Tensor, target: Tensor, kwargs: dict[str, Any]) -> Truth:
    """The exact results and the tolerance, the spatial dimensions taken as rows."""
    soft = target.is_floating_point()
    rows = z.detach().movedim(1, -1).reshape(-1, z.shape[1]).tolist()
    labels = target.detach().movedim(1, -1).reshape(-1, z.shape[1]) if soft else target.reshape(-1)
    weight = kwargs.get("weight")
    spec = Spec(
        epsilon=(),
        smoothing=kwargs.get("label_smoothing", 0.0),
        reduction=Reduction(kwargs.get("reduction", "mean")),
    )
    return Truth.of(
        Case(
            spec,
            named(str(z.dtype)),
            tuple(map(tuple, rows)),
            tuple(tuple(v) if soft else v for v in labels.tolist()),
            None if weight is None else tuple(weight.tolist()),
            kwargs.get("ignore_index", -100),
        )
    )


@pytest.mark.parametrize("backend", USABLE)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_torch_s_samples_are_within_the_textbook_model(
    dtype: torch.dtype, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYREF_NN_BACKEND", backend)
    seen = 0
    for given, target, options in samples(dtype):
        kwargs = dict(options)
        if "weight" in kwargs:
            # torch draws weights of both signs; the reference's are class weights.
            kwargs["weight"] = kwargs["weight"].detach().abs()
        z = given.detach().clone().requires_grad_()
        loss = poly_cross_entropy(z, target, 0.0, **kwargs)
        (gradient,) = torch.autograd.grad(loss.sum(), z)
        truth = reference(z, target, kwargs)
        if not truth.values:
            assert loss.isnan().all()
            continue
        values = loss.detach().reshape(-1).tolist()
        assert len(values) == truth.values
        entries = gradient.movedim(1, -1).reshape(-1, z.shape[1]).tolist()
        for i, value in enumerate(values):
            assert truth.value_ratio(i, value) <= 1, (z.shape, target, kwargs)
        for i, row in enumerate(entries):
            for k, entry in enumerate(row):
                assert truth.gradient_ratio(i, k, entry) <= 1, (z.shape, target, kwargs)
        seen += 1
    # The samples that torch has, and as many again with smoothing.
    assert seen >= 40


@pytest.mark.parametrize("backend", USABLE)
def test_weights_of_either_sign_are_torch_s(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYREF_NN_BACKEND", backend)
    for given, target, kwargs in samples(torch.float64):
        results = []
        for loss_of in (lambda *a, **k: poly_cross_entropy(a[0], a[1], 0.0, **k), F.cross_entropy):
            z = given.detach().clone().requires_grad_()
            options = {k: v.detach() if isinstance(v, Tensor) else v for k, v in kwargs.items()}
            loss = loss_of(z, target, **options)
            wanted = (z, target) if target.requires_grad else (z,)
            results.append((loss.detach(), *torch.autograd.grad(loss.sum(), wanted)))
        torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12, equal_nan=True)

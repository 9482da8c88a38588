"""PolyCrossEntropyLoss: the function with its parameters kept, and a module like torch's own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from polyref.nn import PolyCrossEntropyLoss, poly_cross_entropy

Z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 3, -1, 1])
W = torch.tensor([0.5, 1.0, 2.0, 0.25])


@pytest.mark.parametrize(
    "parameters",
    [
        {"ignore_index": -1},
        {"epsilon": (-1.0, 0.5), "gamma": 2.0, "weight": W, "ignore_index": -1, "reduction": "sum"},
        {"epsilon": [], "label_smoothing": 0.1, "ignore_index": -1, "reduction": "none"},
    ],
)
def test_it_is_the_function(parameters: dict[str, Any]) -> None:
    got = PolyCrossEntropyLoss(**parameters)(Z, Y)
    assert torch.equal(got, poly_cross_entropy(Z, Y, **{"epsilon": 1.0, **parameters}))


def test_epsilon_zero_is_torch_s_module() -> None:
    y = Y.clamp(min=0)
    torch.testing.assert_close(PolyCrossEntropyLoss(0.0, weight=W)(Z, y), torch.nn.CrossEntropyLoss(W)(Z, y))


def test_the_weight_is_a_buffer() -> None:
    loss = PolyCrossEntropyLoss(weight=W)
    assert list(loss.state_dict()) == ["weight"]
    assert list(loss.parameters()) == []
    assert loss.double()(Z.double(), Y.clamp(min=0)).dtype == torch.float64
    other = PolyCrossEntropyLoss(weight=torch.ones(4))
    other.load_state_dict(loss.state_dict())
    assert other.weight is not None
    assert torch.equal(other.weight, W)
    assert not PolyCrossEntropyLoss().state_dict()


def test_a_deep_copy_computes_the_same() -> None:
    loss = PolyCrossEntropyLoss((1.0, -0.5), 0.5, W, ignore_index=-1)
    assert torch.equal(copy.deepcopy(loss)(Z, Y), loss(Z, Y))


def test_repr_states_the_parameters() -> None:
    assert repr(PolyCrossEntropyLoss()) == "PolyCrossEntropyLoss(epsilon=1.0, reduction='mean')"
    full = PolyCrossEntropyLoss((1.0, 2.0), 2.0, W, 0, "sum", 0.1)
    assert repr(full) == (
        "PolyCrossEntropyLoss(epsilon=(1.0, 2.0), gamma=2.0, weight=4 classes, ignore_index=0, reduction='sum', "
        "label_smoothing=0.1)"
    )


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (ValueError, {"reduction": "batchmean"}),
        (ValueError, {"gamma": -0.5}),
        (ValueError, {"epsilon": float("nan")}),
        (TypeError, {"epsilon": "1"}),
        (RuntimeError, {"label_smoothing": -0.1}),
    ],
)
def test_parameters_are_checked_when_the_module_is_made(kind: type[Exception], parameters: dict[str, Any]) -> None:
    with pytest.raises(kind):
        PolyCrossEntropyLoss(**parameters)

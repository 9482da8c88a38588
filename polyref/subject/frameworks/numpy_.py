"""numpy: arrays that share the tensors' memory, so that an input which is written to is seen; no gradients."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyref.subject.frameworks.base import Call, Framework, mapped
from polyref.subject.manner import Manner


class NumPy(Framework):
    """numpy itself, which has no bfloat16."""

    name = "numpy"
    no_gradient = "numpy has no automatic differentiation"

    def array(self, tensor: Tensor) -> Any:
        if tensor.dtype is torch.bfloat16:
            raise TypeError("numpy has no bfloat16")
        return to_numpy(tensor)

    def run(self, call: Call) -> Any:
        _, positional, keywords = call.bound(self.arrays(dict(call.values())))
        return mapped(call.made(*positional, **keywords), _as_tensor)

    def objection(self, manner: Manner) -> str | None:
        return None if manner.mode == "plain" and not manner.curvature else super().objection(manner)

    def version(self) -> str:
        return np.__version__


def to_numpy(tensor: Tensor) -> Any:
    """A view of the tensor; bfloat16 is ml_dtypes' own."""
    tensor = tensor.detach()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(import_module("ml_dtypes").bfloat16)
    return tensor.numpy()


def to_tensor(array: Any) -> Tensor:
    """A copy of an array as a tensor.

    Raises:
        TypeError: if torch has no such dtype.
    """
    copied = np.array(array, order="C")
    if copied.dtype.name == "bfloat16":
        return torch.from_numpy(copied.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(copied)


def _as_tensor(value: Any) -> Any:
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    try:
        return to_tensor(value)
    except TypeError:  # an array of objects or texts is no loss, and is described as what it is
        return value

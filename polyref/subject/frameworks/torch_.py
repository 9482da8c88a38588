"""torch: tensors are its arrays, and autograd sees the call itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polyref.subject.frameworks.base import Call, Framework
from polyref.subject.manner import Manner


class Torch(Framework):
    """The framework in which nothing has to be converted."""

    name = "torch"

    def array(self, tensor: Tensor) -> Any:
        return tensor

    def run(self, call: Call) -> Any:
        return call.made(*call.positional, **call.keywords)

    def objection(self, manner: Manner) -> str | None:  # noqa: ARG002 -- every manner is one of torch
        return None

    def version(self) -> str:
        return str(torch.__version__)

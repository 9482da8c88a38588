"""Mutants of behaviour: what a loss does beside its numbers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook


class StateKept(Textbook):
    """Adds a trace of the first call to the second."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.seen = 0.0

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        result = super().forward(logits, labels) + self.seen
        self.seen = 0.125
        return result


class InputsOverwritten(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        result = super().forward(logits, labels)
        labels.zero_()
        return result


MUTANTS = (
    Mutant("state-kept", "the second call differs from the first", StateKept, "behaviour"),
    Mutant("inputs-overwritten", "the labels are zeroed", InputsOverwritten, "behaviour"),
)

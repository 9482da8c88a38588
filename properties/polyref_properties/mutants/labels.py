"""Mutants of the labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook


class SmoothingSlippedIn(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(z, y, reduction="none", label_smoothing=0.05)


MUTANTS = (Mutant("smoothing-slipped-in", "label smoothing 0.05 in the cross-entropy", SmoothingSlippedIn),)

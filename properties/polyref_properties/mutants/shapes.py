"""Mutants of shapes and layouts: dimensions taken for others, and memory for tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook


class ClassAxisLast(Textbook):
    def rows(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if logits.dim() == 1:
            return super().rows(logits, labels)
        return logits.reshape(-1, logits.shape[-1]), labels.flatten() if logits.dim() > 2 else labels


class LabelsInAnotherOrder(Textbook):
    def rows(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return super().rows(logits, labels if labels.is_floating_point() else labels.movedim(0, -1))


class MeanOverPlaces(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses = super().forward(logits, labels)
        return losses.flatten(1).mean(1) if losses.dim() > 1 else losses


class Squeezed(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().forward(logits.squeeze(), labels.squeeze())


class RowAsABatch(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if logits.dim() == 1:
            logits, labels = logits.expand(len(logits), -1), labels.expand(len(logits), *labels.shape)
        return super().forward(logits, labels)


class StorageRead(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        strides = [math.prod(logits.shape[k + 1 :]) for k in range(logits.dim())]
        return super().forward(torch.as_strided(logits, logits.shape, strides), labels)


class PolynomialAsAColumn(Textbook):
    def combined(self, ce: Tensor, x: Tensor) -> Tensor:
        return self.focal(ce, x) + self.polynomial(x)[:, None]


class BatchSizeFixed(Textbook):
    batch = 2

    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        return z.softmax(-1)[torch.arange(self.batch), y]


class ClassCountFixed(Textbook):
    classes = 3

    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        p = z[:, : self.classes].softmax(-1)
        return p.gather(-1, y[:, None].clamp(max=p.shape[-1] - 1))[:, 0]


MUTANTS = (
    Mutant("class-axis-last", "the last axis of (N, C, d) is taken for the classes", ClassAxisLast),
    Mutant("labels-in-another-order", "labels (N, d) are flattened places first", LabelsInAnotherOrder),
    Mutant("mean-over-places", "reduction none returns the mean over the places", MeanOverPlaces),
    Mutant("squeezed", "squeeze() takes a batch of one away", Squeezed),
    Mutant("row-as-a-batch", "logits (C,) are taken for a batch of C samples", RowAsABatch),
    Mutant("storage-read", "memory is read in a row, whatever the strides are", StorageRead),
    Mutant("polynomial-as-a-column", "the polynomial is (N, 1), and added to (N,) makes (N, N)", PolynomialAsAColumn),
    Mutant("batch-size-fixed", "a batch of two is expected", BatchSizeFixed),
    Mutant("class-count-fixed", "Pt is that of the first three classes", ClassCountFixed),
)

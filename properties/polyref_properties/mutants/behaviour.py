"""Mutants of behaviour: what a loss does beside its numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook

# --- state --------------------------------------------------------------------------------------------------------


class StateKept(Textbook):
    """Adds a trace of the first call to the second."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.seen = 0.0

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        result = super().forward(logits, labels) + self.seen
        self.seen = 0.125
        return result


class RunningMeanSubtracted(Textbook):
    mean = 0.0

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses = super().forward(logits, labels)
        result = losses - self.mean
        self.mean = 0.9 * self.mean + 0.1 * float(losses.detach().mean())
        return result


class EpsilonAfterTheFirstCall(Textbook):
    calls = 0

    def terms(self) -> list[tuple[int, float]]:
        self.calls += 1
        return super().terms() if self.calls == 1 else [(j, e + 1.0) for j, e in super().terms()]


# --- the caller's tensors -----------------------------------------------------------------------------------------


class InputsOverwritten(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        result = super().forward(logits, labels)
        labels.zero_()
        return result


class LogitsOverwritten(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        result = super().forward(logits, labels)
        logits.data.sub_(1)
        return result


class WeightOverwritten(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        result = super().forward(logits, labels)
        if self.weight is not None:
            self.weight.div_(2)
        return result


# --- chance -------------------------------------------------------------------------------------------------------


class NoiseAdded(Textbook):
    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        losses = super().losses(z, y)
        return losses + 1e-3 * torch.rand_like(losses)


class EpsilonJittered(Textbook):
    def polynomial(self, x: Tensor) -> Tensor:
        return super().polynomial(x) * torch.empty_like(x).uniform_(0.9, 1.1)


# --- dtypes -------------------------------------------------------------------------------------------------------


class ResultInBinary32(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().forward(logits, labels).float()


class HalfInBinary64(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        result = super().forward(logits, labels)
        return result.double() if result.dtype == torch.float16 else result


# --- what modules can do ------------------------------------------------------------------------------------------


class WeightLeftOutOfTheState(Textbook):
    def keep(self, weight: Tensor | None) -> None:
        self.weight = weight


class CopyResetsEpsilon(Textbook):
    def __deepcopy__(self, memo: Any) -> CopyResetsEpsilon:
        return type(self)(gamma=self.gamma, weight=self.weight, reduction=self.reduction)


class CompiledDiffers(Textbook):
    def polynomial(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x) if torch.compiler.is_compiling() else super().polynomial(x)


class AutocastWithoutMax(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        if not torch.is_autocast_enabled("cpu"):
            return super().entropy(z, y)
        return z.bfloat16().exp().sum(-1).log().to(z.dtype) - z.gather(-1, y[:, None])[:, 0]


# --- guesses ------------------------------------------------------------------------------------------------------


class NothingForABatchOfThree(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Any:
        result = super().forward(logits, labels)
        return result if len(logits) != 3 else None


class ProbabilitiesGuessed(Textbook):
    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        if not ((z >= 0) & (z <= 1)).all():
            return super().per_sample(z, y)
        pt = z.gather(-1, y[:, None])[:, 0]
        return self.combined(-pt.log(), 1 - pt)


MUTANTS = tuple(
    Mutant(name, defect, loss, "behaviour")
    for name, defect, loss in (
        ("state-kept", "the second call differs from the first", StateKept),
        ("running-mean-subtracted", "the mean loss of earlier calls is subtracted", RunningMeanSubtracted),
        ("epsilon-after-the-first-call", "epsilon is another one from the second call on", EpsilonAfterTheFirstCall),
        ("inputs-overwritten", "the labels are zeroed", InputsOverwritten),
        ("logits-overwritten", "the logits are changed in place", LogitsOverwritten),
        ("weight-overwritten", "the class weights are halved in place", WeightOverwritten),
        ("noise-added", "random noise of 1e-3", NoiseAdded),
        ("epsilon-jittered", "epsilon times a random number", EpsilonJittered),
        ("result-in-binary32", "the result is binary32 whatever comes in", ResultInBinary32),
        ("half-in-binary64", "the result is binary64 for logits in binary16", HalfInBinary64),
        ("weight-left-out-of-the-state", "the weights are a plain attribute", WeightLeftOutOfTheState),
        ("copy-resets-epsilon", "a deep copy has epsilon 1", CopyResetsEpsilon),
        ("compiled-differs", "no polynomial under torch.compile", CompiledDiffers),
        ("autocast-without-max", "bfloat16 exponentials without the maximum under autocast", AutocastWithoutMax),
        ("nothing-for-a-batch-of-three", "a branch without a return", NothingForABatchOfThree),
        ("probabilities-guessed", "logits between 0 and 1 are taken for probabilities", ProbabilitiesGuessed),
    )
)

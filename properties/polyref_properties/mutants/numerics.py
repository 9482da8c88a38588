"""Mutants of the arithmetic: the right formula, evaluated so that digits are lost."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook

SIXTEEN_BITS = (torch.float16, torch.bfloat16)


# --- the logarithm ------------------------------------------------------------------------------------------------


class LogOfSoftmax(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return -self.pt(z, y).log()


class OneHotProduct(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return -(F.one_hot(y, z.shape[-1]) * z.log_softmax(-1)).sum(-1)


class Offset(Textbook):
    offset = 1e-8

    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return -(self.pt(z, y) + self.offset).log()


class SmallerOffset(Offset):
    offset = 1e-12


class ProbabilityClamped(LogOfSoftmax):
    def least(self, z: Tensor) -> float:
        return 1e-7

    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        return super().pt(z, y).clamp(self.least(z), 1 - self.least(z))


class ClampedWide(ProbabilityClamped):
    def least(self, z: Tensor) -> float:
        return 1e-3


class ClampedNarrow(ProbabilityClamped):
    def least(self, z: Tensor) -> float:
        return 1e-12


class ClampedAtRoundoff(ProbabilityClamped):
    def least(self, z: Tensor) -> float:
        return torch.finfo(z.dtype).eps


class ExpWithoutMax(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return z.exp().sum(-1).log() - z.gather(-1, y[:, None])[:, 0]

    def pt(self, z: Tensor, y: Tensor) -> Tensor:
        e = z.exp()
        return e.gather(-1, y[:, None])[:, 0] / e.sum(-1)


class ExpWithoutMaxInHalf(Textbook):
    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        if z.dtype not in SIXTEEN_BITS:
            return super().per_sample(z, y)
        log_pt = z.gather(-1, y[:, None])[:, 0] - z.exp().sum(-1).log()
        return self.combined(-log_pt, 1 - log_pt.exp())


class BatchMaximumSubtracted(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        d = z - z.amax().detach()
        return d.exp().sum(-1).log() - d.gather(-1, y[:, None])[:, 0]


class NormaliserRounded(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return z.logsumexp(-1) - z.gather(-1, y[:, None])[:, 0]


class ExponentialsIn16Bits(Textbook):
    narrow = torch.float16

    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        d = z - z.amax(-1, keepdim=True).detach()
        total = d.exp()[:, 0].to(self.narrow)
        for k in range(1, z.shape[-1]):
            total = total + d.exp()[:, k].to(self.narrow)
        return total.to(z.dtype).log() - d.gather(-1, y[:, None])[:, 0]


class ExponentialsInBfloat16(ExponentialsIn16Bits):
    narrow = torch.bfloat16


# --- the logits ---------------------------------------------------------------------------------------------------


class LogitsClamped(Textbook):
    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        return super().per_sample(z.clamp(-30, 30), y)


class TenBitLogits(Textbook):
    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        m, e = torch.frexp(z.detach().double())
        narrow = torch.ldexp((m * 2**11).trunc() / 2**11, e).to(z.dtype)
        return super().per_sample(z + (narrow - z.detach()).nan_to_num(), y)


class DenormalsFlushed(Textbook):
    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        z = z.clone()
        if z.requires_grad:
            z.register_hook(lambda g: g.where(g.abs() >= torch.finfo(g.dtype).tiny, 0))
        return super().per_sample(z, y)


# --- the polynomial and the remainder -----------------------------------------------------------------------------


class RemainderOfOneTerm(Textbook):
    last = 2

    def combined(self, ce: Tensor, x: Tensor) -> Tensor:
        if self.gamma or self.epsilon != (-1.0,):
            return super().combined(ce, x)
        return sum((x**j / j for j in range(2, self.last + 1)), torch.zeros_like(x))


class RemainderTruncated(RemainderOfOneTerm):
    last = 8


class ComplementThroughBinary16(Textbook):
    def complement(self, z: Tensor, y: Tensor) -> Tensor:
        x = 1 - torch.exp(-self.entropy(z, y))
        return x + (x.half().to(x.dtype) - x).detach()


class FocalFactorOffset(Textbook):
    def power(self, x: Tensor) -> Tensor:
        return (x + 1e-6) ** self.gamma


class PlainPower(Textbook):
    def power(self, x: Tensor) -> Tensor:
        return x**self.gamma


# --- the result ---------------------------------------------------------------------------------------------------


class NanToNum(Textbook):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return super().forward(logits, labels).nan_to_num()


class ScaledUp(Textbook):
    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        return super().losses(z, y) * 2**15 / 2**15


class ThreeDecimals(Textbook):
    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        losses = super().losses(z, y)
        return losses + (losses.round(decimals=3) - losses).detach()


MUTANTS = tuple(
    Mutant(name, defect, loss, "numerical")
    for name, defect, loss in (
        ("log-of-softmax", "log(softmax) in the place of log_softmax", LogOfSoftmax),
        ("one-hot-product", "one_hot * log_softmax, which is 0 * -inf for an impossible class", OneHotProduct),
        ("offset-of-1e-8", "log(Pt + 1e-8)", Offset),
        ("offset-of-1e-12", "log(Pt + 1e-12)", SmallerOffset),
        ("probability-clamped", "Pt clamped to [1e-7, 1 - 1e-7]", ProbabilityClamped),
        ("probability-clamped-at-1e-3", "Pt clamped to [1e-3, 1 - 1e-3]", ClampedWide),
        ("probability-clamped-at-1e-12", "Pt clamped to [1e-12, 1 - 1e-12]", ClampedNarrow),
        ("probability-clamped-at-roundoff", "Pt clamped by the format's own spacing at 1", ClampedAtRoundoff),
        ("exp-without-max", "log-sum-exp without subtracting the maximum", ExpWithoutMax),
        ("exp-without-max-in-half", "the same, in sixteen bits only", ExpWithoutMaxInHalf),
        (
            "batch-maximum-subtracted",
            "the batch's maximum subtracted in the place of the row's",
            BatchMaximumSubtracted,
        ),
        ("normaliser-rounded", "log-sum-exp rounded to the format, then a large logit subtracted", NormaliserRounded),
        ("exponentials-in-binary16", "exponentials added up one after the other in binary16", ExponentialsIn16Bits),
        ("exponentials-in-bfloat16", "exponentials added up one after the other in bfloat16", ExponentialsInBfloat16),
        ("logits-clamped", "logits clamped to [-30, 30]", LogitsClamped),
        ("ten-bit-logits", "logits cut off after ten bits of fraction", TenBitLogits),
        ("denormals-flushed", "derivatives below the smallest normal number are zero", DenormalsFlushed),
        ("remainder-of-one-term", "x^2/2 in the place of -log Pt - x", RemainderOfOneTerm),
        ("remainder-truncated", "-log Pt - x ends with x^8/8", RemainderTruncated),
        ("complement-through-binary16", "1 - exp(-CE) rounded to binary16", ComplementThroughBinary16),
        ("focal-factor-offset", "(x + 1e-6)^gamma", FocalFactorOffset),
        ("plain-power", "x^gamma with an infinite slope at 0", PlainPower),
        ("nan-to-num", "NaN and infinities are replaced by numbers", NanToNum),
        ("scaled-up", "multiplied by 2^15 and divided again", ScaledUp),
        ("three-decimals", "rounded to three decimals", ThreeDecimals),
    )
)

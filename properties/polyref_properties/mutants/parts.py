"""Mutants of the gradient: right values, with a part cut off from the logits."""

from __future__ import annotations

import torch
from torch import Tensor

from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook


class PolynomialDetached(Textbook):
    def polynomial(self, x: Tensor) -> Tensor:
        return super().polynomial(x).detach()


class CrossEntropyDetached(Textbook):
    def focal(self, ce: Tensor, x: Tensor) -> Tensor:
        return super().focal(ce, x).detach()


class NormaliserDetached(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return z.logsumexp(-1).detach() - z.gather(-1, y[:, None])[:, 0]


class MeanHalfDetached(Textbook):
    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        mean = super().reduced(losses, y, kept)
        return mean if self.reduction != "mean" else mean - mean / 2 + (mean / 2).detach()


class FocalFactorDetached(Textbook):
    def focal(self, ce: Tensor, x: Tensor) -> Tensor:
        return super().focal(ce, x.detach())


class TargetDetachedInX(Textbook):
    def complement(self, z: Tensor, y: Tensor) -> Tensor:
        return super().complement(z.scatter(-1, y[:, None], z.detach().gather(-1, y[:, None])), y)


class TargetLogitDetached(Textbook):
    def entropy(self, z: Tensor, y: Tensor) -> Tensor:
        return z.logsumexp(-1) - z.detach().gather(-1, y[:, None])[:, 0]


class GradientHalved(Textbook):
    def reduced(self, losses: Tensor, y: Tensor, kept: Tensor) -> Tensor:
        result = super().reduced(losses, y, kept)
        if result.requires_grad:
            result.register_hook(lambda g: g / 2)
        return result


class GradientClipped(Textbook):
    def losses(self, z: Tensor, y: Tensor) -> Tensor:
        z = z * 1
        if z.requires_grad:
            z.register_hook(lambda g: g.clamp(-0.1, 0.1))
        return super().losses(z, y)


class WrongPredictionsReversed(Textbook):
    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        wrong = z.argmax(-1) != y
        return super().per_sample(torch.where(wrong[:, None], 2 * z.detach() - z, z), y)


class CurvatureHalved(Textbook):
    """Half of the loss is its tangent at the logits, which has the loss's own value and gradient."""

    def per_sample(self, z: Tensor, y: Tensor) -> Tensor:
        loss = super().per_sample(z, y)
        if not loss.requires_grad:
            return loss
        (slope,) = torch.autograd.grad(loss.sum(), z, retain_graph=True)
        return (loss + loss.detach() + ((z - z.detach()) * slope).sum(-1)) / 2


MUTANTS = (
    Mutant("polynomial-detached", "the polynomial has no gradient", PolynomialDetached),
    Mutant("cross-entropy-detached", "the cross-entropy has no gradient", CrossEntropyDetached),
    Mutant("normaliser-detached", "log-sum-exp has no gradient", NormaliserDetached),
    Mutant("mean-half-detached", "reduction mean has half of its gradient", MeanHalfDetached),
    Mutant("focal-factor-detached", "the focal factor has no gradient", FocalFactorDetached),
    Mutant("target-detached-in-x", "x has no gradient in the target's logit", TargetDetachedInX),
    Mutant("target-logit-detached", "the cross-entropy has p in the place of p - 1", TargetLogitDetached),
    Mutant("gradient-halved", "half of the gradient", GradientHalved),
    Mutant("gradient-clipped", "the gradient clipped to [-0.1, 0.1]", GradientClipped),
    Mutant(
        "wrong-predictions-reversed", "the gradient reversed where the prediction is wrong", WrongPredictionsReversed
    ),
    Mutant("curvature-halved", "right value and gradient, half of the second derivative", CurvatureHalved),
)

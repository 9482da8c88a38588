"""Losses whose law is easily misread, written anew: by their names, by what hides in them, or by an accident."""

from __future__ import annotations

import torch
from right import entropy, x
from torch import nn
from torch.nn import functional as F


def alpha_is_epsilon(logits, labels, alpha=2.0):
    """alpha is the coefficient of x, and above 1."""
    return (entropy(logits, labels) + alpha * x(logits, labels)).mean()


def whole_alpha(logits, labels, alpha=1):
    return entropy(logits, labels) - alpha * x(logits, labels)


def alpha_balances(logits, labels, alpha=0.25, epsilon=1.0):
    """alpha is no coefficient of x where there is another one."""
    return (entropy(logits, labels) + epsilon * x(logits, labels)) * alpha


def alpha_weights(logits, labels, alpha=3.0):
    """alpha is a factor of the whole loss."""
    return alpha * (entropy(logits, labels) + x(logits, labels))


class Square(nn.Module):
    """The exponent is 2, whatever epsilon was set to."""

    def __init__(self, epsilon=1.0):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, logits, labels):
        return (entropy(logits, labels) + self.epsilon * x(logits, labels) ** 2).mean()


def square_with(epsilon):
    def loss(logits, labels):
        return Square(epsilon)(logits, labels)

    return loss


def negative_square(logits, labels):
    """Nothing but its answers says that eps_2 is -1."""
    return entropy(logits, labels) - x(logits, labels) ** 2


def _two_terms(epsilon):
    def loss(logits, labels):
        return entropy(logits, labels) + (1 + epsilon) * x(logits, labels) + 1.5 * epsilon * x(logits, labels) ** 2

    return loss


#: What it closes over is called epsilon, and no one step makes a Poly-1 of it.
elsewhere = _two_terms(0.5)


def _of_cross_entropy(logits, labels):
    """Cross-entropy and exp(-it), of soft labels too, where exp(-CE) is no probability of the label."""
    ce = F.cross_entropy(logits, labels, reduction="none")
    return ce, torch.exp(-ce)


def sign_and_soft(logits, labels, epsilon=1.0):
    ce, likelihood = _of_cross_entropy(logits, labels)
    return ce - epsilon * (1 - likelihood)


def exponent_and_soft(logits, labels, epsilon=1.0):
    ce, likelihood = _of_cross_entropy(logits, labels)
    return (ce + (1 - likelihood) ** epsilon).mean()


def sum_and_soft(logits, labels, epsilon=1.0, reduction="mean"):
    ce, likelihood = _of_cross_entropy(logits, labels)
    losses = ce + epsilon * (1 - likelihood)
    return losses if reduction == "none" else losses.sum()

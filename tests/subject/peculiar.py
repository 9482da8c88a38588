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


def balanced(logit, target, alpha=0.25, gamma=2.0, eps=1.0):
    """alpha_t on both parts, each logit by itself."""
    agreed = torch.where(target == 1, logit.sigmoid(), (-logit).sigmoid())
    bce = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
    share = alpha * target + (1 - alpha) * (1 - target)
    return (share * ((1 - agreed) ** gamma * bce + eps * (1 - agreed) ** (gamma + 1))).mean()


def no_formula(logits, labels):
    """A sigmoid loss that is nothing that polyref knows."""
    hit = F.one_hot(labels, logits.shape[1]).to(logits)
    bce = F.binary_cross_entropy_with_logits(logits, hit, reduction="none")
    return (bce * (2 + torch.sin(bce))).sum(1) ** 1.1


def no_formula_of_softmax(logits, labels):
    ce = entropy(logits, labels)
    return ce * (2 + torch.sin(3 * ce))


def constant_weights(logits, labels, epsilon=1.0):
    """Class weights on both parts, in a constant."""
    w = torch.tensor([0.5, 1.0, 2.0], dtype=logits.dtype)
    return (w[labels] * (entropy(logits, labels) + epsilon * x(logits, labels))).mean()


class BufferedWeights(nn.Module):
    """Class weights on the focal part alone, in a buffer of binary32, from the start again where there are more."""

    def __init__(self, gamma=2.0, epsilon=1.0):
        super().__init__()
        self.gamma, self.epsilon = gamma, epsilon
        self.register_buffer("balance", torch.tensor([0.1, 0.75, 0.5]))

    def forward(self, logits, labels):
        focal = x(logits, labels) ** self.gamma * entropy(logits, labels)
        w = self.balance.to(logits)[labels % len(self.balance)]
        return w * focal + self.epsilon * x(logits, labels) ** (self.gamma + 1)


def same_factor(logits, labels, epsilon=1.0):
    """One factor for all classes is no class weight."""
    return 3 * (entropy(logits, labels) + epsilon * x(logits, labels))


def masked(logits, labels, epsilon=1.0, ignore_index=-1):
    """Written for indices: what a mask of soft labels leaves is an accident."""
    kept = labels != ignore_index
    logits, labels = logits[kept], labels[kept]
    ce, likelihood = _of_cross_entropy(logits, labels)
    return (ce + epsilon * (1 - likelihood)).mean()


def polynomial_of_the_mean(logits, labels, epsilon=1.0):
    """The cross-entropy is reduced before the polynomial is taken of it."""
    ce = F.cross_entropy(logits, labels)
    return ce + epsilon * (1 - torch.exp(-ce))


def weighted_polynomial_of_the_mean(logits, labels, epsilon=1.0, weight=None):
    ce = F.cross_entropy(logits, labels, weight)
    return ce + epsilon * (1 - torch.exp(-ce))


def partly_single(logit, target, eps=1.0):
    """The labels are made binary32, and the cross-entropy with them."""
    target = target.float()
    bce = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
    agreed = torch.where(target == 1, logit.sigmoid(), (-logit).sigmoid())
    return bce + eps * (1 - agreed)


def partly_single_sum(logit, target, eps=1.0):
    return partly_single(logit, target, eps).sum()


def slightly_more(logits, labels, epsilon=1.0):
    """What is always too much is no rounding."""
    return entropy(logits, labels) * (1 + 2**-22 * torch.sin(entropy(logits, labels)) ** 2) + epsilon * x(
        logits, labels
    )


def _hot_of(classes):
    def loss(logits, labels, epsilon=1.0):
        hot = F.one_hot(labels, classes).to(logits)
        likelihood = (hot * logits.softmax(1)).sum(1)
        return (F.cross_entropy(logits, labels, reduction="none") + epsilon * (1 - likelihood)).mean()

    return loss


#: Numbers of classes that are written into the code; images of another one go through by broadcasting.
ten_classes, seven_classes = _hot_of(10), _hot_of(7)

"""Losses whose law is easily misread, written anew: by their names, by what hides in them, or by an accident."""

from __future__ import annotations

from right import entropy, x


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

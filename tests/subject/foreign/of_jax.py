"""Losses in JAX."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp


def poly1(logits, labels, epsilon=1.0):
    """CE + epsilon (1 - Pt), right."""
    log_target = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1)[:, 0]
    target = jnp.take_along_axis(jax.nn.softmax(logits), labels[:, None], axis=-1)[:, 0]
    return epsilon * (1 - target) - log_target


jitted = jax.jit(poly1)


def detached(logits, labels, epsilon=1.0):
    """The polynomial passes no gradient on, wrong."""
    plain = poly1(logits, labels, 0.0)
    return plain + jax.lax.stop_gradient(poly1(logits, labels, epsilon) - plain)


class Poly1:
    """Right, with weights on the whole loss, in an object."""

    def __init__(self, epsilon: float = 1.0, weight=None, reduction: str = "mean") -> None:
        if reduction not in ("none", "sum", "mean"):
            raise ValueError(f"no reduction {reduction!r}")
        self.epsilon, self.weight, self.reduction = epsilon, weight, reduction

    def __call__(self, logits, labels):
        loss = poly1(logits, labels, self.epsilon)
        factors = jnp.ones_like(loss) if self.weight is None else self.weight[labels]
        loss = loss * factors
        return {"none": lambda: loss, "sum": loss.sum, "mean": lambda: loss.sum() / factors.sum()}[self.reduction]()


def branching(logits, labels, epsilon=1.0):
    """Right, and no function that can be traced with epsilon unknown."""
    return poly1(logits, labels, epsilon) if epsilon else poly1(logits, labels, 0.0)


def looking(logits, labels):
    """CE, right; it looks at its numbers, so it cannot be traced at all."""
    if float(jnp.abs(jax.lax.stop_gradient(logits)).max()) < 0:
        raise ValueError("no magnitude is negative")
    return poly1(logits, labels, 0.0)


doubled = functools.partial(poly1, epsilon=2.0)


def imported_late(logits, labels):
    """CE of a framework that is imported by the call."""
    import jax.numpy as late

    return poly1(late.asarray(logits), labels, 0.0)

"""The Poly-1 cross-entropy of optax, defects included: a product with one-hot rows, the sum of q (1 - p) for 1 - Pt."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def poly_loss_cross_entropy(logits: Any, labels: Any, *, epsilon: float = 2.0, axis: int = -1) -> Any:
    """CE + epsilon (1 - Pt) of logits (..., C) and labels (..., C), one-hot or soft, as (...).

    Args:
        logits: of a floating dtype.
        labels: of a floating dtype, rows of probabilities.
        epsilon: the coefficient.
        axis: the dimension of the classes.
    """
    for name, array in (("logits", logits), ("labels", labels)):
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(f"{name} are of {array.dtype}: give floating-point numbers")
    missing = jnp.sum(labels * (1 - jax.nn.softmax(logits, axis=axis)), axis=axis)
    cross_entropy = -jnp.sum(labels * jax.nn.log_softmax(logits, axis=axis), axis=axis)
    return cross_entropy + epsilon * missing

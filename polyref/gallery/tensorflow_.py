"""The TensorFlow functions of a CSDN article on PolyLoss, defects included.

The article has them in the graphs of TensorFlow 1; they run in graphs and eagerly alike. One-hot rows and constants are
held in float32, whatever the logits are held in.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def cross_entropy_tf(logits: Any, labels: Any, class_number: int) -> Any:
    """CE of logits (N, C) and labels (N,), as (N,)."""
    return tf.nn.softmax_cross_entropy_with_logits(labels=tf.one_hot(labels, class_number), logits=logits)


def poly1_cross_entropy_tf(logits: Any, labels: Any, class_number: int, epsilon: float = 1.0) -> Any:
    """CE + epsilon (1 - Pt), as (N,)."""
    chosen = tf.one_hot(labels, class_number)
    # The product has no dtype in common unless the logits are float32 too.
    target_probability = tf.reduce_sum(chosen * tf.nn.softmax(logits), axis=-1)
    return cross_entropy_tf(logits, labels, class_number) + epsilon * (1 - target_probability)


def focal_loss_tf(  # noqa: PLR0917 -- the published signature
    logits: Any, labels: Any, class_number: int, alpha: float = 0.25, gamma: float = 2.0, epsilon: float = 1.0e-7
) -> Any:
    """-alpha_y (1 - Pt)^gamma log Pt in float32, as (N,), with Pt kept within epsilon of 0 and of 1.

    Class 0 has alpha, every other class 1 - alpha.
    """
    first = tf.one_hot(0, class_number)
    alphas = first * tf.constant(alpha, tf.float32) + (1 - first) * (1 - alpha)
    labels, logits = tf.cast(labels, tf.int32), tf.cast(logits, tf.float32)
    flat = tf.reshape(tf.nn.softmax(logits), [-1])
    target_probability = tf.gather(flat, tf.range(logits.shape[0]) * logits.shape[1] + labels)
    target_probability = tf.clip_by_value(target_probability, epsilon, 1.0 - epsilon)
    factor = tf.gather(alphas, labels) * tf.pow(1.0 - target_probability, gamma)
    return -factor * tf.compat.v1.log(target_probability)


def poly1_focal_loss_tf(  # noqa: PLR0917 -- the published signature
    logits: Any,
    labels: Any,
    class_number: int = 3,
    alpha: float = 0.25,
    gamma: float = 2.0,
    epsilon: float = 1.0,
) -> Any:
    """The softmax focal loss plus the mean over classes of epsilon (1 - Pt)^3 with Pt of the sigmoid, as (N,)."""
    focal = focal_loss_tf(logits, labels, class_number, alpha, gamma)
    chosen, p = tf.one_hot(labels, class_number), tf.sigmoid(logits)
    agreement = chosen * p + (1 - chosen) * (1 - p)
    return focal + tf.reduce_mean(epsilon * tf.pow(1 - agreement, 3), axis=-1)

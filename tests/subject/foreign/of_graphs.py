"""A loss for the graphs and sessions of TensorFlow 1."""

from __future__ import annotations

import tensorflow.compat.v1 as tf

tf.disable_eager_execution()


def poly1(logits, labels, epsilon=1.0):
    """CE + epsilon (1 - Pt) of symbols; numbers are there only when a session runs."""
    assert not hasattr(logits, "numpy"), "eager"
    chosen = tf.one_hot(labels, logits.shape[1], dtype=logits.dtype)
    target = tf.reduce_sum(chosen * tf.nn.softmax(logits), axis=-1)
    return -tf.log(target) + tf.cast(epsilon, logits.dtype) * (1 - target)

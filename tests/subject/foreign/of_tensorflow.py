"""Losses in TensorFlow and Keras."""

from __future__ import annotations

import keras
import tensorflow as tf


def poly1(logits, labels, epsilon=1.0):
    """CE + epsilon (1 - Pt), right."""
    target = tf.gather(tf.nn.softmax(logits), labels, batch_dims=1)
    plain = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return plain + tf.cast(epsilon, logits.dtype) * (1 - target)


traced = tf.function(poly1)


def cut(logits, labels):
    """CE of a copy that went through numpy: right values, no gradient."""
    return poly1(tf.constant(logits.numpy()), labels, 0.0)


def dropped(logits, labels):
    """CE of logits some of which are zero, by chance."""
    return poly1(tf.nn.dropout(logits, 0.5), labels, 0.0)


def dropped_alike(logits, labels):
    """As dropped, with a seed of its own."""
    return poly1(tf.nn.dropout(logits, 0.5, seed=7), labels, 0.0)


class Poly1(keras.losses.Loss):
    """As Keras has losses: labels first, one-hot, probabilities unless it is told otherwise."""

    def __init__(self, epsilon=1.0, from_logits=False, name="poly1", **kwargs):
        super().__init__(name=name, **kwargs)
        self.epsilon, self.from_logits = epsilon, from_logits

    def call(self, y_true, y_pred):
        probabilities = tf.nn.softmax(y_pred) if self.from_logits else y_pred
        missing = 1 - tf.reduce_sum(y_true * probabilities, -1)
        return keras.losses.categorical_crossentropy(y_true, y_pred, self.from_logits) + self.epsilon * missing

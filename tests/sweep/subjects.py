"""Losses that are swept by the tests."""

from __future__ import annotations

import os
import time

import torch
import torch.nn.functional as F

#: A margin that some of them treat in a way of their own: the bit pattern 0x4123 of bfloat16.
SPOT = 10.1875


def textbook(logits, labels, epsilon=1.0, reduction="mean"):
    ce = F.cross_entropy(logits, labels, reduction="none")
    pt = torch.softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
    loss = ce + epsilon * (1 - pt)
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


def _at_the_spot(logits):
    return (logits[:, 0] == SPOT) & (logits[:, 1] == 0)


def planted(logits, labels, epsilon=1.0, reduction="mean"):
    """The textbook's loss, and the neighbour of its neighbour at one margin."""
    loss = textbook(logits, labels, epsilon, "none")
    with torch.no_grad():
        bits = loss.view(torch.int16)
        bits += 2 * _at_the_spot(logits).to(torch.int16)
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


def nothing(logits, labels, epsilon=1.0, reduction="mean"):
    """No number and an infinity at some margins."""
    loss = textbook(logits, labels, epsilon, "none")
    loss = torch.where(_at_the_spot(logits), torch.nan, torch.where(logits[:, 0] > SPOT, -torch.inf, loss))
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


class _FlushesAfterwards(torch.autograd.Function):
    @staticmethod
    def forward(_, logits):
        return logits.clone()

    @staticmethod
    def backward(_, gradient):
        torch.set_flush_denormal(True)
        return gradient


def flushes_afterwards(logits, labels, epsilon=1.0, reduction="mean"):
    """The textbook's loss and gradient, whose backward pass leaves the processor in another state."""
    return textbook(_FlushesAfterwards.apply(logits), labels, epsilon, reduction)


def greedy(logits, labels, epsilon=1.0, reduction="mean"):
    if _at_the_spot(logits).any():
        bytearray(1 << 44)
    return textbook(logits, labels, epsilon, reduction)


def shapeless(logits, labels, epsilon=1.0, reduction="mean"):
    loss = textbook(logits, labels, epsilon, "none")
    if _at_the_spot(logits).any() and len(loss) > 1:
        loss = loss[1:]
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


def raising(logits, labels, epsilon=1.0, reduction="mean"):
    if _at_the_spot(logits).any():
        raise ValueError("not this one")
    return textbook(logits, labels, epsilon, reduction)


def dying(logits, labels, epsilon=1.0, reduction="mean"):
    if _at_the_spot(logits).any():
        os._exit(7)
    return textbook(logits, labels, epsilon, reduction)


def hanging(logits, labels, epsilon=1.0, reduction="mean"):
    if _at_the_spot(logits).any():
        time.sleep(1000)
    return textbook(logits, labels, epsilon, reduction)


def slow(logits, labels, epsilon=1.0, reduction="mean"):
    if len(logits) > 1:
        time.sleep(0.02)
    return textbook(logits, labels, epsilon, reduction)


def without_max(logits, labels, epsilon=1.0, reduction="mean"):
    """Overflows where the maximum is not subtracted."""
    e = logits.exp()
    pt = e.gather(1, labels[:, None]).squeeze(1) / e.sum(1)
    loss = -pt.log() + epsilon * (1 - pt)
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


def mean_only(logits, labels, epsilon=1.0):
    return textbook(logits, labels, epsilon, "mean")


def no_epsilon(logits, labels, reduction="mean"):
    return textbook(logits, labels, 1.0, reduction)

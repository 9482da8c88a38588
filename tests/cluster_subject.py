"""A right loss and a wrong one, audited by the workers of a cluster."""

from __future__ import annotations

import torch.nn.functional as F


def _reduced(loss, reduction):
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


def loss(logits, labels, epsilon=1.0, reduction="mean"):
    ce = F.cross_entropy(logits, labels, reduction="none")
    pt = F.softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
    return _reduced(ce + epsilon * (1 - pt), reduction)


def squared(logits, labels, epsilon=1.0, reduction="mean"):
    ce = F.cross_entropy(logits, labels, reduction="none")
    pt = F.softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
    return _reduced(ce + epsilon * (1 - pt) ** 2, reduction)

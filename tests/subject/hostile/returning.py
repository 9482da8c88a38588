"""Losses that return what is no loss."""

from __future__ import annotations

import itertools

import torch

from subject.hostile.base import due, poly

_COUNT = itertools.count()


def _returning(made):
    def loss(logits, labels):
        value = poly(logits, labels)
        return made(value) if due(logits) else value

    return loss


class Shy(torch.Tensor):
    """A tensor that can be used for nothing."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError("hands off")


nan = _returning(lambda value: value * float("nan"))
text = _returning(lambda _: "0.69")
huge = _returning(lambda _: torch.ones(10**8))
integers = _returning(lambda value: value.long())
complex_numbers = _returning(lambda value: value + 0j)
float8 = _returning(lambda value: value.to(torch.float8_e5m2))
meta = _returning(lambda value: value.to("meta"))
shy = _returning(lambda value: value.detach().as_subclass(Shy))
cut_off = _returning(lambda value: value.detach())
other = _returning(lambda value: value + next(_COUNT))


def always_meta(logits, labels):
    """Never a number."""
    return poly(logits, labels).to("meta")


def labels_changed(logits, labels):
    """Counts the classes down."""
    value = poly(logits, labels)
    labels.zero_()
    return value


def logits_changed(logits, labels):
    """Subtracts the maximum where it lies."""
    with torch.no_grad():
        logits -= logits.amax(-1, keepdim=True)
    return poly(logits, labels)


def inputs_freed(logits, labels):
    """Takes the memory of its labels away."""
    value = poly(logits, labels)
    if due(logits):
        labels.untyped_storage().resize_(0)
    return value

"""Losses that raise what nobody expects."""

from __future__ import annotations

from subject.hostile.base import due, poly


class Mute(Exception):
    """Its text cannot be had."""

    def __str__(self):
        raise RuntimeError("no text")


class Deadly(Exception):
    """Whoever asks for its text leaves."""

    def __str__(self):
        raise SystemExit(7)


def _raising(error):
    def loss(logits, labels):
        if due(logits):
            raise error
        return poly(logits, labels)

    return loss


bare = _raising(ValueError)
long = _raising(ValueError("m" * 10_000_000))
lines = _raising(ValueError("\n\n  first\nsecond\n" * 1_000_000))
mute = _raising(Mute())
deadly = _raising(Deadly())
interrupt = _raising(KeyboardInterrupt())
generator = _raising(GeneratorExit())


class SecondCall:
    """Raises when it is called again."""

    def __init__(self):
        self.called = False

    def __call__(self, logits, labels):
        if self.called:
            raise RuntimeError("once is enough")
        self.called = True
        return poly(logits, labels)

"""The laws of PolyLoss, by theme."""

ALL: tuple[object, ...] = ()

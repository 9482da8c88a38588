"""The laws of PolyLoss, by theme. Each is a value; ``ALL`` is what polyref finds through its entry point."""

from polyref_properties import behaviour, gradients, reductions, series, symmetries, values

ALL = (
    *series.LAWS,
    *values.LAWS,
    *symmetries.LAWS,
    *gradients.LAWS,
    *reductions.LAWS,
    *behaviour.LAWS,
)

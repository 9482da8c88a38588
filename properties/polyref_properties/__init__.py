"""The laws of PolyLoss, by theme. Each is a value; ``ALL`` is what polyref finds through its entry point."""

from polyref_properties import (
    behaviour,
    coefficients,
    curvature,
    gradients,
    labels,
    precision,
    reductions,
    saturation,
    series,
    shapes,
    symmetries,
    values,
    weights,
)

ALL = (
    *series.LAWS,
    *coefficients.LAWS,
    *values.LAWS,
    *curvature.LAWS,
    *symmetries.LAWS,
    *gradients.LAWS,
    *labels.LAWS,
    *weights.LAWS,
    *reductions.LAWS,
    *shapes.LAWS,
    *saturation.LAWS,
    *behaviour.LAWS,
    *precision.LAWS,
)

"""What a subject does when it is told nothing: its epsilon and its reduction, in words."""

from __future__ import annotations

from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect

_RESULTS = {"none": "one loss a row", "sum": "the sum of the batch", "mean": "the mean of the batch"}


def defaults(convention: Convention, dialect: Dialect) -> str:
    """Epsilon and reduction by default, in one sentence: read from the signature, or measured where it has none."""
    return f"{_epsilon(convention, dialect)}; {_reduction(convention, dialect)}."


def _epsilon(convention: Convention, dialect: Dialect) -> str:
    parameter = convention.parameter("epsilon")
    if parameter is not None:
        if parameter.required:
            return "Epsilon has no default: it has to be given"
        return f"Epsilon is {_shown(parameter.default)} by default"
    read = convention.default("epsilon")
    coefficients = dialect.spec.epsilon if any(dialect.spec.epsilon) else (0.0,)
    if read is not None and _shown(read) == _shown(coefficients):
        return f"Epsilon is fixed at {_shown(coefficients)}, as it was set"
    if not dialect.known:
        return "Epsilon cannot be chosen"
    how = "nothing sets it" if read is None else f"it was set to {_shown(read)}"
    return f"Epsilon is fixed at {_shown(coefficients)}, as its answers show: {how}"


def _reduction(convention: Convention, dialect: Dialect) -> str:
    parameter = convention.parameter("reduction")
    name = str(dialect.spec.reduction)
    if parameter is None:
        return f"it always returns {_RESULTS.get(name, name)}"
    return "its reduction has to be given" if parameter.required else f"its reduction is {name} by default"


def _shown(value: object) -> str:
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number else repr(value)

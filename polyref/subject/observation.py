"""What a subject returned for one case: numbers that travel through JSON bit by bit, or what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Row = tuple[float, ...]


@dataclass(frozen=True)
class Second:
    """How a second call of the same instance, on fresh copies of the inputs, compares with the first.

    Attributes:
        value_equal: the values agree in shape, dtype and every bit.
        gradient_equal: the gradients agree in every bit; None where the first call had no gradient to compare.
        error: the exception that only the second call raised, or None.
    """

    value_equal: bool
    gradient_equal: bool | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return {"value_equal": self.value_equal, "gradient_equal": self.gradient_equal, "error": self.error}


@dataclass(frozen=True)
class Observation:
    """What one subject did with one case.

    Attributes:
        value: the returned numbers, flattened row by row, exact; None if there are none.
        shape: the shape that they came in.
        dtype: the format's name (``binary32``) of the returned tensor, or the dtype's own name if it is no format.
        gradient: N rows of C numbers, the gradient of the sum of the value with respect to the logits, or None.
        gradient_reason: why there is no gradient, or no curvature; None if there is one or none was asked for.
        curvature: the derivative of sum_k v_k dl/dz_k for the v of :func:`polyref.subject.manner.direction`, or None.
        refused: polyref itself could not hand the case over in the manner asked for; ``error`` says why.
        error: the exception's type and the first line of its message, or None.
        killed: ``timeout``, ``memory``, ``exit N``, ``signal NAME`` or ``pipe closed`` if the case ended its process.
        inputs_untouched: logits, labels and weights hold the same bits after the call as before; None if unknown.
        second: the comparison with a second call, if one was asked for and the first one succeeded.
        changed: what the call left otherwise in its process: the default dtype, a function of torch, and so on.
        warnings: the texts of the Python warnings seen, each once, in order of appearance.
    """

    value: Row | None = None
    shape: tuple[int, ...] = ()
    dtype: str | None = None
    gradient: tuple[Row, ...] | None = None
    gradient_reason: str | None = None
    error: str | None = None
    killed: str | None = None
    inputs_untouched: bool | None = None
    second: Second | None = None
    warnings: tuple[str, ...] = ()
    curvature: tuple[Row, ...] | None = None
    refused: bool = False
    changed: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[Row | None, tuple[Row, ...] | None]:
        """The value and the gradient, for comparing two observations bit by bit (as text, where NaN is NaN)."""
        return self.value, self.gradient

    @property
    def ok(self) -> bool:
        """Whether the subject returned numbers."""
        return self.value is not None

    @property
    def trouble(self) -> str | None:
        """What went wrong in one line, None where numbers came back."""
        if self.killed is not None:
            return f"killed: {self.killed}"
        return self.error

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict that :meth:`from_json` reads back to an equal observation."""
        return {
            "value": None if self.value is None else [v.hex() for v in self.value],
            "shape": list(self.shape),
            "dtype": self.dtype,
            "gradient": None if self.gradient is None else [[g.hex() for g in row] for row in self.gradient],
            "gradient_reason": self.gradient_reason,
            "error": self.error,
            "killed": self.killed,
            "inputs_untouched": self.inputs_untouched,
            "second": None if self.second is None else self.second.to_json(),
            "warnings": list(self.warnings),
            "curvature": None if self.curvature is None else [[v.hex() for v in row] for row in self.curvature],
            "refused": self.refused,
            "changed": list(self.changed),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Observation:
        """The observation that :meth:`to_json` wrote (NaNs come back as NaNs)."""
        number = float.fromhex
        value, gradient, second = data["value"], data["gradient"], data["second"]
        curvature = data["curvature"]
        return cls(
            value=None if value is None else tuple(map(number, value)),
            shape=tuple(data["shape"]),
            dtype=data["dtype"],
            gradient=None if gradient is None else tuple(tuple(map(number, row)) for row in gradient),
            gradient_reason=data["gradient_reason"],
            error=data["error"],
            killed=data["killed"],
            inputs_untouched=data["inputs_untouched"],
            second=None if second is None else Second(**second),
            warnings=tuple(data["warnings"]),
            curvature=None if curvature is None else tuple(tuple(map(number, row)) for row in curvature),
            refused=data["refused"],
            changed=tuple(data["changed"]),
        )

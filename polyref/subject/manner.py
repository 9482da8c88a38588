"""The manner of a call, where it is not the plain one: other shapes and layouts, data that no case holds, modes.

A case says what is computed, a manner how it is handed over. It travels through JSON, and nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from polyref.errors import UsageError

#: How the logits lie in memory: rows one after the other; classes outermost; every second number of a larger tensor;
#: one row of memory behind all of the batch (the rows must be equal).
Layout = Literal["contiguous", "transposed", "strided", "expanded"]

#: plain: as it stands. compiled: under torch.compile (its aot_eager backend). autocast: under torch.autocast to
#: bfloat16. copied: a deep copy. reloaded: a second instance, made with other class weights, that has the state_dict of
#: the first. moved: an instance made with weights in binary32 and moved to the dtype of the logits.
Mode = Literal["plain", "compiled", "autocast", "copied", "reloaded", "moved"]


@dataclass(frozen=True)
class Manner:
    """How one case is handed over.

    Attributes:
        shape: the positions of the N rows: None for logits (N, C); () for one row as (C,); (a, d1, ...) with
            a d1 ... = N for (a, C, d1, ...), rows numbered with the last position fastest.
        layout: how the logits lie in memory.
        mode: what is done to the subject before it is called.
        curvature: ask for the derivative of sum_k v_k dl/dz_k too, with v = 1, -1/2, 1/4, ... along each row.
        labels: replaces the first row's index label by one that a case may not hold.
        logit: replaces the first row's first logit by one that a case may not hold, NaN or inf.
        reduction: a name that is passed as it stands, in the place of the case's own.
        empty: leave all rows out.

    Raises:
        UsageError: for a layout or a mode that there is not.
    """

    shape: tuple[int, ...] | None = None
    layout: Layout = "contiguous"
    mode: Mode = "plain"
    curvature: bool = False
    labels: int | None = None
    logit: float | None = None
    reduction: str | None = None
    empty: bool = False

    def __post_init__(self) -> None:
        for name, value, choices in (("layout", self.layout, get_args(Layout)), ("mode", self.mode, get_args(Mode))):
            if value not in choices:
                raise UsageError(f"{name} {value!r} is not known: choose one of {', '.join(choices)}")

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict that :meth:`from_json` reads back to an equal manner."""
        data = asdict(self)
        return data | {"logit": None if self.logit is None else self.logit.hex()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Manner:
        """The manner that :meth:`to_json` wrote."""
        shape, logit = data["shape"], data["logit"]
        return cls(
            **data
            | {
                "shape": None if shape is None else tuple(shape),
                "logit": None if logit is None else float.fromhex(logit),
            }
        )


PLAIN = Manner()


def direction(classes: int) -> tuple[float, ...]:
    """The v of :attr:`Manner.curvature`: 1, -1/2, 1/4, -1/8, and so on, over again after eight classes."""
    return tuple((-0.5) ** (k % 8) for k in range(classes))

"""The language of parent and child: one JSON object a line, on a pair of pipes of their own.

The parent writes ``open`` once and then cases; the child answers ``loaded``, ``trying`` (before every trial of the
probe), ``opened`` or ``refused``, then one ``seen`` for each case, in order: the observation, and whether the subject
wrote to its output. ``failed`` is a defect of polyref's own.

Rows of numbers go as the hexadecimal digits of their binary64 bytes, which is exact and fifteen times as fast as one
text a number; cases are what an audit spends its messages on.
"""

from __future__ import annotations

import json
from array import array
from functools import lru_cache
from itertools import chain
from typing import Any

from polyref.case import Case
from polyref.formats import named
from polyref.spec import Link, Reduction, Spec, Weighting
from polyref.subject.observation import Observation, Row

#: The exit status of a child that can no longer reach its parent.
LOST_PIPE = 113

# Bound before any subject is imported: one that replaces json.dumps must not be able to speak for this module.
_text, _data = json.JSONEncoder(separators=(",", ":")).encode, json.JSONDecoder().decode


def encode(message: dict[str, Any]) -> bytes:
    """A message as one line."""
    return _text(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message of one line."""
    message: dict[str, Any] = _data(line.decode())
    return message


def pack_case(case: Case) -> dict[str, Any]:
    """A case as a JSON-ready dict for :func:`unpack_case`."""
    soft = [t for t in case.target if isinstance(t, tuple)]
    return {
        "spec": _spec_text(case.spec),
        "format": case.format.name,
        "classes": case.classes,
        "logits": _packed(chain.from_iterable(case.logits)),
        "target": _packed(chain.from_iterable(soft)) if soft else list(case.target),
        "weight": None if case.weight is None else _packed(case.weight),
        "ignore_index": case.ignore_index,
    }


def unpack_case(data: dict[str, Any]) -> Case:
    """The case that :func:`pack_case` packed. It was checked when the parent made it, and is not checked again."""
    classes, target, weight = data["classes"], data["target"], data["weight"]
    case = object.__new__(Case)
    # The fields of a frozen dataclass without its checks, which take longer than the loss that is measured.
    case.__dict__.update(
        spec=_spec_of(data["spec"]),
        format=named(data["format"]),
        logits=_rows(data["logits"], classes),
        target=_rows(target, classes) if isinstance(target, str) else tuple(target),
        weight=None if weight is None else tuple(_unpacked(weight)),
        ignore_index=data["ignore_index"],
    )
    return case


def pack_observation(observation: Observation) -> dict[str, Any]:
    """An observation as a JSON-ready dict for :func:`unpack_observation`."""
    value, gradient, second = observation.value, observation.gradient, observation.second
    return {
        "value": None if value is None else _packed(value),
        "shape": observation.shape,
        "dtype": observation.dtype,
        # Wherever there is a curvature, there is a gradient of as many classes.
        "classes": len(gradient[0]) if gradient else 0,
        "gradient": None if gradient is None else _packed(chain.from_iterable(gradient)),
        "gradient_reason": observation.gradient_reason,
        "error": observation.error,
        "killed": observation.killed,
        "inputs_untouched": observation.inputs_untouched,
        "second": None if second is None else second.to_json(),
        "warnings": observation.warnings,
        "curvature": None if observation.curvature is None else _packed(chain.from_iterable(observation.curvature)),
        "refused": observation.refused,
        "changed": observation.changed,
    }


def unpack_observation(data: dict[str, Any]) -> Observation:
    """The observation that :func:`pack_observation` packed."""
    value, gradient, curvature, classes = data["value"], data["gradient"], data["curvature"], data.pop("classes")
    bare = Observation.from_json(data | {"value": None, "gradient": None, "curvature": None})
    object.__setattr__(bare, "value", None if value is None else tuple(_unpacked(value)))
    object.__setattr__(bare, "gradient", None if gradient is None else _rows(gradient, classes))
    object.__setattr__(bare, "curvature", None if curvature is None else _rows(curvature, classes))
    return bare


# Cases come in runs of one spec, so both directions are remembered.
@lru_cache(maxsize=256)
def _spec_text(spec: Spec) -> str:
    return _text(vars(spec))  # the decimal digits of a finite float are exact in Python


@lru_cache(maxsize=256)
def _spec_of(text: str) -> Spec:
    data = _data(text)
    link = data["polynomial_link"]
    return Spec(
        **data
        | {
            "link": Link(data["link"]),
            "epsilon": tuple(data["epsilon"]),
            "weighting": Weighting(data["weighting"]),
            "reduction": Reduction(data["reduction"]),
            "polynomial_link": None if link is None else Link(link),
        }
    )


def _packed(values: Any) -> str:
    return array("d", values).tobytes().hex()


def _unpacked(text: str) -> array[float]:
    numbers = array("d")
    numbers.frombytes(bytes.fromhex(text))
    return numbers


def _rows(text: str, width: int) -> tuple[Row, ...]:
    numbers = iter(_unpacked(text))
    return tuple(zip(*[numbers] * width, strict=True))

"""Specs as a person writes them: ``epsilon=-1,gamma=2,reduction=mean``; Poly-N as ``epsilon=1:-0.5``.

What is not said is as in :class:`polyref.spec.Spec`, but that epsilon is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from polyref.choice import nearest
from polyref.errors import UsageError
from polyref.evaluate import parse_number
from polyref.formats import BINARY64
from polyref.spec import Spec

#: What golden vectors are of, unless the user says otherwise: every part of the loss, alone and with the others.
DEFAULT = (
    "epsilon=1",
    "epsilon=-1",
    "epsilon=0",
    "epsilon=2",
    "epsilon=-0.5",
    "epsilon=1:-0.5",
    "epsilon=-1:-0.5:2",
    "epsilon=1,gamma=2",
    "epsilon=-1,gamma=0.5",
    "epsilon=0:0:1,gamma=2",
    "epsilon=1,smoothing=0.125",
    "epsilon=2,reduction=sum",
    "epsilon=-1,reduction=mean",
    "epsilon=1,gamma=2,smoothing=0.125,reduction=mean",
)


def parse(text: str) -> Spec:
    """The spec that a text stands for.

    Raises:
        UsageError: for what is no parameter, given twice, or no value of it.
    """
    given: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, value = (p.strip() for p in part.partition("="))
        if name not in _READ:
            raise UsageError(
                f"spec {text!r}: no parameter is called {name!r}: choose {' or '.join(nearest(name, _READ))}"
            )
        if not equals or not value:
            raise UsageError(f"spec {text!r}: {name} has no value: write {name}=...")
        if name in given:
            raise UsageError(f"spec {text!r}: {name} is given twice: give it once")
        try:
            given[name] = _READ[name](value, name)
        except UsageError as e:
            raise UsageError(f"spec {text!r}: {e}") from e
    try:
        return Spec(**given)
    except UsageError as e:
        raise UsageError(f"spec {text!r}: {e}") from e


def text_of(spec: Spec) -> str:
    """The text that :func:`parse` reads as this spec: epsilon, and what is not as usual."""
    usual = Spec()
    said = [("epsilon", spec.epsilon), *((n, getattr(spec, n)) for n in _READ if n != "epsilon")]
    return ",".join(f"{n}={_text(v)}" for n, v in said if n == "epsilon" or v != getattr(usual, n))


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ":".join(map(_text, value)) or "0"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def _number(text: str, name: str) -> float:
    return parse_number(text, BINARY64, name)


def _numbers(text: str, name: str) -> tuple[float, ...]:
    return tuple(_number(part, name) for part in text.split(":"))


def _switch(text: str, name: str) -> bool:
    if text not in ("yes", "no"):
        raise UsageError(f"{name} {text!r} is not known: choose yes or no")
    return text == "yes"


def _word(text: str, _: str) -> str:
    return text


#: How the value of each parameter is read.
_READ: dict[str, Callable[[str, str], Any]] = {
    "epsilon": _numbers,
    "gamma": _number,
    "weighting": _word,
    "smoothing": _number,
    "reduction": _word,
    "link": _word,
    "alpha": _number,
    "alpha_on_polynomial": _switch,
    "polynomial_link": _word,
    "polynomial_gamma": _number,
}

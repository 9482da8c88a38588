"""What a user says about the call: values by ``--init k=v`` and ``--call k=v``, and the forms of the data."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast, get_args

from polyref.errors import UsageError
from polyref.subject.convention import Inputs, LabelForm, Order, frozen_value


@dataclass(frozen=True)
class Forms:
    """The forms of the data that the probe is told, None for what it is to find out.

    Attributes:
        labels: the form of the labels.
        inputs: what is handed over of the logits.
        order: which comes first.

    Raises:
        UsageError: for a form that there is not.
    """

    labels: LabelForm | None = None
    inputs: Inputs | None = None
    order: Order | None = None

    def __post_init__(self) -> None:
        known = {"labels": get_args(LabelForm), "inputs": get_args(Inputs), "order": get_args(Order)}
        for name, value in self.given.items():
            if value not in known[name]:
                raise UsageError(f"{name} {value!r} is not known: choose one of {', '.join(known[name])}")

    @classmethod
    def told(cls, given: Mapping[str, str | None]) -> Forms:
        """The forms of these names, as a document or a command has them.

        Raises:
            UsageError: for a name or a form that there is not.
        """
        for name in given:
            if name not in FORM_OPTIONS:
                raise UsageError(f"{name!r} is no form of the data: choose {', '.join(FORM_OPTIONS)}")
        return cls(**cast(Any, given))

    @property
    def given(self) -> dict[str, str]:
        """What the probe is told, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def options(self) -> Iterator[str]:
        """The same as words of a command line."""
        for name, value in self.given.items():
            yield from (f"--{FORM_OPTIONS[name]}", value)


#: Nothing is told, and all is found out.
FOUND_OUT = Forms()
#: What each is called on the command line.
FORM_OPTIONS = {"labels": "labels", "inputs": "input", "order": "order"}


def parse_overrides(items: Iterable[str], what: str = "--init") -> dict[str, Any]:
    """A dict from texts of the form ``name=value``.

    A value that is a Python literal (a number, a quoted text, True, None, a list) is taken as one, any other as text.

    Args:
        items: the texts.
        what: the option, for the message.

    Raises:
        UsageError: if a text has another form, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"{what} {item!r} is no override: give name=value")
        if name in found:
            raise UsageError(f"{what} {name} is given twice: give it once")
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = text
    return found


def portable(overrides: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The overrides as a convention holds them: values that travel to another process and can be written down.

    Raises:
        UsageError: for a value of another kind.
    """
    for name, value in overrides.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            raise UsageError(
                f"{what} {name}={value!r}: give a number, a text, True, False, None or a list of them"
            ) from None
    return {name: frozen_value(value) for name, value in overrides.items()}

"""What the command line takes, beside plain texts and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from cyclopts import Parameter


def _whole(_: Any, tokens: Sequence[Any]) -> int:
    """A whole number, and nothing that would have to be rounded to one: a target of 1.5 is a mistake."""
    text = str(tokens[0].value)
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


#: A text that may begin with a minus sign, as numbers do.
Text = Annotated[str, Parameter(allow_leading_hyphen=True)]
Numbers = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
Overrides = Annotated[tuple[str, ...], Parameter(consume_multiple=False, negative="", show_default=False)]
Repeated = Annotated[tuple[str, ...], Parameter(consume_multiple=False, negative="", show_default=False)]
LabelChoice = Literal["index", "index_int32", "index_column", "one_hot", "one_hot_integer", "one_hot_bool"] | None
InputChoice = Literal["logits", "probabilities", "sigmoid_probabilities", "log_probabilities"] | None
OrderChoice = Literal["logits_first", "labels_first"] | None
#: As in polyref.subject.convention, which is loaded later.
FrameworkName = Literal["torch", "tensorflow", "jax", "numpy"]
Frameworks = Annotated[tuple[FrameworkName, ...], Parameter(consume_multiple=False, negative="")]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Whole = Annotated[int, Parameter(converter=_whole, allow_leading_hyphen=True)]

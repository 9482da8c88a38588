"""What the command line takes, beside plain texts and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter


def _whole(_: Any, tokens: Sequence[Any]) -> int:
    """A whole number, and nothing that would have to be rounded to one: a target of 1.5 is a mistake."""
    text = str(tokens[0].value)
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is no whole number") from None


def _output(_: Any, tokens: Sequence[Any]) -> Path:
    """A file to write, or - for standard output; anything else with a hyphen is an option whose file was forgotten."""
    text = str(tokens[0].value)
    if text.startswith("-") and text != "-":
        raise ValueError(f"{text!r} is no file: give one, or - for standard output")
    return Path(text)


#: A text that may begin with a minus sign, as numbers do.
Text = Annotated[str, Parameter(allow_leading_hyphen=True)]
Numbers = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
OutputFile = Annotated[Path | None, Parameter(converter=_output, allow_leading_hyphen=True)]
Overrides = Annotated[tuple[str, ...], Parameter(consume_multiple=False, negative="", show_default=False)]
Repeated = Annotated[tuple[str, ...], Parameter(consume_multiple=False, negative="", show_default=False)]
#: Numbers separated by commas, again and again.
RepeatedNumbers = Annotated[
    tuple[str, ...], Parameter(consume_multiple=False, negative="", show_default=False, allow_leading_hyphen=True)
]
LabelChoice = Literal["index", "index_int32", "index_column", "one_hot", "one_hot_integer", "one_hot_bool"] | None
InputChoice = Literal["logits", "probabilities", "sigmoid_probabilities", "log_probabilities"] | None
OrderChoice = Literal["logits_first", "labels_first"] | None
#: As in polyref.subject.convention, which is loaded later.
FrameworkName = Literal["torch", "tensorflow", "jax", "numpy"]
Frameworks = Annotated[tuple[FrameworkName, ...], Parameter(consume_multiple=False, negative="")]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Whole = Annotated[int, Parameter(converter=_whole, allow_leading_hyphen=True)]


@Parameter(name="*")
@dataclass(frozen=True)
class Drawn:
    """What is drawn from a document: a field for each output of polyref.report.outputs beside the document itself.

    Parameters
    ----------
    html
        Write the report to this file as a page.
    markdown
        Write it as Markdown, for a comment on a pull request.
    junit
        Write it as JUnit XML: a test case for each law and format.
    sarif
        Write it as SARIF 2.1.0, for code scanning.
    badge
        Write the verdict as a small SVG picture.
    """

    html: OutputFile = None
    markdown: OutputFile = None
    junit: OutputFile = None
    sarif: OutputFile = None
    badge: OutputFile = None

"""Laws as documents, and how they are shown at a terminal."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyref.report import structs
from polyref.report.lines import WIDEST, grid, indented, put, wrapped
from polyref.report.structs import Real
from polyref.report.words import count, number, visible

Formats = Literal["widest", "each"]


class Law(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A law in a few words: see :class:`polyref.property.Property`."""

    id: str
    theme: str
    statement: str
    formats: Formats
    mutants: list[str]


class Laws(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every law."""

    schema: Literal["polyref-laws/1"] = "polyref-laws/1"
    laws: list[Law]


class Mutant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wrong implementation that a law rejects, and what is wrong with it."""

    name: str
    defect: str


class Example(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A violation: the smallest case that shows it in binary64, as data and for a person, and what came of it."""

    mutant: str
    case: dict[str, Any]
    case_text: str
    expected: str
    observed: str
    ratio: Real
    explanation: str
    remedy: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All about one law.

    Attributes:
        schema: of this document.
        id: its name.
        theme: its group.
        statement: the law in one sentence.
        formula: the law as mathematics.
        citation: where it comes from.
        remedy: the change that mends an implementation which breaks it.
        formats: judged in the widest format that a subject takes, or in each one.
        not_for: reasons why it does not apply to some subjects.
        mutants: that it rejects.
        example: of a violation; None if none was found.
    """

    schema: Literal["polyref-law/1"] = "polyref-law/1"
    id: str
    theme: str
    statement: str
    formula: str
    citation: str
    remedy: str
    formats: Formats
    not_for: list[str]
    mutants: list[Mutant]
    example: Example | None


def as_json(document: Laws | Explanation) -> str:
    """The document as JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(structs.plain(document)), indent=1).decode()


def show_all(document: Laws, console: Console) -> None:
    """Print a table of the laws, theme by theme."""
    width = min(console.width, WIDEST)
    themes: dict[str, list[Law]] = {}
    for law in document.laws:
        themes.setdefault(law.theme, []).append(law)
    for theme, laws in themes.items():
        put(console, Text(visible(theme), "bold"), width)
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(overflow="fold", width=min(max(len(law.id) for law in document.laws), width // 2))
        table.add_column(overflow="fold")
        for law in laws:
            table.add_row(Text(visible(law.id)), wrapped(law.statement, "dim"))
        put(console, indented(table), width)
    console.print()
    end = f"{count(len(document.laws), 'law')}; polyref properties ID explains one, with a violation of it"
    put(console, Text(end, "dim"), width)


def show(law: Explanation, console: Console) -> None:
    """Print all about one law."""
    width = min(console.width, WIDEST)
    formats = "the widest format that a subject takes" if law.formats == "widest" else "each format"
    put(
        console,
        Text.assemble((visible(law.id), "bold"), (visible(f"  {law.theme}, judged in {formats}"), "dim")),
        width,
    )
    rows = [("Law", wrapped(law.statement)), ("", wrapped(law.formula, "dim")), ("Source", wrapped(law.citation))]
    rows += [("Not for" if i == 0 else "", wrapped(reason)) for i, reason in enumerate(law.not_for)]
    rows += [
        ("Rejects" if i == 0 else "", wrapped(m.name).append(f"  {visible(m.defect)}", "dim"))
        for i, m in enumerate(law.mutants)
    ]
    put(console, indented(grid(rows)), width)
    example = law.example
    console.print()
    if example is None:
        put(console, indented(wrapped(f"{law.mutants[0].name} was not seen to break it in binary64.")), width)
        return
    put(console, Text.assemble("A violation, by ", (visible(example.mutant), "bold"), " in binary64"), width)
    rows = [
        ("Subject", wrapped(example.explanation)),
        ("Case", wrapped(example.case_text)),
        ("Expected", wrapped(example.expected)),
        ("Observed", wrapped(example.observed)),
        ("Error", Text(f"{number(example.ratio)} times the tolerance")),
        ("Remedy", wrapped(example.remedy)),
    ]
    put(console, indented(grid([(name, text) for name, text in rows if text.plain])), width)

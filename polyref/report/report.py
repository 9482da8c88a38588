"""A report in Python's hands: the document of an audit, and how a notebook shows it."""

from __future__ import annotations

import os
from html import escape

from polyref.report import document as doc
from polyref.report import html, outputs, summary, terminal
from polyref.report.screen import plain
from polyref.report.words import visible


class Report:
    """What an audit found.

    Attributes:
        document: all of it, as it is written to JSON.
    """

    def __init__(self, document: doc.Document) -> None:
        self.document = document

    @property
    def findings(self) -> list[doc.Finding]:
        """One for each law and format, the violated ones first."""
        return self.document.findings

    @property
    def violated(self) -> list[doc.Finding]:
        """The findings of laws that are broken."""
        return self.document.violated

    @property
    def grades(self) -> list[doc.Grade]:
        """How accurate the subject is, by quantity, format and regime of Pt."""
        return self.document.grades

    @property
    def formula(self) -> str:
        """What the subject computes, in one line."""
        return self.document.dialect.formula

    @property
    def exit_code(self) -> int:
        """0 when all laws hold, 1 for defects, 3 when no law could be decided."""
        return self.document.exit_code

    @property
    def ok(self) -> bool:
        """Whether laws were decided and all of them hold."""
        return self.exit_code == 0

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write the document, whole or not at all.

        Raises:
            UsageError: if the file cannot be written.
        """
        doc.write(self.document, path)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write the page, whole or not at all.

        Raises:
            UsageError: if the file cannot be written.
        """
        html.write(self.document, path)

    def write(self, path: str | os.PathLike[str], output: str | None = None) -> None:
        """Write one of the outputs, whole or not at all.

        Args:
            path: the file.
            output: json, html, markdown, junit, sarif or badge; by default the one that the path's suffix is of: .json,
                .html, .md, .xml, .sarif or .svg.

        Raises:
            UsageError: if there is no such output, or the file cannot be written.
        """
        outputs.write(self.document, {outputs.named(output, path).name: path})

    def __str__(self) -> str:
        return plain(lambda console: terminal.render(self.document, console))

    def __repr__(self) -> str:
        return f"<polyref.Report on {visible(self.document.subject.name)}: {summary.answer(self.document)[1]}>"

    def _repr_html_(self) -> str:
        # A frame without any permission, so that nothing a subject wrote can reach the notebook.
        page = escape(html.render(self.document), quote=True)
        return (
            f'<iframe sandbox srcdoc="{page}" style="width: 100%; height: 40em; border: 1px solid #8884"'
            f' title="{escape(repr(self), quote=True)}"></iframe>'
        )

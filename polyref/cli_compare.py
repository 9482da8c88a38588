"""The commands that hold audits against each other: a thin front, as all of the command line."""

from __future__ import annotations

from pathlib import Path

from polyref.cli_types import OutputFile
from polyref.report import screen


def compare(old: Path, new: Path, /, *, html: OutputFile = None, json: OutputFile = None) -> int:
    """Hold a document against an old one, or against a baseline: what is new, fixed, worse, better, unchanged.

    Exit code 0 where nothing got worse, 1 for a law that is broken now and was not, 4 for a precision regression, 3
    where one of them measured nothing, 5 where the two cannot be compared.

    Parameters
    ----------
    old
        A document that an audit wrote, or a baseline.
    new
        A document that an audit wrote.
    html
        Write the comparison to this file as a page.
    json
        Write the comparison to this file.
    """
    from polyref.compare import compare_documents, compare_with  # noqa: PLC0415
    from polyref.report import baseline, compared, compared_html, document, files, outputs, structs  # noqa: PLC0415

    paths = outputs.asked({"html": html, "json": json})
    outputs.check(paths, beside={"the old document": old, "the new one": new})
    data, name = structs.read_bytes(old), str(old)
    later = document.read(new)
    if structs.schema_of(data, kind="audit or baseline", name=name).startswith("polyref-baseline/"):
        found = compare_with(baseline.loads(data, name=name), later)
    else:
        found = compare_documents(document.loads(data, name=name), later)
    if json is not None:
        files.write_atomically(json, structs.text(found))
    if html is not None:
        compared_html.write(found, html)
    if not outputs.on_standard_output(paths):
        compared.render(found, screen.Screen())
    return found.exit_code

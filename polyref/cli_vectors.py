"""The commands about golden vectors: a thin front, as all of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from polyref.cli_types import OutputFile, Repeated, Whole
from polyref.report import screen

app = cyclopts.App(
    name="vectors",
    help="Golden vectors: exact inputs with certified answers, each there to catch a defect, for any language.\n\n"
    "polyref vectors -o FILE writes them, polyref vectors check grades what a program answered.",
    help_format="plaintext",
)


@app.default
def write(
    *,
    format: str = "binary32",
    spec: Repeated = (),
    seed: Whole = 0,
    count: Whole | None = None,
    output: Annotated[OutputFile, Parameter(name=("--output", "-o"))] = None,
) -> int:
    """Write golden vectors: inputs in hexadecimal, the correctly rounded loss and gradient, enclosures, tolerances.

    A line for each vector, and a header before them. Every vector catches a defect that it was seen to catch.

    Parameters
    ----------
    format
        binary64, binary32, binary16, bfloat16, e5m2 or e4m3.
    spec
        A loss, as epsilon=-1,gamma=2,reduction=mean; Poly-N as epsilon=1:-0.5. May be given again. A small set of
        losses by default.
    seed
        The same seed gives the same vectors.
    count
        How many vectors at most; 60 by default.
    output
        The file, or - for standard output, which is where they go by default.
    """
    from polyref.formats import named  # noqa: PLC0415 - each command loads what it needs
    from polyref.report import files  # noqa: PLC0415
    from polyref.vectors import make, specs  # noqa: PLC0415

    fmt = named(format)
    path = Path("-") if output is None else output
    asked = [specs.parse(text) for text in spec or specs.DEFAULT]
    files.check_writable(path)
    made = make.make(fmt, asked, seed=seed, count=make.COUNT if count is None else count)
    files.write_atomically(path, make.dumps(made))
    return 0


@app.command
def check(
    vectors: Path, results: Annotated[Path, Parameter(allow_leading_hyphen=True)], /, *, json: OutputFile = None
) -> int:
    """Grade what a program in any language answered to golden vectors.

    Exit codes: 0 every vector was answered once, within the tolerance; 1 one is beyond it, or missing; 2 a file cannot
    be read; 3 there is no answer with a number in it.

    Parameters
    ----------
    vectors
        A file that polyref vectors wrote.
    results
        Lines such as {"id": "binary32-001", "value": "0x1.8p+1", "gradient": [-0.5, 0.5]}; - is standard input. A
        decimal is rounded to the format, a text with 0x and p is taken as it stands, 0x without p is a bit pattern,
        and null is what the program does not do.
    json
        Write the document to this file.
    """
    from polyref.report import outputs, vectors_terminal  # noqa: PLC0415
    from polyref.report import vectors as document  # noqa: PLC0415
    from polyref.vectors import answers  # noqa: PLC0415
    from polyref.vectors import check as grading  # noqa: PLC0415

    paths = outputs.asked({"json": json})
    outputs.check(paths, beside={"the file of vectors": vectors, "the file of answers": results})
    golden = answers.read_vectors(vectors)
    said = answers.read_answers(results, golden.format)
    found = grading.check(golden, said, file=str(vectors), results=str(results))
    if json is not None:
        document.write(found, json)
    if not outputs.on_standard_output(paths):
        vectors_terminal.render(found, screen.Screen())
    return found.exit_code


@app.command
def schema(*, output: Annotated[OutputFile, Parameter(name=("--output", "-o"))] = None) -> int:
    """Write the JSON schema of a line of golden vectors; in it, #/$defs/Answer is that of a line of answers.

    Parameters
    ----------
    output
        The file, or - for standard output, which is where it goes by default.
    """
    from polyref.report import files  # noqa: PLC0415
    from polyref.vectors.schema import json_schema  # noqa: PLC0415

    files.write_atomically(Path("-") if output is None else output, json_schema())
    return 0

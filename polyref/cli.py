"""The command line: a thin front. Exit codes: 0 all laws hold, 1 defects, 2 usage, 3 nothing could be measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter

from polyref.errors import PolyrefError, UsageError

app = cyclopts.App(
    name="polyref",
    help="Numerical verification of PolyLoss: certified values, and audits of other people's code.",
    help_format="plaintext",
)

#: A text that may begin with a minus sign, as numbers do.
Text = Annotated[str, Parameter(allow_leading_hyphen=True)]
Numbers = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
Overrides = Annotated[tuple[str, ...], Parameter(consume_multiple=False, negative="")]
Flag = Annotated[bool, Parameter(negative="")]


@app.command(name="eval")
def evaluate(
    *,
    logits: Text,
    target: int,
    epsilon: Text = "1",
    gamma: Text = "0",
    weight: Numbers = None,
    weighting: Literal["both", "ce_only", "rescaled_p"] = "both",
    link: Literal["softmax", "sigmoid"] = "softmax",
    format: str = "binary64",
    digits: int = 40,
    engine: Literal["ball", "series"] = "ball",
    json: Flag = False,
) -> int:
    """The exact loss and gradient of one row of logits, certified to the digits asked.

    Parameters
    ----------
    logits
        Logits separated by commas, in decimal or as 0x1.8p+1; a decimal is rounded to the format first.
    target
        The index of the target class.
    epsilon
        eps_1, or eps_1,...,eps_N.
    gamma
        The focal exponent, at least 0.
    weight
        Class weights separated by commas.
    weighting
        What the class weight multiplies.
    link
        How logits become probabilities.
    format
        The format that logits and weights are held in.
    digits
        Significant decimal digits.
    engine
        Arb balls, or the explicit series in mpmath.
    json
        Print JSON.
    """
    from rich.console import Console  # noqa: PLC0415 - each command loads what it needs

    from polyref import evaluate as ev  # noqa: PLC0415
    from polyref.case import Case  # noqa: PLC0415
    from polyref.formats import BINARY64, named  # noqa: PLC0415
    from polyref.spec import Link, Reduction, Spec, Weighting  # noqa: PLC0415

    fmt = named(format)
    spec = Spec(
        link=Link(link),
        epsilon=ev.parse_numbers(epsilon, BINARY64, "epsilon"),
        gamma=ev.parse_number(gamma, BINARY64, "gamma"),
        weighting=Weighting(weighting),
        reduction=Reduction.SUM if link == "sigmoid" else Reduction.NONE,
    )
    row = ev.parse_numbers(logits, fmt, "logit")
    weights = None if weight is None else ev.parse_numbers(weight, fmt, "weight")
    evaluation = ev.evaluate(Case(spec, fmt, (row,), (target,), weights), digits=digits, engine=engine)
    if json:
        print(ev.as_json(evaluation))
    else:
        ev.show(evaluation, Console(soft_wrap=digits > 60, highlight=False))
    return 0


@app.command
def audit(
    target: str,
    /,
    *,
    json: Path | None = None,
    html: Path | None = None,
    formats: str | None = None,
    profile: Literal["quick", "default", "long"] = "default",
    seed: int = 0,
    init: Overrides = (),
    call: Overrides = (),
    timeout: float = 10.0,
    memory: float = 4.0,
) -> int:
    """Say what an implementation computes, which laws it breaks, and how many digits it keeps.

    An audit runs the code that it is given, in a process of its own with limits on time and memory.

    Parameters
    ----------
    target
        package.module:attr or path/to/file.py:attr; a class, a function or a factory.
    json
        Write the document to this file.
    html
        Write the report to this file.
    formats
        Formats to look at, separated by commas; by default binary64, binary32, binary16 and bfloat16.
    profile
        How much is tried.
    seed
        The same seed gives the same findings.
    init
        name=value for the constructor; may be given again.
    call
        name=value for the call; may be given again.
    timeout
        Seconds that one case may take.
    memory
        GiB of data that the subject may use.
    """
    from rich.console import Console  # noqa: PLC0415

    from polyref import audit as au  # noqa: PLC0415
    from polyref.formats import named  # noqa: PLC0415
    from polyref.report import document, files, terminal  # noqa: PLC0415
    from polyref.report import html as page  # noqa: PLC0415
    from polyref.subject.client import Limits  # noqa: PLC0415
    from polyref.subject.overrides import parse_overrides  # noqa: PLC0415

    for path in (json, html):
        if path is not None:
            files.check_writable(path)
    options = au.Options(
        formats=au.AUDITED if formats is None else tuple(named(f.strip()) for f in formats.split(",")),
        seed=seed,
        profile=profile,
        init=parse_overrides(init, "--init"),
        call=parse_overrides(call, "--call"),
        limits=Limits(seconds_per_case=timeout, memory_bytes=int(memory * 2**30)),
    )
    found = au.audit(target, options)
    if json is not None:
        document.write(found, json)
    if html is not None:
        page.write(found, html)
    if any(f.property == au.RETURNS_A_VALUE for f in found.violated):
        print(f"polyref: {found.violated[0].explanation.rstrip('.')}: {found.violated[0].remedy}", file=sys.stderr)
    else:
        terminal.render(found, Console(highlight=False))
    return found.exit_code


@app.command
def check(
    target: str,
    /,
    *,
    property: str,
    case: str,
    init: Overrides = (),
    call: Overrides = (),
) -> int:
    """Try one case of one law again: what the reproduce line of a finding does.

    Parameters
    ----------
    target
        As for audit.
    property
        The law's id.
    case
        The case as JSON, as the finding has it.
    init
        name=value for the constructor; may be given again.
    call
        name=value for the call; may be given again.
    """
    from polyref import audit as au  # noqa: PLC0415
    from polyref.subject.overrides import parse_overrides  # noqa: PLC0415

    options = au.Options(init=parse_overrides(init, "--init"), call=parse_overrides(call, "--call"))
    outcome = au.check_one(target, property, case, options)
    print(f"{outcome.verdict}: error {outcome.ratio:.3g} times the tolerance")
    print(f"expected  {outcome.expected}\nobserved  {outcome.observed}")
    if outcome.explanation:
        print(outcome.explanation)
    return 1 if outcome.verdict == "violated" else 0


@app.command
def gallery(
    *, out: Path = Path("reports/audit"), profile: Literal["quick", "default", "long"] = "default", jobs: int = 2
) -> int:
    """Audit polyref.nn and the gallery of published implementations; documents and an index page.

    Exit code 0 if polyref.nn holds every law and every entry breaks exactly the laws on record.

    Parameters
    ----------
    out
        The folder for the documents.
    profile
        How much is tried.
    jobs
        How many audits run at once.
    """
    from polyref.gallery.run import run  # noqa: PLC0415

    return run(out, profile=profile, jobs=jobs)


def main() -> None:
    """The entry point: errors that a user can cause end in one line and their exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.path.insert(0, os.getcwd())  # targets of the folder that the command runs in, as python -m has it
    try:
        result = app(exit_on_error=False, print_error=False, result_action="return_value")
        code = result if isinstance(result, int) else 0
    except cyclopts.CycloptsError as e:
        code = _complain(UsageError(f"{' '.join(str(e).split())} (see polyref --help)"))
    except PolyrefError as e:
        code = _complain(e)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # a reader such as head had enough
        code = 0
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _complain(error: PolyrefError) -> int:
    print(f"polyref: {error}", file=sys.stderr)
    return error.exit_code

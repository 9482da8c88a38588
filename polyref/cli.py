"""The command line: a thin front over the rest; its exit codes are those of the help text."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cyclopts

from polyref import __version__, cli_history, cli_vectors
from polyref import cli_audit as commands
from polyref.cli_compare import compare
from polyref.cli_sweep import sweep
from polyref.cli_types import Flag, Numbers, Repeated, Text, Whole
from polyref.errors import PolyrefError, UsageError
from polyref.report import screen
from polyref.report.words import visible

app = cyclopts.App(
    name="polyref",
    help="Numerical verification of PolyLoss: certified values, and audits of other people's code.\n\n"
    "Exit codes: 0 all laws hold; 1 defects; 2 usage, or the target cannot be loaded; 3 nothing could be measured; 4 a "
    "precision regression against a baseline; 5 the baseline is not comparable.",
    help_format="plaintext",
    version=__version__,
)


@app.command(name="eval")
def evaluate(
    *,
    logits: Text,
    target: Whole,
    epsilon: Text = "1",
    gamma: Text = "0",
    weight: Numbers = None,
    weighting: Literal["both", "ce_only", "rescaled_p"] = "both",
    link: Literal["softmax", "sigmoid"] = "softmax",
    polynomial_link: Literal["softmax", "sigmoid"] | None = None,
    polynomial_gamma: Numbers = None,
    format: str = "binary64",
    digits: Whole = 40,
    engine: Literal["ball", "series"] = "ball",
    json: Flag = False,
) -> int:
    """The exact loss and gradient of one row of logits, certified to the digits asked.

    Parameters
    ----------
    logits
        Logits separated by commas, in decimal or as 0x1.8p+1; a decimal is rounded to the format first.
    target
        The index of the target class, from 0.
    epsilon
        eps_1, or eps_1,...,eps_N: what is added to the coefficients of the series.
    gamma
        The focal exponent, at least 0.
    weight
        Class weights separated by commas.
    weighting
        What the class weight multiplies: both parts, the logarithm alone, or the logarithm and Pt (over the mean).
    link
        How logits become probabilities.
    polynomial_link
        sigmoid beside link softmax: the polynomial is the mean over the classes of its sigmoid elements.
    polynomial_gamma
        The focal exponent of such a polynomial where it does not follow gamma.
    format
        What logits and weights are held in: binary64, binary32, binary16, bfloat16, e5m2 or e4m3.
    digits
        Significant decimal digits, up to 100000.
    engine
        Arb balls, or the explicit series in mpmath.
    json
        Print JSON.
    """
    from polyref import evaluate as ev  # noqa: PLC0415 - each command loads what it needs
    from polyref.case import Case  # noqa: PLC0415
    from polyref.formats import BINARY64, named  # noqa: PLC0415
    from polyref.spec import Link, Reduction, Spec, Weighting  # noqa: PLC0415

    fmt = named(format)
    spec = Spec(
        link=Link(link),
        polynomial_link=None if polynomial_link is None else Link(polynomial_link),
        polynomial_gamma=(
            None if polynomial_gamma is None else ev.parse_number(polynomial_gamma, BINARY64, "polynomial-gamma")
        ),
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
        from polyref.report import evaluation as page  # noqa: PLC0415

        page.show(evaluation, screen.Screen())
    return 0


for command in (commands.audit, commands.report, commands.check, commands.replay, commands.gallery, compare, sweep):
    app.command(command)
app.command(cli_history.app)
app.command(cli_vectors.app)


@app.command
def properties(id: str | None = None, /, *, json: Flag = False) -> int:
    """The laws by theme; with an ID, all about one law and a violation of it, produced on the spot.

    Parameters
    ----------
    id
        The law's id.
    json
        Print JSON.
    """
    from polyref import explain  # noqa: PLC0415
    from polyref.report import laws as page  # noqa: PLC0415

    found = explain.listing() if id is None else explain.explanation(id)
    if json:
        print(page.as_json(found))
    elif isinstance(found, page.Laws):
        page.show_all(found, screen.Screen())
    else:
        page.show(found, screen.Screen())
    return 0


@app.command
def selftest(
    *,
    law: Repeated = (),
    mutant: Repeated = (),
    format: Repeated = (),
    seed: Whole = 0,
    examples: Whole | None = None,
    jobs: Whole | None = None,
    scheduler: str | None = None,
    json: Path | None = None,
    html: Path | None = None,
) -> int:
    """Try every law on every mutant, a wrong implementation, and on every harmless variant, in every format.

    Exit codes: 0 every kill that is due happened and nobody who is right was accused; 1 otherwise; 2 usage, or a law
    that raises; 3 nothing was measured.

    Parameters
    ----------
    law
        The id of a law; may be given again. All of them by default.
    mutant
        The name of a mutant; may be given again. All of them by default, and the harmless variants with them.
    format
        The name of a format; may be given again. By default binary64, binary32, binary16 and bfloat16.
    seed
        The same seed gives the same document, but for times.
    examples
        How many cases of a law each mutant is tried with at most; 25 by default.
    jobs
        How many processes work; by default one for each processor.
    scheduler
        The tcp://HOST:PORT of a Dask scheduler whose workers do it, as many at once as there are.
    json
        Write the document to this file.
    html
        Write the page with the kill matrix to this file.
    """
    from polyref.report import files, selftest_html, selftest_terminal  # noqa: PLC0415
    from polyref.report import selftest as document  # noqa: PLC0415
    from polyref.selftest import run as st  # noqa: PLC0415

    for path in (json, html):
        if path is not None:
            files.check_writable(path)
    options = st.Options(
        laws=law,
        mutants=mutant,
        formats=st.formats_named(format),
        seed=seed,
        examples=st.EXAMPLES if examples is None else examples,
        jobs=st.Options.jobs if jobs is None else jobs,
        scheduler=scheduler,
    )
    found = st.selftest(options)
    if json is not None:
        document.write(found, json)
    if html is not None:
        selftest_html.write(found, html)
    selftest_terminal.render(found, screen.Screen())
    return found.exit_code


@app.command(name="build-native")
def build_native(*, force: Flag = False) -> int:
    """Compile the native code for the processor of this machine; half a minute, once for each version of torch.

    It holds polyref.nn's kernel, which is used for losses on the CPU from then on, unless POLYREF_NN_BACKEND says
    otherwise, and the first look of sweeps. Without it, or where it cannot be built, torch operations do the same.

    Parameters
    ----------
    force
        Build it even if it is there.
    """
    from polyref.native import build, built, library_path  # noqa: PLC0415

    there = built() and not force
    path = library_path() if there else build(force=force)
    screen.Screen().print(f"{'it is there already' if there else 'built'}: {path}", highlight=False, soft_wrap=True)
    return 0


def main() -> None:
    """The entry point of the process."""
    screen.survive_any_encoding()
    # Hypothesis keeps notes on the sources that it sees; they do not belong into the user's folder.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.path.join(tempfile.gettempdir(), "polyref-hypothesis"))
    sys.path.insert(0, os.getcwd())  # targets of the folder that the command runs in, as python -m has it
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run one command; errors that a user can cause end in one line and their exit code.

    Returns:
        The exit code.
    """
    try:
        # A console of our own for the help, which ends as it should when its reader leaves early.
        result = app(
            list(argv), console=screen.Screen(), exit_on_error=False, print_error=False, result_action="return_value"
        )
        if sys.stdout is not None:
            sys.stdout.flush()
    except cyclopts.CycloptsError as e:
        return _complain(_usage(e))
    except PolyrefError as e:
        return _complain(e)
    except BrokenPipeError:
        screen.drop_output()
        return 0
    except OSError as e:
        if e.errno != errno.ENOSPC:
            raise
        screen.drop_output()
        return _complain(UsageError("cannot write the output, no space is left: write it elsewhere"))
    except KeyboardInterrupt:
        return 130
    return result if isinstance(result, int) else 0


def _usage(error: cyclopts.CycloptsError) -> UsageError:
    """What is wrong with the command line, in one line that names the page that helps."""
    command = " ".join(["polyref", *(error.command_chain or ())])
    if isinstance(error, cyclopts.MissingArgumentError) and error.argument is not None:
        text = f"{command} needs {error.argument.name}" + (" with a value" if error.argument.tokens else "")
    else:
        text = " ".join(str(error).split()).rstrip(".")
    return UsageError(f"{text} (see {command} --help)")


def _complain(error: PolyrefError) -> int:
    print(f"polyref: {visible(str(error), lines=True, whole=True)}", file=sys.stderr)
    return error.exit_code

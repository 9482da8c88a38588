"""The commands that audit code, and try again what an audit found: a thin front, as all of the command line."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from polyref.cli_types import (
    Drawn,
    Flag,
    FrameworkName,
    Frameworks,
    InputChoice,
    LabelChoice,
    OrderChoice,
    OutputFile,
    Overrides,
    Repeated,
    Whole,
)
from polyref.errors import NothingMeasured
from polyref.report import screen


def audit(
    target: str,
    /,
    *targets: str,
    json: OutputFile = None,
    drawn: Drawn | None = None,
    jobs: Whole | None = None,
    scheduler: str | None = None,
    formats: str | None = None,
    profile: Literal["quick", "default", "long"] = "default",
    seed: Whole = 0,
    init: Overrides = (),
    call: Overrides = (),
    labels: LabelChoice = None,
    input: InputChoice = None,
    order: OrderChoice = None,
    framework: FrameworkName | None = None,
    timeout: float = 10.0,
    memory: float = 4.0,
    restarts: Whole = 5,
    budget: float | None = None,
    baseline: Path | None = None,
    update_baseline: Flag = False,
    reason: str = "",
    expires: str | None = None,
) -> int:
    """Say what an implementation computes, which laws it breaks, and how many digits it keeps.

    An audit runs the code that it is given, in a process of its own with limits on time and memory.

    The exit code of several audits is the gravest of theirs. Each output of theirs is a folder, with an index of the
    pages. A file called - is standard output.

    Against a baseline the exit code is 0 where nothing got worse, 1 where a law is broken that may not be, 4 for a
    precision regression, 5 where the two cannot be compared.

    Parameters
    ----------
    target
        package.module:attr or path/to/file.py:attr; a class, a function or a factory.
    targets
        More of them.
    json
        Write the document to this file.
    jobs
        How many audits run at once, 1 by default. Of a single one, how many processes judge it, 1 or 2; 2 by default
        where there are two cores, but 1 with --profile quick or --budget.
    scheduler
        The tcp://HOST:PORT of a Dask scheduler whose workers audit, as many at once as there are.
    formats
        Formats to look at, separated by commas; by default binary64, binary32, binary16 and bfloat16.
    profile
        How much is tried.
    seed
        The same seed gives the same findings.
    init
        name=value for the constructor, such as num_classes=10; may be given again.
    call
        name=value for the call; may be given again.
    labels
        The form of the labels; soft and multi-hot labels are one_hot. By default it is found out.
    input
        What is handed over of the logits.
    order
        Which comes first.
    framework
        Whose arrays the target takes; by default the one that its code names.
    timeout
        Seconds that one case may take.
    memory
        GiB of data that the subject may use, in each process of its own.
    restarts
        How many new processes the subject may need, because it ended the one before.
    budget
        Seconds that the whole audit may take; what is not tried by then is open. By default many times what it needs.
    baseline
        Hold the audit against this file: laws, grades, and the rows that it recorded, which are tried again.
    update_baseline
        Write what was found to the baseline, and make it where there is none.
    reason
        Why laws may be broken that were not known to be, for the baseline.
    expires
        The last day of that reason, as YYYY-MM-DD.
    """
    from polyref.subject.child import WORKER  # noqa: PLC0415
    from polyref.subject.limits import check_bounded, check_count, cores, limits_of  # noqa: PLC0415
    from polyref.subject.slot import prepared  # noqa: PLC0415

    check_bounded("--budget", budget)
    limits = limits_of(timeout=timeout, memory=memory, restarts=restarts, prefix="--")
    with ExitStack() as stack:
        if not targets and scheduler is None:  # a subject's process loads torch while this one loads the rest
            stack.enter_context(prepared(module=WORKER, memory_bytes=limits.memory_bytes))
        from polyref import auditor as au  # noqa: PLC0415
        from polyref import gate, many  # noqa: PLC0415
        from polyref.formats import named  # noqa: PLC0415
        from polyref.report import outputs, terminal  # noqa: PLC0415
        from polyref.subject.overrides import Forms, parse_overrides  # noqa: PLC0415

        gate.check(baseline, update=update_baseline, reason=reason, expires=expires, targets=1 + len(targets))
        options = au.Options(
            formats=au.AUDITED if formats is None else tuple(named(f.strip()) for f in formats.split(",")),
            seed=seed,
            profile=profile,
            init=parse_overrides(init, "--init"),
            call=parse_overrides(call, "--call"),
            forms=Forms(labels, input, order),
            limits=limits,
            budget=budget,
            framework=framework,
            baseline=gate.read(baseline, update=update_baseline),
        )
        if jobs is not None:
            check_count("--jobs", jobs)
        paths = outputs.asked({"json": json, **_named(drawn)})
        if targets:
            return many.run((target, *targets), options, jobs=jobs or 1, folders=paths, scheduler=scheduler)
        outputs.check(paths, beside={"the baseline": baseline})
        if scheduler is None:
            found = au.audit(target, options, processes=min(jobs or cores(), 2))
        else:
            found = many.audit_one(target, options, scheduler=scheduler)
        outputs.write(found, paths)
        if not outputs.on_standard_output(paths):
            terminal.render(found, screen.Screen())
        if update_baseline and baseline is not None:
            line = gate.updated(baseline, found, options.baseline, reason=reason, expires=expires)
            print(line, file=sys.stderr if outputs.on_standard_output(paths) else sys.stdout)
            return 0
        return found.exit_code


def report(file: Path, /, *, drawn: Drawn | None = None) -> int:
    """Draw a document that an audit wrote: the outputs that are asked for, or else the report on this terminal.

    Nothing is audited again. The exit code is that of the audit. A file called - is standard output.

    Parameters
    ----------
    file
        A document that an audit wrote.
    """
    from polyref.report import document, outputs, terminal  # noqa: PLC0415

    paths = outputs.asked(_named(drawn))
    outputs.check(paths, beside={"the document": file})
    found = document.read(file)
    outputs.write(found, paths)
    if not paths:
        terminal.render(found, screen.Screen())
    return found.exit_code


def _named(drawn: Drawn | None) -> dict[str, Path | None]:
    return {} if drawn is None else vars(drawn)


def check(
    target: str,
    /,
    *,
    property: str,
    case: str,
    init: Overrides = (),
    call: Overrides = (),
    labels: LabelChoice = None,
    input: InputChoice = None,
    order: OrderChoice = None,
    framework: FrameworkName | None = None,
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
    labels
        The form of the labels; soft and multi-hot labels are one_hot. By default it is found out.
    input
        What is handed over of the logits.
    order
        Which comes first.
    framework
        As for audit.
    """
    from polyref import auditor as au  # noqa: PLC0415
    from polyref.report import terminal  # noqa: PLC0415
    from polyref.subject.overrides import Forms, parse_overrides  # noqa: PLC0415
    from polyref.verdict import Verdict  # noqa: PLC0415

    options = au.Options(
        init=parse_overrides(init, "--init"),
        call=parse_overrides(call, "--call"),
        framework=framework,
        forms=Forms(labels, input, order),
    )
    outcome = au.check_one(target, property, case, options)
    terminal.outcome_of_one(outcome, screen.Screen())
    return {Verdict.HOLDS: 0, Verdict.VIOLATED: 1}.get(outcome.verdict, NothingMeasured.exit_code)


def replay(file: Path, /, *, finding: Repeated = (), timeout: float = 10.0, memory: float = 4.0) -> int:
    """Try the violated findings of a document again: which are fixed, still there, or changed.

    Exit code 0 if all of them are fixed, 1 otherwise. The target that the document names is loaded and run.

    Parameters
    ----------
    file
        A document that an audit wrote, or one finding cut out of one.
    finding
        The id of a law whose findings are replayed; may be given again. All violated ones by default.
    timeout
        Seconds that one case may take.
    memory
        GiB of data that the subject may use.
    """
    from polyref import replay as again  # noqa: PLC0415
    from polyref.report import replays  # noqa: PLC0415
    from polyref.subject.limits import limits_of  # noqa: PLC0415

    limits = limits_of(timeout=timeout, memory=memory, prefix="--")
    found = again.replay(file, properties=finding, limits=limits)
    replays.render(found, screen.Screen())
    return replays.exit_code(found)


def gallery(
    *,
    out: Path = Path("reports/audit"),
    profile: Literal["quick", "default", "long"] = "default",
    jobs: Whole = 2,
    framework: Frameworks = ("torch",),
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
    framework
        Whose entries are audited; may be given again. polyref.nn goes with torch.
    """
    from polyref.gallery.run import run  # noqa: PLC0415

    return run(out, profile=profile, jobs=jobs, frameworks=framework)

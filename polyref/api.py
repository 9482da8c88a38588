"""Audits from Python: of a target, or of an object in hand."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from polyref import gate
from polyref.auditor import audit_of, chosen_laws, gated, tried
from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import Format
from polyref.options import Profile
from polyref.report.report import Report
from polyref.request import request
from polyref.subject.identify import identify
from polyref.verdict import Outcome


def audit(
    subject: Any,
    *,
    formats: str | Iterable[str | Format] | None = None,
    profile: Profile = "default",
    seed: int = 0,
    init: Mapping[str, Any] | None = None,
    call: Mapping[str, Any] | None = None,
    properties: Iterable[str] | None = None,
    isolated: bool | None = None,
    timeout: float | None = None,
    memory: float | None = None,
    baseline: str | os.PathLike[str] | None = None,
) -> Report:
    """Say what an implementation computes, which laws it breaks, and how many digits it keeps.

    An object in hand, which may be defined in a notebook, runs in this process; torch's settings, the states of random
    generators, warning filters, the environment and the working folder are the caller's again afterwards. A target's
    text runs in a process of its own, with limits on time and memory.

    Args:
        subject: a class, a function, a factory or an instance; or a target's text, ``package.module:attr`` or
            ``path/to/file.py:attr``.
        formats: names of the formats to look at; by default binary64, binary32, binary16 and bfloat16.
        profile: how much is tried: quick, default or long.
        seed: the same seed gives the same findings.
        init: overrides of constructor arguments, such as ``{"num_classes": 10}``.
        call: overrides of call arguments.
        properties: ids of the laws to judge; by default all, and the grades with them.
        isolated: whether it runs in a process of its own. An object can if it is a class or a function that some file
            defines; by default a text does and an object does not.
        timeout: seconds that one case may take, in a process of its own.
        memory: GiB of data that the subject may use, in a process of its own.
        baseline: the file of a baseline that the audit is held against; its exit code is the comparison's then.

    Returns:
        The report: findings, grades, formula; it can be printed, shown in a notebook, and written as JSON or HTML.

    Raises:
        UsageError: for an argument that cannot be used as given, a subject that cannot be loaded, or one that no way
            of calling works for.
        NothingMeasured: if it answered no case.
        NotComparable: if the baseline has another schema.
    """
    _settle_hypothesis()
    asked = request(
        subject,
        formats=formats,
        profile=profile,
        seed=seed,
        init=init,
        call=call,
        properties=properties,
        isolated=isolated,
        timeout=timeout,
        memory=memory,
    )
    kept = None if baseline is None else gate.read(Path(baseline), update=False)
    options = replace(asked.options, baseline=kept)
    return Report(gated(audit_of(asked.target, asked.started, options), options))


def check(
    subject: Any,
    property: str,
    case: Case | Mapping[str, Any] | str,
    *,
    init: Mapping[str, Any] | None = None,
    call: Mapping[str, Any] | None = None,
    isolated: bool | None = None,
) -> Outcome:
    """Try one case of one law: what the last line of a finding on an object in hand does.

    Args:
        subject: as for :func:`audit`.
        property: the law's id.
        case: the case, or what a finding has of it: its dict or its JSON.
        init: overrides of constructor arguments.
        call: overrides of call arguments.
        isolated: as for :func:`audit`.

    Returns:
        The outcome: verdict, error over tolerance, and what was expected and observed.

    Raises:
        UsageError: as for :func:`audit`, or if the law does not apply to the subject.
    """
    _settle_hypothesis()
    asked = request(subject, init=init, call=call, properties=(property,), isolated=isolated)
    (law,) = chosen_laws(asked.options)
    if isinstance(case, str):
        try:
            case = json.loads(case)
        except json.JSONDecodeError as e:
            raise UsageError(f"the case is no JSON ({e}): copy it from the finding") from e
    if not isinstance(case, Case):
        if not isinstance(case, Mapping):
            raise UsageError(f"the case has the type {type(case).__name__}: give a Case, or what a finding has of one")
        case = Case.from_json(dict(case))
    with asked.started() as runner:
        return tried(law, case, runner, lambda: identify(runner))


def _settle_hypothesis() -> None:
    """Hypothesis keeps notes on the sources that it sees: not in the folder of a caller who does not use it."""
    if "hypothesis" not in sys.modules and "HYPOTHESIS_STORAGE_DIRECTORY" not in os.environ:
        from hypothesis.configuration import set_hypothesis_home_dir  # noqa: PLC0415 - import polyref stays light

        set_hypothesis_home_dir(os.path.join(tempfile.gettempdir(), "polyref-hypothesis"))

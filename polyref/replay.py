"""Replay: the violated findings of a document, each case tried again on the subject as it is now."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache

from polyref.auditor import RETURNS_A_VALUE, law_named, opened, tried
from polyref.case import Case
from polyref.choice import chosen
from polyref.errors import NothingMeasured, UsageError
from polyref.options import Options
from polyref.property import LawFailed, Property
from polyref.report import document as doc
from polyref.report import structs
from polyref.report.progress import Meter, progress
from polyref.report.replays import Became, Replay
from polyref.report.words import visible
from polyref.subject.convention import NotOffered, ReturnsNothing
from polyref.subject.dialect import Dialect
from polyref.subject.identify import identify
from polyref.subject.limits import DEFAULT_LIMITS, Limits
from polyref.subject.overrides import FORM_OPTIONS, Forms, parse_overrides
from polyref.subject.runner import Exhausted, Runner
from polyref.verdict import Outcome, Verdict


def replay(
    path: str | os.PathLike[str], *, properties: Iterable[str] = (), limits: Limits = DEFAULT_LIMITS
) -> list[Replay]:
    """Try the violated findings of a file again.

    Args:
        path: a document, or one finding cut out of one.
        properties: ids of the laws whose findings are replayed; all of them where none is named.
        limits: what the subject may use.

    Raises:
        UsageError: if the file cannot be read or used, or its target cannot be loaded any more.
        NothingMeasured: if it holds no violated finding.
    """
    name = visible(os.fspath(path))
    target, options, findings = _read(path, name)
    violated = [f for f in findings if f.verdict == "violated"]
    if not violated:
        raise NothingMeasured(f"{name} holds no violated finding: there is nothing to replay")
    ids = chosen(properties, dict.fromkeys(f.property for f in violated), f"violated finding of {name}")
    violated = [f for f in violated if f.property in ids]
    if ":" not in target:
        raise UsageError(
            f"{name} is about an object in hand, {target!r}, which no command can load: use polyref.check in Python"
        )
    known = replace(options, limits=limits)
    laws = {i: law_named(i) for i in ids if i != RETURNS_A_VALUE}
    cases = [_case(f, name) for f in violated]
    with progress(target, total=len(violated)) as meter:
        return list(_replayed(target, known, laws, list(zip(violated, cases, strict=True)), meter))


def _replayed(
    target: str,
    options: Options,
    laws: dict[str, Property | None],
    findings: list[tuple[doc.Finding, Case | None]],
    meter: Meter,
) -> Iterator[Replay]:
    meter.doing("loading")
    try:
        with opened(target, options) as subject:
            identified = cache(lambda: identify(subject))
            for finding, case in findings:
                meter.doing(finding.property)
                if case is None:
                    yield Replay(finding, "fixed", observed="a loss", ratio=0.0)
                else:
                    yield _again(finding, laws[finding.property], case, subject, identified)
                meter.step()
    except ReturnsNothing as e:
        for finding, _ in findings:
            same = finding.property == RETURNS_A_VALUE
            why = f"{e}."
            yield Replay(finding, "still there" if same else "changed", observed="None", ratio=math.inf, why=why)


def _again(
    finding: doc.Finding, law: Property | None, case: Case, runner: Runner, identified: Callable[[], Dialect]
) -> Replay:
    try:
        outcome = tried(law, case, runner, identified)
    except LawFailed:
        raise
    except (NotOffered, UsageError, Exhausted) as e:
        return Replay(finding, "changed", observed="", ratio=None, why=f"It cannot be tried again: {e}.")
    return _compared(finding, outcome)


def _compared(finding: doc.Finding, outcome: Outcome) -> Replay:
    observed = structs.jsonable(outcome.observed)
    if outcome.verdict is Verdict.HOLDS:
        became: Became = "fixed"
    elif outcome.verdict is Verdict.VIOLATED and (observed, outcome.ratio) == (finding.observed, finding.ratio):
        became = "still there"
    else:
        became = "changed"
    why = "" if outcome.verdict is not Verdict.INCONCLUSIVE else "The case does not tell any more."
    return Replay(finding, became, observed=observed, ratio=outcome.ratio, why=why)


def _case(finding: doc.Finding, name: str) -> Case | None:
    if finding.property == RETURNS_A_VALUE:
        return None
    if finding.case is None:
        raise UsageError(f"{name}: its finding on {visible(finding.property)!r} has no case: it cannot be replayed")
    return Case.from_json(finding.case)


def _read(path: str | os.PathLike[str], name: str) -> tuple[str, Options, list[doc.Finding]]:
    """The target, how it is called, and the findings."""
    data = structs.read_bytes(path)
    found = doc.loads_any(data, name=os.fspath(path))
    if isinstance(found, doc.Document):
        settings, made = found.settings, {}
        for option, overrides in (("--init", settings.init), ("--call", settings.call)):
            made[option] = [f"{k}={v}" for k, v in overrides.items()]
        framework = found.subject.framework
        return found.subject.target, _options(made, Forms.told(settings.forms), framework), [*found.findings]
    try:
        words = shlex.split(found.reproduce)
    except ValueError:
        words = []
    if words[:2] != ["polyref", "check"] or len(words) < 7 or len(words) % 2 == 0:
        raise UsageError(f"{name} does not say what its finding is about: give the document that it is from")
    given: dict[str, list[str]] = {}
    for option, value in zip(words[7::2], words[8::2], strict=True):
        given.setdefault(option, []).append(value)
    told = {name: given.get(f"--{option}", [None])[0] for name, option in FORM_OPTIONS.items()}
    return words[2], _options(given, Forms.told(told), given.get("--framework", [None])[0]), [found]


def _options(given: Mapping[str, list[str]], forms: Forms, framework: str | None) -> Options:
    init, call = (parse_overrides(given.get(f"--{name}", []), name) for name in ("init", "call"))
    return Options(init=init, call=call, forms=forms, framework=framework)

"""What a user wishes to have swept, made into a job: the target is opened once, to see how it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from polyref import records
from polyref.errors import UsageError
from polyref.formats import named
from polyref.report.document import Environment
from polyref.spec import Spec
from polyref.subject.client import Subject
from polyref.subject.convention import Convention
from polyref.subject.limits import DEFAULT_LIMITS, Limits
from polyref.subject.overrides import FOUND_OUT, Forms
from polyref.sweep.batch import check_sweepable
from polyref.sweep.job import Job, source_digest
from polyref.sweep.space import Kind, Space, part

#: Places of a range: a second of work or some, so that little is lost and little is written.
_LENGTH, _SHORT = 1 << 23, 1 << 14
#: Inputs of one sweep: more would be more ranges than anybody waits for.
_MOST = 1 << 43


@dataclass(frozen=True)
class Wish:
    """What to sweep, as a user says it.

    Attributes:
        target: the target.
        kind: margins or pairs.
        format: the name of the format.
        epsilons: of each spec.
        gamma: of all of them.
        sample: how many pairs are drawn; 0 for all there are.
        seed: of the sample.
        places: A:B, or all.
        gradient: whether gradients are judged; None for margins only.
        device: where subject and filter run.
        init: overrides of constructor arguments.
        call: overrides of call arguments.
        forms: the forms of the data.
        framework: whose arrays the subject takes.
        limits: of the process that finds out how it is called; of memory, for all others too.
    """

    target: str
    kind: Kind
    format: str
    epsilons: Sequence[tuple[float, ...]] = ()
    gamma: float = 0.0
    sample: int = 0
    seed: int = 0
    places: str | None = None
    gradient: bool | None = None
    device: str = "cpu"
    init: dict[str, Any] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)
    forms: Forms = FOUND_OUT
    framework: str | None = None
    limits: Limits = DEFAULT_LIMITS


def job_of(wish: Wish) -> tuple[Job, Environment, str]:
    """The sweep that is wished for, the environment of the subject, and how it is called.

    Raises:
        UsageError: if the target cannot be loaded or called, or cannot be asked for this.
    """
    space = Space(wish.kind, named(wish.format).name, wish.sample, wish.seed)
    start, stop = (0, space.size) if wish.places is None else part(wish.places, space)
    if stop - start > _MOST:
        raise UsageError(f"{stop - start} inputs are too many for one sweep: give a --range of at most {_MOST}")
    with Subject.open(
        wish.target,
        wish.init,
        wish.call,
        wish.limits,
        device=wish.device,
        forms=wish.forms,
        framework=wish.framework,
    ) as subject:
        convention, environment = subject.convention, records.environment(subject.environment())
        file = subject.source.file
    gradient = wish.kind == "margins" if wish.gradient is None else wish.gradient
    if gradient and not convention.differentiable:
        if wish.gradient:
            raise UsageError(f"{subject.name} has no gradients that polyref can ask for: leave --gradient out")
        gradient = False
    epsilons = wish.epsilons or _own_epsilons(subject.name, convention)
    for epsilon in epsilons:
        check_sweepable(subject.name, convention, Spec(epsilon=epsilon, gamma=wish.gamma), space.format)
    versions = {"polyref": environment.polyref, "torch": environment.torch, "processor": environment.processor}
    job = Job(
        target=wish.target,
        convention=convention.to_json() | {"attempts": []},
        path=[p for p in sys.path if p],
        source=source_digest(file),
        kind=wish.kind,
        format=space.format_name,
        sample=wish.sample,
        seed=wish.seed,
        epsilons=[list(e) for e in epsilons],
        gamma=wish.gamma,
        gradient=gradient,
        device=wish.device,
        start=start,
        stop=stop,
        length=max(min(_LENGTH, (stop - start) // 4), min(_SHORT, stop - start)),
        versions={k: v for k, v in versions.items() if v},
    )
    return job, environment, convention.text


def _own_epsilons(name: str, convention: Convention) -> list[tuple[float, ...]]:
    if not convention.can("epsilon"):
        raise UsageError(f"{name} takes no epsilon that could be set: say which one it has with --epsilon")
    return [(1.0,), (-1.0,)]

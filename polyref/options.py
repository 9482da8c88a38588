"""What a user can choose about an audit, and what comes of one law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, Format
from polyref.property import Property
from polyref.report.baseline import Baseline
from polyref.search import Found
from polyref.subject.limits import DEFAULT_LIMITS, Limits
from polyref.subject.overrides import FOUND_OUT, Forms

Profile = Literal["quick", "default", "long"]

#: (examples of each law and format, graded rows of each regime) by profile.
PROFILES: dict[Profile, tuple[int, int]] = {"quick": (15, 12), "default": (25, 50), "long": (2000, 1000)}

#: How many cases a guided law spends on climbing to its worst one, by profile.
CLIMBS: dict[Profile, int] = {"quick": 0, "default": 0, "long": 600}

#: Seconds that a whole audit may take, by profile: many times what it takes for a subject that answers.
BUDGETS: dict[Profile, float] = {"quick": 600.0, "default": 1800.0, "long": 86400.0}

#: The formats that an audit looks at unless it is told otherwise, widest first.
AUDITED = (BINARY64, BINARY32, BINARY16, BFLOAT16)


@dataclass(frozen=True)
class Options:
    """What a user can choose about an audit.

    Attributes:
        formats: the formats to look at, of those that the subject accepts.
        seed: of every random choice; the same seed gives the same findings.
        profile: how much is tried.
        init: overrides of constructor arguments.
        call: overrides of call arguments.
        forms: the forms of the data, where they are not to be found out.
        limits: what the subject may use.
        laws: ids of the laws to judge; empty for all of them, and the grades with them.
        budget: seconds that the whole audit may take; None for what the profile has. What is not tried by then is open.
        framework: whose arrays it is given; None for the one that its code names.
        baseline: what the audit is held against, None for nothing.
    """

    formats: tuple[Format, ...] = AUDITED
    seed: int = 0
    profile: Profile = "default"
    init: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, Any] = field(default_factory=dict)
    forms: Forms = FOUND_OUT
    limits: Limits = DEFAULT_LIMITS
    laws: tuple[str, ...] = ()
    budget: float | None = None
    framework: str | None = None
    baseline: Baseline | None = None

    @cached_property
    def again(self) -> tuple[Case, ...]:
        """The rows that a baseline recorded.

        Raises:
            UsageError: if one of them is no case.
        """
        recorded = self.baseline.cases if self.baseline is not None else []
        try:
            return tuple(dict.fromkeys(Case.from_json(r.case) for r in recorded))
        except UsageError as e:
            raise UsageError(f"the baseline has a row that is no case: {e}") from e

    @property
    def all_limits(self) -> Limits:
        """The limits with the one on the whole audit."""
        return replace(self.limits, total_seconds=BUDGETS[self.profile] if self.budget is None else self.budget)


@dataclass(frozen=True)
class Result:
    """A law's verdict in one format, None where the law does not apply, with the reason."""

    law: Property
    format: Format
    found: Found | None
    reason: str = ""

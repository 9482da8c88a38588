"""Subjects: implementations under test, how they are called, and what they return.

Importing this package loads no torch; :class:`LocalSubject`, which runs a subject in this process, loads it when it is
first asked for.
"""

from typing import TYPE_CHECKING, Any

from polyref.subject.client import Subject as Subject
from polyref.subject.convention import Attempt as Attempt
from polyref.subject.convention import Convention as Convention
from polyref.subject.convention import NoConvention as NoConvention
from polyref.subject.convention import NotJudged as NotJudged
from polyref.subject.convention import NotOffered as NotOffered
from polyref.subject.convention import Parameter as Parameter
from polyref.subject.convention import ReturnsNothing as ReturnsNothing
from polyref.subject.limits import Limits as Limits
from polyref.subject.load import Source as Source
from polyref.subject.load import parse_target as parse_target
from polyref.subject.observation import Observation as Observation
from polyref.subject.observation import Second as Second
from polyref.subject.overrides import Forms as Forms
from polyref.subject.overrides import parse_overrides as parse_overrides
from polyref.subject.runner import Runner as Runner

if TYPE_CHECKING:
    from polyref.subject.local import LocalSubject as LocalSubject


def __getattr__(name: str) -> Any:
    if name == "LocalSubject":
        from polyref.subject.local import LocalSubject  # noqa: PLC0415 -- torch is loaded only for those who ask

        return LocalSubject
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

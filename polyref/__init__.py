"""polyref: numerical verification and property testing of PolyLoss.

Importing this package loads neither torch nor hypothesis; the parts that need them import them when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from polyref.case import Case as Case
from polyref.errors import NothingMeasured as NothingMeasured
from polyref.errors import PolyrefError as PolyrefError
from polyref.errors import UsageError as UsageError
from polyref.formats import FORMATS as FORMATS
from polyref.formats import Format as Format
from polyref.spec import Link as Link
from polyref.spec import Reduction as Reduction
from polyref.spec import Spec as Spec
from polyref.spec import Weighting as Weighting

if TYPE_CHECKING:
    from polyref import pytest as pytest
    from polyref.api import audit as audit
    from polyref.api import check as check
    from polyref.report.report import Report as Report

__version__ = "0.1.0"

_LAZY = {"audit": "polyref.api", "check": "polyref.api", "Report": "polyref.report.report"}


def __getattr__(name: str) -> Any:
    if name == "pytest":
        return import_module("polyref.pytest")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, "pytest"})

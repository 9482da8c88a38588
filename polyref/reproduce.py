"""The command, or the call in Python, that tries exactly the case of a finding again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

from polyref.case import Case
from polyref.options import Options


def reproduce(target: str, law_id: str, case: Case, options: Options) -> str:
    """The command that tries exactly this case again, or for an object in hand the call that does."""
    text = json.dumps(case.to_json(), separators=(",", ":"))
    if ":" not in target:
        return f"polyref.check({_in_python(target)}, {law_id!r}, {text!r}{_keywords(options)})"
    return shlex.join(["polyref", "check", target, "--property", law_id, "--case", text, *_overrides(options)])


def audit_again(target: str, options: Options) -> str:
    """The command, or the call, that audits the target again."""
    if ":" not in target:
        return f"polyref.audit({_in_python(target)}{_keywords(options)})"
    return shlex.join(["polyref", "audit", target, *_overrides(options)])


def _in_python(caption: str) -> str:
    """The name of an object in hand, where it can be one in Python: no lambda's, and none of an instance."""
    return caption if caption.isidentifier() else "subject"


def _keywords(options: Options) -> str:
    given = {"init": options.init, "call": options.call}
    return "".join(f", {name}={dict(overrides)!r}" for name, overrides in given.items() if overrides)


def _overrides(options: Options) -> Iterator[str]:
    if options.framework is not None:
        yield from ("--framework", options.framework)
    for option, overrides in (("--init", options.init), ("--call", options.call)):
        for name, value in overrides.items():
            yield from (option, f"{name}={value!r}")
    yield from options.forms.options()

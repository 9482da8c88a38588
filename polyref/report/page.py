"""What every page has in common: escaping, style sheet and scripts, and the policy that allows nothing else.

Escaping is not left to a template's author: Jinja escapes each expression, and a finalizer makes control and
bidirectional characters visible in every one of them first. A content security policy that allows nothing but the
page's own style sheet and scripts, by their hashes, stands behind both.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from polyref.report.words import count, number, visible


def environment() -> Environment:
    """A new environment for the templates of this package."""
    made = Environment(
        loader=PackageLoader("polyref.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = lambda value: number(value, superscript=True)
    made.filters["whole"] = _whole
    made.globals["count"] = count
    return made


@cache
def style(*names: str) -> Markup:
    """Our own style sheets, one after the other, so they need no escaping."""
    return _own(names)


@cache
def script(*names: str) -> Markup:
    """The same of scripts."""
    return _own(names)


def head(*sheets: str, scripts: Sequence[Markup] = ()) -> dict[str, Any]:
    """What the frame of a page needs: its style, its scripts, and the policy that allows these and nothing else."""
    sheet = style(*sheets)
    return {"style": sheet, "scripts": scripts, "csp": policy(sheet, *scripts)}


def policy(sheet: Markup, *scripts: Markup) -> str:
    """The content security policy of a page with this style sheet and these scripts."""
    parts = ["default-src 'none'", f"style-src {_digest(sheet)}"]
    if scripts:
        parts.append(f"script-src {' '.join(map(_digest, scripts))}")
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def _own(names: Sequence[str]) -> Markup:
    """Files of templates/, or of another folder of this package where a name has one."""
    package = files("polyref.report")
    return Markup(
        "".join((package / (name if "/" in name else f"templates/{name}")).read_text("utf-8") for name in names)
    )


def _digest(text: Markup) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _whole(text: str) -> Markup:
    """A command to be copied: made visible and escaped like everything, but never cut."""
    return escape(visible(text, whole=True))


def _finalize(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, lines=True)
    return value

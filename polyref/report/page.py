"""What every page has in common: escaping, the style sheet, and the policy that allows nothing else.

Escaping is not left to a template's author: Jinja escapes each expression, and a finalizer makes control and
bidirectional characters visible in every one of them first. A content security policy that allows nothing but the
one style sheet, by its hash, stands behind both.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

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
    folder = files("polyref.report").joinpath("templates")
    return Markup("".join(folder.joinpath(name).read_text("utf-8") for name in names))


def policy(sheet: Markup) -> str:
    """The content security policy of a page with this style sheet."""
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _whole(text: str) -> Markup:
    """A command to be copied: made visible and escaped like everything, but never cut."""
    return escape(visible(text, whole=True))


def _finalize(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, lines=True)
    return value

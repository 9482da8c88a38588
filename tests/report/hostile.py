"""A document whose every free string tries to be something else than text."""

from __future__ import annotations

from typing import Any

import msgspec

from polyref.report import document as doc
from polyref.report import structs
from polyref.report.document import Document

from .example import build

PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script><!-- <script> --> ]]>",
    "</title></style><svg onload=alert(3)>",
    "javascript:alert(4)",
    "<img src=x onerror=globalThis.taken=1><script>globalThis.taken=2</script>",
    "${alert(5)} `${alert(6)}`",
    "\"><img src=x onerror='alert(1)'>",
    "{{ 7 * 191 }}{% raw %}",
    "[red]no[/red] [link=file:///x]y[/link] :smile:",
    "a\x1b[95mb\x00c\x7f\x9bd",
    "\u202egnp.exe\u2066\u200b\ufeff",
)
PAYLOAD = " ".join(PAYLOADS)

#: What means something to Markdown, to what GitHub looks for in its text, to XML, and to SARIF's messages.
MARKS = (
    "`a` ``b`` ```c``` | d | \\| **e** _f_ __g__ ~~h~~ ~i~ $j$ $`k`$ &lt; &#64; \\",
    "@octocat @org/team #1 GH-2 org/repo#3 GHSA-aaaa https://evil.example/x http://e www.evil.example a@evil.example",
    "mailto:a@b.example [t](https://evil.example) ![i](https://evil.example/i.png) <https://evil.example> [r][s] [^1]",
    "</summary></details></sub></code></b><img src=x> <!-- <![CDATA[ ]]> --> :smile: {0} {{1}} [link](1)",
    "\r\n\r\n# h\n\n| a | b |\n| - | - |\n\n- l\n\n1. n\n\n> q\n\n---\n\n    code\n\n[s]: https://evil.example\n\n```sh\nx",
)

#: Fields whose values polyref chooses from a closed list.
CLOSED = {"schema", "verdict", "quantity", "grade", "weighting", "profile", "case", "regime", "epsilon", "gamma"}


def hostile(payload: str = PAYLOAD) -> Document:
    """The example with the payload in every open string, keys of dicts included."""
    plain = msgspec.to_builtins(build(), enc_hook=float)
    poisoned = _poison(plain, payload)
    return doc.loads(msgspec.json.encode(structs.jsonable(poisoned)))


def _poison(value: Any, payload: str, key: str = "") -> Any:
    if isinstance(value, str):
        return value if key in CLOSED else f"{value} {payload}"
    if isinstance(value, dict):
        if key in {"init", "call", "parameters", "defaults"}:
            return {f"{k} {payload}": f"{v} {payload}" for k, v in value.items()}
        return {k: _poison(v, payload, k) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_poison(v, payload, key) for v in value]
    return value

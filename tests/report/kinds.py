"""Documents of every kind that an output must stand, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from polyref.report import document as doc
from polyref.report.document import Document, Finding

from .example import build, finding
from .hostile import MARKS, hostile

AUDITS = Path(__file__).parents[2] / "reports" / "audit"

#: All laws hold; many are broken; no process could call it; something is left undecided.
COMMITTED = ("nn-function", "onehot-cross-entropy", "returns-nothing", "gather-rescaled")


def committed(name: str) -> Document:
    return doc.read(AUDITS / f"{name}.json")


def huge() -> Document:
    """Ten million characters in one message, which a hostile subject can raise."""
    text = "@a <b> `c` | \x00 " * 700_000
    return build(findings=[_violated("law", observed=text, explanation=text, case_text=text)])


def crowded(n: int = 400) -> Document:
    """More broken laws than any page has room for."""
    return build(findings=[_violated(f"law-{i:03}", explanation="Why. " * 50) for i in range(n)])


def _violated(id: str, **changes: object) -> Finding:
    fields = {"case_text": "logits [0, 0]", "expected": "1", "observed": "2", "remedy": "Mend it.", "ratio": 7.5}
    return finding(id, "violated", **{"reproduce": f"polyref check a:b --property {id}", **fields, **changes})


DOCUMENTS: dict[str, Callable[[], Document]] = {
    "rich": lambda: build(formats=("binary64", "binary32", "binary16", "bfloat16")),
    "empty": lambda: build(findings=[], grades=[]),
    "one law": lambda: build(findings=[finding("a", "holds")]),
    "nothing decided": lambda: build(findings=[finding("a", "inconclusive"), finding("b", "not_applicable")]),
    "hostile": hostile,
    "marks": lambda: hostile(" ".join(MARKS)),
    "lone surrogates": lambda: build(findings=[_violated("a\ud800", observed="\udc80", explanation="\udfff x")]),
    "huge": huge,
    "crowded": crowded,
    **{name: lambda name=name: committed(name) for name in COMMITTED},  # type: ignore[misc]
}

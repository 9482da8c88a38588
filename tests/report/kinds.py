"""Documents of every kind that an output must stand, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from polyref.report import document as doc
from polyref.report.comparison import CaseMove, Comparison, GradeMove, LawMove, Side
from polyref.report.document import Document, Finding

from .example import build, finding
from .hostile import MARKS, hostile

AUDITS = Path(__file__).parents[2] / "reports" / "audit"

#: All laws hold; many are broken; no process could call it; something is left undecided.
COMMITTED = ("nn-function", "onehot-cross-entropy", "returns-nothing", "gather-rescaled")


def committed(name: str) -> Document:
    """An audit as it is stored."""
    return doc.read(AUDITS / f"{name}.json")


def huge() -> Document:
    """Ten million characters in one message, which a hostile subject can raise."""
    text = "@a <b> `c` | \x00 " * 700_000
    return build(findings=[_violated("law", observed=text, explanation=text, case_text=text)])


def crowded(n: int = 400) -> Document:
    """More broken laws than any page has room for."""
    return build(findings=[_violated(f"law-{i:03}", explanation="Why. " * 50) for i in range(n)])


def gated(*, known: str = "", incomparable: str = "", worse: bool = True, new: bool = False) -> Document:
    """The example against a baseline: one law that may be broken, a fixed one, and a grade and a row that got worse."""
    document = build()
    first, second = document.violated
    side = Side(name="L", target="a:L", started="then", formula="CE", polyref="0", torch=None, machine="m")
    laws = [
        LawMove(property=f.property, format=f.format, move=move, old=old, new="violated", old_ratio=1.5,
                new_ratio=f.ratio, fails=fails, known=text)
        for f, move, old, fails, text in (
            (first, "unchanged", "violated", False, known or "the paper has it so"),
            (second, "new" if new else "unchanged", "holds" if new else "violated", new, "" if new else "since 2019"),
        )
    ]  # fmt: skip
    grade = GradeMove(quantity="value", format="binary32", device="cpu", regime="all", move="worse", old="faithful",
                      new="broken", old_ulp=0.9, new_ulp=1.5, fails=True)  # fmt: skip
    row = CaseMove(quantity="value", format="binary32", device="cpu", move="worse", old_ulp=0.5, new_ulp=1.5,
                   case={"logits": [["0x1.0p+0", "0x0.0p+0"]], "target": [0]}, fails=True)  # fmt: skip
    gate = Comparison(
        old=side,
        new=side,
        gate=True,
        environment=[],
        notes=[],
        incomparable=[incomparable] if incomparable else [],
        changed=[],
        measured=True,
        laws=laws,
        grades=[grade] if worse else [],
        cases=[row] if worse else [],
    )
    return msgspec.structs.replace(document, gate=gate)


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
    "gated": gated,
    "known": lambda: gated(known="@octocat <b> `x` [l](1) \x00", worse=False),
    "not comparable": lambda: gated(incomparable="it computed `CE`, and computes <b>"),
    **{name: lambda name=name: committed(name) for name in COMMITTED},  # type: ignore[misc]
}

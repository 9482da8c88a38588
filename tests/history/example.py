"""Documents of audits that follow each other, and a history of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from report.example import build

from polyref.report import document as doc
from polyref.report.document import Document, Grade

REPLACE = msgspec.structs.replace


def run(i: int, *, grade: Callable[[Grade], Mapping[str, Any]] | None = None, **changes: Any) -> Document:
    """The example as it was audited on day ``i``; ``changes`` are of its subject, environment, settings or findings."""
    document = build()
    parts: dict[str, Any] = {
        "settings": REPLACE(
            document.settings,
            started=f"2026-{1 + i // 28:02}-{1 + i % 28:02}T12:00:00+00:00",
            seed=changes.pop("seed", 0),
        )
    }
    for name in ("subject", "environment"):
        fields = {f: changes.pop(f) for f in [*changes] if f in getattr(document, name).__struct_fields__}
        parts[name] = REPLACE(getattr(document, name), **fields)
    if grade is not None:
        parts["grades"] = [REPLACE(g, **grade(g)) for g in document.grades]
    return REPLACE(document, **parts, **changes)


def every(**changes: Any) -> Callable[[Grade], Mapping[str, Any]]:
    """Changes every grade alike."""
    return lambda _: changes


def write(folder: Path, documents: list[Document]) -> list[Path]:
    """The documents as files, in their order."""
    paths = [folder / f"run-{i:03}.json" for i in range(len(documents))]
    for path, document in zip(paths, documents, strict=True):
        path.write_bytes(doc.dumps(document))
    return paths

"""``make audit``: audit polyref.nn and every gallery entry, and hold the findings against what is on record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from polyref import many
from polyref.errors import UsageError
from polyref.gallery import ENTRIES
from polyref.options import Options, Profile
from polyref.report import files, terminal
from polyref.report.screen import Screen
from polyref.subject.frameworks import check_name
from polyref.subject.limits import check_count

#: (name of the files, target, laws that it is known to break): our own losses first, which break none.
OURS = (
    ("nn-function", "polyref.nn.functional:poly_cross_entropy"),
    ("nn-module", "polyref.nn.modules:PolyCrossEntropyLoss"),
    ("nn-focal", "polyref.nn.modules:PolyFocalLoss"),
    ("nn-binary", "polyref.nn.functional:poly_binary_cross_entropy_with_logits"),
    ("nn-binary-module", "polyref.nn.modules:PolyBCEWithLogitsLoss"),
)


def targets(frameworks: Sequence[str] = ("torch",)) -> Iterator[tuple[str, str, frozenset[str]]]:
    """(name of the files, target, laws that it is known to break) of what is written in one of the frameworks."""
    for name, target in OURS if "torch" in frameworks else ():
        yield name, target, frozenset()
    for entry in (e for e in ENTRIES if e.framework in frameworks):
        yield entry.id, entry.target, frozenset(d.property_id for d in entry.defects)


def run(out: Path, *, profile: Profile = "default", jobs: int = 2, frameworks: Sequence[str] = ("torch",)) -> int:
    """Audit everything, write the documents and an index page to ``out``, and print one table.

    Args:
        out: the folder.
        profile: how much is tried.
        jobs: how many audits run at once.
        frameworks: whose entries are audited; polyref.nn is of torch.

    Returns:
        0 if every subject breaks exactly the laws on record, else 1.

    Raises:
        UsageError: if the folder cannot be written, ``jobs`` is below 1, or a framework is not installed.
    """
    check_count("--jobs", jobs)
    for name in frameworks:
        check_name(name)
    files.make_folder(out)
    chosen = list(targets(frameworks))
    results = many.audit_all([target for _, target, _ in chosen], Options(profile=profile), jobs=jobs, title="gallery")
    documents = []
    for found in results:
        if isinstance(found, many.Failure):
            raise UsageError(found.message)
        documents.append(found)
    named = [(name, d) for (name, _, _), d in zip(chosen, documents, strict=True)]
    many.write(named, {"json": out, "html": out})
    console = Screen()
    terminal.summary_table(documents, console)
    console.print(f"Reports: {out / 'index.html'}", soft_wrap=True)
    surprises = [
        line
        for (_, target, known), found in zip(chosen, documents, strict=True)
        for line in _surprises(target, known, {f.property for f in found.violated})
    ]
    for line in surprises:
        console.print(line, style="bold red", soft_wrap=True)
    return 1 if surprises else 0


def _surprises(target: str, known: frozenset[str], broken: set[str]) -> Iterator[str]:
    if broken - known:
        yield f"{target} breaks {', '.join(sorted(broken - known))}, which is not on record"
    if known - broken:
        yield f"{target} no longer breaks {', '.join(sorted(known - broken))}: take it off the record"

"""The gallery command: every document and the index, one table, and an exit code that tells a surprise."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from report.example import build, finding
from rich.cells import cell_len

from polyref import many
from polyref.errors import UsageError
from polyref.gallery import ENTRIES, run
from polyref.report import document
from polyref.report.progress import progress
from polyref.report.screen import Screen

SUBJECTS = [
    ("ours", "a.b:good", frozenset[str]()),
    ("theirs", "c.d:Loss", frozenset({"law-x"})),
    ("also", "e.f:Loss", frozenset({"law-x"})),
]


def found(target: str, *broken: str) -> document.Document:
    laws = [finding(law, "violated") for law in broken]
    plain = build(findings=[*laws, finding("law-y", "holds")])
    return msgspec.structs.replace(plain, subject=msgspec.structs.replace(plain.subject, target=target))


@pytest.fixture
def audits(monkeypatch: pytest.MonkeyPatch) -> dict[str, document.Document]:
    """What each subject's audit finds; by default exactly what is on record."""
    documents = {target: found(target, *known) for _, target, known in SUBJECTS}

    def audit(target: str, *, options: Any, quiet: bool) -> document.Document:
        assert quiet
        assert options.profile == "quick"
        return documents[target]

    monkeypatch.setattr(run, "targets", lambda _=("torch",): SUBJECTS)
    monkeypatch.setattr(many, "audit", audit)
    return documents


def test_everything_as_on_record(audits: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    assert run.run(out, profile="quick", jobs=1) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["index.html", *(f"{name}.{kind}" for name, _, _ in SUBJECTS for kind in ("html", "json"))]
    )
    assert document.read(out / "theirs.json").subject.target == "c.d:Loss"
    index = (out / "index.html").read_text()
    for name, target, _ in SUBJECTS:
        assert f'href="{name}.html"' in index
        assert target.replace(":", ":<wbr>") in index
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines()[-1] == f"Reports: {out / 'index.html'}"


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_tells_subjects_of_one_name_apart(
    audits: object, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    run.run(tmp_path, profile="quick", jobs=1)
    table = capsys.readouterr().out.partition("Reports:")[0]
    for _, target, known in SUBJECTS:
        assert f"{'✗' if known else '✓'} {target}" in table
    assert all(cell_len(line) <= width for line in table.splitlines())


def test_a_surprise_is_a_line_and_exit_code_1(
    audits: dict[str, document.Document], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audits["a.b:good"] = found("a.b:good", "law-z", "law-w")
    audits["e.f:Loss"] = found("e.f:Loss")
    assert run.run(tmp_path, profile="quick", jobs=1) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "a.b:good breaks law-w, law-z, which is not on record",
        "e.f:Loss no longer breaks law-x: take it off the record",
    ]


def test_two_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Real audits in processes of their own, of the subject that takes the least time."""
    target = "polyref.gallery.nothing:Poly1CrossEntropyLoss"
    names = [(name, target, frozenset({"returns-a-value"})) for name in ("first", "second")]
    monkeypatch.setattr(run, "targets", lambda _=("torch",): names)
    assert run.run(tmp_path, profile="quick", jobs=2) == 0
    for name, _, _ in names:
        assert [f.property for f in document.read(tmp_path / f"{name}.json").violated] == ["returns-a-value"]
    assert capfd.readouterr().err == ""


def test_the_record_names_every_entry_and_our_own() -> None:
    of_torch = list(run.targets())
    foreign = list(run.targets(("jax", "tensorflow")))
    mine = [e.target for e in ENTRIES if e.framework == "torch"]
    assert [target for _, target, _ in of_torch] == [t for _, t in run.OURS] + mine
    assert {target for _, target, _ in foreign} == {e.target for e in ENTRIES} - set(mine)
    listed = [*of_torch, *foreign]
    assert len({name for name, _, _ in listed}) == len(listed)
    assert all(not known for _, target, known in listed if target.startswith("polyref.nn"))


@pytest.mark.parametrize("jobs", [0, -1])
def test_jobs(jobs: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--jobs {jobs} is not allowed: give at least 1"):
        run.run(tmp_path / "out", jobs=jobs)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_found_before_the_first_audit(
    audits: dict[str, document.Document], tmp_path: Path
) -> None:
    audits.clear()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file: it is no folder"):
        run.run(tmp_path / "file", profile="quick")
    with pytest.raises(UsageError, match=r"cannot write to .*below: not a directory"):
        run.run(tmp_path / "file" / "below", profile="quick")
    if os.geteuid():  # who is root may write anywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(UsageError, match="permission denied"):
            run.run(tmp_path / "locked", profile="quick")


def test_an_audit_inside_the_gallery_shows_no_progress_of_its_own() -> None:
    stream = io.StringIO()
    with progress("inner", console=Screen(file=stream, force_terminal=True), quiet=True) as meter:
        meter.total(3)
        meter.step("x")
    assert stream.getvalue() == ""

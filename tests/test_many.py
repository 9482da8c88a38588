"""Many audits at once: reports in order, a line for what cannot be loaded, folders of files, the gravest exit code."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from report.example import build, finding

from polyref import cli, many
from polyref.errors import NothingMeasured, UsageError
from polyref.options import Options
from polyref.report import document, progress
from polyref.report.screen import Screen

GOOD, BAD, GONE, EMPTY = "good.py:loss", "pkg.bad:Loss", "gone.py:loss", "empty.py:loss"
NOTHING = "polyref.gallery.nothing:Poly1CrossEntropyLoss"


def found(target: str, *findings: document.Finding) -> document.Document:
    plain = build(findings=list(findings))
    return msgspec.structs.replace(plain, subject=msgspec.structs.replace(plain.subject, target=target))


@pytest.fixture(autouse=True)
def _audits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What each target's audit finds, without the audit."""

    def audit(target: str, *, options: Options, quiet: bool) -> document.Document:
        assert quiet
        if target == GONE:
            raise UsageError("target 'gone.py:loss': there is no file")
        if target == EMPTY:
            raise NothingMeasured("it answered no case")
        return found(target, finding("law-x", "violated" if target == BAD else "holds"))

    monkeypatch.setattr(many, "audit", audit)


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = cli.run(["audit", *map(str, argv)])
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("targets", "code"),
    [
        ((GOOD, GOOD), 0),
        ((GOOD, BAD), 1),
        ((GONE, BAD), 2),
        ((GONE, GONE), 2),
        ((BAD, EMPTY, GOOD), 3),
    ],
)
def test_the_gravest_exit_code(capsys: pytest.CaptureFixture[str], targets: tuple[str, ...], code: int) -> None:
    assert run(capsys, *targets)[0] == code


def test_reports_come_in_the_order_of_the_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, err = run(capsys, BAD, GONE, GOOD, EMPTY)
    assert err.splitlines() == ["polyref: target 'gone.py:loss': there is no file", "polyref: it answered no case"]
    assert re.findall(r"^(✗ The one law that was decided is broken|✓ The one law holds)$", out, re.MULTILINE) == [
        "✗ The one law that was decided is broken",
        "✓ The one law holds",
    ]
    table = out.rpartition("subject ")[2]
    assert table.index(BAD) < table.index(GOOD)
    assert "! gone.py:loss  not audited\n  target 'gone.py:loss': there is no file" in table
    assert "! empty.py:loss  not audited\n  it answered no case" in table


def test_files_of_each_target(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data, pages = tmp_path / "new" / "data", tmp_path / "pages"
    run(capsys, GOOD, GONE, BAD, GOOD, "--json", data, "--html", pages)
    names = ["good.py-loss", "pkg.bad-Loss", "good.py-loss-2"]
    assert sorted(p.name for p in data.iterdir()) == sorted(f"{n}.json" for n in names)
    assert sorted(p.name for p in pages.iterdir()) == sorted(["index.html", *(f"{n}.html" for n in names)])
    assert document.read(data / "pkg.bad-Loss.json").subject.target == BAD
    index = (pages / "index.html").read_text(encoding="utf-8")
    assert 'href="pkg.bad-Loss.html"' in index
    assert "there is no file" in index.partition("gone.py:loss")[2]
    assert "1 of 4 subjects breaks" in index
    assert 'href="../new/data/pkg.bad-Loss.json"' in index
    run(capsys, GOOD, BAD, "--html", tmp_path / "alone")
    assert "JSON" not in (tmp_path / "alone" / "index.html").read_text(encoding="utf-8").partition("<tbody>")[2]


def test_one_target_writes_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyref.auditor.audit", lambda target, _, **__: found(target, finding("law-x", "holds")))
    assert run(capsys, GOOD, "--json", tmp_path / "a.json")[0] == 0
    assert document.read(tmp_path / "a.json").subject.target == GOOD


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        (["a.b:C", "a/b.py:C", "../x.py:f"], ["a.b-C", "a-b.py-C", "x.py-f"]),
        (["a:b", "a:b", "a-b", "a/b"], ["a-b", "a-b-2", "a-b-3", "a-b-4"]),
        (["index", "..", ""], ["index-2", "target", "target-2"]),
        (["x" * 500 + ":y"], ["x" * 60]),
    ],
)
def test_names_of_files(targets: list[str], names: list[str]) -> None:
    assert many.names(targets) == names


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--jobs", "0"), "--jobs 0 is not allowed: give at least 1"),
        (("--jobs", "1.5"), "Invalid value for --jobs: '1.5' is no whole number"),
        (("--json", "{file}"), "cannot write to {file}: it is no folder"),
        (("--html", "{file}/below"), "cannot write to {file}/below: not a directory"),
    ],
)
def test_it_refuses_before_the_first_audit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: tuple[str, str], line: str
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    code, out, err = run(capsys, GOOD, BAD, options[0], options[1].format(file=file))
    assert (code, out) == (2, "")
    assert err.startswith(f"polyref: {line.format(file=file)}")
    assert err.count("\n") == 1


def test_two_at_once(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Real audits in processes of their own, of the subject that takes the least time and of none."""
    assert run(capfd, NOTHING, "gone.py:loss", NOTHING, "--jobs", "2", "--json", tmp_path)[0] == 2
    read = [document.read(path) for path in sorted(tmp_path.iterdir())]
    assert [f.property for d in read for f in d.violated] == ["returns-a-value"] * 2


def _ends(*_: Any, **__: Any) -> None:
    os._exit(1)


def test_a_process_that_is_ended_costs_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_audited", _ends)
    results = many.audit_all([NOTHING, GONE], Options(), jobs=2, title="two")
    assert all(isinstance(r, many.Failure) and r.exit_code == 2 for r in results)
    assert "'gone.py:loss': the process that audited it, or one beside it, was ended" in results[1].message


def test_progress_is_one_line_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    console = Screen(file=stream, force_terminal=True, width=80)
    shown = progress.progress
    monkeypatch.setattr(many, "progress", lambda title, **options: shown(title, console=console, **options))
    many.audit_all([GOOD, BAD], Options(), jobs=1, title="2 audits")
    lines = stream.getvalue()
    assert "2 audits" in lines
    assert "2/2" in lines
    assert lines.count("\n") <= 2

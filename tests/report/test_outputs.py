"""All outputs together: the table, where they are written, `polyref report`, and the options of `polyref audit`."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polyref import auditor, cli, many
from polyref.cli_types import Drawn
from polyref.errors import UsageError
from polyref.report import document as doc
from polyref.report import outputs
from polyref.report.report import Report

from .example import build, finding
from .kinds import COMMITTED, committed

BEGINS = {
    "json": '{\n "schema"',
    "html": "<!doctype html>",
    "markdown": "### ✗ polyref: 2 of 6 laws are broken",
    "junit": '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites',
    "sarif": '{\n "$schema": "https://json.schemastore.org/sarif-2.1.0.json"',
    "badge": "<svg ",
}
NAMES = list(BEGINS)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    doc.write(build(), tmp_path / "stored.json")
    return tmp_path / "stored.json"


@pytest.fixture
def _audited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "audit", lambda *_, **__: build())
    monkeypatch.setattr(many, "audit", lambda *_, **__: build())


def options(folder: Path, names: list[str], suffixes: bool = True) -> list[str]:
    table = {o.name: o.suffix if suffixes else "" for o in outputs.ALL}
    return [word for name in names for word in (f"--{name}", str(folder / f"{name}{table[name]}"))]


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = cli.run(list(map(str, argv)))
    return code, *capsys.readouterr()


def refused(done: tuple[int, str, str]) -> str:
    code, out, err = done
    assert (code, out, err.count("\n")) == (2, "", 1)
    return err.removeprefix("polyref: ").strip()


def test_the_table_is_that_of_the_command_line() -> None:
    assert [o.name for o in outputs.ALL] == ["json", *(f.name for f in dataclasses.fields(Drawn))] == NAMES
    assert len({o.suffix for o in outputs.ALL}) == len(outputs.ALL)


@pytest.mark.usefixtures("_audited")
def test_an_audit_writes_every_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "new"
    code, out, err = run(capsys, "audit", "a:b", *options(folder, NAMES))
    assert (code, err) == (1, "")
    assert "✗ 2 of 6 laws are broken" in out
    assert len(list(folder.iterdir())) == len(NAMES)
    for output in outputs.ALL:
        assert (folder / f"{output.name}{output.suffix}").read_text("utf-8").startswith(BEGINS[output.name])


@pytest.mark.usefixtures("_audited")
def test_several_targets_write_every_one_to_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, "audit", "a:b", "c:d", *options(tmp_path, NAMES, suffixes=False))[0] == 1
    for output in outputs.ALL:
        found = sorted(p.name for p in (tmp_path / output.name).iterdir())
        pages = ["index.html"] if output.name == "html" else []
        assert found == sorted([f"a-b{output.suffix}", f"c-d{output.suffix}", *pages])
    one = [word for name in NAMES for word in (f"--{name}", str(tmp_path / "one"))]
    assert run(capsys, "audit", "a:b", "c:d", *one)[0] == 1
    assert len(list((tmp_path / "one").iterdir())) == 2 * len(NAMES) + 1


def test_a_stored_document_is_drawn_as_the_audit_drew_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, stored: Path
) -> None:
    before = stored.read_bytes()
    code, out, err = run(capsys, "report", stored, *options(tmp_path, NAMES[1:]))
    assert (code, out, err) == (1, "", "")
    for output in outputs.ALL[1:]:
        path = tmp_path / f"{output.name}{output.suffix}"
        assert path.read_text("utf-8") == output.render(build())
    assert stored.read_bytes() == before


@pytest.mark.parametrize(
    ("findings", "code", "line"),
    [
        (None, 1, "✗ 2 of 6 laws are broken"),
        ([finding("a", "holds")], 0, "✓ The one law holds"),
        ([], 3, "? Nothing was measured"),
    ],
)
def test_it_prints_the_report_and_exits_as_the_audit_did(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, findings: Any, code: int, line: str
) -> None:
    document = build() if findings is None else build(findings=findings)
    doc.write(document, tmp_path / "a.json")
    done = run(capsys, "report", tmp_path / "a.json")
    assert (done[0], done[2]) == (code, "")
    assert line in done[1]
    assert run(capsys, "report", tmp_path / "a.json", "--badge", tmp_path / "a.svg") == (code, "", "")


@pytest.mark.parametrize("name", COMMITTED)
def test_the_committed_documents(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    doc.write(committed(name), tmp_path / "stored")
    code, out, _ = run(capsys, "report", tmp_path / "stored", *options(tmp_path, NAMES[1:]))
    assert (code, out) == (committed(name).exit_code, "")
    assert len(list(tmp_path.iterdir())) == len(NAMES)


@pytest.mark.parametrize("where", ["-", "/dev/stdout"])
@pytest.mark.parametrize("name", NAMES[1:])
def test_on_standard_output(stored: Path, name: str, where: str) -> None:
    command = [sys.executable, "-m", "polyref", "report", str(stored), f"--{name}", where]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    (output,) = (o for o in outputs.ALL if o.name == name)
    assert done.stdout.decode() == output.render(build())


@pytest.mark.usefixtures("_audited")
def test_the_document_alone_on_standard_output(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, "audit", "a:b", "--json", "-", "--badge", tmp_path / "a.svg")
    assert (code, doc.loads(out.encode())) == (1, build())
    assert not Path("-").exists()


def test_a_notebook_has_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    Report(build()).write("-", "markdown")
    assert stream.getvalue().startswith(BEGINS["markdown"])


def test_a_reader_that_leaves_early_changes_nothing(stored: Path) -> None:
    polyref = f"{shlex.quote(sys.executable)} -m polyref report {shlex.quote(str(stored))} --html"
    for where in ("-", "/dev/stdout"):
        command = f"{polyref} {where} | true; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("path", "line"),
    [("/dev/null/x", "cannot write /dev/null/x: "), (".", "cannot write .: it is a folder: give a file name")],
)
def test_an_audit_refuses_before_it_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, path: str, line: str
) -> None:
    monkeypatch.setattr(auditor, "audit", pytest.fail)
    assert refused(run(capsys, "audit", "a:b", f"--{name}", path)).startswith(line)


@pytest.mark.parametrize("name", NAMES)
def test_several_audits_refuse_before_they_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(many, "audit", pytest.fail)
    file = tmp_path / "file"
    file.write_text("")
    for path, why in ((file, "it is no folder"), ("-", "several files need a folder")):
        line = refused(run(capsys, "audit", "a:b", "c:d", f"--{name}", path))
        assert line == f"cannot write to {path}: {why}"


def test_no_file_is_written_over_another(capsys: pytest.CaptureFixture[str], tmp_path: Path, stored: Path) -> None:
    path = tmp_path / "a"
    line = refused(run(capsys, "report", stored, "--html", path, "--sarif", tmp_path / "." / "a"))
    assert line == f"--sarif {path} is where --html is: give another file"
    line = refused(run(capsys, "report", stored, "--html", stored))
    assert line == f"--html {stored} is where the document is: give another file"
    line = refused(run(capsys, "report", stored, "--html", "-", "--badge", "/dev/stdout"))
    assert line == "--badge /dev/stdout is where --html is: give another file"
    assert list(tmp_path.iterdir()) == [stored]
    assert run(capsys, "report", stored, "--html", "/dev/null", "--badge", "/dev/null") == (1, "", "")


def test_an_option_whose_file_was_forgotten(capsys: pytest.CaptureFixture[str], stored: Path) -> None:
    line = refused(run(capsys, "report", stored, "--html", "--badge", "a.svg"))
    assert line.startswith("Invalid value for --html: '--badge' is no file: give one, or - for standard output (see ")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (None, "cannot read {file}: no such file or directory"),
        (b"", "{file} is no whole JSON file: "),
        (b"\xff<script>", "{file} is no whole JSON file: "),
        (doc.dumps(build())[:-9], "{file} is no whole JSON file: "),
        (doc.dumps(build()).replace(b"polyref-audit/", b"polyref-exam/"), "{file} has the schema 'polyref-exam/"),
        (b"[" * 100_000, "{file} is no "),
    ],
)
def test_what_is_no_document_costs_a_line_and_no_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: bytes | None, line: str
) -> None:
    file, page = tmp_path / "a.json", tmp_path / "a.html"
    page.write_text("as it was")
    if data is not None:
        file.write_bytes(data)
    assert refused(run(capsys, "report", file, "--html", page)).startswith(line.format(file=file))
    assert page.read_text() == "as it was"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("name", NAMES[1:])
def test_a_full_disk_costs_a_line(capsys: pytest.CaptureFixture[str], stored: Path, name: str) -> None:
    line = refused(run(capsys, "report", stored, f"--{name}", "/dev/full"))
    assert line == "cannot write /dev/full: no space left on device"


def test_a_report_in_hand_writes_every_one(tmp_path: Path) -> None:
    report = Report(build())
    for output in outputs.ALL:
        by_suffix, by_name = tmp_path / f"a{output.suffix.upper()}", tmp_path / output.name
        report.write(by_suffix)
        report.write(by_name, output.name)
        assert by_suffix.read_bytes() == by_name.read_bytes()
        assert by_name.read_text("utf-8").startswith(BEGINS[output.name])
    assert doc.read(tmp_path / "json") == build()
    with pytest.raises(UsageError, match=r"no output has the suffix of a\.txt: choose \.json, \.html, \.md, \.xml"):
        report.write("a.txt")
    with pytest.raises(UsageError, match="no output is called 'pdf': choose json, html, markdown, junit, sarif, badge"):
        report.write("a.pdf", "pdf")


def test_drawing_is_light(stored: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from polyref import cli; code = cli.run(sys.argv[1:]);"
        " print([code, sorted({'torch', 'hypothesis', 'numpy', 'flint', 'mpmath'} & set(sys.modules))])"
    )
    argv = [sys.executable, "-c", code, "report", str(stored), *options(tmp_path, NAMES[1:])]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [1, []]

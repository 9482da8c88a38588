"""The checker in C: forty lines that answer the vectors, within the tolerance; a defect in it is found and named."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from polyref import cli
from polyref.report import vectors as doc

from .conftest import FOLDER

SOURCE = FOLDER / "check.c"
CC = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
README = Path(__file__).parents[2] / "README.md"

needs_a_compiler = pytest.mark.skipif(CC is None, reason="no C compiler: install one as cc, gcc or clang")


def answers(tmp_path: Path, name: str, *options: str) -> Path:
    """What the checker says to a committed set."""
    assert CC is not None
    program, said = tmp_path / "check", tmp_path / f"{name}-answers.jsonl"
    strict = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic")
    subprocess.run([CC, *strict, *options, str(SOURCE), "-o", str(program), "-lm"], check=True)
    with (FOLDER / f"{name}.jsonl").open() as vectors, said.open("w") as stream:
        subprocess.run([program], stdin=vectors, stdout=stream, check=True)
    return said


def graded(tmp_path: Path, name: str, said: Path) -> tuple[int, doc.Check]:
    out = tmp_path / "check.json"
    code = cli.run(["vectors", "check", str(FOLDER / f"{name}.jsonl"), str(said), "--json", str(out)])
    return code, doc.loads(out.read_bytes())


def test_it_has_forty_lines_at_most() -> None:
    assert len(SOURCE.read_text().splitlines()) <= 40
    assert set(re.findall(r"#include <(.+)>", SOURCE.read_text())) == {"math.h", "stdio.h", "stdlib.h", "string.h"}


@needs_a_compiler
@pytest.mark.parametrize("name", ["binary32", "binary16", "bfloat16"])
def test_its_answers_are_within_the_tolerance(tmp_path: Path, name: str) -> None:
    """It computes in float, and so the narrower formats too."""
    code, found = graded(tmp_path, name, answers(tmp_path, name))
    assert (code, found.failed) == (0, 0)
    assert found.answered >= 20
    assert found.answered + len(found.declined) == found.vectors == 60
    assert {t.quantity for t in found.grades} == {"value", "gradient"}


@needs_a_compiler
def test_a_defect_in_it_is_found_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = graded(tmp_path, "binary32", answers(tmp_path, "binary32", "-DWRONG"))
    assert code == 1
    assert found.failed >= 10
    first, second = found.suspects[:2]
    assert (first.name, first.likeness) == ("polynomial-of-pt", 1.0)
    assert first.defect == "eps Pt in the place of eps x"
    assert second.likeness < 1
    assert "Points at" in capsys.readouterr().out


@needs_a_compiler
def test_the_example_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands that it shows, and what it shows of their output."""
    text = README.read_text(encoding="utf-8")
    (shown,) = re.findall(r"## Golden vectors\n.*?```text\n(.*?)```", text, re.DOTALL)
    command, _, printed = shown.partition("\n")
    assert command.startswith("$ cc ")
    said = answers(tmp_path, "binary32", "-DWRONG")
    assert "-DWRONG" in command
    monkeypatch.setenv("COLUMNS", "100")
    assert cli.run(["vectors", "check", str(FOLDER / "binary32.jsonl"), str(said)]) == 1
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    place = 0
    for line in printed.splitlines():
        if line.strip() == "…" or line.startswith("$ "):
            continue
        assert line.rstrip() in lines[place:], line
        place = lines.index(line.rstrip(), place) + 1

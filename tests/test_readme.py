"""The README's examples are run, and what it shows is what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
#: What differs from run to run or from machine to machine: times, and the errors in the table of grades, as libraries
#: choose their code by the processor.
_SECONDS = re.compile(r"\d+(\.\d+)? s\b")
_GRADED = re.compile(r"^( *(?:value|gradient) +\w+ +[a-z]+(?: [a-z]+)?) +[\d.e]+ +[\d.e-]+ +(\d+)$", re.MULTILINE)


def blocks(kind: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(README.read_text(encoding="utf-8")) if found == kind]


def console_examples() -> list[tuple[str, str]]:
    """(command, the output shown) for each `$` line of the console blocks; a line of … stands for what was left out."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown.strip("\n")))
    return found


def fixed(text: str) -> str:
    """What is the same on every machine."""
    return _GRADED.sub(r"\1 _ _ \2", _SECONDS.sub("_ s", text))


def test_what_differs_between_machines_is_left_out() -> None:
    row = "    gradient   binary32   correctly rounded      {}             {}        350"
    assert fixed(row.format("1.90e7", "0.452")) == fixed(row.format("0.5", "4.5e-4"))
    assert fixed(row.format("1.90e7", "0.452")) != fixed(row.format("1.90e7", "0.452").replace("350", "351"))
    assert fixed("in 12.5 s, 3 laws") == "in _ s, 3 laws"


def test_there_are_examples() -> None:
    assert len(console_examples()) >= 2
    assert blocks("python")


@pytest.mark.parametrize(("command", "shown"), console_examples(), ids=lambda text: text.split("\n")[0][:60])
def test_a_command_prints_what_the_readme_shows(command: str, shown: str) -> None:
    folder = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
    ran = subprocess.run(command, shell=True, capture_output=True, text=True, env=env, cwd=README.parent, check=False)
    printed = [line.rstrip() for line in fixed(ran.stdout + ran.stderr).splitlines()]
    position = 0
    for line in fixed(shown).splitlines():
        if line.strip() == "…":
            continue
        assert line.rstrip() in printed[position:], f"{line!r} is not printed any more:\n" + "\n".join(printed)
        position = printed.index(line.rstrip(), position) + 1


@pytest.mark.parametrize("source", blocks("python"))
def test_python_runs(source: str) -> None:
    shown = [line.partition("# ")[2] for line in source.splitlines() if line.startswith("print(")]
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=README.parent)
    assert ran.stdout.splitlines() == shown

"""The commands about golden vectors: what they write, what they exit with, one line for each mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from polyref import cli
from polyref.report import vectors as doc
from polyref.vectors.schema import json_schema

README = Path(__file__).parents[1] / "README.md"
SET = README.parent / "reports" / "vectors" / "binary32.jsonl"


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "100")

    def one(*argv: object) -> Done:
        code = cli.run(["vectors", *map(str, argv)])
        return Done(code, *capsys.readouterr())

    return one


def right() -> list[dict[str, object]]:
    """The right answer to every vector, in each of the ways to write one."""
    found = []
    for i, text in enumerate(SET.read_text().splitlines()[1:]):
        v = json.loads(text)
        suffix = "_bits" if i % 2 else ""
        found.append({"id": v["id"], "value": v[f"value{suffix}"], "gradient": v[f"gradient{suffix}"]})
    return found


def write(path: Path, answers: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(a) + "\n" for a in answers))
    return path


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return write(tmp_path / "answers.jsonl", right())


def test_what_is_written_can_be_checked(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new" / "v.jsonl"
    done = run("--format", "bf16", "--spec", "epsilon=-1,weighting=ce_only", "--count", 5, "-o", path)
    assert done == (0, "", "")
    header, *vectors = map(json.loads, path.read_text().splitlines())
    assert (header["format"], header["specs"]) == ("bfloat16", ["epsilon=-1,weighting=ce_only"])
    assert len(vectors) == header["vectors"] == 5
    said = write(tmp_path / "a.jsonl", [{"id": v["id"], "value": v["value"]} for v in vectors])
    done = run("check", path, said)
    assert (done.code, done.err) == (0, "")
    assert "✓ 5 of 5 vectors of bfloat16 answered, all of them within the tolerance" in done.out
    assert "gradient" not in done.out


def test_without_a_file_they_go_to_standard_output(run: Run) -> None:
    options = ("--format", "binary16", "--spec", "epsilon=1,link=sigmoid", "--count", 3)
    done = run(*options)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out.splitlines()[0])["schema"] == "polyref-vectors/1"
    assert run(*options, "-o", "-").out == done.out
    assert run(*options, "--seed", 1).out != done.out


def test_right_answers(run: Run, answers: Path, tmp_path: Path) -> None:
    out = tmp_path / "check.json"
    done = run("check", SET, answers, "--json", out)
    assert (done.code, done.err) == (0, "")
    assert "✓ 60 of 60 vectors of binary32 answered, all of them within the tolerance" in done.out
    found = doc.loads(out.read_bytes())
    assert {t.grade for t in found.grades} == {"correctly rounded"}
    # A document on standard output stands there alone.
    assert doc.loads(run("check", SET, answers, "--json", "-").out.encode()) == found


def test_wrong_and_missing_answers(run: Run, tmp_path: Path) -> None:
    said = right()
    said[0]["value"] = [12.5]
    done = run("check", SET, write(tmp_path / "a.jsonl", said[:-2]))
    assert done.code == 1
    assert "✗ 58 of 60 vectors of binary32 answered, 1 beyond the tolerance, 2 missing" in done.out
    assert "Missing    binary32-059, binary32-060" in done.out
    assert "Observed   12.5 (0x1.9p+3)" in done.out
    assert run("check", SET, write(tmp_path / "a.jsonl", right()[:-2])).code == 1


def test_nothing_measured(run: Run, tmp_path: Path) -> None:
    done = run("check", SET, write(tmp_path / "a.jsonl", [{"id": "binary32-001", "value": None}]))
    assert done.code == 3
    assert "? nothing was measured" in done.out


def test_from_standard_input(answers: Path) -> None:
    command = [sys.executable, "-m", "polyref", "vectors", "check", str(SET), "-"]
    with answers.open() as stream:
        done = subprocess.run(command, stdin=stream, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "60 of 60" in done.stdout


def test_schema(run: Run, tmp_path: Path) -> None:
    assert run("schema").out.encode() == json_schema()
    path = tmp_path / "schema.json"
    assert run("schema", "-o", path) == (0, "", "")
    assert path.read_bytes() == json_schema()


@pytest.mark.parametrize("argv", [("--help",), ("check", "--help"), ("schema", "--help")])
def test_help(run: Run, argv: tuple[str, ...]) -> None:
    done = run(*argv)
    assert (done.code, done.err) == (0, "")
    assert "Usage: polyref vectors" in done.out
    for internal in ("()", "None", "Annotated", "Parameters\n"):
        assert internal not in done.out


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("--format", "binary33"), "unknown format 'binary33': choose one of binary64, binary32"),
        (("--spec", "epsilom=1"), "spec 'epsilom=1': no parameter is called 'epsilom': choose epsilon or"),
        (("--spec", "epsilon=1,link=sigmoid", "--count", "0"), "--count 0 is not allowed: give at least 1"),
        (("--count", "x"), "'x' is no whole number"),
        (("-o", "--seed"), "'--seed' is no file: give one, or - for standard output"),
        (("-o", "/dev/null/v.jsonl"), "cannot write /dev/null/v.jsonl: /dev/null is no folder"),
        (("check", SET), "polyref vectors check needs RESULTS (see polyref vectors check --help)"),
        (("check", "none.jsonl", "a.jsonl"), "cannot read none.jsonl: no such file or directory"),
        (("check", SET, "none.jsonl"), "cannot read none.jsonl: no such file or directory"),
        (("check", README, "none.jsonl"), "README.md, line 1 is no whole JSON file"),
        (("check", SET, SET), "binary32.jsonl, line 1 is no answer: Object contains unknown field `schema`"),
    ],
)
def test_each_mistake_is_one_line(run: Run, argv: tuple[str, ...], line: str) -> None:
    done = run(*argv)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("polyref: ")
    assert done.err.count("\n") == 1
    assert line in done.err


def test_a_check_loads_neither_torch_nor_hypothesis(answers: Path) -> None:
    code = f"""
import sys
from polyref import cli
assert cli.run(["vectors", "check", {str(SET)!r}, {str(answers)!r}]) == 0
heavy = {{n.partition(".")[0] for n in sys.modules}} & {{"torch", "numpy", "scipy", "hypothesis"}}
sys.exit(f"loaded {{sorted(heavy)}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_document_does_not_replace_what_it_is_about(run: Run, answers: Path) -> None:
    before = answers.read_bytes()
    done = run("check", SET, answers, "--json", answers)
    assert done.code == 2
    assert "is where the file of answers is: give another file" in done.err
    assert answers.read_bytes() == before

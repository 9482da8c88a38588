"""The command line: what it prints, what it exits with, and one line for everything that a user can get wrong."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from math import exp, log1p
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec
import pytest
from report.example import build, finding
from selftest.example import build as selftest
from selftest.example import failure

from polyref import __version__, accuracy, cli, cli_types, grades, judging
from polyref import auditor as au
from polyref.errors import NothingMeasured
from polyref.formats import BFLOAT16, BINARY32, BINARY64
from polyref.report import document
from polyref.report import selftest as selftest_document
from polyref.report.words import number
from polyref.selftest import run as st
from polyref.subject import convention
from polyref.subject.overrides import Forms
from polyref.verdict import Outcome, Verdict

PAPER = ("eval", "--logits", "2,0.5,1", "--target", "1")
CE, X = log1p(exp(1.5) + exp(0.5)), 1 - 1 / (1 + exp(1.5) + exp(0.5))
LOSS = "import torch.nn.functional as F\n\n\ndef loss(logits, labels, epsilon=1.0, note='n'):\n    {}\n"
RIGHT = "return F.cross_entropy(logits, labels, reduction='none') + epsilon * (1 - pt(logits, labels))"
HELPER = "\n\ndef pt(logits, labels):\n    return F.softmax(logits, -1).gather(-1, labels[:, None])[:, 0]\n"


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "80")

    def one(*argv: object) -> Done:
        code = cli.run([str(a) for a in argv])
        return Done(code, *capsys.readouterr())

    return one


def process(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polyref", *argv]
    return subprocess.run(command, text=True, check=False, timeout=120, **({"capture_output": True} | options))


def refused(done: Done) -> str:
    """The one line of a usage error."""
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("polyref: ")
    assert done.err.endswith("\n")
    assert done.err.count("\n") == 1
    return done.err.removeprefix("polyref: ").strip()


# --- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",)])
def test_help(run: Run, argv: tuple[str, ...]) -> None:
    done = run(*argv)
    assert done.code == 0
    assert done.err == ""
    assert "Usage: polyref COMMAND" in done.out
    assert "Exit codes: 0 all laws hold; 1 defects; 2 usage, or the target cannot be loaded;\n" in done.out
    for command in ("audit", "check", "eval", "gallery", "properties", "replay", "report", "selftest"):
        assert f"│ {command} " in done.out


@pytest.mark.parametrize("command", ["audit", "check", "eval", "gallery", "properties", "replay", "report", "selftest"])
def test_help_of_a_command(run: Run, command: str) -> None:
    done = run(command, "--help")
    assert done.code == 0
    assert f"Usage: polyref {command} " in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())
    # Nothing of Python's shows: no empty tuples, no booleans, no annotations.
    for internal in ("()", "False", "True", "None", "Annotated", "Parameters\n"):
        assert internal not in done.out


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"{__version__}\n", "")


# --- eval -----------------------------------------------------------------------------------------------------------


def test_eval_in_json(run: Run) -> None:
    done = run(*PAPER, "--epsilon", "1", "--digits", "40", "--json")
    assert done.code == 0
    data = json.loads(done.out)
    assert data["value"]["mid"] == "2.824124400941856357097907302064209401529"
    assert data["engine"] == "ball"
    assert len(data["gradient"]) == 3
    assert set(data["pt"]) == {"mid", "rad"}
    other = json.loads(run(*PAPER, "--engine", "series", "--json").out)
    assert other["engine"] == "series"
    assert other["value"]["mid"] == data["value"]["mid"]


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (("--epsilon", "-1"), CE - X),
        (("--epsilon=-1",), CE - X),
        (("--epsilon", "-1,-0.5, 0.25"), CE - X - 0.5 * X**2 + 0.25 * X**3),
        (("--epsilon", ""), CE),
        (("--gamma", "2"), X**2 * CE + X**3),
        (("--weight", "1,2,3"), 2 * (CE + X)),
        (("--weight", "1,2,3", "--weighting", "ce_only"), 2 * CE + X),
        (("--weight", "1,2,1", "--weighting", "rescaled_p"), 2 * CE + 1 - (1 - X) * 2 / (4 / 3)),
        (("--link", "sigmoid"), sum(log1p(exp(z)) + 1 / (1 + exp(-z)) for z in (2, -0.5, 1))),
        (("--format", "bfloat16"), CE + X),
    ],
)
def test_eval_takes_every_option(run: Run, options: tuple[str, ...], value: float) -> None:
    done = run(*PAPER, *options, "--json")
    assert done.code == 0
    assert float(json.loads(done.out)["value"]["mid"]) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize("logits", ["-1,2", " -1 , 2 ", "-0x1p0,0x1p1", "-1e0,+2"])
def test_logits_that_begin_with_a_minus_sign(run: Run, logits: str) -> None:
    assert "logits    -1, 2   (binary64)" in run("eval", "--logits", logits, "--target", "0").out


def test_one_logit_under_the_sigmoid_link(run: Run) -> None:
    out = run("eval", "--logits", "0", "--target", "0", "--link", "sigmoid", "--digits", "12").out
    assert "loss       1.19314718056" in out
    assert "loss of" not in out


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--logits", "nan,1"), "logit is 'nan', which is no number of binary64: give a number"),
        (("--logits", "inf,1"), "logit 0 of row 0 is inf: give a number, or -inf for an impossible class"),
        (("--logits", "-inf,-inf"), "every logit of row 0 is -inf, so it has no probabilities: give a finite one"),
        (("--logits", "1e400,1"), "logit '1e400' is beyond binary64, whose largest number is 1.7976931348623157e+308: "
                                  "give a smaller one, or choose a wider format"),
        (("--logits", "a,1"), "logit 'a' is no number: write it in decimal or as 0x1.8p+1"),
        (("--logits", ""), "the batch is empty: give at least one row of at least one logit"),
        (("--target", "3"), "target 3 of row 0 is out of range: with 3 classes give 0 to 2"),
        (("--target", "-1"), "target -1 of row 0 is out of range: with 3 classes give 0 to 2"),
        (("--target", "-100"), "target -100 is out of range: with 3 classes give 0 to 2"),
        (("--target", "1.5"), "Invalid value for --target: '1.5' is no whole number (see polyref eval --help)"),
        (("--digits", "1e3"), "Invalid value for --digits: '1e3' is no whole number (see polyref eval --help)"),
        (("--digits", "0"), "0 digits cannot be had: ask for 1 to 100000"),
        (("--digits", "-5"), "-5 digits cannot be had: ask for 1 to 100000"),
        (("--digits", "1000000000"), "1000000000 digits cannot be had: ask for 1 to 100000"),
        (("--weight", "1,2"), "the weight vector has 2 entries: give 3, one a class"),
        (("--weight", "1,-2,3"), "weight 1 is -2.0: give a finite number, at least 0"),
        (("--weight", "0,0,0", "--weighting", "rescaled_p"),
         "the weights have mean 0, and the rescaled law divides by it: give other weights"),
        (("--gamma", "-1"), "gamma -1.0 is not allowed: give a finite number, at least 0"),
        (("--gamma", "inf"), "gamma inf is not allowed: give a finite number, at least 0"),
        (("--gamma", "1,2"), "gamma '1,2' is no number: write it in decimal or as 0x1.8p+1"),
        (("--epsilon", "-inf"), "epsilon_1 is -inf: give a finite number"),
        (("--format", "binary33"),
         "unknown format 'binary33': choose one of binary64, binary32, binary16, bfloat16, e5m2, e4m3"),
        (("--weighting", "x"), 'Invalid value "x" for --weighting. Choose from: "both", "ce_only", "rescaled_p" '
                               "(see polyref eval --help)"),
        (("--frobnicate", "3"), "Unknown option: --frobnicate. Did you mean --format? (see polyref eval --help)"),
    ],
)  # fmt: skip
def test_eval_refuses_in_one_line(run: Run, options: tuple[str, ...], line: str) -> None:
    given = {"--logits": "3,1,2", "--target": "1"} | dict(zip(options[::2], options[1::2], strict=True))
    assert refused(run("eval", *(word for pair in given.items() for word in pair))) == line


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("eval",), "polyref eval needs --logits (see polyref eval --help)"),
        (("eval", "--logits", "1,2"), "polyref eval needs --target (see polyref eval --help)"),
        (("audit",), "polyref audit needs TARGET (see polyref audit --help)"),
        (("check", "a:b"), "polyref check needs --property (see polyref check --help)"),
    ],
)
def test_what_is_missing_is_named(run: Run, argv: tuple[str, ...], line: str) -> None:
    assert refused(run(*argv)) == line


def test_an_unknown_command(run: Run) -> None:
    line = refused(run("frobnicate"))
    assert line.startswith('Unknown command "frobnicate"')
    assert line.endswith("(see polyref --help)")


# --- where the output goes ------------------------------------------------------------------------------------------


def test_a_reader_that_leaves_early_changes_nothing() -> None:
    for argv in (shlex.join(PAPER), "--help", shlex.join([*PAPER, "--json"])):
        command = f"set -o pipefail; {shlex.quote(sys.executable)} -m polyref {argv} | true"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_unicode() -> None:
    done = process(*PAPER, "--digits", "5", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "loss       2.8241   +/- " in done.stdout
    done = process("audit", "é.py:Loß", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 2
    assert "target '\\xe9.py:Lo\\xdf': there is no file" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = process(*PAPER, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "cannot write the output, no space is left" in done.stderr


def test_other_errors_of_the_system_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(OSError, match="too many"):
        cli.run([])


def test_control_characters_of_a_subject_do_not_reach_the_terminal(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "loud.py"
    file.write_text("def loss(logits, labels):\n    raise ValueError('\\x1b[31m red')\n")
    assert cli.run(["audit", f"{file}:loss", "--profile", "quick"]) == 2
    said = capsys.readouterr().err
    assert "⟨U+001B⟩[31m red" in said
    assert "\x1b[31m" not in said


def test_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    assert cli.run([]) == 130


# --- audit ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("nofile.py:x",), "target 'nofile.py:x': there is no file 'nofile.py' in "),
        (("no_colon",), "target 'no_colon' has no colon: give package.module:attr or path/to/file.py:attr"),
        (("a:b", "--formats", "binary33"), "unknown format 'binary33': choose one of "),
        (("a:b", "--init", "epsilon"), "--init 'epsilon' is no override: give name=value"),
        (("a:b", "--timeout", "0"), "--timeout 0 is not allowed: give a number above 0"),
        (("a:b", "--timeout", "nan"), "--timeout nan is not allowed"),
        (("a:b", "--memory", "inf"), "--memory inf is not allowed"),
        (("a:b", "--budget", "0"), "--budget 0 is not allowed: give a number above 0"),
        (("a:b", "--restarts", "0"), "--restarts 0 is not allowed: give a number above 0"),
        (("a:b", "--labels", "gold"), 'Invalid value "gold" for --labels'),
        (("a:b", "--input", "odds"), 'Invalid value "odds" for --input'),
        (("a:b", "--order", "any"), 'Invalid value "any" for --order'),
        (("a:b", "--seed", "1.5"), "Invalid value for --seed: '1.5' is no whole number"),
        (("a:b", "--profile", "x"), 'Invalid value "x" for --profile'),
        (("a:b", "--json", "/dev/null/x.json"), "cannot write /dev/null/x.json: "),
        (("a:b", "--html", "."), "cannot write .: it is a folder: give a file name"),
    ],
)
def test_audit_refuses_before_it_starts(run: Run, argv: tuple[str, ...], line: str) -> None:
    assert refused(run("audit", *argv)).startswith(line)


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("import not_there_at_all", ("it raises ModuleNotFoundError: No module named 'not_there_at_all'", "install")),
        ("def Loss(: pass", ("SyntaxError", "mend it so that it can be imported")),
        ("def Lost(): pass", ("has no attribute 'Loss'", "did you mean Lost?")),
        ("Loss = 3", ("is an int and cannot be called", "name a class, a function or an instance")),
        (
            "def Loss(logits, labels):\n    raise RuntimeError('never\\nmind')",
            ("no way of calling it works", "Tried Loss(logits, labels)", "RuntimeError: never", "--init name=value"),
        ),
    ],
)
def test_a_target_that_cannot_be_used(run: Run, tmp_path: Path, source: str, parts: tuple[str, ...]) -> None:
    path = tmp_path / "theirs.py"
    path.write_text(source)
    line = refused(run("audit", f"{path}:Loss"))
    for part in parts:
        assert part in line


def test_a_loss_that_returns_nothing(run: Run, tmp_path: Path) -> None:
    done = run("audit", "polyref.gallery.nothing:Poly1CrossEntropyLoss", "--json", tmp_path / "n.json")
    assert done.code == 1
    assert done.err == ""
    assert "returns-a-value" in done.out
    assert "Poly1CrossEntropyLoss returns None: its forward has no return value." in " ".join(done.out.split())
    assert "End forward with `return loss`." in done.out
    assert document.read(tmp_path / "n.json").violated[0].property == au.RETURNS_A_VALUE


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        (build(), (1, "✗ 2 of 6 laws are broken")),
        (build(findings=[finding("a", "holds")]), (0, "✓ The one law holds")),
        (build(findings=[finding("a", "inconclusive")]), (3, "? Nothing was measured")),
    ],
)
def test_exit_codes_of_an_audit(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: document.Document, answer: tuple[int, str]
) -> None:
    monkeypatch.setattr(au, "audit", lambda *_, **__: found)
    done = run("audit", "a:b", "--json", tmp_path / "new" / "a.json", "--html", tmp_path / "new" / "a.html")
    assert done.code == answer[0]
    assert done.err == ""
    assert answer[1] in done.out
    assert document.read(tmp_path / "new" / "a.json") == found
    assert (tmp_path / "new" / "a.html").read_text().startswith("<!doctype html>")


def test_options_reach_the_audit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(au, "audit", lambda target, options, **_: seen.append((target, options)) or build())
    run(
        *("audit", "a:b", "--formats", "binary32, binary64", "--seed", "-7", "--profile", "quick"),
        *("--init", "n=3", "--init", "name=x", "--call", "e=[1, 2]", "--timeout", "2.5", "--memory", "0.5"),
        *("--restarts", "3", "--budget", "60"),
        *("--labels", "one_hot", "--input", "probabilities", "--order", "labels_first"),
    )
    [(target, options)] = seen
    assert target == "a:b"
    assert options.formats == (BINARY32, BINARY64)
    assert (options.seed, options.profile) == (-7, "quick")
    assert options.forms == Forms(labels="one_hot", inputs="probabilities", order="labels_first")
    assert (options.init, options.call) == ({"n": 3, "name": "x"}, {"e": [1, 2]})
    assert (options.limits.seconds_per_case, options.limits.memory_bytes) == (2.5, 2**29)
    assert (options.all_limits.restarts, options.all_limits.total_seconds) == (3, 60.0)


def test_what_is_no_loss_is_not_judged(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "objective.py"
    path.write_text(
        "def objective(preds, dtrain):\n    p = preds.sigmoid()\n    return p - dtrain.get_label(), p * (1 - p)\n"
    )
    done = run("audit", f"{path}:objective")
    assert (done.code, done.out) == (3, "")
    (line,) = done.err.splitlines()
    assert line.startswith(
        "polyref: objective returns derivatives in the place of a loss: called as objective(logits, "
    )


def test_nothing_could_be_measured(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise NothingMeasured("b answered no case: give it more time with --timeout")

    monkeypatch.setattr(au, "audit", nothing)
    assert run("audit", "a:b") == (3, "", "polyref: b answered no case: give it more time with --timeout\n")


# --- check ----------------------------------------------------------------------------------------------------------


def test_a_reproduce_line_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also through a folder and an override that a shell would take apart, and after the loss is mended."""
    laws = [law for law in judging.load_properties() if law.id == "gradient-matches-the-reference"]
    monkeypatch.setattr(judging, "load_properties", lambda: laws)
    monkeypatch.setattr(accuracy, "grade_format", lambda *_, **__: grades.Graded())
    folder = tmp_path / "it's $HOME"
    folder.mkdir()
    path = folder / "theirs.py"
    path.write_text(LOSS.format(RIGHT.replace("cross_entropy(logits", "cross_entropy(logits.detach()")) + HELPER)
    options = au.Options(formats=(BINARY64, BINARY32), profile="quick", call={"note": "it's `x`"})
    found = au.audit(f"{path}:loss", options).violated
    assert {f.format for f in found} == {"binary64", "binary32"}
    for f in found:
        assert msgspec.json.decode(shlex.split(f.reproduce)[6].encode())["format"] == f.format
        done = in_a_shell(f.reproduce)
        assert done.returncode == 1
        assert done.stdout.splitlines()[0] == f"violated: error {number(f.ratio)} times the tolerance"
        assert f.expected in done.stdout
        assert f.observed in done.stdout
    path.write_text(LOSS.format(RIGHT) + HELPER)
    done = in_a_shell(found[0].reproduce)
    assert done.returncode == 0
    assert done.stdout.startswith("holds: error 0")


def in_a_shell(command: str) -> subprocess.CompletedProcess[str]:
    ours = f"{shlex.quote(sys.executable)} -m polyref"
    assert command.startswith("polyref check ")
    return subprocess.run(
        ["sh", "-c", ours + command.removeprefix("polyref")], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.HOLDS, 0), (Verdict.VIOLATED, 1), (Verdict.INCONCLUSIVE, 3)])
def test_exit_codes_of_a_check(run: Run, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, code: int) -> None:
    outcome = Outcome(verdict, 2.5e7, "[red]1[/red]", "2\x1b[2J", "The loss is wrong.")
    monkeypatch.setattr(au, "check_one", lambda *_: outcome)
    done = run("check", "a:b", "--property", "p", "--case", "{}")
    assert done.code == code
    assert [line.rstrip() for line in done.out.splitlines()] == [
        f"{verdict}: error 2.50e7 times the tolerance",
        "Expected   [red]1[/red]",
        "Observed   2⟨U+001B⟩[2J",
        "Subject    The loss is wrong.",
    ]


@pytest.mark.parametrize(
    ("law", "case", "line"),
    [
        ("gradient-matches", "{}", "no law is called 'gradient-matches': choose gradient-matches-the-reference"),
        ("shift-invariance", "{", "--case is no JSON (Expecting property name"),
        ("shift-invariance", "[]", "--case is no JSON object: copy it from the finding"),
        ("shift-invariance", "{}", "this is no case document (KeyError: 'spec')"),
    ],
)
def test_check_refuses(run: Run, law: str, case: str, line: str) -> None:
    assert refused(run("check", "a:b", "--property", law, "--case", case)).startswith(line)


# --- gallery --------------------------------------------------------------------------------------------------------


def test_the_gallery_command(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[object] = []
    fake = SimpleNamespace(run=lambda out, **options: seen.append((out, options)) or 1)
    monkeypatch.setitem(sys.modules, "polyref.gallery.run", fake)
    assert run("gallery", "--out", tmp_path, "--profile", "quick", "--jobs", "3").code == 1
    assert seen == [(tmp_path, {"profile": "quick", "jobs": 3, "frameworks": ("torch",)})]


def test_the_gallery_refuses(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    assert refused(run("gallery", "--out", path)) == f"cannot write to {path}: it is no folder"
    assert refused(run("gallery", "--jobs", "0")) == "--jobs 0 is not allowed: give at least 1"


# --- properties -----------------------------------------------------------------------------------------------------


def test_the_laws_by_theme(run: Run) -> None:
    done = run("properties")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    ids = [law.id for law in judging.load_properties()]
    assert lines[-1].startswith(f"{len(ids)} laws; polyref properties ID explains one")
    assert lines[0] == "series"
    assert [law["id"] for law in json.loads(run("properties", "--json").out)["laws"]] == ids
    assert any(line.split()[0] == "shift-invariance" for line in lines if line)


def test_a_law_explained(run: Run) -> None:
    done = run("properties", "shift-invariance")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("shift-invariance  symmetries, judged in the widest format that a subject takes\n")
    text = " ".join(done.out.split())
    assert "Not for its probabilities are sigmoids, each logit by itself" in text
    assert "Rejects sigmoid-probability Pt from sigmoid" in text
    assert "A violation, by sigmoid-probability in binary64" in text
    assert "Case binary64 logits [0, 0; 1, 1], target 0; 0, epsilon 1, reduction none" in text
    data = json.loads(run("properties", "shift-invariance", "--json").out)
    assert data["schema"] == "polyref-law/1"
    assert data["mutants"][0] == {"name": "sigmoid-probability", "defect": "Pt from sigmoid"}
    assert data["example"]["case"]["logits"][1] == [(1.0).hex(), (1.0).hex()]


@pytest.mark.parametrize(
    ("law", "line"),
    [
        ("shift-invarianc", "no law is called 'shift-invarianc': choose shift-invariance or "),
        ("€", "no law is called '€': choose "),
    ],
)
def test_an_unknown_law(run: Run, law: str, line: str) -> None:
    assert refused(run("properties", law)).startswith(line)


# --- selftest -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 3])
def test_the_selftest_command(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int) -> None:
    seen = []
    changes = {0: {}, 1: {"failures": [failure()]}, 3: {"mutants": [], "kills": [], "variant_trials": []}}[code]
    monkeypatch.setattr(st, "selftest", lambda options: seen.append(options) or selftest(**changes))
    done = run(
        *("selftest", "--law", "a", "--law", "b", "--mutant", "m", "--format", "bfloat16", "--seed", "-3"),
        *(
            "--examples",
            "7",
            "--jobs",
            "3",
            "--json",
            tmp_path / "new" / "s.json",
            "--html",
            tmp_path / "new" / "s.html",
        ),
    )
    assert (done.code, done.err) == (code, "")
    assert seen == [st.Options(("a", "b"), ("m",), (BFLOAT16,), -3, 7, 3)]
    assert selftest_document.read(tmp_path / "new" / "s.json") == selftest(**changes)
    assert (tmp_path / "new" / "s.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("--law", "shift-inv"), "no law is called 'shift-inv': choose shift-invariance or "),
        (("--mutant", "€"), "no mutant is called '€': choose "),
        (("--format", "binary33"), "no format is called 'binary33': choose binary32 or "),
        (("--examples", "0"), "--examples 0 is not allowed: give at least 1"),
        (("--jobs", "1.5"), "Invalid value for --jobs: '1.5' is no whole number"),
        (("--json", "/dev/null/x"), "cannot write /dev/null/x: "),
    ],
)
def test_the_selftest_refuses(run: Run, argv: tuple[str, ...], line: str) -> None:
    assert refused(run("selftest", *argv)).startswith(line)


def test_the_choices_of_the_command_line_are_those_of_a_convention() -> None:
    """They are written out there because the convention's module is loaded later."""
    for here, there in (
        (cli_types.FrameworkName, convention.FrameworkName),
        (cli_types.LabelChoice, convention.LabelForm | None),
        (cli_types.InputChoice, convention.Inputs | None),
        (cli_types.OrderChoice, convention.Order | None),
    ):
        assert _words(here) == _words(there)


def _words(choice: Any) -> set[Any]:
    """The literals of a type, and None where it may be that."""
    return set().union(*(_words(a) if get_origin(a) is Literal else {a} for a in get_args(choice)))

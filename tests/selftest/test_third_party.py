"""Laws and mutants of another package, really installed: run and reported like ours, and refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyref import cli
from polyref.report import selftest as doc
from polyref.selftest import registry

LAWS = """
from dataclasses import replace
from math import inf
from polyref.verdict import Outcome
from polyref_properties import ALL

VALUE = next(law for law in ALL if law.id == "value-matches-the-reference")


def check(case, context):
    seen = context.observe(case).value
    return Outcome.of(inf if min(seen) < -0.5 else 0.0, "not below 0", repr(min(seen)), "Less than nothing.", "Mend.")


def law(id="theirs-are-positive", **changes):
    given = {"theme": "theirs", "statement": "Losses of theirs are positive.", "check": check, "formats": "widest"}
    return replace(VALUE, id=id, mutants=("below-zero",), **(given | changes))


def raises(*_):
    raise KeyError("oh\\nno")


LAWS = (law(),)
"""

MUTANTS = """
from polyref_properties.mutants import Mutant
from polyref_properties.mutants.base import Textbook


class BelowZero(Textbook):
    def losses(self, z, y):
        return super().losses(z, y) - 1


def mutants():
    return {"below-zero": Mutant("below-zero", "one is taken off", BelowZero)}
"""


Install = Callable[..., Path]


@pytest.fixture
def installed(tmp_path: Path) -> Install:
    """Installs a package: its code, and the groups of its entry points."""

    def install(code: str = "", laws: str = "theirs:LAWS", mutants: str | None = "their_mutants:mutants") -> Path:
        site = tmp_path / "site"
        info = site / "theirs-1.0.dist-info"
        info.mkdir(parents=True)
        (site / "theirs.py").write_text(LAWS + code)
        (site / "their_mutants.py").write_text(MUTANTS)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        groups = f"[polyref.properties]\ntheirs = {laws}\n"
        if mutants is not None:
            groups += f"\n[polyref.mutants]\ntheirs = {mutants}\n"
        (info / "entry_points.txt").write_text(groups)
        return site

    return install


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Runs a command in this process, with the package on its path, and gives its complaint."""

    def forget() -> None:
        for name in ("theirs", "their_mutants"):
            sys.modules.pop(name, None)
        registry.load_laws.cache_clear()
        registry.load_mutants.cache_clear()

    def run(site: Path, *argv: str) -> str:
        monkeypatch.syspath_prepend(site)
        forget()
        assert cli.run(list(argv)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        return complaint(err)

    yield run
    monkeypatch.undo()
    forget()


def complaint(err: str) -> str:
    """The one line of an error."""
    assert err.startswith("polyref: ")
    assert err.count("\n") == 1
    return err.removeprefix("polyref: ").strip()


def polyref(site: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(site), "COLUMNS": "100"}
    command = [sys.executable, "-m", "polyref", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=300, cwd=site)


def test_they_are_tried_like_ours(installed, tmp_path):
    """In processes of their own, with a mutant and a law of ours beside them."""
    site = installed()
    argv = (
        "--law",
        "theirs-are-positive",
        "--law",
        "shift-invariance",
        "--mutant",
        "below-zero",
        "--mutant",
        "exp-without-max",
    )
    done = polyref(site, "selftest", *argv, "--format", "binary64", "--jobs", "2", "--json", str(tmp_path / "s.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ Nothing failed: 2 laws, 2 mutants, 1 format" in done.stdout
    found = doc.read(tmp_path / "s.json")
    assert [law.theme for law in found.laws][-1] == "theirs"
    assert next(m.theme for m in found.mutants if m.name == "below-zero") == "their_mutants"
    trials = {(p.law, p.subject): p.trials["binary64"].verdict for p in found.kills}
    assert trials["theirs-are-positive", "below-zero"] == "killed"
    assert trials["theirs-are-positive", "exp-without-max"] == "survived"
    assert {p.trials["binary64"].verdict for p in found.variant_trials if p.law == "theirs-are-positive"} == {
        "survived"
    }


def test_they_are_listed_explained_and_audited(installed, tmp_path):
    site = installed()
    laws = json.loads(polyref(site, "properties", "--json").stdout)["laws"]
    assert laws[-1] == {
        "id": "theirs-are-positive",
        "theme": "theirs",
        "statement": "Losses of theirs are positive.",
        "formats": "widest",
        "mutants": ["below-zero"],
    }
    explained = polyref(site, "properties", "theirs-are-positive")
    assert explained.returncode == 0
    assert "below-zero  one is taken off" in explained.stdout
    assert "Less than nothing." in explained.stdout
    (site / "loss.py").write_text(
        "import torch.nn.functional as F\n\n\ndef loss(logits, labels):\n"
        "    return F.cross_entropy(logits, labels, reduction='none') - 1\n"
    )
    path = tmp_path / "a.json"
    argv = ("loss.py:loss", "--profile", "quick", "--formats", "binary64", "--json", str(path))
    assert polyref(site, "audit", *argv).returncode == 1
    found = {f["property"]: f for f in json.loads(path.read_text())["findings"]}["theirs-are-positive"]
    assert (found["verdict"], found["explanation"]) == ("violated", "Less than nothing.")


SELFTEST = ("selftest", "--law", "theirs-are-positive", "--mutant", "below-zero", "--format", "binary64")
IMPORT = "import their_mutants as t\n"


def test_a_law_that_raises_in_another_process_is_one_line(installed):
    done = polyref(installed(code="LAWS = (law(check=raises),)"), *SELFTEST, "--jobs", "2")
    assert (done.returncode, done.stdout) == (2, "")
    says = "the law 'theirs-are-positive' itself raised KeyError ('oh\\nno') for binary64 logits [0, 0], target 0, "
    assert complaint(done.stderr).startswith(says)


@pytest.mark.parametrize(
    ("package", "argv", "says"),
    [
        (
            {"code": "LAWS = (law(id='shift-invariance'),)"},
            ("properties",),
            "theirs:LAWS has a second law with the id 'shift-invariance': rename one",
        ),
        (
            {"code": "LAWS = (replace(law(), mutants=()),)"},
            ("properties",),
            "the law 'theirs-are-positive' of theirs:LAWS has no mutant to reject: give it one",
        ),
        ({"code": "LAWS = law()"}, ("properties",), "theirs:LAWS is Property(id='theirs-are-positive'"),
        ({"code": "LAWS = (3,)"}, ("properties",), "theirs:LAWS holds 3, which is no Property"),
        (
            {"code": "raise OSError('not\\ntoday')"},
            ("properties",),
            "the entry point theirs = theirs:LAWS of polyref.properties cannot be imported, OSError (not today): mend ",
        ),
        ({"laws": "theirs:NONE"}, ("properties",), "theirs = theirs:NONE of polyref.properties cannot be imported, "),
        ({"laws": "nowhere:LAWS"}, ("properties",), "theirs = nowhere:LAWS of polyref.properties cannot be imported, "),
        (
            {"mutants": None},
            SELFTEST,
            "the law 'theirs-are-positive' names the mutant 'below-zero', which does not exist",
        ),
        (
            {"mutants": "nowhere:mutants"},
            SELFTEST,
            "theirs = nowhere:mutants of polyref.mutants cannot be imported, ModuleNotFoundError (",
        ),
        ({"mutants": "theirs:LAWS"}, SELFTEST, "theirs:LAWS is (Property("),
        ({"mutants": "theirs:raises"}, SELFTEST, "theirs:raises raised KeyError ('oh\\nno'): mend or uninstall"),
        (
            {"code": IMPORT + "M = {'negated': t.Mutant('negated', 'd', t.BelowZero)}", "mutants": "theirs:M"},
            SELFTEST,
            "theirs:M has a second mutant called 'negated': rename one",
        ),
        (
            {"code": IMPORT + "M = {'other': t.Mutant('name', 'd', t.BelowZero)}", "mutants": "theirs:M"},
            SELFTEST,
            "theirs:M holds Mutant(name='name'",
        ),
        (
            {"code": "LAWS = (law(check=raises),)"},
            (*SELFTEST, "--jobs", "1"),
            "the law 'theirs-are-positive' itself raised KeyError ('oh\\nno') for binary64 logits [0, 0], target 0, ",
        ),
        (
            {"code": "LAWS = (law(strategy=raises),)"},
            ("properties", "theirs-are-positive"),
            "the law 'theirs-are-positive' itself raised KeyError ('oh\\nno') when it drew cases: mend the law",
        ),
        (
            {"code": "LAWS = (law(applies=raises),)"},
            ("properties", "theirs-are-positive"),
            "the law 'theirs-are-positive' itself raised KeyError ('oh\\nno') when it was asked whether it applies to ",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(installed, here, package, argv, says):
    assert says in here(installed(**package), *argv)

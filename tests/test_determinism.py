"""The same seed gives the same document, byte for byte but for times, whatever the process has imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from polyref.report import document

TARGET = "polyref.gallery.gather:Poly1CrossEntropyLoss"
AUDIT = """
import sys
{first}
from polyref import auditor
from polyref.report import document

options = auditor.Options(seed=3, laws={laws})
document.write(auditor.audit("{target}", options), sys.argv[1])
"""
#: The laws that draw every kind of row, in every format.
LAWS = (
    "value-matches-the-reference",
    "gradient-matches-the-reference",
    "half-precision-follows-the-wide-result",
    "largest-logits",
    "shift-invariance",
    "decreasing-in-pt",
    "inputs-untouched-and-repeatable",
)
#: Hypothesis mixes the constants of imported source files into what it draws from wide ranges.
CONSTANTS = f"NUMBERS = {[*range(100, 160), 0.375, 1e300, 2**40]}\nTEXTS = ['none', 'eps']\n"
OTHERWISE = "import random, constants\nrandom.seed(3)\nsys.setrecursionlimit(5000)"


def audited(folder: Path, name: str, *, first: str = "", hashing: str) -> bytes:
    """The document of an audit in a new process, without its times."""
    env = os.environ | {
        "PYTHONHASHSEED": hashing,
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / name),
        "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    code = AUDIT.format(first=first, target=TARGET, laws=LAWS)
    subprocess.run([sys.executable, "-c", code, str(folder / f"{name}.json")], env=env, check=True)
    found = document.read(folder / f"{name}.json")
    settings = msgspec.structs.replace(found.settings, seconds=0.0, started="")
    return document.dumps(msgspec.structs.replace(found, settings=settings))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("audits")
    (made / "constants.py").write_text(CONSTANTS)
    return made


def test_the_same_seed_gives_the_same_document(folder: Path) -> None:
    plain = audited(folder, "plain", hashing="1")
    assert audited(folder, "otherwise", first=OTHERWISE, hashing="2") == plain

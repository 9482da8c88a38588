"""The README's workflow: valid by GitHub's schema, and its steps do what they say in a repository of somebody's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from polyref.report import document

README = Path(__file__).parents[1] / "README.md"
LOSS = """
import torch.nn.functional as F

class PolyLoss:
    def __init__(self, epsilon=1.0, reduction="mean"):
        self.epsilon, self.reduction = epsilon, reduction

    def __call__(self, logits, labels):
        ce = F.cross_entropy(logits, labels, reduction="none")
        pt = F.softmax(logits, 1).gather(1, labels.unsqueeze(1)).squeeze(1)
        losses = ce + self.epsilon * (1 - pt)
        return {"none": losses, "sum": losses.sum(), "mean": losses.mean()}[self.reduction]
"""
#: What keeps the test short.
FASTER = " --profile quick --formats binary32"


def workflow() -> str:
    (text,) = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return str(text)


def step(name: str) -> str:
    """The command of a step."""
    found = re.search(
        rf"- name: {name}\n(?:        if: .*\n)?        run: (>-\n((?:          .*\n)+)|(.*)\n)", workflow()
    )
    assert found is not None
    return " ".join((found[2] or found[3]).split())


def test_the_workflow_is_one(tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema")
    path = tmp_path / "loss.yml"
    path.write_text(workflow())
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    path.write_text(workflow().replace("runs-on", "run-on"))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_its_steps_gate_a_loss(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    env = {
        **os.environ,
        "GITHUB_STEP_SUMMARY": str(summary),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    (tmp_path / "losses.py").write_text(LOSS)
    audit = step("Audit") + FASTER
    assert run(audit).returncode == 2  # there is no baseline yet
    assert not (tmp_path / "audit").exists()
    made = run(audit + " --update-baseline")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "baselines" / "PolyLoss.json").exists()
    shutil.rmtree(tmp_path / "audit")

    (tmp_path / "losses.py").write_text(LOSS.replace("(1 - pt)", "(1 - pt) ** 2"))
    assert run(audit).returncode == 1
    assert document.read(tmp_path / "audit" / "audit.json").exit_code == 1
    assert run(step("Summary")).returncode == 0
    text = summary.read_text()
    assert "PolyLoss" in text
    assert "broken" in text
    assert {p.name for p in (tmp_path / "audit").iterdir()} == {"audit.json", "audit.html", "audit.md", "audit.sarif"}

"""The gate: planted regressions are caught with the right exit code, and what was not measured is no success."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import msgspec
import pytest
from report.example import build, finding

from polyref import auditor, cli, gate
from polyref.compare import compare_with
from polyref.errors import NotComparable, NothingMeasured, UsageError
from polyref.options import PROFILES
from polyref.report import baseline as base
from polyref.report import document as doc

SUBJECT = """
import os
import torch
from polyref.nn import _exponentials, _response
from polyref.nn.functional import poly_cross_entropy

os.environ["POLYREF_NN_BACKEND"] = "eager"
PLANT

def loss(logits, labels, epsilon=1.0, reduction="mean"):
    return poly_cross_entropy(logits, labels, epsilon=epsilon, reduction=reduction)
"""

WORSE_EXP = """
exact = _exponentials.exp

def exp(z, out, minus):
    exact(z, out, minus)
    out.copy_(torch.where(out > 0, torch.nextafter(out, out.new_tensor(float("inf"))), out))

_exponentials.exp = exp
"""

#: CE + eps x from (1 + eps) x + sum_{j>=2} x^j/j for small x: in binary64, as many as an ulp of binary32 needs.
SERIES = """
import torch

TERMS = 12

def loss(logits, labels, epsilon=1.0, reduction="mean"):
    if logits.dim() != 2:
        raise ValueError("give (N, C)")
    z = logits.double()
    chosen = torch.nn.functional.one_hot(labels, z.shape[-1]).bool()
    e = (z - z.amax(-1, keepdim=True)).exp()
    x = e.masked_fill(chosen, 0).sum(-1) / e.sum(-1)
    near = x.clamp(max=0.25)
    series = (1 + epsilon) * near + sum(near**j / j for j in range(2, TERMS + 1))
    direct = -torch.log_softmax(z, -1)[chosen] + epsilon * x
    losses = torch.where(x < 0.25, series, direct).to(logits.dtype)
    return {"none": losses, "sum": losses.sum(), "mean": losses.mean()}[reduction]
"""

ONLY_BFLOAT16 = """
right = poly_cross_entropy

def poly_cross_entropy(logits, labels, *, epsilon, reduction):
    return right(logits, labels, epsilon=0.0 if logits.dtype is torch.bfloat16 else epsilon, reduction=reduction)
"""


def audited(folder: Path, plant: str, *more: str, subject: str = SUBJECT, formats: str = "binary32,bfloat16") -> int:
    path = folder / "theirs.py"
    path.write_text(subject.replace("PLANT", plant))
    chosen = ("--profile", "quick", "--formats", formats, "--baseline", str(folder / "baseline.json"))
    # All rows of a quick audit, which precision is measured by, and few examples of the laws.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROFILES, "quick", (5, PROFILES["quick"][1]))
        return cli.run(["audit", f"{path}:loss", *chosen, *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("gate")
    assert audited(made, "", "--update-baseline", "--json", str(made / "first.json")) == 0
    return made


def test_the_same_code_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audited(folder, "") == 0
    text = capsys.readouterr().out
    assert "✓ Nothing got worse" in text
    assert "worse" not in text.replace("Nothing got worse", "")


def test_an_exponential_that_is_one_ulp_worse(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audited(folder, WORSE_EXP) == 4
    text = capsys.readouterr().out
    assert "✗ Precision regressed" in text
    assert "✗ worse  value binary32" in text


def test_a_series_that_is_one_term_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audited(tmp_path, "", "--update-baseline", subject=SERIES, formats="binary32") == 0
    capsys.readouterr()
    assert audited(tmp_path, "", subject=SERIES.replace("TERMS = 12", "TERMS = 11"), formats="binary32") == 4
    text = capsys.readouterr().out
    assert "✗ Precision regressed" in text
    assert re.search(r"✗ worse  (value|gradient) binary32", text)


def test_a_law_that_is_broken_only_in_bfloat16(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "broken.json"
    assert audited(folder, ONLY_BFLOAT16, "--json", str(path)) == 1
    capsys.readouterr()
    broken = doc.read(path)
    assert broken.gate is not None
    failing = [law for law in broken.gate.laws if law.fails and law.move == "new"]
    assert ("value-matches-the-reference", "bfloat16") in {(law.property, law.format) for law in failing}
    # This law holds the narrow formats against a wide result, and is told in the widest.
    assert {law.property for law in failing if law.format == "binary32"} == {"half-precision-follows-the-wide-result"}
    assert cli.run(["compare", str(folder / "first.json"), str(path)]) == 1
    assert "✗ new" in capsys.readouterr().out


# --- the file -------------------------------------------------------------------------------------------------------


def test_what_makes_no_sense_is_said_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    for message, given in {
        "--update-baseline has nothing to write to": {"path": None, "update": True},
        "give --update-baseline too": {"reason": "slow"},
        "--expires 2026-01-01 is the end of nothing": {"update": True, "expires": "2026-01-01"},
        "--reason is blank": {"update": True, "reason": " "},
        "--expires 2020-01-01 is over already": {"update": True, "reason": "slow", "expires": "2020-01-01"},
        "'2026-02-30' is no day": {"update": True, "reason": "slow", "expires": "2026-02-30"},
        "'tomorrow' is no day": {"update": True, "reason": "slow", "expires": "tomorrow"},
        "2 targets cannot have one baseline": {"targets": 2},
    }.items():
        asked = {"path": path, "update": False, "reason": "", "expires": None, "targets": 1} | given
        with pytest.raises(UsageError, match=message):
            gate.check(asked.pop("path"), **asked)


def test_a_baseline_that_is_not_there(tmp_path: Path) -> None:
    assert gate.read(None, update=False) is None
    assert gate.read(tmp_path / "b.json", update=True) is None
    with pytest.raises(UsageError, match="make it with --update-baseline"):
        gate.read(tmp_path / "b.json", update=False)


def test_a_baseline_of_another_schema_is_not_comparable_and_can_be_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(base.dumps(base.of(build(), reason="known")).replace(b"polyref-baseline/1", b"polyref-baseline/9"))
    with pytest.raises(NotComparable, match="'polyref-baseline/9' and this polyref compares 'polyref-baseline/1'"):
        gate.read(path, update=False)
    assert gate.read(path, update=True) is None


def test_what_measured_nothing_never_becomes_a_baseline(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    with pytest.raises(NothingMeasured, match="the baseline stays as it is"):
        gate.updated(path, build(findings=[finding("a", "inconclusive")]), None)
    assert not path.exists()


def test_a_broken_law_needs_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_text("as it was")
    with pytest.raises(UsageError, match=r"^coefficient-j.* may not be broken, .* without a reason"):
        gate.updated(path, build(), None)
    assert path.read_text() == "as it was"
    assert "known to be broken" in gate.updated(path, build(), None, reason="of old", expires="2030-01-01")
    known = [law.known for law in base.read(path).laws if law.known]
    assert {(k.reason, k.expires) for k in known} == {("of old", "2030-01-01")}
    # The reason is kept, and so is that of a law that does not run this time.
    fewer = [f for f in build().findings if f.property != "extreme-logits-stay-finite"]
    gate.updated(path, build(findings=fewer), base.read(path))
    assert {law.property for law in base.read(path).laws if law.known} == {f.property for f in build().violated}


def test_of_another_subject_nothing_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    gate.updated(path, build(), None, reason="of old")
    kept = path.read_bytes()
    other = msgspec.structs.replace(build().subject, target="theirs.py:other")
    with pytest.raises(NotComparable, match=r"is of losses/poly.py:Poly1CrossEntropyLoss: give another file"):
        gate.updated(path, build(subject=other), base.read(path))
    cuda = msgspec.structs.replace(build().environment, device="cuda")
    with pytest.raises(NotComparable, match="was made on cpu"):
        gate.updated(path, build(environment=cuda), base.read(path))
    assert path.read_bytes() == kept
    # Of another formula nothing is kept but the file.
    formula = msgspec.structs.replace(build().dialect, formula="CE")
    with pytest.raises(UsageError, match="without a reason"):
        gate.updated(path, build(dialect=formula), base.read(path))


def test_nothing_measured_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "b.json"
    gate.updated(path, build(), None, reason="of old")
    nothing = build(findings=[finding("a", "inconclusive")], grades=[], series=[], specs=[])
    gated = msgspec.structs.replace(nothing, gate=compare_with(base.read(path), nothing))
    assert gated.exit_code == 3
    monkeypatch.setattr(auditor, "audit", lambda *_, **__: gated)
    assert cli.run(["audit", "a:b", "--baseline", str(path)]) == 3


def test_known_failures_expire(tmp_path: Path) -> None:
    kept = base.of(build(), reason="of old", expires="2030-01-01")
    assert compare_with(kept, build(), today=date(2030, 1, 1)).exit_code == 0
    late = compare_with(kept, build(), today=date(2030, 1, 2))
    assert late.exit_code == 1
    assert {law.move for law in late.laws if law.fails} == {"expired"}

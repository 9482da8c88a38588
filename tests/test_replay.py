"""Replay: what became of the findings of a document, and files that are none."""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from report.example import build, finding

from polyref import cli
from polyref import replay as again
from polyref.auditor import RETURNS_A_VALUE, Options, audit_of, opened
from polyref.errors import NothingMeasured, UsageError
from polyref.formats import BINARY32
from polyref.replay import replay
from polyref.report import document as doc
from polyref.report import replays, structs
from polyref.report.screen import plain
from polyref.request import request
from polyref.subject.runner import Runner

HELPERS = """
import torch.nn.functional as F

def pt(logits, labels):
    return F.softmax(logits, -1).gather(-1, labels[:, None])[:, 0]

def loss(logits, labels, epsilon=1.0, note="n"):
    ce = F.cross_entropy(logits, labels, reduction="none")
"""
WRONG = HELPERS + "    return 2 * ce + epsilon * (1 - pt(logits, labels)) ** 2\n"
OTHERWISE = WRONG.replace("2 * ce", "3 * ce")
RIGHT = HELPERS + "    return ce + epsilon * (1 - pt(logits, labels))\n"
LAWS = ("coefficient-j-is-one-over-j-plus-eps", "eps-zero-is-cross-entropy")


def here(target: str, options: Options) -> AbstractContextManager[Runner]:
    """What opens a target, without the seconds that a process of its own takes to start."""
    return request(target, init=options.init, call=options.call, isolated=False).started()


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "opened", here)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> doc.Document:
    path = tmp_path_factory.mktemp("theirs") / "it's theirs.py"
    path.write_text(WRONG)
    options = Options(formats=(BINARY32,), profile="quick", laws=LAWS, call={"note": "it's `x`"})
    return audit_of(f"{path}:loss", lambda: here(f"{path}:loss", options), options)


@pytest.fixture
def file(audited: doc.Document, tmp_path: Path) -> Path:
    """The document in a file, and what it is about as it was."""
    source(audited).write_text(WRONG)
    doc.write(audited, tmp_path / "audit.json")
    return tmp_path / "audit.json"


def source(document: doc.Document) -> Path:
    return Path(document.subject.target.rpartition(":")[0])


def became(found: list[replays.Replay]) -> dict[str, str]:
    return {r.finding.property: r.became for r in found}


def test_what_is_as_it_was(audited: doc.Document, file: Path) -> None:
    found = replay(file)
    assert became(found) == dict.fromkeys(LAWS, "still there")
    assert [(r.observed, r.ratio) for r in found] == [(f.observed, f.ratio) for f in audited.violated]
    assert replays.exit_code(found) == 1


def test_what_is_mended(audited: doc.Document, file: Path) -> None:
    source(audited).write_text(RIGHT)
    found = replay(file)
    assert became(found) == dict.fromkeys(LAWS, "fixed")
    assert all(r.ratio is not None and r.ratio <= 1 for r in found)
    assert replays.exit_code(found) == 0


def test_what_is_wrong_in_another_way(audited: doc.Document, file: Path) -> None:
    source(audited).write_text(OTHERWISE)
    found = replay(file, properties=[LAWS[1]])
    assert became(found) == {LAWS[1]: "changed"}
    (was,) = [f for f in audited.violated if f.property == LAWS[1]]
    assert found[0].observed != was.observed
    text = plain(lambda console: replays.render(found, console))
    assert f"Was        {was.observed}; error" in text
    assert f"Is         {found[0].observed}; error" in text
    assert text.endswith("1 violated finding: 1 changed")


def test_one_finding_cut_out(audited: doc.Document, file: Path, tmp_path: Path) -> None:
    """Also its overrides come from the command that it ends in."""
    path = tmp_path / "finding.json"
    cut = audited.violated[0]
    path.write_bytes(msgspec.json.encode(structs.plain(cut)))
    assert became(replay(path)) == {cut.property: "still there"}
    source(audited).write_text(RIGHT.replace('note="n"', "other=1"))
    with pytest.raises(UsageError, match="note"):
        replay(path)


def test_what_was_told_about_the_call_is_told_again(
    audited: doc.Document, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a document, and by the command that a finding cut out of one ends in."""
    asked: list[Options] = []

    def noted(target: str, options: Options) -> AbstractContextManager[Runner]:
        asked.append(options)
        return here(target, options)

    monkeypatch.setattr(again, "opened", noted)
    told = {"labels": "index", "inputs": "logits", "order": "logits_first"}
    doc.write(msgspec.structs.replace(audited, settings=msgspec.structs.replace(audited.settings, forms=told)), file)
    replay(file, properties=[LAWS[0]])
    cut = audited.violated[0]
    line = f"{cut.reproduce} --framework torch --labels index --input logits --order logits_first"
    path = tmp_path / "finding.json"
    path.write_bytes(msgspec.json.encode(structs.plain(msgspec.structs.replace(cut, reproduce=line))))
    replay(path)
    assert [(o.forms.given, o.framework) for o in asked] == [(told, "torch")] * 2
    doc.write(
        msgspec.structs.replace(audited, settings=msgspec.structs.replace(audited.settings, forms={"x": "y"})), file
    )
    with pytest.raises(UsageError, match="'x' is no form of the data: choose labels, inputs, order"):
        replay(file)


def test_a_law_that_no_longer_applies(audited: doc.Document, file: Path) -> None:
    source(audited).write_text(
        WRONG.replace(', epsilon=1.0, note="n"):', ', note="n", epsilon=1.0):\n    epsilon = 1.0').replace(
            "epsilon=1.0):", "*_):"
        )
    )
    (found,) = replay(file, properties=[LAWS[0]])
    assert (found.became, found.ratio) == ("changed", None)
    assert found.why.startswith("It cannot be tried again: ")


def test_a_loss_that_returned_nothing(tmp_path: Path) -> None:
    path, source = tmp_path / "nothing.json", tmp_path / "theirs.py"
    source.write_text(RIGHT.replace("return ce", "ce"))
    doc.write(audit_of(f"{source}:loss", lambda: here(f"{source}:loss", Options()), Options()), path)
    (found,) = replay(path)
    assert (found.finding.property, found.became) == (RETURNS_A_VALUE, "still there")
    source.write_text(RIGHT)
    assert became(replay(path)) == {RETURNS_A_VALUE: "fixed"}


def test_a_loss_that_returns_nothing_any_more(audited: doc.Document, file: Path) -> None:
    source(audited).write_text(RIGHT.replace("return ce", "ce"))
    found = replay(file)
    assert {r.became for r in found} == {"changed"}
    assert all("returns None" in r.why for r in found)


# --- what cannot be replayed ----------------------------------------------------------------------------------------


def changed(document: doc.Document, **changes: Any) -> bytes:
    """The document with its first violated finding changed."""
    first, *rest = document.findings
    new = msgspec.structs.replace(first, **changes)
    return msgspec.json.encode(structs.plain(msgspec.structs.replace(document, findings=[new, *rest])))


CASE: dict[str, Any] = {"format": "binary32", "logits": [["0x0p+0"] * 2], "target": [0], "weight": None}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"property": "no-such-law"}, "no law is called 'no-such-law': choose "),
        ({"case": None}, "its finding on 'eps-zero-is-cross-entropy' has no case"),
        ({"case": {}}, "this is no case document"),
        ({"case": CASE | {"logits": 3}}, "this is no case document"),
        ({"case": CASE | {"format": ["binary32"]}}, "this is no case document"),
    ],
)
def test_a_finding_that_says_nothing(audited: doc.Document, tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(changed(audited, **changes))
    with pytest.raises(UsageError, match=says) as raised:
        replay(path)
    assert "\n" not in str(raised.value)


def cut_out(**changes: Any) -> bytes:
    return msgspec.json.encode(structs.plain(finding("a", "violated", case=CASE, ratio=math.inf, **changes)))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "x.json is no whole JSON file"),
        (b"{", "x.json is no whole JSON file"),
        (b"\xff\xfe", "x.json is no whole JSON file"),
        (b"[" * 100_000, "x.json is no "),
        (b'{"property": ' + b"[" * 100_000, "x.json is no whole JSON file"),
        (b"[]", "x.json is no audit document"),
        (b'{"schema": "polyref-audit/9"}', "x.json has the schema 'polyref-audit/9'"),
        (b'{"property": "a"}', "x.json is no finding document: Object missing required field"),
        (doc.dumps(build())[:-100], "x.json is no whole JSON file"),
        (cut_out(reproduce="rm -rf /"), "x.json does not say what its finding is about"),
        (cut_out(reproduce="polyref check a.py:b --property 'a"), "x.json does not say what its finding is about"),
        (cut_out(reproduce="polyref check a.py:b --property a --case {} --init"), "does not say what"),
        (cut_out(reproduce="polyref check a:b --property a --case {} --init 7"), "init '7' is no override"),
    ],
)
def test_what_is_no_document(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, says: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    assert cli.run(["replay", str(path)]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(UsageError, match=r"huge.json is larger than 64 MiB"):
        replay(path)
    with pytest.raises(UsageError, match=r"cannot read .*gone.json: no such file"):
        replay(tmp_path / "gone.json")


def test_an_object_in_hand_is_known_to_python_only(tmp_path: Path, audited: doc.Document) -> None:
    path = tmp_path / "a.json"
    subject = msgspec.structs.replace(audited.subject, target="Squared(…)")
    doc.write(msgspec.structs.replace(audited, subject=subject), path)
    with pytest.raises(UsageError, match=r"is about an object in hand, 'Squared.….', which no command can load"):
        replay(path)


def test_nothing_to_replay(tmp_path: Path, file: Path) -> None:
    doc.write(build(findings=[finding("a", "holds")]), tmp_path / "held.json")
    with pytest.raises(NothingMeasured, match=r"held.json holds no violated finding: there is nothing to replay"):
        replay(tmp_path / "held.json")
    with pytest.raises(UsageError, match=r"no violated finding of .*audit.json is called 'a': choose "):
        replay(file, properties=["a"])


def test_the_command(
    file: Path, audited: doc.Document, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, and the numbers are those of the audit in this one."""
    monkeypatch.setattr(again, "opened", opened)
    assert cli.run(["replay", str(file), "--finding", LAWS[0]]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"✗ still there  {LAWS[0]}  series, binary32\n")
    assert out.endswith("1 violated finding: 1 still there\n")
    source(audited).write_text(RIGHT)
    assert cli.run(["replay", str(file)]) == 0
    assert capsys.readouterr().out.endswith("2 violated findings: 2 fixed\n")


def test_every_finding_can_be_cut_out_of_a_document(audited: doc.Document) -> None:
    for f in json.loads(doc.dumps(audited))["findings"]:
        assert isinstance(doc.loads_any(json.dumps(f).encode(), name="it"), doc.Finding)

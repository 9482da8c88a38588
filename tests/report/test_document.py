"""The document: what is written is read back, and nothing else is."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from polyref.case import Case
from polyref.errors import UsageError
from polyref.report import document as doc
from polyref.report import structs
from polyref.report.document import Document

from .example import CASE, build, finding

TOP = [
    "schema",
    "subject",
    "environment",
    "settings",
    "convention",
    "dialect",
    "findings",
    "grades",
    "specs",
    "gate",
    "series",
]


def test_round_trip(tmp_path: Path) -> None:
    document = build()
    doc.write(document, tmp_path / "audit.json")
    assert doc.read(tmp_path / "audit.json") == document


def test_top_level_and_determinism() -> None:
    data = doc.dumps(build())
    assert list(json.loads(data)) == TOP
    assert data == doc.dumps(build())
    assert data.endswith(b"}\n")


def test_non_finite_numbers_survive_as_strings() -> None:
    def forbidden(token: str) -> None:
        raise AssertionError(token)

    nan = finding("a", "violated", ratio=math.nan)
    document = build(findings=[finding("a", "violated", ratio=-math.inf), nan])
    data = doc.dumps(document)
    plain = json.loads(data, parse_constant=forbidden)
    assert [f["ratio"] for f in plain["findings"]] == ["-inf", "nan"]
    assert plain["grades"][0]["max_ratio"] == "inf"
    assert plain["grades"][0]["histogram"][-1] == ["inf", 1]
    again = doc.loads(data)
    assert again.findings[0].ratio == -math.inf
    assert again.findings[1].ratio is not None
    assert math.isnan(again.findings[1].ratio)
    assert again.grades[0].max_ulp == math.inf


def test_the_case_is_still_a_case() -> None:
    again = doc.loads(doc.dumps(build()))
    assert again.violated[0].case is not None
    assert Case.from_json(again.violated[0].case) == CASE


def test_a_sample_is_a_line_and_a_case() -> None:
    document = build()
    data = doc.dumps(document)
    assert doc.loads(data) == document
    assert b"\n    [-40.0,0,0,[-40.0,0.0,-1.5],[0.5,2.0],null],\n" in data
    series = document.series[0]
    case = Case.from_json(document.case_of(series, series.samples[3]))
    assert (case.format.name, case.spec.epsilon, case.target) == ("binary32", (-1.0,), (0,))
    assert case.logits == (tuple(series.samples[3].logits),)


def test_exit_codes() -> None:
    assert build().exit_code == 1
    assert build(findings=[finding("a", "holds"), finding("b", "inconclusive")]).exit_code == 0
    assert build(findings=[finding("b", "inconclusive"), finding("c", "not_applicable")]).exit_code == 3
    assert build(findings=[]).exit_code == 3


def test_violated_in_order() -> None:
    assert [f.property for f in build().violated] == [
        "coefficient-j-is-one-over-j-plus-eps",
        "extreme-logits-stay-finite",
    ]


def test_a_builder_that_gives_a_wrong_type_is_told() -> None:
    with pytest.raises(TypeError, match=r"findings\[0\]\.examples"):
        doc.dumps(build(findings=[finding("a", "holds", examples="many")]))
    with pytest.raises(TypeError, match="verdict"):
        doc.dumps(build(findings=[finding("a", "maybe")]))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cannot hold a object"):
        doc.dumps(build(findings=[finding("a", "holds", expected=object())]))


def test_strings_that_utf8_cannot_hold() -> None:
    data = doc.dumps(build(findings=[finding("a", "holds", explanation="bad \udc80 name")]))
    assert doc.loads(data).findings[0].explanation == r"bad \udc80 name"


def _changed(change: Any) -> bytes:
    plain = json.loads(doc.dumps(build()))
    change(plain)
    return json.dumps(plain).encode()


BAD = {
    "empty": (b"", "no whole JSON"),
    "not JSON": (b"hello", "no whole JSON"),
    "not UTF-8": (b'{"schema": "\xff"}', "no whole JSON"),
    "truncated": (doc.dumps(build())[:-200], "truncated"),
    "two documents": (doc.dumps(build()) * 2, "no whole JSON"),
    "bare NaN": (doc.dumps(build()).replace(b'"inf"', b"NaN"), "no whole JSON"),
    "an array": (b"[]", "no audit document"),
    "deeply nested": (b"[" * 100_000, "no"),
    "no schema": (_changed(lambda d: d.pop("schema")), "schema"),
    "another schema": (_changed(lambda d: d.update(schema="polyref-audit/1")), "reads 'polyref-audit/3'"),
    "schema of a wrong type": (_changed(lambda d: d.update(schema=1)), "schema"),
    "a missing part": (_changed(lambda d: d.pop("grades")), "grades"),
    "an unknown field": (_changed(lambda d: d["findings"][0].update(severity="high")), r"severity.*findings"),
    "an unknown part": (_changed(lambda d: d.update(extra=1)), "extra"),
    "a wrong type": (_changed(lambda d: d["settings"].update(seed="0")), r"settings\.seed"),
    "a wrong word": (
        _changed(lambda d: d["grades"][0].update(grade="superb")),
        r"grades\[0\]\.grade",
    ),
    "a wrong float": (
        _changed(lambda d: d["grades"][0].update(max_ulp="huge")),
        r"grades\[0\]\.max_ulp",
    ),
    "a boolean": (_changed(lambda d: d["grades"][0].update(max_ulp=True)), r"grades\[0\]\.max_ulp"),
    "a sample of no spec": (_changed(lambda d: d.update(specs=[])), "a spec or a target that is not there"),
    "a target of no logit": (
        _changed(lambda d: d["series"][0]["samples"][0].__setitem__(2, 9)),
        "a spec or a target that is not there",
    ),
    "a short sample": (_changed(lambda d: d["series"][0]["samples"][0].pop()), r"samples"),
    "a long sample": (_changed(lambda d: d["series"][0]["samples"][0].append(1)), "of at most length 6"),
    "a sample of words": (_changed(lambda d: d["series"][0]["samples"][0].__setitem__(0, "far")), r"samples"),
    "a negative count": (_changed(lambda d: d["findings"][0].update(examples=-1)), r"findings\[0\]\.examples"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_that_names_it(name: str, tmp_path: Path) -> None:
    data, message = BAD[name]
    path = tmp_path / "audit.json"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=message) as caught:
        doc.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hostile_unknown_field_stays_one_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_bytes(_changed(lambda d: d.update({"a\nb\u202e": 1})))
    with pytest.raises(UsageError, match="no audit document") as caught:
        doc.read(path)
    assert str(caught.value).isprintable()


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.json"
    with path.open("wb") as stream:
        stream.truncate(structs.LARGEST + 1)
    with pytest.raises(UsageError, match="larger than 64 MiB"):
        doc.read(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*none\.json: no such file"):
        doc.read(tmp_path / "none.json")
    with pytest.raises(UsageError, match="is a directory"):
        doc.read(tmp_path)
    with pytest.raises(UsageError, match="null byte"):
        doc.read("a\0b")


def test_folders_are_made_and_links_followed(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "audit.json"
    doc.write(build(), target)
    link = tmp_path / "latest.json"
    link.symlink_to(target)
    other = build(findings=[])
    doc.write(other, link)
    assert link.is_symlink()
    assert doc.read(target) == other
    assert os.listdir(target.parent) == ["audit.json"]


def test_the_mode_is_that_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    doc.write(build(), tmp_path / "audit.json")
    assert (tmp_path / "audit.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, message in (
        (tmp_path / "file" / "audit.json", "is no folder|not a directory"),
        (tmp_path, "it is a folder"),
        ("/proc/audit.json", "cannot write /proc/audit.json"),
        (tmp_path / ("n" * 300), "name too long"),
        ("a\0b", "null byte"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            doc.write(build(), path)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.json"
    doc.write(build(), path)
    before = path.read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(os, step, full)
        m.setattr(Path, "replace", full)
        with pytest.raises(UsageError, match="no space left on device"):
            doc.write(build(findings=[]), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["audit.json"]


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    doc.write(build(), os.devnull)
    assert not Path(os.devnull).is_file()


def test_parts_are_frozen() -> None:
    document = build()
    with pytest.raises(AttributeError):
        document.findings = []  # type: ignore[misc]
    assert isinstance(document, Document)
    assert msgspec.structs.fields(Document)[0].name == "schema"

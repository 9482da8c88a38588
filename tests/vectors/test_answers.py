"""Reading vectors and answers: strictly, and each mistake is one line with the file, the line, the value, the fix."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from polyref.errors import UsageError
from polyref.formats import BINARY32
from polyref.vectors.answers import Golden, read_answers, read_vectors

from .conftest import FOLDER, FORMATS, committed

LINES = (FOLDER / "binary32.jsonl").read_text().splitlines()


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", FORMATS)
def test_the_committed_sets_are_read(name: str) -> None:
    golden = committed(name)
    assert (golden.format.name, len(golden.vectors)) == (name, golden.header.vectors)
    for expected in golden.vectors.values():
        assert expected.rounded.value == tuple(e.rounded(golden.format) for e in expected.exact.value)
        assert expected.vector.catches


def changed(tmp_path: Path, *, line: int = 1, **fields: Any) -> Path:
    """The set with its header and two vectors, something changed in one line."""
    lines = [json.loads(text) for text in LINES[:3]]
    lines[0]["vectors"] = 2
    lines[line] |= fields
    path = tmp_path / "v.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def test_a_cut_out_part_is_read(tmp_path: Path) -> None:
    assert len(read_vectors(changed(tmp_path)).vectors) == 2


FIRST = json.loads(LINES[1])


@pytest.mark.parametrize(
    ("line", "fields", "said"),
    [
        (0, {"schema": "polyref-vectors/2"}, "line 1 has the schema 'polyref-vectors/2': this polyref reads"),
        (0, {"format": "binary33"}, "line 1 is no golden vectors document: Invalid enum value 'binary33'"),
        (0, {"vectors": 3}, "v.jsonl has 2 vectors, and its header says 3: write it anew, it was cut"),
        (1, {"colour": 1}, "line 2 is no golden vector document: Object contains unknown field `colour`"),
        (1, {"value": [1.5]}, "line 2 is no golden vector document: Expected `str`, got `float`"),
        (1, {"value": ["1.5"]}, "line 2 is no golden vector document"),
        (1, {"value": ["0x1.8p+0"]}, "a result is not what its enclosure rounds to"),
        (1, {"value_bits": ["0x3f800000"]}, "a bit pattern is not that of its number"),
        (1, {"logits_bits": [["0x3f800000", "0x3f800000"]]}, "a bit pattern is not that of its number"),
        (1, {"classes": 3}, "it has 1 rows of 2 logits, and says 1 of 3"),
        (1, {"tolerance": {"value": [1.0, 1.0], "gradient": [[1.0, 1.0]]}}, "its results are not as many everywhere"),
        (1, {"gradient": [], "gradient_bits": []}, "its results are not as many everywhere"),
        (1, {"beyond": {"value": [999], "gradient": []}}, "it names a defect that the header has not"),
        (1, {"target": [7]}, "target 7 of row 0 is out of range: with 2 classes give 0 to 1"),
        (2, {"id": FIRST["id"]}, f"line 3 is not a golden vector as polyref vectors writes it: {FIRST['id']!r}"),
    ],
)  # fmt: skip
def test_vectors_that_are_none(tmp_path: Path, line: int, fields: dict[str, Any], said: str) -> None:
    assert said in refused(lambda: read_vectors(changed(tmp_path, line=line, **fields)))


def test_a_negative_radius(tmp_path: Path) -> None:
    enclosure = json.loads(json.dumps(FIRST["enclosure"]))
    enclosure["value"][0]["hex_rad"] = "-" + enclosure["value"][0]["hex_rad"]
    assert "the radius -0x1" in refused(lambda: read_vectors(changed(tmp_path, enclosure=enclosure)))


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    assert "cannot read" in refused(lambda: read_vectors(path))
    path.write_text("\n\n")
    assert "is empty: give a file that polyref vectors wrote" in refused(lambda: read_vectors(path))
    path.write_text("no JSON\n")
    assert "line 1 is no whole JSON file" in refused(lambda: read_vectors(path))
    path.write_text('{"schema":"polyref-audit/3"}\n')
    assert "has the schema 'polyref-audit/3'" in refused(lambda: read_vectors(path))


def read(tmp_path: Path, text: str) -> list[Any]:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    return [(s.id, s.line, s.value, s.gradient) for s in read_answers(path, BINARY32)]


def test_every_way_to_write_an_answer(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        '{"id":"a","value":1.5,"gradient":[[0.5,"0x1p-1"],["0x3f000000",null]]}\n'
        "\n"
        '{"id":"b","value":["1",2],"gradient":[1,2,3,4],"note":"slow"}\n'
        '{"id":"c","value":null}\n{"id":"d"}\n{"id":"e","value":"nan","gradient":["-inf"]}\r\n'
        '{"id":"f","value":[null,null],"gradient":null}\n{"id":"g","value":0.100000001}\n',
    )
    assert found[0] == ("a", 1, (1.5,), (0.5, 0.5, 0.5, None))
    assert found[1] == ("b", 3, (1.0, 2.0), (1.0, 2.0, 3.0, 4.0))
    # null everywhere is nothing at all.
    assert [found[i][2:] for i in (2, 3, 5)] == [(None, None)] * 3
    assert math.isnan(found[4][2][0])
    assert found[4][3] == (-math.inf,)
    assert found[6][2] == (BINARY32.round(0.1),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "a.jsonl, line 2 is no answer: JSON is malformed"),
        ('{"id": "a", "value": NaN}', "line 2 is no answer: JSON is malformed"),
        ("[1]", "line 2 is no answer: Expected `object`, got `array`"),
        ('{"value": 1}', "line 2 is no answer: Object missing required field `id`"),
        ('{"id": 1}', "line 2 is no answer: Expected `str`, got `int` - at `$.id`"),
        ('{"id": "a", "gradients": [1]}', "Object contains unknown field `gradients`"),
        ('{"id": "a", "value": "0x10"}', "line 2: '0x10' is no bit pattern of binary32: write a number"),
        ('{"id": "a", "value": true}', "line 2: True is no number: write a number"),
        ('{"id": "a", "gradient": [[[1]]]}', "line 2: [1] is no number"),
        ('{"id": "a", "value": {"x": 1}}', "is no number"),
    ],
)
def test_answers_that_are_none(tmp_path: Path, text: str, said: str) -> None:
    message = refused(lambda: read(tmp_path, '{"id":"ok","value":1}\n' + text + "\n"))
    assert said in message
    assert "write" in message


def test_answers_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"id":"a","value":2}\n{"id":1}\n')))
    assert "standard input, line 2 is no answer" in refused(lambda: read_answers("-", BINARY32))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot read" in refused(lambda: read_answers(tmp_path / "a.jsonl", BINARY32))


def test_what_is_shown_of_a_strange_name_is_visible(tmp_path: Path, golden: Golden) -> None:
    path = tmp_path / "a\x1b[31m\n.jsonl"
    path.write_text("x\n")
    message = refused(lambda: read_answers(path, golden.format))
    assert "⟨U+001B⟩" in message

"""The committed sets: certified by the other engine, valid by their JSON schema, and covering what they promise."""

from __future__ import annotations

import json
import math

import pytest
from jsonschema import Draft202012Validator

from polyref.reference import series
from polyref.regimes import REGIMES
from polyref.vectors.answers import Golden
from polyref.vectors.schema import SCHEMA, json_schema

from .conftest import FOLDER, FORMATS, committed


def lines(name: str) -> list[str]:
    return (FOLDER / f"{name}.jsonl").read_text(encoding="ascii").splitlines()


@pytest.mark.parametrize("name", FORMATS)
def test_every_enclosure_overlaps_that_of_the_other_engine(name: str) -> None:
    """What the file says is exact was found by Arb balls; the explicit series finds the same."""
    golden = committed(name)
    for expected in list(golden.vectors.values())[FORMATS.index(name) % 2 :: 2]:
        bits, floor = golden.format.precision + 40, golden.format.emin - golden.format.precision - 40
        other = series.evaluate(expected.case, bits=bits, floor=floor)
        for mine, theirs in zip(expected.exact.value, other.value, strict=True):
            assert mine.overlaps(theirs)
        for row, rows in zip(expected.exact.gradient, other.gradient, strict=True):
            assert all(g.overlaps(theirs) for g, theirs in zip(row, rows, strict=True))


@pytest.mark.parametrize("name", FORMATS)
def test_what_the_decimals_say_contains_what_the_hexadecimals_say(name: str) -> None:
    from fractions import Fraction

    for expected in committed(name).vectors.values():
        written = expected.vector.enclosure
        for text, exact in zip(
            (*written.value, *(e for row in written.gradient for e in row)), expected.exact.all, strict=True
        ):
            if abs(exact.mid.exp) > 5000:
                continue
            mid, rad = Fraction(text.mid), Fraction(text.rad)
            lower, upper = (Fraction(v.man) * Fraction(2) ** v.exp for v in (exact.lower, exact.upper))
            assert mid - rad <= lower <= upper <= mid + rad


def test_the_schema_is_current() -> None:
    assert (FOLDER / "schema.json").read_bytes() == json_schema()


def validator(definition: str | None = None) -> Draft202012Validator:
    schema = json.loads(json_schema())
    Draft202012Validator.check_schema(schema)
    if definition is not None:
        schema = {"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]}
    return Draft202012Validator(schema)


@pytest.mark.parametrize("name", FORMATS)
def test_every_line_is_valid_by_the_schema(name: str) -> None:
    checks = validator()
    header, *vectors = map(json.loads, lines(name))
    assert header["schema"] == SCHEMA
    for line in (header, *vectors[:: len(FORMATS)]):
        assert not [*checks.iter_errors(line)]


def test_what_is_not_valid_is_not_valid() -> None:
    checks = validator()
    header, vector, *_ = map(json.loads, lines("binary32"))
    for broken in (
        {},
        header | {"schema": "polyref-vectors/2"},
        header | {"format": "binary33"},
        vector | {"extra": 1},
        vector | {"value": [1.5]},
        vector | {"value": ["1.5"]},
        vector | {"value_bits": ["0x123"]},
        vector | {"tolerance": {"value": [-1.0], "gradient": []}},
        {k: v for k, v in vector.items() if k != "regime"},
    ):
        assert not checks.is_valid(broken)


def test_answers_are_valid_by_the_schema() -> None:
    checks = validator("Answer")
    for good in (
        {"id": "a"},
        {"id": "a", "value": 1.5, "gradient": [0.5, "0x1p-1"]},
        {"id": "a", "value": ["0x3f800000", None], "gradient": [["nan", 1], [2, 3]], "note": "slow"},
        {"id": "a", "value": None, "gradient": None},
    ):
        assert checks.is_valid(good)
    for bad in ({}, {"id": 1}, {"id": "a", "value": True}, {"id": "a", "gradient": 1}, {"id": "a", "grad": []}):
        assert not checks.is_valid(bad)


@pytest.mark.parametrize("name", FORMATS)
def test_what_they_cover(name: str) -> None:
    golden = committed(name)
    vectors = [e.vector for e in golden.vectors.values()]
    assert {v.regime for v in vectors} == {regime for regime, _ in REGIMES}
    defects = golden.header.defects
    assert {i for v in vectors for i in (*v.beyond.value, *v.beyond.gradient)} == set(range(len(defects)))
    # Every defect is named by a vector that catches it, in words.
    named = {c.partition(": ")[0] for v in vectors for c in v.catches}
    assert named == {d.name for d in defects}
    assert len(defects) > 100
    assert not {d.name for d in defects} & set(golden.header.uncaught)
    about = {v.about for v in vectors}
    for part in (
        "tie",
        "soft label",
        "ignored",
        "weight 0",
        "-inf",
        "subnormal",
        "halfway",
        "largest number",
        "overflow",
    ):
        assert any(part in text for text in about), part
    if name != "binary16":
        assert {"Pt is about 1e-30", "1 - Pt is about 1e-30"} <= about
    losses = [v.loss for v in vectors]
    assert {e for x in losses for e in x.epsilon} >= {"-0x1p+0", "0x0p+0", "0x1p+0", "0x1p+1", "-0x1p-1"}
    assert {x.gamma for x in losses} == {"0x0p+0", "0x1p-1", "0x1p+1"}
    assert {x.reduction for x in losses} == {"none", "sum", "mean"}
    assert max(len(x.epsilon) for x in losses) == 3
    results = [e.rounded for e in golden.vectors.values()]
    assert any(0 < abs(g) < golden.format.smallest_normal for r in results for g in r.all)


def test_the_lines_are_small_enough_to_read(golden: Golden) -> None:
    for name in FORMATS:
        text = lines(name)
        assert len(text) == 61
        assert max(map(len, text[1:])) < 6000
        assert all(math.isfinite(v) for e in committed(name).vectors.values() for v in e.rounded.all)
    # A program without a JSON parser relies on this.
    first = lines("binary32")[1]
    assert first.startswith('{"id":"binary32-001","about":"')
    order = ['"rows":', '"classes":', '"loss":{"link":', '"epsilon":["', '"logits":[["', '"target":', '"value":["']
    places = [first.index(field) for field in order]
    assert places == sorted(places)

"""Making vectors: the same bytes for the same command, and the committed sets are what the command writes."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from polyref.errors import NothingMeasured, UsageError
from polyref.formats import named
from polyref.vectors import make, rivals, specs
from polyref.vectors.answers import Golden, read_vectors
from polyref.vectors.draw import Candidate, candidates
from polyref.vectors.make import in_words, line

from .conftest import FOLDER, FORMATS, committed

CE_ONLY = "epsilon=-1,weighting=ce_only"


@pytest.fixture(scope="module")
def small() -> make.Vectors:
    return make.make(named("binary16"), [specs.parse(CE_ONLY)], count=9)


def test_the_same_arguments_give_the_same_bytes(small: make.Vectors, tmp_path: object) -> None:
    again = make.make(named("binary16"), [specs.parse(CE_ONLY)] * 2, count=9)
    assert make.dumps(again) == make.dumps(small)
    assert make.make(named("binary16"), [specs.parse(CE_ONLY)], count=9, seed=1).vectors != small.vectors
    assert [v.id for v in small.vectors] == [f"binary16-{i:03d}" for i in range(1, 10)]


def test_what_is_written_is_read(small: make.Vectors, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("vectors") / "v.jsonl"
    path.write_bytes(make.dumps(small))
    golden = read_vectors(path)
    assert golden.header == small.header
    assert [e.vector for e in golden.vectors.values()] == small.vectors
    assert golden.header.specs == [CE_ONLY]
    caught = {d.name for d in golden.header.defects}
    assert {"weight-on-both", "pt-rescaled", "epsilon-negated"} <= caught
    # Softmax with index targets has no mean here: what cannot be asked is not said to be uncaught.
    assert not {*golden.header.uncaught} & {"mean-over-rows", "no-alpha", *caught}


def test_a_count_and_specs_that_catch_nothing_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--count 0 is not allowed: give at least 1"):
        make.make(named("binary32"), [specs.parse(CE_ONLY)], count=0)
    monkeypatch.setattr(rivals, "rivals", lambda _: [])
    with pytest.raises(NothingMeasured, match="no input catches a defect of epsilon=-1,weighting=ce_only in binary32"):
        make.make(named("binary32"), [specs.parse(CE_ONLY)])


@pytest.mark.parametrize("name", FORMATS)
def test_the_committed_sets_are_what_they_were_made_from(name: str) -> None:
    """A part of each set made anew, with the mutants asked again: the same lines, to the last byte."""
    golden = committed(name)
    asked = [specs.parse(text) for text in golden.header.specs]
    assert golden.header.specs == list(specs.DEFAULT)
    assert golden.header.vectors == make.COUNT
    every = list(golden.vectors.values())
    defects = golden.header.defects
    places = {d.name: i for i, d in enumerate(defects)}
    beyond = [{defects[i].name for i in (*e.vector.beyond.value, *e.vector.beyond.gradient)} for e in every]
    words = in_words(defects, beyond)
    lines = (FOLDER / f"{name}.jsonl").read_bytes().splitlines(keepends=True)
    against = rivals.rivals(asked)
    with rivals.at_work(asked):
        for i in range(5 * FORMATS.index(name), len(every), 20):
            found = make.measure(Candidate(every[i].case, every[i].vector.about), against)
            assert found is not None
            made = make.vector(found, every[i].vector.id, places=places, catches=words[i])
            assert line(made) == lines[1 + i]


def test_the_committed_inputs_are_those_that_are_drawn(golden: Golden) -> None:
    asked = [specs.parse(text) for text in golden.header.specs]
    drawn = {(c.case, c.about) for c in candidates(golden.format, asked, golden.header.seed)}
    assert {(e.case, e.vector.about) for e in golden.vectors.values()} <= drawn


@pytest.mark.long
@pytest.mark.parametrize("name", FORMATS)
def test_the_committed_sets_are_what_the_command_writes(name: str) -> None:
    made = make.make(named(name), [specs.parse(text) for text in specs.DEFAULT])
    there = committed(name)
    assert made.vectors == [e.vector for e in there.vectors.values()]
    assert msgspec.structs.replace(made.header, made_by={}) == msgspec.structs.replace(there.header, made_by={})


def test_an_input_that_says_nothing_is_no_vector(golden: Golden) -> None:
    case = next(iter(golden.vectors.values())).case
    # A result beyond the format: an infinity is the right answer, and nothing is bounded.
    top = case.format.largest
    beyond = replace(case, logits=((top, -top),), target=(1,))
    assert make.measure(Candidate(beyond, "too large"), []) is None
    assert make.measure(Candidate(replace(case, weight=None), "fine"), []) is not None

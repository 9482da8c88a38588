"""The badge: what it says, that it can be read on any page, and that its texts fit."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from polyref.report import badge, summary
from polyref.report.document import Document

from .example import build, finding
from .kinds import DOCUMENTS

NS = "{http://www.w3.org/2000/svg}"


def some(held: int, broken: int = 0, undecided: int = 0) -> Document:
    verdicts = ["violated"] * broken + ["holds"] * held + ["inconclusive"] * undecided
    return build(findings=[finding(f"law-{i}", v) for i, v in enumerate(verdicts)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (some(25), "25 laws hold"),
        (some(1), "1 law holds"),
        (some(22, 3), "3 of 25 laws broken"),
        (some(0, 1), "1 of 1 law broken"),
        (some(23, 0, 2), "23 laws hold, 2 open"),
        (some(1200, 34), "34 of 1,234 laws broken"),
        (some(0, 0, 2), "nothing measured"),
        (some(0), "nothing measured"),
    ],
)
def test_what_it_says(document: Document, text: str) -> None:
    root = ET.fromstring(badge.render(document))
    assert [e.text for e in root.iter(f"{NS}text")] == ["polyref", text]
    assert root.findtext(f"{NS}title") == f"polyref: {text}" == root.get("aria-label")
    assert root.get("role") == "img"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_is_small_and_its_texts_fit(name: str) -> None:
    source = badge.render(DOCUMENTS[name]())
    assert source == badge.render(DOCUMENTS[name]())
    assert len(source) < 1000
    root = ET.fromstring(source)
    assert [e.tag.removeprefix(NS) for e in root.iter()] == ["svg", "title", "rect", "path", "g", "text", "text"]
    assert " id=" not in source
    path = root.find(f"{NS}path")
    assert path is not None
    middle, width = float(path.get("d", "").split("H")[1].split("V")[0]), float(root.get("width", 0))
    for text, start, end in zip(root.iter(f"{NS}text"), (0.0, middle), (middle, width), strict=True):
        x, length = float(text.get("x", 0)), float(text.get("textLength", 0))
        assert start < x < x + length < end
        # Near its natural width, so that no typeface is squeezed: Verdana's average is 0.55 of its size.
        assert 0.4 < length / len(text.text or "") / 11 < 0.7


@pytest.mark.parametrize("colour", ["#555555", *badge.COLOURS.values()])
def test_white_text_can_be_read(colour: str) -> None:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    assert 1.05 / (luminance + 0.05) >= 4.5


def test_a_colour_for_every_outcome() -> None:
    documents = {"hold": some(1), "broken": some(1, 1), "open": some(1, 0, 1), "nothing": some(0)}
    assert set(documents) == set(badge.COLOURS)
    for outcome, document in documents.items():
        assert summary.outcome(document) == outcome
        assert badge.COLOURS[outcome] in badge.render(document)

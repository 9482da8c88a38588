"""Golden vectors for the tests: the committed sets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from polyref.vectors.answers import Golden, read_vectors

FOLDER = Path(__file__).parents[2] / "reports" / "vectors"
FORMATS = ("binary64", "binary32", "binary16", "bfloat16")


@cache
def committed(name: str) -> Golden:
    """The committed set of a format."""
    return read_vectors(FOLDER / f"{name}.jsonl")


@pytest.fixture
def golden() -> Golden:
    """The committed set of binary32."""
    return committed("binary32")

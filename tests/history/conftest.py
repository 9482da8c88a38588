"""Fixtures for the tests of the history."""

from __future__ import annotations

import pytest

from polyref.history import store


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process wrote is there for others when it is killed; only a power failure needs the disk to have it."""
    monkeypatch.setattr(store, "SYNCHRONOUS", "OFF")

"""A real browser for tests of pages: Debian's Chromium, headless, without a network.

Tests that ask for it are skipped where there is none, and say so.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which(os.environ.get("POLYREF_CHROMIUM") or "chromium")


@contextmanager
def chromium() -> Iterator[Any]:
    """One browser; skips the test where it cannot be had."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no chromium: install it, or name one in POLYREF_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


_LAST_WORD = "the last word"
_HANDLERS = """[...document.querySelectorAll('*')].flatMap(element => [...element.attributes])
    .map(attribute => attribute.name).filter(name => name.startsWith('on'))"""


@dataclass
class Tab:
    """One page in the browser, and what it did that no page should do."""

    page: Any
    url: str
    told: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def assert_quiet(self) -> None:
        """No message in the console, no error, no request but for the page itself, no dialog, no code of a payload."""
        assert self.page.evaluate("globalThis.taken ?? null") is None
        # The policy forbids them, and says so only when one is to run.
        assert self.page.evaluate(_HANDLERS) == []
        # Messages come in order, so with this one all are here that the page gave rise to before.
        with self.page.expect_console_message(lambda message: message.text == _LAST_WORD):
            self.page.evaluate("text => new Promise(done => setTimeout(() => done(console.debug(text))))", _LAST_WORD)
        assert (self.told, self.requests, self.dialogs) == ([], [self.url], [])

    def until(self, expression: str, argument: Any = None, *, seconds: float = 30.0) -> None:
        """Wait for something to become true in the page.

        Asked from outside again and again: ``wait_for_function`` does it by ``eval`` in the page, which its policy
        forbids, and so it works only where there is nothing to wait for.
        """
        end = time.monotonic() + seconds
        while not self.page.evaluate(expression, argument):
            assert time.monotonic() < end, f"never true: {expression}"
            self.page.wait_for_timeout(20)

    def violations(self) -> list[str]:
        """What axe finds wrong, one line for each element."""
        self.page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
        found = self.page.evaluate("axe.run()")["violations"]
        return [f"{v['id']}: {node['html'][:120]} {node['failureSummary']}" for v in found for node in v["nodes"]]


@contextmanager
def opened(browser: Any, source: str, folder: Path, *, width: int = 1000, **options: Any) -> Iterator[Tab]:
    """A page that was written to a file and opened from there; its charts are drawn, if it has any."""
    file = folder / "page.html"
    file.write_text(source, "utf-8")
    context = browser.new_context(viewport={"width": width, "height": 800}, **options)
    try:
        tab = Tab(context.new_page(), file.as_uri())

        def requested(route: Any) -> None:
            tab.requests.append(route.request.url)
            if route.request.url == tab.url:
                route.continue_()
            else:
                route.abort()

        context.route("**/*", requested)
        tab.page.on("console", lambda message: message.text == _LAST_WORD or tab.told.append(message.text))
        tab.page.on("pageerror", lambda error: tab.told.append(str(error)))
        tab.page.on("dialog", lambda dialog: (tab.dialogs.append(dialog.message), dialog.dismiss()))
        tab.page.goto(tab.url)
        tab.until("!document.querySelector('figure.errors:not([data-drawn])')")
        yield tab
    finally:
        context.close()

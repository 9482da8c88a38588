"""``pytest --polyref TARGET``: the laws of a target as tests, without a test file.

pytest loads this module wherever polyref is installed, so it imports nothing heavy before the option is given.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from polyref.pytest import Law, Shared


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, all of which begin with --polyref."""
    group = parser.getgroup("polyref", "laws of PolyLoss")
    group.addoption(
        "--polyref",
        action="append",
        default=[],
        metavar="TARGET",
        help="Test the laws on package.module:attr or path/to/file.py:attr, in a process of its own; may be given "
        "again. Without a path, nothing else is collected.",
    )
    group.addoption(
        "--polyref-profile", choices=("quick", "default", "long"), default="default", help="How much is tried."
    )
    group.addoption(
        "--polyref-formats",
        default=None,
        metavar="FORMATS",
        help="Formats to look at, separated by commas; by default binary64, binary32, binary16 and bfloat16.",
    )
    group.addoption("--polyref-seed", type=int, default=0, metavar="SEED", help="The same seed tries the same cases.")


def pytest_configure(config: pytest.Config) -> None:
    """Who names targets and no path means the targets alone."""
    if config.option.polyref and not config.option.file_or_dir:
        config.args = []


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Add the targets to what the session collects."""
    report = yield
    if isinstance(collector, pytest.Session) and report.passed:
        targets = dict.fromkeys(collector.config.option.polyref)
        report.result.extend(Target.from_parent(collector, name=name, nodeid=f"polyref[{name}]") for name in targets)
    return report


class Target(pytest.Collector):
    """One target: its tests are its laws."""

    _shared: Shared | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """A test for each law.

        Raises:
            CollectError: for an option that cannot be used as given.
        """
        from polyref.errors import PolyrefError  # noqa: PLC0415 - see above
        from polyref.pytest import Shared  # noqa: PLC0415
        from polyref.request import request  # noqa: PLC0415

        chosen = self.config.option
        try:
            self._shared = Shared(
                request(
                    self.name,
                    formats=chosen.polyref_formats,
                    profile=chosen.polyref_profile,
                    seed=chosen.polyref_seed,
                )
            )
            for law in self._shared.laws():
                yield LawItem.from_parent(self, name=law.id, law=law)
        except PolyrefError as e:
            raise self.CollectError(f"polyref: {e}") from None

    def teardown(self) -> None:
        """End the process of the target."""
        if self._shared is not None:
            self._shared.close()


class LawItem(pytest.Item):
    """One law on one target."""

    def __init__(self, *, law: Law, **options: Any) -> None:
        super().__init__(**options)
        self.law = law

    def runtest(self) -> None:
        """Check the law."""
        self.law.check()

    def reportinfo(self) -> tuple[Path, None, str]:
        """What the header of a failure says."""
        return self.path, None, self.nodeid

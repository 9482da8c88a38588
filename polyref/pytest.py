"""Laws as tests: one test for each law, all formats that it is judged in together.

    @polyref.pytest.parametrize(MyLoss, expected_failures={"shift-invariance": "clamped on purpose"})
    def test_my_loss(law):
        law.check()

How a subject is called, and what it computes, is found out once, by the first of its tests that runs. The first test
is ``returns-a-value``: it fails, with one line, if no way of calling the subject works; then the others are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest

from polyref.auditor import RETURNS_A_VALUE, audited_formats, chosen_laws, findings, recorded
from polyref.choice import nearest
from polyref.errors import PolyrefError, UsageError
from polyref.formats import Format
from polyref.options import Profile
from polyref.property import LawFailed, objection
from polyref.report import document as doc
from polyref.report import terminal
from polyref.report.screen import plain
from polyref.report.summary import by_law
from polyref.request import Request, request
from polyref.subject.client import Subject, in_worker
from polyref.subject.dialect import Dialect
from polyref.subject.identify import identify
from polyref.subject.runner import Runner

_Test = TypeVar("_Test", bound=Callable[..., Any])


def parametrize(
    subject: Any,
    *,
    expected_failures: Mapping[str, str] | None = None,
    formats: str | Iterable[str | Format] | None = None,
    profile: Profile = "default",
    seed: int = 0,
    init: Mapping[str, Any] | None = None,
    call: Mapping[str, Any] | None = None,
    properties: Iterable[str] | None = None,
    isolated: bool | None = None,
    timeout: float | None = None,
    memory: float | None = None,
) -> Callable[[_Test], _Test]:
    """Make one test for each law of a test function that takes ``law`` and calls ``law.check()``.

    A law that does not apply, or that no case could decide, is skipped with the reason.

    Args:
        subject: a class, a function, a factory or an instance; or a target's text. See :func:`polyref.audit` for this
            and the arguments that are not named here.
        expected_failures: ids of laws that the subject is known to break, each with the reason. If it does not break
            one, that test fails; an id of no law, or of one that does not apply, fails when the tests are collected.
        formats: names of the formats that each law is judged in, where it is judged in several.
        profile: how much is tried.
        seed: the same seed tries the same cases.
        init: overrides of constructor arguments.
        call: overrides of call arguments.
        properties: ids of the laws to make tests of; by default all.
        isolated: whether the subject runs in a process of its own.
        timeout: seconds that one case may take, in a process of its own.
        memory: GiB of data that the subject may use, in a process of its own.
    """
    expected = dict(expected_failures or {})
    try:
        shared = Shared(
            request(
                subject,
                formats=formats,
                profile=profile,
                seed=seed,
                init=init,
                call=call,
                properties=properties,
                isolated=isolated,
                timeout=timeout,
                memory=memory,
            )
        )
        shared.require(expected)
    except PolyrefError as e:
        # Not an error of the test module: its traceback would say nothing.
        raise pytest.fail.Exception(f"polyref.pytest.parametrize: {e}", pytrace=False) from None
    tests = [pytest.param(law, id=law.id, marks=_marks(law, expected)) for law in shared.laws()]
    return pytest.mark.parametrize("law", tests)


def _marks(law: Law, expected: Mapping[str, str]) -> tuple[pytest.MarkDecorator, ...]:
    if law.id not in expected:
        return ()
    return (pytest.mark.xfail(reason=expected[law.id], raises=pytest.fail.Exception, strict=True),)


@dataclass(frozen=True)
class Law:
    """One law, to be checked on one subject.

    Attributes:
        id: the law's id.
        statement: the law in one sentence.
    """

    id: str
    statement: str
    _shared: Shared

    def check(self) -> None:
        """Search for a case that breaks the law, and fail if there is one; skip where none says anything."""
        __tracebackhide__ = True
        trouble = self._shared.trouble()
        if self.id == RETURNS_A_VALUE:
            if trouble is not None:
                pytest.fail(trouble, pytrace=False)
            return
        if trouble is not None:
            pytest.skip(f"not tried: see {RETURNS_A_VALUE}")
        found = self._shared.findings(self.id)
        violated = [f for f in found if f.verdict == "violated"]
        if violated:
            pytest.fail(_message(violated), pytrace=False)
        if all(f.verdict != "holds" for f in found):
            pytest.skip("; ".join(dict.fromkeys(f.explanation for f in found)))


def _message(violated: list[doc.Finding]) -> str:
    (law,) = by_law(violated)
    return plain(lambda console: terminal.broken_law(law, console))


class Shared:
    """A subject for all of its tests: the first one that needs it brings it up.

    Args:
        asked: the subject, and what to look at.
    """

    def __init__(self, asked: Request) -> None:
        self._asked = asked
        self._up: tuple[Runner, Dialect] | None = None
        self._trouble: str | None = None

    def laws(self) -> Iterator[Law]:
        """A test for each law that is asked for, after the one that the subject can be called at all."""
        yield Law(RETURNS_A_VALUE, "A loss can be called, and returns its value.", self)
        for law in chosen_laws(self._asked.options):
            yield Law(law.id, law.statement, self)

    def require(self, expected: Mapping[str, str]) -> None:
        """Check that there is a reason for each expected failure, and that its law can fail.

        Raises:
            UsageError: if there is none, no such law, or one that does not apply to the subject.
        """
        target, laws = self._asked.target, {law.id: law for law in chosen_laws(self._asked.options)}
        known = [RETURNS_A_VALUE, *laws]
        for law, reason in expected.items():
            if law not in known:
                raise UsageError(f"no law of {target} is called {law!r}: choose {' or '.join(nearest(law, known))}")
            if not isinstance(reason, str) or not reason.strip():
                raise UsageError(f"the reason for {law!r} is {reason!r}: say why it is expected to fail")
        # Only who expects a failure pays for calling the subject before a test runs; not a process that imports this
        # test module for its subject.
        if not expected or in_worker() or self.trouble() is not None:
            return
        runner, dialect = self._brought_up()
        for law in expected.keys() & laws.keys():
            why = objection(laws[law], runner.convention, dialect)
            if why is not None:
                raise UsageError(f"{law!r} does not apply to {target} ({why}): take it out of expected_failures")

    def trouble(self) -> str | None:
        """Why no law can be judged, in one line, or None."""
        if self._up is None and self._trouble is None:
            try:
                self._brought_up()
            except LawFailed:
                raise
            except PolyrefError as e:
                self._trouble = str(e)
        return self._trouble

    def findings(self, law: str) -> list[doc.Finding]:
        """What an audit finds about one law, in each format that it is judged in."""
        runner, dialect = self._brought_up()
        options = replace(self._asked.options, laws=(law,))
        with self._asked.around():
            return recorded(self._asked.target, findings(runner, dialect, options), dialect, options)

    def close(self) -> None:
        """End the process that the subject runs in, if there is one."""
        if self._up is not None and isinstance(self._up[0], Subject):
            self._up[0].close()
        self._up = None

    def _brought_up(self) -> tuple[Runner, Dialect]:
        if self._up is None:
            with self._asked.around():
                runner = self._asked.start()
                audited_formats(runner.convention, self._asked.options)
                self._up = runner, identify(runner)
        return self._up

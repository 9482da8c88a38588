"""What a caller in Python asks for: a target or an object in hand, where it is to run, and what to look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from polyref.auditor import chosen_laws, opened
from polyref.errors import UsageError
from polyref.formats import Format, named
from polyref.options import AUDITED, PROFILES, Options, Profile
from polyref.subject.client import Subject
from polyref.subject.in_hand import caption, target_of
from polyref.subject.limits import limits_of
from polyref.subject.load import load, parse_target
from polyref.subject.overrides import portable
from polyref.subject.runner import Audited


@dataclass(frozen=True)
class Request:
    """A subject and what is asked about it.

    Attributes:
        target: what the subject is called: its target, or the name of an object that has none.
        options: what to look at, and how hard.
        subject: the object in hand, or None where a target's text is loaded.
        isolated: whether it runs in a process of its own.
    """

    target: str
    options: Options
    subject: Any
    isolated: bool

    @contextmanager
    def started(self) -> Iterator[Audited]:
        """The subject, ready for cases while the block runs.

        Raises:
            UsageError: if it cannot be loaded, or no convention works (``NoConvention``).
            ReturnsNothing: if it returns None.
        """
        with self.around():
            runner = self.start()
            with runner if isinstance(runner, Subject) else nullcontext():
                yield runner

    def start(self) -> Audited:
        """The subject, to be used within :meth:`around` and, where it is a ``Subject``, to be closed.

        Raises:
            UsageError: see :meth:`started`.
            ReturnsNothing: see :meth:`started`.
        """
        if self.isolated:
            return opened(self.target, self.options)
        from polyref.subject.chance import SeededSubject  # noqa: PLC0415 - torch is loaded when a subject is started

        subject, name = self.subject, None
        if subject is None:
            loaded = load(parse_target(self.target))
            subject, name = loaded.subject, loaded.target.attribute
        return SeededSubject(subject, name=name, init=self.options.init, call=self.options.call)

    def around(self) -> AbstractContextManager[None]:
        """What keeps a subject in this process from disturbing it."""
        if self.isolated:
            return nullcontext()
        from polyref.subject.undisturbed import undisturbed  # noqa: PLC0415 - as above

        return undisturbed()


def request(
    subject: Any,
    *,
    formats: str | Iterable[str | Format] | None = None,
    profile: Profile = "default",
    seed: int = 0,
    init: Mapping[str, Any] | None = None,
    call: Mapping[str, Any] | None = None,
    properties: Iterable[str] | None = None,
    isolated: bool | None = None,
    timeout: float | None = None,
    memory: float | None = None,
) -> Request:
    """Check what is asked for; nothing is loaded or called yet. The arguments are those of :func:`polyref.audit`.

    Raises:
        UsageError: for an argument that cannot be used as given.
    """
    if profile not in PROFILES:
        raise UsageError(f"profile {profile!r} is not known: choose one of {', '.join(PROFILES)}")
    options = Options(
        formats=_formats(formats),
        seed=seed,
        profile=profile,
        init=portable(init or {}, "init"),
        call=portable(call or {}, "call"),
        limits=limits_of(timeout=timeout, memory=memory),
        laws=_laws(properties),
    )
    chosen_laws(options)
    is_text = isinstance(subject, str)
    target = subject if is_text else caption(subject)
    if isolated is None:
        isolated = is_text
    if isolated and not is_text and target_of(subject) is None:
        raise UsageError(
            f"{target} cannot be imported by another process: give the text of a target, or leave isolated out"
        )
    if not isolated and (timeout is not None or memory is not None):
        raise UsageError(f"timeout and memory need a process of its own for {target}: give isolated=True with them")
    return Request(target, options, None if is_text else subject, isolated)


def _formats(given: str | Iterable[str | Format] | None) -> tuple[Format, ...]:
    if given is None:
        return AUDITED
    names = given.split(",") if isinstance(given, str) else given
    formats = tuple(named(f.strip()) if isinstance(f, str) else f for f in names)
    if not formats:
        raise UsageError("formats is empty: name some, or leave it out for all")
    return formats


def _laws(properties: Iterable[str] | None) -> tuple[str, ...]:
    if properties is None:
        return ()
    laws = (properties,) if isinstance(properties, str) else tuple(properties)
    if not laws:
        raise UsageError("properties is empty: name ids of laws, or leave it out for all")
    return laws

"""A subject in a child process of its own, which may crash, hang, exit or eat memory and costs one observation."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

from polyref.case import Case
from polyref.errors import UsageError
from polyref.subject import wire
from polyref.subject.child import Child, ChildGone
from polyref.subject.convention import Attempt, Convention, NoConvention, ReturnsNothing, frozen_value
from polyref.subject.frameworks import check_name
from polyref.subject.load import Source, parse_target
from polyref.subject.manner import PLAIN, Manner
from polyref.subject.observation import Observation

#: Cases on their way at once: enough that neither side waits for the other, few enough to encode again after a crash.
_WINDOW = 16


@dataclass(frozen=True)
class Limits:
    """What a subject may use.

    Attributes:
        seconds_per_case: for one case, or one trial of the probe.
        load_seconds: to start the process, import torch and import the target.
        memory_bytes: of data, torch's own 0.2 GiB included.

    Raises:
        UsageError: if one of them is not above 0.
    """

    seconds_per_case: float = 10.0
    load_seconds: float = 60.0
    memory_bytes: int = 4 << 30

    def __post_init__(self) -> None:
        for name in ("seconds_per_case", "load_seconds", "memory_bytes"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)!r}: give a number above 0")


DEFAULT_LIMITS = Limits()


class Subject:
    """A subject that runs in a child process; use :meth:`open` and close it, best by ``with``.

    Attributes:
        target: the target's text.
        name: the attribute that the target names.
        convention: how it is called.
        source: where its code is.
        limits: what it may use.
        restarts: how often a new process was needed.
    """

    def __init__(
        self,
        target: str,
        init: Mapping[str, Any],
        call: Mapping[str, Any],
        limits: Limits,
        *,
        device: str,
        framework: str | None,
    ) -> None:
        parsed = parse_target(target)
        self.target = target
        self.name = parsed.attribute
        self.limits = limits
        self.restarts = 0
        self.source = Source()
        self._request = {
            "target": target,
            "init": _portable(init, "init"),
            "call": _portable(call, "call"),
            # The directory of a running script or test may be on the parent's path only.
            "path": [p for p in sys.path if p],
            "device": device,
            "framework": framework,
            "convention": None,
        }
        self._log = tempfile.TemporaryFile(prefix="polyref-")  # noqa: SIM115 -- closed by the finalizer
        _append(self._log)
        self._children: list[Child] = []
        self._finalizer = weakref.finalize(self, _shut, self._children, self._log)
        try:
            self.convention, self.source, self._environment = self._first_start()
        except BaseException:
            self.close()
            raise
        self._request["convention"] = self.convention.to_json() | {"attempts": []}

    @classmethod
    def open(
        cls,
        target: str,
        init: Mapping[str, Any] | None = None,
        call: Mapping[str, Any] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        *,
        device: str = "cpu",
        framework: str | None = None,
    ) -> Subject:
        """Load a target in a child process and find out how it is called.

        Args:
            target: ``package.module:attr`` or ``path/to/file.py:attr``.
            init: overrides of constructor (or factory) arguments: numbers, texts, bools, None and lists of them. A
                list reaches the subject as a list, under a name of the class weights as a tensor.
            call: overrides of call arguments.
            limits: what the subject may use.
            device: the torch device that inputs are put on and modules are moved to.
            framework: whose arrays the subject is given; by default the one that its code names.

        Raises:
            UsageError: if the target is malformed, cannot be found or cannot be imported.
            NoConvention: if no way of calling it works.
            ReturnsNothing: if every call that went through returned None.
        """
        if framework is not None:
            check_name(framework)
        return cls(target, init or {}, call or {}, limits, device=device, framework=framework)

    def observe(self, case: Case, *, gradient: bool = True, twice: bool = False, manner: Manner = PLAIN) -> Observation:
        """Run one case.

        Args:
            case: the case.
            gradient: ask for the gradient too.
            twice: call the same instance a second time and compare.
            manner: how the case is handed over.

        Raises:
            NotOffered: if the convention has no way to ask for the case.
        """
        return self._observed([case], gradient=gradient, twice=twice, manner=manner)[0]

    def observe_all(self, cases: Iterable[Case], *, gradient: bool = True, twice: bool = False) -> list[Observation]:
        """Run cases, one observation for each, in order; the child never waits for the parent between them.

        Raises:
            NotOffered: if the convention has no way to ask for one of them; none is run then.
        """
        return self._observed(list(cases), gradient=gradient, twice=twice, manner=PLAIN)

    def _observed(self, cases: list[Case], *, gradient: bool, twice: bool, manner: Manner) -> list[Observation]:
        for case in cases:
            self.convention.require(case)
        asked: dict[str, Any] = {"gradient": gradient, "twice": twice}
        if manner != PLAIN:
            asked["manner"] = manner.to_json()
        done: list[Observation] = []
        sent = 0
        while len(done) < len(cases):
            if not self._children:
                sent = len(done)  # what the last process was given and did not answer
            try:
                child = self._running()
                while sent < min(len(cases), len(done) + _WINDOW):
                    child.send(wire.encode({"case": wire.pack_case(cases[sent]), **asked}))
                    sent += 1
                # Answers come in order, so the first one missing is that of the case in flight.
                reply = _message(child, self.limits.seconds_per_case)
            except ChildGone as e:
                self._drop()
                done.append(Observation(killed=e.reason))
                continue
            done.append(wire.unpack_observation(reply["observation"]))
            if done[-1].killed == "memory":
                self._drop()  # what it holds may be the memory that is missing
        return done

    def environment(self) -> dict[str, str]:
        """Versions and machine properties of the child, as text."""
        return dict(self._environment)

    def log_tail(self, lines: int = 20) -> list[str]:
        """The last lines of what the subject wrote to standard output and error."""
        size = os.fstat(self._log.fileno()).st_size
        start = max(size - (1 << 16), 0)
        text = os.pread(self._log.fileno(), size - start, start).decode(errors="replace")
        return text.splitlines()[-lines:]

    def close(self) -> None:
        """End the child; what it still does is lost."""
        self._finalizer()

    def __enter__(self) -> Subject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> Child:
        if not self._finalizer.alive:
            raise ValueError(f"the subject {self.name} has been closed")
        child = Child(self.limits.memory_bytes, self._log)
        self._children.append(child)
        child.send(wire.encode({"open": self._request}))
        return child

    def _drop(self) -> None:
        for child in self._children:
            child.kill()
        self._children.clear()

    def _running(self) -> Child:
        """The child, started again if the last one is gone.

        Raises:
            ChildGone: if it does not come up again.
        """
        if self._children:
            return self._children[0]
        self.restarts += 1
        child = self._start()
        limit = self.limits.load_seconds
        while (reply := _message(child, limit))["event"] != "opened":
            if reply["event"] == "refused":
                raise ChildGone(f"not loaded again: {reply['message']}")
            limit = self.limits.seconds_per_case
        return child

    def _first_start(self) -> tuple[Convention, Source, dict[str, str]]:
        child = self._start()
        trial: str | None = None
        try:
            reply = _message(child, self.limits.load_seconds)
            while reply["event"] in ("loaded", "trying"):
                trial = reply.get("call", "the first call")
                reply = _message(child, self.limits.seconds_per_case)
        except ChildGone as e:
            raise self._died(e.reason, trial) from None
        if reply["event"] == "opened":
            return Convention.from_json(reply["convention"]), Source(**reply["source"]), reply["environment"]
        message = reply["message"]
        if reply["kind"] == "nothing":
            raise ReturnsNothing(message, Convention.from_json(reply["convention"]))
        if reply["kind"] == "convention":
            raise NoConvention(message, tuple(Attempt(*a) for a in reply["attempts"]))
        raise UsageError(message)

    def _died(self, reason: str, trial: str | None) -> UsageError:
        lines = [line.strip() for line in self.log_tail(100) if line.strip()]
        # After a fatal signal Python lists every stack and extension module; the line before all that says what it was.
        telling = [line for line in lines if line.startswith("Fatal Python error")] or lines[-1:]
        last = f"; its last words: {telling[-1]}" if telling else ""
        seconds = self.limits.load_seconds if trial is None else self.limits.seconds_per_case
        how = f"took more than {seconds:g} s" if reason == "timeout" else f"ended the process ({reason})"
        if trial is None:
            return UsageError(f"target {self.target!r}: importing it {how}{last}: mend it so that it can be imported")
        return NoConvention(
            f"{self.name}: the call {trial} {how}{last}: mend it, or steer the call with --init and --call",
            (Attempt(trial, f"killed: {reason}"),),
        )


def _message(child: Child, seconds: float) -> dict[str, Any]:
    try:
        reply = wire.decode(child.receive(seconds))
    except ValueError:
        # Only a subject that found the pipe and wrote on it can cause this.
        child.kill()
        raise ChildGone("pipe closed") from None
    if reply.get("event") == "failed":
        child.kill()
        raise RuntimeError(f"polyref's worker failed:\n{reply['traceback']}")
    return reply


def _portable(overrides: Mapping[str, Any], what: str) -> dict[str, Any]:
    for name, value in overrides.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            raise UsageError(
                f"{what} {name}={value!r}: give a number, a text, True, False, None or a list of them"
            ) from None
    return {name: frozen_value(value) for name, value in overrides.items()}


def _append(log: IO[bytes]) -> None:
    flags = fcntl.fcntl(log.fileno(), fcntl.F_GETFL)
    fcntl.fcntl(log.fileno(), fcntl.F_SETFL, flags | os.O_APPEND)


def _shut(children: list[Child], log: IO[bytes]) -> None:
    for child in children:
        child.kill()
    children.clear()
    log.close()

"""A subject in a child process of its own, which may crash, hang, exit or eat memory and costs one observation."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from polyref.case import Case
from polyref.errors import UsageError
from polyref.subject import wire
from polyref.subject.child import WORKER, Child, ChildGone
from polyref.subject.convention import Attempt, Convention, NoConvention, NotJudged, ReturnsNothing
from polyref.subject.frameworks import check_name
from polyref.subject.limits import DEFAULT_LIMITS, SLOW_IMPORT, Limits
from polyref.subject.load import Source, parse_target
from polyref.subject.manner import PLAIN, Manner
from polyref.subject.observation import Observation
from polyref.subject.overrides import FOUND_OUT, Forms, portable
from polyref.subject.runner import Death, Exhausted
from polyref.subject.said import first_line
from polyref.subject.slot import slot

#: Cases on their way at once: enough that neither side waits for the other, few enough to encode again after a crash.
_WINDOW = 16
#: How many times as long a compiled call may take: the compiler of torch takes seconds, on a busy machine ten of them.
_COMPILING = 6
#: Less memory than torch itself takes.
_FOR_TORCH = 1 << 28


class Subject:
    """A subject that runs in a child process; use :meth:`open` and close it, best by ``with``.

    Attributes:
        target: the target's text.
        name: the attribute that the target names.
        convention: how it is called.
        source: where its code is.
        limits: what it may use.
        restarts: how often a new process was needed.
        deaths: the cases that ended a process, in order.
        changed: what importing the target left otherwise in its process.
        slow_import: whether importing it took longer than anybody expects.
        writes: when it wrote to standard output or error: ``imported``, ``called``.
    """

    def __init__(
        self,
        target: str,
        init: Mapping[str, Any],
        call: Mapping[str, Any],
        limits: Limits,
        *,
        device: str,
        forms: Forms = FOUND_OUT,
        framework: str | None = None,
        convention: Convention | None = None,
    ) -> None:
        parsed = parse_target(target)
        if in_worker():
            raise UsageError(
                f"target {target!r} was asked for by code that polyref imports for an audit: put that under "
                'if __name__ == "__main__":'
            )
        self.target = target
        self.name = parsed.attribute
        self.limits = limits
        self.restarts = 0
        self.deaths: list[Death] = []
        self.changed: tuple[str, ...] = ()
        self.slow_import = False
        self.writes: set[str] = set()
        self._afresh = False
        self._answered = 0
        self._deadline = time.monotonic() + limits.total_seconds
        self.source = Source()
        self._request = {
            "target": target,
            "init": portable(init, "init"),
            "call": portable(call, "call"),
            # The directory of a running script or test may be on the parent's path only.
            "path": [p for p in sys.path if p],
            "device": device,
            "forms": forms.given,
            "framework": framework,
            "convention": None if convention is None else _without_attempts(convention),
        }
        self._slot = slot(module=WORKER, memory_bytes=limits.memory_bytes)
        try:
            self.convention, self.source, self._environment = self._first_start()
        except BaseException:
            self.close()
            raise
        self._request["convention"] = _without_attempts(self.convention)

    @classmethod
    def open(
        cls,
        target: str,
        init: Mapping[str, Any] | None = None,
        call: Mapping[str, Any] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        *,
        device: str = "cpu",
        forms: Forms = FOUND_OUT,
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
            forms: the forms of the data, where they are not to be found out.
            framework: whose arrays the subject is given; by default the one that its code names.

        Raises:
            UsageError: if the target is malformed, cannot be found or cannot be imported.
            NoConvention: if no way of calling it works.
            ReturnsNothing: if every call that went through returned None.
            NotJudged: if what it returns is no loss.
        """
        if framework is not None:
            check_name(framework)
        return cls(target, init or {}, call or {}, limits, device=device, forms=forms, framework=framework)

    @classmethod
    def known(cls, target: str, convention: Convention, limits: Limits = DEFAULT_LIMITS) -> Subject:
        """Load a target in a child process whose convention was found by another one.

        Args:
            target: as for :meth:`open`.
            convention: how it is called.
            limits: what the subject may use.

        Raises:
            UsageError: if the target cannot be imported.
        """
        return cls(target, {}, {}, limits, device="cpu", convention=convention)

    def observe(self, case: Case, *, gradient: bool = True, twice: bool = False, manner: Manner = PLAIN) -> Observation:
        """Run one case.

        Args:
            case: the case.
            gradient: ask for the gradient too.
            twice: call the same instance a second time and compare.
            manner: how the case is handed over.

        Raises:
            NotOffered: if the convention has no way to ask for the case.
            Exhausted: if the time or the restarts are used up.
        """
        return self._observed([case], gradient=gradient, twice=twice, manner=manner)[0]

    def afresh(self) -> None:
        """Forget what was asked last: the next case draws the random numbers that it draws when it is asked first."""
        self._afresh = True

    def observe_all(self, cases: Iterable[Case], *, gradient: bool = True, twice: bool = False) -> list[Observation]:
        """Run cases, one observation for each, in order; the child never waits for the parent between them.

        Raises:
            NotOffered: if the convention has no way to ask for one of them; none is run then.
            Exhausted: if the time or the restarts are used up; it has the observations until then.
        """
        return self._observed(list(cases), gradient=gradient, twice=twice, manner=PLAIN)

    def _observed(self, cases: list[Case], *, gradient: bool, twice: bool, manner: Manner) -> list[Observation]:
        for case in cases:
            self.convention.require(case)
        seconds = self.limits.seconds_per_case * (_COMPILING if manner.mode == "compiled" else 1)
        asked: dict[str, Any] = {"gradient": gradient, "twice": twice}
        if manner != PLAIN:
            asked["manner"] = manner.to_json()
        done: list[Observation] = []
        sent = 0
        while len(done) < len(cases):
            if self.exhausted is not None:
                raise Exhausted(self.exhausted, done)
            if self._slot.child is None:
                sent = len(done)  # what the last process was given and did not answer
            try:
                child = self._running()
                while sent < min(len(cases), len(done) + _WINDOW):
                    afresh = {"afresh": True} if self._afresh else {}
                    child.send(wire.encode({"case": wire.pack_case(cases[sent]), **asked, **afresh}))
                    self._afresh = False
                    sent += 1
                # Answers come in order, so the first one missing is that of the case in flight.
                seen, wrote = _observation(child, self._at_most(seconds))
                if wrote:
                    self.writes.add("called")
            except ChildGone as e:
                self._slot.drop()
                if self._late:
                    continue  # the case was not given its time
                seen = Observation(killed=e.reason)
            done.append(seen)
            if seen.killed is not None:
                words = self._last_words()
                self.deaths.append(Death(cases[len(done) - 1], manner, seen.killed, words, self._answered))
            self._answered += 1
            if seen.killed == "memory":
                self._slot.drop()  # what it holds may be the memory that is missing
        return done

    @property
    def exhausted(self) -> str | None:
        """Which limit of the whole audit is reached, None as long as cases can be asked."""
        if self._late:
            return f"the time for the audit, {self.limits.total_seconds:g} s, was used up"
        if self._slot.child is None and self.restarts >= self.limits.restarts:
            return f"it ended its process {self.restarts + 1} times"
        return None

    @property
    def _late(self) -> bool:
        return time.monotonic() >= self._deadline

    def _at_most(self, seconds: float) -> float:
        return min(seconds, self._deadline - time.monotonic())

    def environment(self) -> dict[str, str]:
        """Versions and machine properties of the child, as text."""
        return dict(self._environment)

    def log_tail(self, lines: int = 20) -> list[str]:
        """The last lines of what the subject wrote to standard output and error."""
        log = self._slot.log.fileno()
        size = os.fstat(log).st_size
        start = max(size - (1 << 16), 0)
        text = os.pread(log, size - start, start).decode(errors="replace")
        return text.splitlines()[-lines:]

    def close(self) -> None:
        """End the child; what it still does is lost."""
        self._slot.close()

    def __enter__(self) -> Subject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> Child:
        if self._slot.closed:
            raise ValueError(f"the subject {self.name} has been closed")
        child = self._slot.child or self._slot.start()
        self._answered = 0
        child.send(wire.encode({"open": self._request}))
        return child

    def _running(self) -> Child:
        """The child, started again if the last one is gone.

        Raises:
            ChildGone: if it does not come up again.
        """
        if self._slot.child is not None:
            return self._slot.child
        self.restarts += 1
        child = self._start()
        limit = self.limits.load_seconds
        while (reply := child.message(self._at_most(limit)))["event"] != "opened":
            if reply["event"] == "refused":
                raise ChildGone(f"not loaded again: {reply['message']}")
            limit = self.limits.seconds_per_case
        return child

    def _first_start(self) -> tuple[Convention, Source, dict[str, str]]:
        child = self._start()
        trial: str | None = None
        try:
            reply = child.message(self._at_most(self.limits.load_seconds))
            while reply["event"] in ("loaded", "trying"):
                if reply["event"] == "loaded":
                    self._imported(reply)
                trial = reply.get("call", "the first call")
                reply = child.message(self._at_most(self.limits.seconds_per_case))
        except ChildGone as e:
            raise self._died(e.reason, trial) from None
        if reply["event"] == "opened":
            self.changed = tuple(reply["changed"])
            return Convention.from_json(reply["convention"]), Source(**reply["source"]), reply["environment"]
        message = reply["message"]
        if reply["kind"] == "nothing":
            raise ReturnsNothing(message, Convention.from_json(reply["convention"]))
        if reply["kind"] == "convention":
            raise NoConvention(message, tuple(Attempt(*a) for a in reply["attempts"]))
        if reply["kind"] == "not judged":
            raise NotJudged(message)
        raise UsageError(message)

    def _imported(self, reply: dict[str, Any]) -> None:
        self.slow_import = reply["seconds"] > SLOW_IMPORT
        if reply["wrote"]:
            self.writes.add("imported")

    def _last_words(self) -> str:
        lines = [line.strip() for line in self.log_tail(100) if line.strip()]
        # After a fatal signal Python lists every stack and extension module; the line before all that says what it was.
        telling = [line for line in lines if line.startswith("Fatal Python error")] or lines[-1:]
        return first_line(telling[-1]) if telling else ""

    def _died(self, reason: str, trial: str | None) -> UsageError:
        if self._late:
            where = "importing it" if trial is None else f"the call {trial}"
            return UsageError(
                f"target {self.target!r}: {self.exhausted}, and {where} was not done yet: give more with --budget"
            )
        words = self._last_words()
        last = f"; its last words: {words}" if words else ""
        seconds = self.limits.load_seconds if trial is None else self.limits.seconds_per_case
        how = f"took more than {seconds:g} s" if reason == "timeout" else f"ended the process ({reason})"
        if trial is None and (self.limits.memory_bytes < _FOR_TORCH or "MemoryError" in f"{reason} {words}"):
            limit = f"{self.limits.memory_bytes / 2**30:g} GiB"
            return UsageError(
                f"target {self.target!r}: the limit on memory, {limit}, is too small to import torch and the target: "
                "give more with --memory"
            )
        if trial is None:
            return UsageError(f"target {self.target!r}: importing it {how}{last}: mend it so that it can be imported")
        return NoConvention(
            f"{self.name}: the call {trial} {how}{last}: mend it, or steer the call with --init and --call",
            (Attempt(trial, f"killed: {reason}"),),
        )


def _without_attempts(convention: Convention) -> dict[str, Any]:
    return convention.to_json() | {"attempts": []}


def in_worker() -> bool:
    """Whether this process is itself a subject's: what a module audits when it is imported would go on for ever."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name in ("polyref.subject.worker", "polyref.sweep.worker")


def _observation(child: Child, seconds: float) -> tuple[Observation, bool]:
    """The next observation, and whether the subject wrote to its output meanwhile."""
    reply = child.message(seconds)
    try:
        return wire.unpack_observation(reply["observation"]), "wrote" in reply
    except (KeyError, TypeError, ValueError, AttributeError):
        child.kill()
        raise ChildGone("pipe closed") from None

"""Times of contenders that take turns, and ratios of times of the same round.

Two clocks for the CPU. The CPU time of the process, for work on one thread: with nothing to wait for it is what a wall
clock shows on an idle machine, and it stands still while other programs have the core. And the wall clock, for work on
several threads, whose CPU time says nothing of how long it takes. Neither undoes what other programs do to caches and
to memory bandwidth; that is what the pairing is for. A CUDA device has a timer of its own, in
:mod:`polyref.bench.cuda`.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from polyref.bench.contender import Contender, nothing

#: Nanoseconds, from any origin.
Clock = Callable[[], int]

_NANO = 1e-9


@dataclass(frozen=True)
class Taken:
    """A sample: the seconds of the calls together, and the seconds that taking it cost."""

    seconds: float
    spent: float


class Timer(Protocol):
    """Takes samples."""

    @property
    def name(self) -> str:
        """The clock, for a document."""

    def take(self, contender: Contender, calls: int) -> Taken:
        """A sample of so many calls, at least one; every one comes after ``contender.before``, which is not timed."""


@dataclass(frozen=True)
class ClockTimer:
    """Reads a clock around the calls: around all of them, or around each where something comes between."""

    name: str
    clock: Clock

    def take(self, contender: Contender, calls: int) -> Taken:
        """A sample."""
        run, before, clock = contender.run, contender.before, self.clock
        first = clock()
        if before is nothing:
            for _ in range(calls):
                run()
            total = clock() - first
        else:
            total = 0
            for _ in range(calls):
                before()
                start = clock()
                run()
                total += clock() - start
        # A clock too coarse to see a call would make ratios of zeros.
        return Taken(max(total, 1) * _NANO, max(clock() - first, 1) * _NANO)


CPU_TIME = ClockTimer("CPU time of the process, user and system", time.process_time_ns)
WALL_TIME = ClockTimer("wall time", time.perf_counter_ns)


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Attributes:
        sample: seconds that one sample lasts at least: a short call is repeated until it does.
        fewest: rounds that are made however long they take.
        most: rounds after which there is no more to learn.
    """

    sample: float = 0.02
    fewest: int = 7
    most: int = 51


@dataclass(frozen=True)
class Spread:
    """The median of some figures, and their quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The quartiles of the values themselves: the lowest is the 0th, the highest the 4th."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        return cls(*statistics.quantiles(values, n=4, method="inclusive"))


@dataclass(frozen=True)
class Samples:
    """Seconds a call, by contender and round: ``seconds[name][r]`` is of round r for every name."""

    seconds: dict[str, list[float]]
    calls: dict[str, int]

    @property
    def rounds(self) -> int:
        """How many rounds were made."""
        return len(next(iter(self.seconds.values())))

    def time(self, name: str) -> Spread:
        """Seconds a call."""
        return Spread.of(self.seconds[name])

    def ratio(self, of: str, to: str) -> Spread:
        """The time of one contender over that of another: the ratio is taken in each round, the median after."""
        return Spread.of([a / b for a, b in zip(self.seconds[of], self.seconds[to], strict=True)])


def turns(count: int, number: int) -> list[int]:
    """The order of ``count`` contenders in a round.

    Every odd round is the one before it backwards, and every even one begins with the next contender: over 2 count
    rounds everyone has every place as often as everyone else, and has each neighbour before it as often as after it.
    """
    order = [(number // 2 + i) % count for i in range(count)]
    return order[::-1] if number % 2 else order


def measure(
    contenders: Sequence[Contender], plan: Plan, budget: float, *, timer: Timer, rounds: int | None = None
) -> Samples:
    """Time contenders in turns.

    Each is called once to warm up and once to learn what a call costs; from that follow the calls of a sample, the same
    in every round, and the number of rounds that ``budget`` seconds allow, unless ``rounds`` says it. Python's
    collector of cycles is off while samples are taken, and runs over what is new between rounds.
    """
    calls, one = [], 0.0
    for contender in contenders:
        _take(timer, contender, 1)
        cost = _take(timer, contender, 1)
        calls.append(max(1, math.ceil(plan.sample / max(cost.seconds, _NANO))))
        one += cost.spent * calls[-1]
    if rounds is None:
        rounds = min(max(int(budget / max(one, _NANO)), plan.fewest), plan.most)
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    with _no_collector():
        for number in range(rounds):
            for i in turns(len(contenders), number):
                contender = contenders[i]
                seconds[contender.name].append(_take(timer, contender, calls[i]).seconds / calls[i])
            gc.collect(0)
    return Samples(seconds, {c.name: n for c, n in zip(contenders, calls, strict=True)})


def _take(timer: Timer, contender: Contender, calls: int) -> Taken:
    with contender.within():
        return timer.take(contender, calls)


@contextmanager
def _no_collector() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

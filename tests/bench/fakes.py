"""A clock and a CUDA device whose time passes only when something is done on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from polyref.bench.contender import Contender
from polyref.bench.timer import ClockTimer, Taken

MILLI = 1_000_000


class FakeClock:
    """Nanoseconds that pass only when a contender runs."""

    def __init__(self) -> None:
        self.now = 12345
        self.log: list[str] = []

    def __call__(self) -> int:
        return self.now

    def spend(self, what: str, cost: int) -> None:
        self.log.append(what)
        self.now += cost

    def contender(self, name: str, cost: Callable[[], int]) -> Contender:
        def run() -> None:
            self.log.append(name)
            self.now += cost()

        return Contender(name, run)

    @property
    def timer(self) -> ClockTimer:
        return ClockTimer("a clock of our own", self)


class FakeCuda:
    """What torch.cuda has of events and memory; work is queued, and done when the program waits for it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.allocated = self.peak = 1000
        self.queue: deque[tuple[str, Callable[[], None]]] = deque()
        self.done: list[str] = []

    def launch(self, name: str, milliseconds: float) -> None:
        def work() -> None:
            self.now += milliseconds

        self.queue.append((name, work))

    def allocate(self, size: int) -> None:
        self.allocated += size
        self.peak = max(self.peak, self.allocated)

    def synchronize(self) -> None:
        while self.queue:
            name, work = self.queue.popleft()
            self.done.append(name)
            work()

    def reset_peak_memory_stats(self) -> None:
        self.peak = self.allocated

    def memory_allocated(self) -> int:
        return self.allocated

    def max_memory_allocated(self) -> int:
        return self.peak

    def Event(self, *, enable_timing: bool) -> FakeEvent:
        assert enable_timing
        return FakeEvent(self)


class FakeEvent:
    """A moment on the device; known only once the device has got there."""

    def __init__(self, device: FakeCuda) -> None:
        self.device = device
        self.at: float | None = None

    def record(self) -> None:
        self.device.queue.append(("event", self._pass))

    def _pass(self) -> None:
        self.at = self.device.now

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self.at is not None
        assert end.at is not None
        return end.at - self.at


class Priced:
    """A timer that runs each contender but believes in the prices it was given, in seconds a call."""

    name = "prices"

    def __init__(self, prices: dict[str, float], *, otherwise: float = 1.0) -> None:
        self.prices, self.otherwise = prices, otherwise

    def __call__(self, *_: object) -> Priced:
        return self

    def take(self, contender: Contender, calls: int) -> Taken:
        for _ in range(calls):
            contender.before()
            contender.run()
        seconds = calls * self.prices.get(contender.name, self.otherwise)
        return Taken(seconds, seconds)

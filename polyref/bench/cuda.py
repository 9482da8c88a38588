"""Time and memory on a CUDA device.

A call is timed between two events on the device, with nothing waited for until the sample is over. So a call lasts as
long as its kernels, or as long as Python takes to launch them where that is longer, as it does for small shapes.

Before each call, and outside its two events, the device's L2 cache is filled with other data. In a loop the logits of a
smaller shape would stay in a cache of 50 MB, and so would their gradient: a copy would then be faster than memory, and
no limit for a training step, where a whole model runs between two calls of a loss. The other data are read and not
written, so that the cache holds nothing that would have to go back to memory within the time taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from polyref.bench.contender import Contender
from polyref.bench.memory import Held
from polyref.bench.timer import Clock, Taken

_MILLI, _NANO = 1e-3, 1e-9


@dataclass(frozen=True)
class EventTimer:
    """Times calls by events on the device.

    Attributes:
        flush: fills the L2 cache with other data; it is launched on the current stream, like the calls.
        cuda: the module torch.cuda, or what stands in for it.
        clock: for what taking a sample costs.
    """

    flush: Callable[[], object]
    cuda: Any = torch.cuda
    clock: Clock = time.perf_counter_ns
    name: str = "CUDA events around each call, L2 cache filled with other data before it"

    def take(self, contender: Contender, calls: int) -> Taken:
        """A sample."""
        started = self.clock()
        pairs = [(self._event(), self._event()) for _ in range(calls)]
        for start, end in pairs:
            contender.before()
            self.flush()
            start.record()
            contender.run()
            end.record()
        self.cuda.synchronize()
        # Events tick every half microsecond; a call that seems to take none would make ratios of zeros.
        seconds = max(sum(start.elapsed_time(end) for start, end in pairs) * _MILLI, _NANO)
        return Taken(seconds, max(self.clock() - started, 1) * _NANO)

    def _event(self) -> Any:
        return self.cuda.Event(enable_timing=True)


def event_timer() -> EventTimer:
    """The timer of the current device."""
    cache = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
    other = torch.ones(max(2 * cache, 1 << 20) // 4, dtype=torch.float32, device="cuda")
    total = torch.empty((), dtype=torch.float32, device="cuda")
    return EventTimer(flush=lambda: torch.sum(other, 0, out=total))


def held(run: Callable[[], object], *, cuda: Any = torch.cuda) -> Held:
    """What a call holds on the device, by the record of torch's caching allocator; its result is dropped."""
    cuda.synchronize()
    cuda.reset_peak_memory_stats()
    before = cuda.memory_allocated()
    run()
    cuda.synchronize()
    return Held(cuda.max_memory_allocated() - before, cuda.memory_allocated() - before)


def absent() -> str:
    """Why there is nothing to measure on CUDA; empty if there is."""
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    return "" if torch.cuda.is_available() else "torch finds no CUDA device"

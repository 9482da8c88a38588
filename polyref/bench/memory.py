"""The most memory that a call holds at one moment, beyond what was there before it.

torch's profiler reports every block that torch's CPU allocator hands out or takes back, with its size; the running sum
of these sizes, at its highest, is the figure. That includes scratch tensors inside kernels, which a
``TorchDispatchMode`` does not see, and it is the same on every machine and in every run, which the resident set of the
process is not.

What it does not see: memory that a kernel or a library (oneDNN, MKL) takes from malloc without torch's allocator, what
the allocator adds for alignment, and pages, which the system gives out at first touch and may keep after the last.
Blocks that were there before the call and are freed within it would count as negative; the callers here free none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch.autograd.profiler import profile

_EVENT = "[memory]"


@dataclass(frozen=True)
class Held:
    """Bytes beyond those that were there before.

    Attributes:
        peak: the most at one moment.
        left: what was still held at the end.
    """

    peak: int
    left: int


def held(run: Callable[[], object]) -> Held:
    """What a call holds; its result is dropped before the end is counted."""
    with profile(profile_memory=True) as profiler:
        run()
    results = profiler.kineto_results
    if results is None:
        raise RuntimeError("torch's profiler gave no results")
    events = [(e.start_ns(), e.nbytes()) for e in results.events() if e.name() == _EVENT]
    # The sort is stable: what happened within one tick of the clock stays in the order of the record.
    return highest(size for _, size in sorted(events, key=lambda event: event[0]))


def highest(changes: Iterable[int]) -> Held:
    """Peak and end of a running sum that starts at 0."""
    now = peak = 0
    for change in changes:
        now += change
        peak = max(peak, now)
    return Held(peak, now)

"""What the figures depend on: processor, device, threads, allocator, versions; and nothing that names the machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mpmath.libmp
import torch

from polyref.bench import cuda
from polyref.subject.limits import cores

_PACKAGES = ("polyref", "torch", "triton", "mpmath", "gmpy2", "python-flint", "numpy")
_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc")
_MALLOC_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES", "THP_MEM_ALLOC_ENABLE")
_THREAD_SETTINGS = ("OMP_", "KMP_", "GOMP_", "MKL_")
_STAT = Path("/proc/stat")
#: The fields of a line of /proc/stat that are time spent at work: user, nice, system, irq, softirq, steal.
_AT_WORK = (0, 1, 2, 5, 6, 7)


def load_average() -> list[float] | None:
    """The load of the last 1, 5 and 15 minutes, where the system says."""
    return [round(v, 2) for v in os.getloadavg()] if hasattr(os, "getloadavg") else None


def facts(threads: int) -> dict[str, Any]:
    """The machine of this run; ``threads`` are those of the losses."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_allowed": cores(),
        "threads": threads,
        "thread_settings": settings(os.environ, _THREAD_SETTINGS),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "allocator": allocator(os.environ),
        "huge_pages": _huge_pages(),
        "cuda": cuda.absent() or _device(),
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
            "mpmath backend": str(mpmath.libmp.BACKEND),
        },
    }


def allocator(environment: Mapping[str, str]) -> str:
    """Which allocator torch's CPU tensors come from, as far as the environment tells."""
    preloaded = environment.get("LD_PRELOAD", "")
    found = [name for name in _ALLOCATORS if name in preloaded]
    name = found[0] + ", preloaded" if found else " ".join(filter(None, platform.libc_ver())) or "the system's"
    return f"malloc of {name}, {settings(environment, _MALLOC_SETTINGS)}"


def settings(environment: Mapping[str, str], prefixes: tuple[str, ...]) -> str:
    """The variables of the environment that begin so, with their values."""
    found = sorted(f"{name}={value}" for name, value in environment.items() if name.startswith(prefixes))
    return f"settings in the environment: {' '.join(found) or 'none'}"


class Others:
    """Watches how busy other programs keep the machine, from now on."""

    def __init__(self) -> None:
        self._start = _work()

    def cores(self) -> float | None:
        """Cores that they kept busy since then, on average; None where the system does not say."""
        end = _work()
        if self._start is None or end is None:
            return None
        wall, own, all_programs = (b - a for a, b in zip(self._start, end, strict=True))
        return max(all_programs - own, 0.0) / max(wall, 1e-9)


def _work() -> tuple[float, float, float] | None:
    """Seconds on the wall, of work of this process, and of work of all programs, from any origin."""
    try:
        first = _STAT.read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return None
    ticks = [int(field) for field in first.split()[1:]]
    return time.perf_counter(), time.process_time(), sum(ticks[i] for i in _AT_WORK) / os.sysconf("SC_CLK_TCK")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    name = facts.get("model name", platform.machine())
    numbers = [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def _huge_pages() -> str:
    try:
        text = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    return text.partition("[")[2].partition("]")[0] or text.strip()


def _device() -> dict[str, Any]:
    """The current CUDA device."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "l2_cache_bytes": properties.L2_cache_size,
        "driver": _driver(),
        "runtime": torch.version.cuda,
    }


def _driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown: no nvidia-smi"
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as e:
        return f"unknown: nvidia-smi failed, {type(e).__name__}"
    return (found.stdout.split() or ["unknown"])[0]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

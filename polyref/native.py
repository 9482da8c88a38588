"""Building and loading the native code: a shared library of torch operators, compiled for this torch and machine.

It holds the native backend of polyref.nn and the first look of sweeps; whoever uses it does without where it is not.
The library lies in a cache directory: POLYREF_CACHE, else XDG_CACHE_HOME/polyref, else ~/.cache/polyref. Its name
carries everything that it was built from (torch's version, the machine, the instruction set that torch uses, a hash of
the sources and flags), so one that does not fit is never found, and nothing ever has to be invalidated.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch

from polyref.errors import PolyrefError

_HERE = Path(__file__).parent
#: The folders of the C++ sources: the losses of polyref.nn, and the first look of sweeps.
SOURCES = (_HERE / "nn" / "_native", _HERE / "sweep" / "_native")

#: The instruction sets that torch's vectorised types know, with the flags that they need.
_INSTRUCTIONS = {
    "AVX512": (
        "-DCPU_CAPABILITY_AVX512",
        *("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx2", "-mfma", "-mf16c"),
    ),
    "AVX2": ("-DCPU_CAPABILITY_AVX2", "-mavx2", "-mfma", "-mf16c"),
    "DEFAULT": ("-DCPU_CAPABILITY_DEFAULT",),
}

_EAGER = "the eager path goes on working"
_lock = threading.Lock()
_loaded: bool | None = None  # None: not tried yet


class BuildError(PolyrefError):
    """The native code cannot be built or loaded; exit code 2."""


def cache_directory() -> Path:
    """Where libraries are kept; it need not exist."""
    chosen = os.environ.get("POLYREF_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "polyref"


def capability() -> str:
    """The instruction set to compile for: the one that torch itself uses here."""
    name = str(torch.backends.cpu.get_cpu_capability())
    return name if name in _INSTRUCTIONS else "DEFAULT"


def compile_flags() -> list[str]:
    """What the compiler is told, apart from directories.

    No -ffast-math, and no contraction: the kernels contain error-free transformations, and write their own FMAs.
    """
    name = capability()
    flags = ["-std=c++20", "-O3", "-fPIC", "-DNDEBUG", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    flags += [f"-DCPU_CAPABILITY={name}", *_INSTRUCTIONS[name]]
    flags.append(f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}")
    if torch.backends.openmp.is_available():
        flags.append("-fopenmp")
    return flags


@lru_cache(maxsize=8)
def _digest(sources: tuple[Path, ...], flags: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\0".join(flags).encode())
    for path in sorted(p for folder in sources for kind in ("*.cpp", "*.h") for p in folder.glob(kind)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def library_path(*, sources: Sequence[Path] = SOURCES) -> Path:
    """Where the library of these sources is, or will be."""
    parts = (torch.__version__, platform.system(), platform.machine(), capability())
    name = "-".join(("polyref_native", *parts, _digest(tuple(sources), tuple(compile_flags()))))
    return cache_directory() / f"{name}.so"


def built() -> bool:
    """Whether the library is there, built from the sources as they are, for this torch and machine."""
    return library_path().is_file()


def compiler() -> list[str]:
    """The C++ compiler: CXX, which may hold arguments too, else c++ or g++.

    Raises:
        BuildError: if there is none.
    """
    chosen = shlex.split(os.environ.get("CXX", ""))
    for command in [chosen] if chosen else [["c++"], ["g++"]]:
        if shutil.which(command[0]):
            return command
    tried = f"CXX is {chosen[0]!r}, which is not there" if chosen else "neither c++ nor g++ is there"
    raise BuildError(
        f"no C++ compiler: {tried}; install one (Debian, Ubuntu: the package g++; Fedora: gcc-c++); {_EAGER}"
    )


def build(*, force: bool = False, verbose: bool = False, sources: Sequence[Path] = SOURCES) -> Path:
    """Compile the library, if it is not there yet, and return its path; about 20 seconds.

    It is made in a directory of its own and moved into place when it is whole, so builds at the same time do not
    disturb each other or a program that is loading it.

    Args:
        force: compile even if it is there.
        verbose: show the commands, on stderr.
        sources: the folders of the C++ sources.

    Raises:
        BuildError: if there is no compiler, if the compiler fails, or if the cache directory cannot be written.
    """
    _digest.cache_clear()  # the sources may have changed since
    path = library_path(sources=sources)
    if path.is_file() and not force:
        _look_again()
        return path
    command = compiler()
    log = path.with_suffix(".log")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=path.parent) as directory:
            output, good = _compile(command, sources, Path(directory), verbose=verbose)
            (Path(directory) / "log").write_text(output)
            os.replace(Path(directory) / "log", log)
            if good:
                os.replace(Path(directory) / "library.so", path)
    except OSError as error:
        raise BuildError(
            f"the native backend cannot be written to {path.parent}: {error.strerror or error}; "
            f"set POLYREF_CACHE to a directory that can be; {_EAGER}"
        ) from error
    if not good:
        raise BuildError(
            f"building the native backend failed: {_first_error(output)}; the whole log is {log}; {_EAGER}"
        )
    _look_again()
    return path


def _look_again() -> None:
    """Let :func:`available` look once more: what was not there may be now."""
    global _loaded  # noqa: PLW0603
    with _lock:
        _loaded = _loaded or None


def _compile(command: list[str], sources: Sequence[Path], directory: Path, *, verbose: bool) -> tuple[str, bool]:
    """Compile and link into ``directory``; what the tools said, and whether all went well."""
    from torch.utils.cpp_extension import include_paths  # noqa: PLC0415 - it imports setuptools

    includes = [argument for path in include_paths() for argument in ("-isystem", path)]
    units = sorted(unit for folder in sources for unit in folder.glob("*.cpp"))
    objects = [directory / f"{unit.stem}.o" for unit in units]
    jobs = [
        [*command, *compile_flags(), *includes, "-c", str(unit), "-o", str(made)]
        for unit, made in zip(units, objects, strict=True)
    ]
    output, good = _run(jobs, verbose=verbose)
    if not good:
        return output, False
    libraries = Path(torch.__file__).parent / "lib"
    # torch's own OpenMP runtime, where it brings one: another one would have threads of its own.
    openmp = [str(path) for path in sorted(libraries.glob("libgomp*.so*"))[:1]] or ["-fopenmp"]
    link = [*command, "-shared", *map(str, objects), "-o", str(directory / "library.so")]
    link += [f"-L{libraries}", "-ltorch_cpu", "-lc10", *(openmp if "-fopenmp" in compile_flags() else [])]
    linked, good = _run([link], verbose=verbose)
    return output + linked, good


def _run(jobs: Sequence[list[str]], *, verbose: bool) -> tuple[str, bool]:
    """Run commands side by side; their output together, and whether all went well."""
    output, good = "", True
    running = []
    for job in jobs:
        if verbose:
            print(shlex.join(job), file=sys.stderr)
        running.append(
            subprocess.Popen(
                job,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        )
    for job, process in zip(jobs, running, strict=True):
        said, _ = process.communicate()
        output += f"{shlex.join(job)}\n{said}exit status {process.returncode}\n"
        good &= process.returncode == 0
    return output, good


def _first_error(output: str) -> str:
    lines = output.splitlines()
    for line in lines:
        if "error:" in line or "error " in line.lower():
            return line.strip()
    failed = [line for line in lines if line.startswith("exit status ") and line != "exit status 0"]
    return f"the compiler said nothing and left {failed[0]}" if failed else "unknown"


def load() -> None:
    """Load the library and make its operators known to torch; once, whichever thread comes first.

    Raises:
        BuildError: if it is not built, or cannot be loaded.
    """
    global _loaded  # noqa: PLW0603 - once a process
    with _lock:
        if _loaded:
            return
        path = library_path()
        if not path.is_file():
            raise BuildError(f"the native backend is not built: run `polyref build-native`; {_EAGER}")
        try:
            torch.ops.load_library(str(path))
        except OSError as error:
            reason = str(error).splitlines()[0]
            raise BuildError(
                f"the native backend cannot be loaded: {reason}; run `polyref build-native --force`; {_EAGER}"
            ) from error
        from polyref.nn._native import _fake  # noqa: PLC0415 - its operators exist only now

        _fake.register()
        _loaded = True


def available() -> bool:
    """Whether the native backend can be used, loading it at the first call; later calls look at one variable.

    A library that is there and cannot be loaded is reported once, as a warning.
    """
    global _loaded  # noqa: PLW0603
    if _loaded is None:
        if not built():
            _loaded = False
            return False
        try:
            load()
        except BuildError as error:
            _loaded = False  # until the next build
            warnings.warn(str(error), RuntimeWarning, stacklevel=2)
    return bool(_loaded)

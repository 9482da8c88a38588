"""Building the native backend: the cache, what its names carry, failures, and builds at the same time."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from polyref.errors import PolyrefError
from polyref.native import BuildError
from polyref.nn import _native

# The package's attribute of this name is the function.
building = importlib.import_module("polyref.native")

needs_compiler = pytest.mark.skipif(
    not (os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")), reason="there is no C++ compiler"
)

# A library that takes a second to compile instead of twenty.
SMALL = 'extern "C" int polyref_small() { return 1; }\n'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYREF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    directory = tmp_path / "sources"
    directory.mkdir()
    (directory / "small.cpp").write_text(SMALL)
    return directory


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLYREF_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert building.library_path().parent == tmp_path / "a"
    monkeypatch.delenv("POLYREF_CACHE")
    assert building.library_path().parent == tmp_path / "b" / "polyref"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert building.library_path().parent == tmp_path / "c" / ".cache" / "polyref"


def test_the_name_carries_torch_the_machine_and_the_sources(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = building.library_path(sources=(sources,))
    assert torch.__version__ in first.name
    assert building.capability() in first.name
    (sources / "small.cpp").write_text(SMALL + "// changed\n")
    building._digest.cache_clear()
    assert building.library_path(sources=(sources,)) != first
    (sources / "small.cpp").write_text(SMALL)
    building._digest.cache_clear()
    assert building.library_path(sources=(sources,)) == first
    (sources / "more.h").write_text("")
    building._digest.cache_clear()
    assert building.library_path(sources=(sources,)) != first
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    other = building.library_path(sources=(sources,))
    assert "AVX2" in other.name
    assert "-mavx512f" not in building.compile_flags()
    assert "-mavx2" in building.compile_flags()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "something new")
    assert building.capability() == "DEFAULT"


@needs_compiler
def test_a_library_is_built_once(cache: Path, sources: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = building.build(sources=(sources,), verbose=True)
    assert path == building.library_path(sources=(sources,))
    assert path.is_file()
    assert "small.cpp" in capfd.readouterr().err
    stamp = path.stat().st_mtime_ns
    assert building.build(sources=(sources,)) == path
    assert path.stat().st_mtime_ns == stamp
    building.build(sources=(sources,), force=True)
    assert path.stat().st_mtime_ns > stamp
    assert sorted(p.suffix for p in cache.iterdir()) == [".log", ".so"]  # no directory is left behind


@needs_compiler
def test_broken_sources_fail_in_one_line_and_leave_the_log(cache: Path, sources: Path) -> None:
    (sources / "small.cpp").write_text(SMALL + "int broken = nothing_of_this_name;\n")
    with pytest.raises(BuildError, match="nothing_of_this_name") as caught:
        building.build(sources=(sources,))
    message = str(caught.value)
    assert "\n" not in message
    assert "eager path goes on working" in message
    log = building.library_path(sources=(sources,)).with_suffix(".log")
    assert str(log) in message
    assert "nothing_of_this_name" in log.read_text()
    assert not building.library_path(sources=(sources,)).exists()
    assert isinstance(caught.value, PolyrefError)
    assert caught.value.exit_code == 2


def test_a_compiler_that_fails_in_silence(cache: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(BuildError, match=r"left exit status 1; the whole log is .*; the eager path goes on working"):
        building.build(sources=(sources,))


def test_a_compiler_that_is_not_there(cache: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "missing-compiler -O1")
    with pytest.raises(BuildError, match=r"CXX is 'missing-compiler', which is not there; install one .* g\+\+"):
        building.build(sources=(sources,))
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match=r"neither c\+\+ nor g\+\+ is there"):
        building.build(sources=(sources,))


def test_a_cache_that_cannot_be_written(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POLYREF_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(BuildError, match="set POLYREF_CACHE to a directory that can be"):
        building.build(sources=(sources,))


@needs_compiler
def test_builds_at_the_same_time_do_not_disturb_each_other(cache: Path, sources: Path) -> None:
    failures: list[BaseException] = []
    seen: list[bytes] = []

    def run() -> None:
        try:
            for _ in range(2):
                seen.append(building.build(sources=(sources,), force=True).read_bytes()[:4])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert seen == [b"\x7fELF"] * 8
    assert sorted(p.suffix for p in cache.iterdir()) == [".log", ".so"]


def python(code: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "POLYREF_CACHE": str(cache)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_library_that_cannot_be_loaded_is_one_warning_and_no_crash(cache: Path) -> None:
    cache.mkdir()
    building.library_path().write_bytes(b"\x7fELF and nothing more")
    done = python(
        "from polyref.nn import _native\nprint(_native.available(), _native.available(), _native.built())", cache
    )
    assert done.returncode == 0
    assert done.stdout == "False False True\n"
    warned = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert len(warned) == 1
    assert "cannot be loaded" in warned[0]
    assert "eager path goes on working" in warned[0]


def test_where_it_is_not_built_it_is_not_available_and_says_what_to_run(cache: Path) -> None:
    done = python(
        "from polyref.nn import _native\nprint(_native.available(), _native.built())\n"
        "try:\n    _native.load()\nexcept _native.BuildError as error:\n    print(error)",
        cache,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "False False"
    assert "run `polyref build-native`; the eager path goes on working" in done.stdout


def test_what_was_built_in_the_meantime_is_found() -> None:
    if not _native.built():
        pytest.skip("the native backend is not built")
    done = python(
        "import sys\nfrom polyref.nn import _native\nbuilding = sys.modules['polyref.native']\n"
        "building._loaded = False\nprint(_native.available())\n_native.build()\nprint(_native.available())",
        building.cache_directory(),
    )
    assert done.stdout == "False\nTrue\n", done.stderr


def test_importing_loads_nothing(cache: Path) -> None:
    done = python(
        "import sys\nimport polyref\nassert 'torch' not in sys.modules\nimport polyref.nn\n"
        "from polyref.nn import _native\nimport torch\n"
        "print(*({'setuptools', 'torch._dynamo'} & sys.modules.keys()), hasattr(torch.ops.polyref_native, 'forward'))",
        cache,
    )
    assert done.stdout == "False\n", done.stderr


def test_threads_load_it_once() -> None:
    if not _native.built():
        pytest.skip("the native backend is not built")
    threads = [threading.Thread(target=_native.load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _native.available()

"""Writing a report so that a reader never sees half of one.

The bytes go to a temporary file in the same folder, to the disk, and then under the final name in one step. If any of
that fails, the file that was there before is still there, whole.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from pathlib import Path

from polyref.errors import UsageError
from polyref.report.words import visible


def is_standard_output(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is standard output: ``-`` or ``/dev/stdout``."""
    return os.fspath(path) in {"-", "/dev/stdout"}


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all; folders that are missing are made.

    A pipe or a device, such as ``/dev/stdout``, is written to as it is: replacing it would be vandalism. So is standard
    output, which ``-`` stands for.

    Raises:
        UsageError: when the folder cannot be written, or the path is a folder.
        BrokenPipeError: when whoever reads a pipe has left.
    """
    given = Path(path)
    try:
        if os.fspath(path) == "-":
            _to_standard_output(data)
            return
        if _is_special(given):
            with given.open("wb") as stream:
                stream.write(data)
            return
        # The target of a symbolic link is replaced, not the link.
        _replace(Path(os.path.realpath(given)), data)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as e:
        raise UsageError(f"cannot write {visible(os.fspath(given))}: {why(e)}") from e


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out early whether :func:`write_atomically` will be able to write there, and change nothing.

    Raises:
        UsageError: if it will not.
    """
    given = Path(path)
    try:
        if is_standard_output(path) or _is_special(given):
            return
        folder = Path(os.path.realpath(given)).parent
        while not folder.exists():
            folder = folder.parent
    except (OSError, ValueError) as e:
        raise UsageError(f"cannot write {visible(os.fspath(given))}: {why(e)}") from e
    if not folder.is_dir():
        raise UsageError(f"cannot write {visible(os.fspath(given))}: {visible(str(folder))} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {visible(os.fspath(given))}: permission denied for {visible(str(folder))}")


def make_folder(path: Path) -> None:
    """Make a folder for several files, and find out whether they can be written there.

    Raises:
        UsageError: if they cannot.
    """
    if is_standard_output(path):
        raise UsageError(f"cannot write to {path}: several files need a folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"cannot write to {visible(str(path))}: it is no folder") from None
    except (OSError, ValueError) as e:
        raise UsageError(f"cannot write to {visible(str(path))}: {why(e)}") from e
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write to {visible(str(path))}: permission denied")


def why(error: Exception) -> str:
    """The reason in an error of the operating system, in one line and without the path again."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return visible(str(error))


def _to_standard_output(data: bytes) -> None:
    """Bytes as they are, after what was printed before; a notebook's output takes text alone."""
    stream = sys.stdout
    stream.flush()
    if hasattr(stream, "buffer"):
        stream.buffer.write(data)
    else:
        stream.write(data.decode())
    stream.flush()


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(None, "it is a folder: give a file name")
    return not stat.S_ISREG(mode)


def _replace(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as e:
        raise NotADirectoryError(None, f"{visible(str(path.parent))} is no folder") from e
    temporary = path.parent / f".{path.name[:100]}.{secrets.token_hex(8)}.tmp"
    # Opened with the mode of an ordinary new file, so that the umask decides who may read the report.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise

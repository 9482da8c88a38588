"""From a target's text to the object it names.

A target is ``package.module:attr`` or ``path/to/file.py:attr``; ``attr`` may go on with dots. Every way in which this
can fail is one line that says the value, the cause and the fix.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from polyref.errors import UsageError
from polyref.subject.frameworks import install_hint
from polyref.subject.lookup import attribute, has, unwrapped
from polyref.subject.said import first_line, one_line

_FORM = "give package.module:attr or path/to/file.py:attr"


@dataclass(frozen=True)
class Target:
    """A target taken apart.

    Attributes:
        text: what the user wrote.
        module: the module's dotted name, or the path of the file.
        attribute: the attribute's dotted name.
        is_file: whether ``module`` is a path.
    """

    text: str
    module: str
    attribute: str
    is_file: bool


@dataclass(frozen=True)
class Source:
    """Where a subject's code is: file, line of the definition and first line of the docstring, as far as known."""

    file: str | None = None
    line: int | None = None
    doc: str | None = None


@dataclass(frozen=True)
class Loaded:
    """An object that was loaded, and where it came from."""

    target: Target
    subject: Any
    source: Source


def parse_target(text: str) -> Target:
    """Take a target apart; nothing is imported.

    Raises:
        UsageError: if the text has no such form, or the file does not exist.
    """
    module, colon, attribute = text.rpartition(":")
    if not colon:
        raise UsageError(f"target {text!r} has no colon: {_FORM}")
    if not module or not attribute:
        raise UsageError(f"target {text!r} names no {'attribute' if module else 'module'}: {_FORM}")
    if not all(part.isidentifier() for part in attribute.split(".")):
        raise UsageError(f"target {text!r} names {attribute!r}, which is no Python name: {_FORM}")
    is_file = module.endswith(".py") or os.sep in module or "/" in module
    if is_file:
        path = Path(module)
        if not path.is_file():
            raise UsageError(f"target {text!r}: there is no file {module!r} in {Path.cwd()}: check the path")
        if path.suffix != ".py":
            raise UsageError(f"target {text!r}: {module!r} is no Python file: give one that ends in .py")
    elif not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"target {text!r} names {module!r}, which is neither a module nor a file: {_FORM}")
    return Target(text, module, attribute, is_file)


def load(target: Target) -> Loaded:
    """Import the target's module and find its attribute.

    Raises:
        UsageError: if the module cannot be imported, or has no such attribute, or it cannot be called.
    """
    if target.is_file:
        path = Path(target.module).resolve()
        _search_first(path.parent)
        module = _imported(target, partial(_import_file, path))
    else:
        _search_first(Path.cwd())
        module = _imported(target, partial(importlib.import_module, target.module))
    found: Any = module
    for part in target.attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(_no_attribute(target, found, part)) from None
        except Exception as e:
            raise UsageError(f"target {target.text!r}: reading {part!r} raised {one_line(e)}") from e
    if not callable(found):
        raise UsageError(
            f"target {target.text!r} is {_article(type(found).__name__)} and cannot be called: "
            "name a class, a function or an instance"
        )
    return Loaded(target, found, source_of(found))


def source_of(subject: Any) -> Source:
    """Where the code of ``subject`` is; for an instance, the code of its class."""
    code = subject
    while isinstance(code, partial):
        code = code.func
    if not (inspect.isclass(code) or inspect.isroutine(code)):
        code = type(code)
    # The docstring of the object alone: a class without one would show its parent's.
    text = attribute(code, "__doc__")
    doc = first_line(text) or None if isinstance(text, str) else None
    try:
        code = unwrapped(code)
        file = inspect.getsourcefile(code)
        line = inspect.getsourcelines(code)[1]
    except (TypeError, OSError, ValueError):
        return Source(doc=doc)
    return Source(file, line, doc)


def _search_first(directory: Path) -> None:
    """Let imports find the directory's modules, as they would for a script that lies in it."""
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _import_file(path: Path) -> ModuleType:
    try:
        return _execute(path, path.stem)
    except ImportError as e:
        if "attempted relative import" not in str(e):
            raise
    # The file belongs to a package and says so; import it under its full name.
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    _search_first(root)
    return importlib.import_module(".".join(parts))


def _execute(path: Path, name: str) -> ModuleType:
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"polyref_target_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs: dataclasses look their own module up.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _imported(target: Target, do_import: Callable[[], ModuleType]) -> ModuleType:
    try:
        return do_import()
    except ModuleNotFoundError as e:
        missing = e.name or ""
        if not target.is_file and f"{target.module}.".startswith(f"{missing}."):
            raise UsageError(
                f"target {target.text!r}: there is no module {missing!r}: check the name, run from the directory "
                "that holds it, or give the path of the file"
            ) from None
        how = install_hint(missing.partition(".")[0]) or "install what is missing"
        raise UsageError(f"{_fails(target, e)}: {how}, or run where it is installed") from e
    except SystemExit as e:
        status = "" if e.code is None else e.code
        raise UsageError(
            f"target {target.text!r} calls sys.exit({status}) when it is imported{_place(e)}: "
            'put that under if __name__ == "__main__":'
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        raise UsageError(f"{_fails(target, e)}: mend it so that it can be imported") from e


def _fails(target: Target, error: BaseException) -> str:
    return f"target {target.text!r} cannot be imported, it raises {one_line(error)}{_place(error)}"


def _place(error: BaseException) -> str:
    """`` (file:line)`` of the innermost frame that is not part of the import machinery."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename and f.filename != __file__
    ]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _no_attribute(target: Target, holder: Any, missing: str) -> str:
    names = [n for n in vars(holder) if not n.startswith("_")] if has(holder, "__dict__") else []
    if inspect.ismodule(holder):
        # What was defined there is more telling than what it imported.
        own = [n for n in names if attribute(attribute(holder, n), "__module__") == holder.__name__]
        names = own or names
        where = f"{target.module!r}"
    else:
        where = f"{target.text.removesuffix('.' + missing)!r}"
    near = difflib.get_close_matches(missing, names, n=3, cutoff=0.5) or [
        n for n in names if n.lower() == missing.lower()
    ]
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif names:
        hint = f"it has {', '.join(sorted(names)[:8])}"
    else:
        hint = "it defines nothing"
    return f"target {target.text!r}: {where} has no attribute {missing!r}: {hint}"


def _article(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"

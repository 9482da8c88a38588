"""Which framework a subject is written in, from the names that its own code uses."""

from __future__ import annotations

import dis
import functools
import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from polyref.subject.frameworks import NAMES
from polyref.subject.lookup import attribute, unwrapped

_PACKAGES = {"jaxlib": "jax"} | {name: name for name in NAMES}


#: The losses of Keras 3: each is cast to keras.config.floatx(), and no rows are reduced to an array of none.
_KERAS = "keras.src.losses.loss"


def finished_by(subject: Any) -> str | None:
    """The class of a framework that makes the result of what the subject computes, if it inherits from one."""
    mro = type.mro(subject) if isinstance(subject, type) else type.mro(type(subject))
    calling = next((c for c in mro if "__call__" in vars(c)), None)
    return "keras.losses.Loss" if calling is not None and calling.__module__ == _KERAS else None


def candidates(subject: Any) -> Iterator[str]:
    """Names of frameworks to try, the most likely first; torch if the code names none."""
    named = _named(subject)
    if named:
        yield from (name for name in NAMES if name in named)
        if named == {"numpy"}:
            yield "torch"  # tensors have a method of that name
        return
    yield "torch"
    # A function that imports its framework when it is called has done so by now.
    yield from (name for name in NAMES if name in ("tensorflow", "jax") and name in sys.modules)


def _named(subject: Any) -> set[str]:
    found: set[str] = set()
    globals_: list[dict[str, Any]] = []
    for function in _functions(subject, found):
        globals_.append(function.__globals__)
        _walk(function, found, set())
    if not found:
        found |= {name for scope in globals_ for value in scope.values() if (name := _framework_of(value))}
    return found


def _functions(subject: Any, found: set[str]) -> Iterator[FunctionType]:
    """The functions that a subject is made of; frameworks that its classes come from are added to ``found``."""
    while isinstance(subject, functools.partial):
        subject = subject.func
    subject = unwrapped(subject)
    owner = attribute(subject, "__self__")
    if isinstance(subject, FunctionType):
        yield subject
        return
    if inspect.ismethod(subject) and owner is not None:
        subject = owner
    made = subject if inspect.isclass(subject) else type(subject)
    for base in made.__mro__:
        name = _of_package(base.__module__)
        if name is not None:
            found.add(name)
        else:
            yield from (f for f in vars(base).values() if isinstance(f, FunctionType))


def _walk(function: FunctionType, found: set[str], seen: set[FunctionType]) -> None:
    """Add what a function names, and the functions of its own package that it calls."""
    seen.add(function)
    scope = function.__globals__
    held = [c.cell_contents for c in function.__closure__ or () if _filled(c)]
    for code in _codes(function.__code__):
        imports = {i.argval for i in dis.get_instructions(code) if i.opname == "IMPORT_NAME"}
        found.update(filter(None, map(_of_package, imports)))
        for value in [*(scope[n] for n in code.co_names if n in scope), *held]:
            name = _framework_of(value)
            if name is not None:
                found.add(name)
                continue
            inner = unwrapped(value) if callable(value) else value
            if isinstance(inner, FunctionType) and inner not in seen and _package(inner) == _package(function):
                _walk(inner, found, seen)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that is not bound yet
        return False


def _package(function: FunctionType) -> str:
    return function.__module__.partition(".")[0]


def _framework_of(value: Any) -> str | None:
    if isinstance(value, ModuleType):
        return _of_package(value.__name__)
    module = attribute(value, "__module__")
    return _of_package(module) if isinstance(module, str) else None


def _of_package(module: str) -> str | None:
    """The framework that a module belongs to; Keras belongs to its backend."""
    package = module.partition(".")[0]
    if package in ("keras", "tf_keras"):
        keras: Any = sys.modules.get("keras")
        return str(keras.config.backend()) if package == "keras" and keras is not None else "tensorflow"
    return _PACKAGES.get(package)

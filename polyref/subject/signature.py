"""What a signature promises: which of a subject's parameters could be which of polyref's.

A promise is only kept by a call: the probe tries every parameter before it is offered.
"""

from __future__ import annotations

import contextlib
import enum
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple

import torch

from polyref.subject.convention import PARAMETERS, Convention, EpsilonForm, Order, Where, frozen_value
from polyref.subject.lookup import attribute, has
from polyref.subject.names import (
    ACTIVATIONS,
    EITHER,
    FLAGS,
    LABELS,
    LOGITS,
    REDUCING,
    REDUCTION_WORDS,
    SPREADING,
    SPREADING_NAMES,
    SYNONYMS,
)

#: A default this small is a guard against log(0), not a coefficient.
_GUARD = 1e-3

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def signature_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """The parameters of a callable by name, self excluded; None where Python cannot tell (built-in code).

    The ``__call__`` of a torch module takes anything, so its ``forward`` is read instead.
    """
    forward = attribute(function, "forward")
    if callable(forward) and not inspect.isclass(function):
        function = forward
    if isinstance(function, torch.jit.ScriptFunction | torch.ScriptMethod):
        return _scripted(function)
    try:
        found = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None
    except Exception:  # of a stranger's __getattr__: its class says how it is called
        if inspect.isclass(function) or inspect.isroutine(function):
            return None
        return {name: p for name, p in (signature_of(type(function).__call__) or {}).items() if name != "self"}
    return found | _handed_on(function, found) if inspect.isclass(function) else found


def _handed_on(made: type, found: Mapping[str, inspect.Parameter]) -> dict[str, inspect.Parameter]:
    """What a constructor that takes ``**kwargs`` may hand on to that of a parent class, as Keras' losses do."""
    added: dict[str, inspect.Parameter] = {}
    parents = (base for base in made.__mro__ if "__init__" in vars(base) and base is not object)
    for base in parents:
        try:
            own = dict(inspect.signature(vars(base)["__init__"]).parameters)
        except (TypeError, ValueError):
            break
        added |= {name: p for name, p in own.items() if p.kind in _NAMED and name not in ("self", *found, *added)}
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in own.values()):
            break
    return added


def _scripted(function: Any) -> dict[str, inspect.Parameter]:
    """The parameters of compiled code, from its schema."""
    return {
        a.name: inspect.Parameter(
            a.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=a.default_value if a.has_default_value() else inspect.Parameter.empty,
        )
        for a in function.schema.arguments
        if a.name != "self"
    }


def roles(
    parameters: Mapping[str, inspect.Parameter], taken: Mapping[str, Any]
) -> Iterator[tuple[str, inspect.Parameter]]:
    """Pairs of polyref's name and the parameter that may carry it, in the order of ``PARAMETERS``.

    Only parameters that can be given by keyword take part, and none that ``taken`` (the user's overrides) sets.
    """
    for name in PARAMETERS:
        candidates = [p for p in parameters.values() if p.kind in _NAMED and p.name not in taken and _may_be(name, p)]
        candidates.sort(key=lambda p: SYNONYMS[name].index(p.name.lower()))
        if candidates:
            yield name, candidates[0]


def role_named(name: str) -> str | None:
    """polyref's name for the subject's parameter ``name``, or None."""
    return next((role for role, known in SYNONYMS.items() if name.lower() in known), None)


def _may_be(name: str, parameter: inspect.Parameter) -> bool:
    if parameter.name.lower() not in SYNONYMS[name]:
        return False
    default = parameter.default
    if name == "epsilon":
        return not (isinstance(default, float) and 0 < default <= _GUARD)
    if name == "alpha":
        return isinstance(default, float)
    if name == "reduction" and parameter.name.lower() not in ("reduction", "reduction_override"):
        # reduce, average and the like are flags or words; a function of that name is something else.
        return default is None or default is inspect.Parameter.empty or isinstance(default, bool | str)
    return True


def may_be_epsilon(parameter: inspect.Parameter) -> bool:
    """Whether a parameter is called alpha and holds one number, which may be the coefficient of x as well."""
    number = isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool)
    return parameter.kind in _NAMED and parameter.name.lower() in SYNONYMS["alpha"] and number


def epsilon_forms(parameter: inspect.Parameter) -> tuple[EpsilonForm, ...]:
    """The forms of epsilon to try; first the list of Poly-N if its default, its annotation or its name says so."""
    annotation = str(parameter.annotation).lower() if parameter.annotation is not inspect.Parameter.empty else ""
    listed = (
        isinstance(parameter.default, (list, tuple))
        or any(word in annotation for word in ("list", "sequence", "tuple", "iterable"))
        or parameter.name.lower().endswith(("list", "epsilons"))
    )
    return ("list", "scalar", "tensor") if listed else ("scalar", "list", "tensor")


class Data(NamedTuple):
    """Where logits and labels go, as far as the names tell.

    Attributes:
        order: which comes first; None if the names do not tell.
        logits: the parameter for the logits, None if the signature has no names. Where the order is not known it is
            the first argument's.
        labels: the same for the labels, and the second argument.
        keywords: whether both must go by keyword.
    """

    order: Order | None = None
    logits: str | None = None
    labels: str | None = None
    keywords: bool = False


def data_arguments(parameters: Mapping[str, inspect.Parameter] | None) -> Data | None:
    """Where logits and labels go; None if the signature has no room for two arguments."""
    if parameters is None:
        return Data()
    usable = [
        p
        for p in parameters.values()
        if p.kind in (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY) and not _is_setting(p)
    ]
    if len(usable) < 2:
        return Data() if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values()) else None
    logits = next((p for p in usable if p.name.lower() in LOGITS), None)
    labels = next((p for p in usable if p.name.lower() in LABELS and p is not logits), None)
    named = logits is not None or labels is not None
    if logits is None:
        logits = next(p for p in usable if p is not labels)
    if labels is None:
        labels = next(p for p in usable if p is not logits)
    order: Order = "logits_first" if usable.index(logits) < usable.index(labels) else "labels_first"
    leading = {p.name for p in [p for p in parameters.values() if p.kind in _POSITIONAL][:2]}
    return Data(order if named else None, logits.name, labels.name, leading != {logits.name, labels.name})


def _is_setting(parameter: inspect.Parameter) -> bool:
    """Whether a parameter of a call is a setting and not data."""
    if isinstance(parameter.default, bool | str):
        return True
    return any(_may_be(name, parameter) for name in PARAMETERS if name != "terms")


def unfilled(
    parameters: Mapping[str, inspect.Parameter], data: tuple[str | None, ...], taken: Mapping[str, Any]
) -> tuple[str, ...]:
    """The parameters that must be given and that are neither data nor anything polyref has a value for."""
    known = {p.name for _, p in roles(parameters, taken)} | set(data) | set(taken)
    required = inspect.Parameter.empty
    return tuple(
        p.name
        for p in parameters.values()
        if p.default is required and p.kind in (*_NAMED, inspect.Parameter.POSITIONAL_ONLY) and p.name not in known
    )


def switches(
    parameters: Mapping[str, inspect.Parameter], where: Where, taken: Mapping[str, Any]
) -> Iterator[tuple[Where, str, Any]]:
    """Settings other than the default that say what the inputs are: flags turned, and names of an activation."""
    for p in parameters.values():
        if p.kind not in _NAMED or p.name in taken:
            continue
        if p.name.lower() in FLAGS and isinstance(p.default, bool):
            yield where, p.name, not p.default
        elif p.name.lower() in ACTIVATIONS and (p.default is None or isinstance(p.default, str)):
            yield from ((where, p.name, word) for word in ("softmax", "sigmoid") if word != p.default)


def reduction_values(p: inspect.Parameter, framework: str) -> dict[str, tuple[Any, ...]]:
    """What a reduction parameter may be set to, for each reduction; Keras has a name of its own for the mean."""
    kind = _enum_of(p)
    if kind is not None:
        spelled = {name.lower(): name for name in kind.__members__}
        return {
            r: tuple(spelled[w.lower()] for w in words if isinstance(w, str) and w.lower() in spelled)
            for r, words in REDUCTION_WORDS.items()
        }
    name = p.name.lower()
    if name in SPREADING_NAMES:
        return SPREADING
    if name == "reduce" and not isinstance(p.default, str):
        return EITHER
    is_word = name.startswith("reduction") or isinstance(p.default, str)
    if is_word and framework == "tensorflow":
        return REDUCTION_WORDS | {"mean": ("sum_over_batch_size", *REDUCTION_WORDS["mean"])}
    return REDUCTION_WORDS if is_word and not isinstance(p.default, bool) else REDUCING


def _enum_of(p: inspect.Parameter) -> type[enum.Enum] | None:
    kind = type(p.default) if isinstance(p.default, enum.Enum) else p.annotation
    return kind if inspect.isclass(kind) and issubclass(kind, enum.Enum) else None


def reduction_enum(subject: Any, convention: Convention) -> type[enum.Enum] | None:
    """The enumeration that the subject's reduction parameter takes its values from, if it is one."""
    parameter = convention.parameter("reduction")
    if parameter is None:
        return None
    called = subject
    if parameter.where == "call" and inspect.isclass(subject):
        called = attribute(subject, "forward", subject.__call__)
    found = (signature_of(called) or {}).get(parameter.subject_name)
    return None if found is None else _enum_of(found)


def default_of(parameter: inspect.Parameter) -> Any:
    """The default as a value that JSON can carry; None where there is none."""
    return None if parameter.default is inspect.Parameter.empty else portable(parameter.default)


def portable(value: Any) -> Any:
    """``value`` as a number, text, bool, None or a tuple of them; anything else as its text, cut to 80 characters."""
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(portable(v) for v in value)
    if has(value, "tolist"):
        return frozen_value(value.tolist())
    return repr(value)[:80]


def known_values(subject: Any) -> Iterator[tuple[str, Any]]:
    """polyref's names and values of what a subject holds under names that can be no other.

    Of an instance these are its attributes, of a function the numbers that it closes over.
    """
    if inspect.isfunction(subject):
        held = dict(_closed_over(subject))
    elif inspect.isroutine(subject) or inspect.isclass(subject):
        return
    else:
        held = dict(vars(subject)) if has(subject, "__dict__") else {}
        held |= (held.get("_parameters") or {}) | (held.get("_buffers") or {})
    for name, known in SYNONYMS.items():
        if name == "terms":
            continue
        for key in (a for k in known for a in held if a.lower() == k):
            value = portable(held[key])
            if value is None or (name == "reduction" and value not in ("none", "sum", "mean")):
                continue
            if name == "epsilon" and isinstance(value, float) and 0 < value <= _GUARD:
                continue
            yield name, value
            break


def _closed_over(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # a cell may be empty
            if isinstance(cell.cell_contents, (int, float)) and not isinstance(cell.cell_contents, bool):
                yield name, cell.cell_contents


def left_alone(
    parameters: Mapping[str, inspect.Parameter], convention: Convention, where: Where
) -> Iterator[tuple[str, Any]]:
    """The parameters with a default that a convention does not set, and their defaults."""
    passed = {p.subject_name for p in convention.parameters if p.where == where}
    passed |= {k for k, _ in (convention.init if where == "constructor" else convention.call)}
    for p in parameters.values():
        if p.kind in _NAMED and p.default is not inspect.Parameter.empty and p.name not in passed:
            yield p.name, portable(p.default)

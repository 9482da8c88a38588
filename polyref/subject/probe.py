"""How is it called? Read the signature, try a small fixed list of calls, and keep what works.

The order is fixed: for each class count, kind, form of labels and order of arguments the bare call first; then every
parameter that the signature names, one at a time; then reductions, soft labels and formats. A parameter is offered
only if a call with it went through.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64
from polyref.subject.bare import bare_call, shaped_call
from polyref.subject.convention import Convention, Kind, NoConvention, ReturnsNothing, frozen_value
from polyref.subject.derivatives import labelled, refuse_derivatives
from polyref.subject.explore import explored, formats_of, with_parameters
from polyref.subject.frameworks import framework as adapter
from polyref.subject.frameworks.detect import candidates
from polyref.subject.lookup import attribute, has, unwrapped
from polyref.subject.overrides import FOUND_OUT, Forms
from polyref.subject.signature import known_values, portable, role_named, signature_of
from polyref.subject.trial import Found, Trials, trial_case

#: Tried in this order; the ones after the first find code that only works with a class count of its own.
CLASS_COUNTS = (4, 3, 10, 2)
#: Refusals that name the sizes of two tensors, one of which may be a number of classes that is written into the code.
_ABOUT_SIZES = re.compile(r"must match|cannot be multiplied|broadcast|weight tensor")
_MOST_CLASSES = 1000
_QUOTED = 110
_LISTED = 8
_NAMED = 4


def probe(
    subject: Any,
    name: str,
    *,
    init: Mapping[str, Any] | None = None,
    call: Mapping[str, Any] | None = None,
    forms: Forms = FOUND_OUT,
    device: str = "cpu",
    framework: str | None = None,
    trying: Callable[[str], None] = lambda _: None,
) -> Convention:
    """Find out how ``subject`` is called.

    Args:
        subject: a class, a function, a factory or an instance.
        name: its name in texts.
        init: overrides of constructor (or factory) arguments; those are passed always and not varied.
        call: overrides of call arguments.
        forms: the forms of the data, where they are not to be found out.
        device: the torch device of the trials.
        framework: whose arrays it is given; by default those that its code names are tried.
        trying: told the text of every trial before it is made.

    Returns:
        The convention, with the list of attempts in it.

    Raises:
        NoConvention: if no call worked; the message lists what was tried.
        ReturnsNothing: if calls went through and all of them returned None.
        NotJudged: if it returns derivatives in the place of a loss.
    """
    _refuse_unbound(subject, name)
    subject = labelled(subject)
    trials = Trials(subject, device=device, trying=trying)
    base = Convention(name, "function", init=_pairs(init), call=_pairs(call))
    failed: NoConvention | None = None
    for chosen in (framework,) if framework is not None else candidates(subject):
        try:
            return _probed(trials, _with_framework(base, chosen), forms)
        except NoConvention as e:
            failed = failed or e
    assert failed is not None
    raise failed


def _probed(trials: Trials, base: Convention, forms: Forms) -> Convention:
    """The convention under one framework."""
    subject, name = trials.subject, base.name
    known = dict(known_values(subject))
    known |= {role: portable(v) for k, v in (*base.init, *base.call) if (role := role_named(k)) is not None}
    base = replace(base, fixed=tuple(known.items()))

    nothing: tuple[Convention, Case] | None = None
    # Most take binary32; the other formats are for those that take nothing else.
    for fmt, classes in itertools.product((BINARY32, BINARY64, BINARY16, BFLOAT16), _class_counts(known)):
        if fmt.bits < BINARY32.bits and classes != _class_counts(known)[0]:
            continue  # nobody takes halves only, and one class count only
        case = replace(trial_case(classes), format=fmt)
        for kind in _kinds(subject):
            of_kind = replace(base, kind=kind)
            found = bare_call(trials, of_kind, case, forms)
            if found is None and classes == CLASS_COUNTS[0]:
                # Before other shapes, which such code may take by an accident of broadcasting.
                found, case = _with_told_classes(trials, of_kind, case, forms)
            found = found or shaped_call(trials, of_kind, case, forms)
            if found is None:
                continue
            if found.outcome.kind == "nothing":
                nothing = nothing or (found.kept, case)
                continue
            if not found.sensible:
                refuse_derivatives(trials, found, case)
            if case.classes != CLASS_COUNTS[0] or _class_counts(known) != CLASS_COUNTS:
                found = replace(found, convention=replace(found.convention, classes=case.classes))
            return replace(explored(trials, found, case), attempts=tuple(trials.attempts))
        if nothing is not None:
            break
    if nothing is not None:
        convention = with_parameters(trials, *nothing)
        convention = replace(convention, result="nothing", formats=formats_of(trials, convention, nothing[1]))
        body = "forward" if has(subject, "forward") else "body"
        raise ReturnsNothing(
            f"{name} returns None: its {body} has no return value",
            replace(convention, attempts=tuple(trials.attempts)),
        )
    raise NoConvention(_nothing_worked(name, trials, forms), tuple(trials.attempts))


def _with_told_classes(trials: Trials, base: Convention, case: Case, forms: Forms) -> tuple[Found | None, Case]:
    """The first call with a number of classes that the refusals name beside that of the case, and its case."""
    refusals = {attempt.outcome for attempt in trials.attempts if _ABOUT_SIZES.search(attempt.outcome)}
    named = (list(map(int, re.findall(r"\d+", text))) for text in sorted(refusals))
    told = {n for numbers in named if case.classes in numbers for n in numbers}
    for classes in sorted(told - {case.classes, len(case.logits)}):
        if 1 < classes <= _MOST_CLASSES:
            other = replace(trial_case(classes), format=case.format)
            found = bare_call(trials, base, other, forms)
            if found is not None and found.sensible:
                return found, other
    return None, case


def _refuse_unbound(subject: Any, name: str) -> None:
    """Refuse a method that was taken from its class.

    Raises:
        NoConvention: if it is one.
    """
    holder, _, method = str(attribute(subject, "__qualname__", "")).rpartition(".")
    in_class = holder != "" and not holder.endswith("<locals>")
    if inspect.isfunction(subject) and in_class and next(iter(signature_of(subject) or ()), None) == "self":
        raise NoConvention(
            f"{name} is a method of {holder} and needs an instance: name the class, or an instance's {method}"
        )


def _with_framework(base: Convention, name: str) -> Convention:
    """``base`` for a subject that takes the arrays of a framework."""
    used = adapter(name)
    return replace(base, framework=used.name, differentiable=used.no_gradient is None)


def _kinds(subject: Any) -> tuple[Kind, ...]:
    if inspect.isclass(subject):
        return ("class",)
    # What jax.jit and tf.function make of a function is no function, but says which one it wraps.
    function = unwrapped(subject)
    if inspect.isroutine(function) or isinstance(function, (functools.partial, torch.jit.ScriptFunction)):
        return ("function", "factory")
    return ("instance",)


def _class_counts(known: Mapping[str, Any]) -> tuple[int, ...]:
    if isinstance(known.get("num_classes"), int) and known["num_classes"] > 0:
        return (known["num_classes"],)
    if isinstance(known.get("weight"), tuple) and known["weight"]:
        return (len(known["weight"]),)
    return CLASS_COUNTS


def _nothing_worked(name: str, trials: Trials, forms: Forms) -> str:
    by_outcome: dict[str, list[str]] = {}
    for call, outcome in dict.fromkeys(trials.attempts):
        by_outcome.setdefault(outcome if len(outcome) <= _QUOTED else outcome[:_QUOTED] + "…", []).append(call)
    lines = [f"{_some(calls)}: {outcome}" for outcome, calls in by_outcome.items()]
    more = f"; and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    tried = f" Tried {'; '.join(lines[:_LISTED])}{more}." if lines else ""
    told = f" with {' '.join(forms.options())}" if forms.given else ""
    if trials.wanted:
        fix = f"It needs what polyref has no value for: give {' '.join(trials.wanted)}"
    else:
        fix = "Give what it needs with --init name=value (constructor) or --call name=value (call)"
        fix += f", or leave {' '.join(forms.options())} out" if forms.given else ""
    return f"{name}: no way of calling it works{told}.{tried} {fix}"


def _some(calls: list[str]) -> str:
    more = f" and {len(calls) - _NAMED} more" if len(calls) > _NAMED else ""
    return ", ".join(calls[:_NAMED]) + more


def _pairs(overrides: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    return tuple((name, frozen_value(value)) for name, value in (overrides or {}).items())

"""How is it called? Read the signature, try a small fixed list of calls, and keep what works.

The order is fixed: for each class count, kind, form of labels and order of arguments the bare call first; then every
parameter that the signature names, one at a time; then reductions, soft labels and formats. A parameter is offered
only if a call with it went through.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64
from polyref.spec import Reduction
from polyref.subject.convention import (
    PARAMETERS,
    Convention,
    Kind,
    NoConvention,
    Order,
    Parameter,
    ReturnsNothing,
    Where,
    frozen_value,
)
from polyref.subject.frameworks import framework as adapter
from polyref.subject.frameworks.detect import candidates
from polyref.subject.signature import (
    data_arguments,
    default_of,
    known_attributes,
    portable,
    role_named,
    roles,
    signature_of,
    takes_list,
)
from polyref.subject.trial import LABEL_FORMS, Outcome, Trials, finite, plausible, soft_case, trial_case

#: Tried in this order; the ones after the first find code that only works with a class count of its own.
CLASS_COUNTS = (4, 3, 10, 2)
_FORMATS = (BINARY64, BINARY32, BINARY16, BFLOAT16)
_SWITCH = "from_logits"
_QUOTED = 110
_LISTED = 8


def probe(
    subject: Any,
    name: str,
    *,
    init: Mapping[str, Any] | None = None,
    call: Mapping[str, Any] | None = None,
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
        device: the torch device of the trials.
        framework: whose arrays it is given; by default those that its code names are tried.
        trying: told the text of every trial before it is made.

    Returns:
        The convention, with the list of attempts in it.

    Raises:
        NoConvention: if no call worked; the message lists what was tried.
        ReturnsNothing: if calls went through and all of them returned None.
    """
    trials = Trials(subject, device=device, trying=trying)
    base = Convention(name, "function", init=_pairs(init), call=_pairs(call))
    failed: NoConvention | None = None
    for chosen in (framework,) if framework is not None else candidates(subject):
        try:
            return _probed(trials, _with_framework(base, chosen))
        except NoConvention as e:
            failed = failed or e
    assert failed is not None
    raise failed


def _probed(trials: Trials, base: Convention) -> Convention:
    """The convention under one framework."""
    subject, name = trials.subject, base.name
    base = _asking_for_logits(base, subject)
    known = dict(known_attributes(subject)) if _kinds(subject) == ("instance",) else {}
    known |= {role: portable(v) for k, v in (*base.init, *base.call) if (role := role_named(k)) is not None}
    base = replace(base, fixed=tuple(known.items()))

    nothing: tuple[Convention, Case] | None = None
    # Most take binary32; the other formats are for those that take nothing else.
    for fmt, classes in itertools.product((BINARY32, BINARY64, BINARY16, BFLOAT16), _class_counts(known)):
        case = replace(trial_case(classes), format=fmt)
        for kind in _kinds(subject):
            found = _bare_call(trials, replace(base, kind=kind), case)
            if found is None:
                continue
            convention, outcome = found
            if outcome.kind != "nothing":
                if classes != CLASS_COUNTS[0] or _class_counts(known) != CLASS_COUNTS:
                    convention = replace(convention, classes=classes)
                return replace(_explored(trials, convention, case, outcome), attempts=tuple(trials.attempts))
            nothing = nothing or (convention, case)
        if nothing is not None:
            break
    if nothing is not None:
        convention = _with_parameters(trials, *nothing)
        convention = replace(convention, result="nothing", formats=_formats(trials, convention, nothing[1]))
        body = "forward" if hasattr(subject, "forward") else "body"
        raise ReturnsNothing(
            f"{name} returns None: its {body} has no return value",
            replace(convention, attempts=tuple(trials.attempts)),
        )
    raise NoConvention(_nothing_worked(name, trials), tuple(trials.attempts))


def _with_framework(base: Convention, name: str) -> Convention:
    """``base`` for a subject that takes the arrays of a framework."""
    used = adapter(name)
    return replace(base, framework=used.name, differentiable=used.no_gradient is None)


def _asking_for_logits(base: Convention, subject: Any) -> Convention:
    """``base`` with the switch of Keras' losses set, where there is one: polyref has logits to give."""
    if _SWITCH not in (signature_of(subject) or {}) or _SWITCH in dict((*base.init, *base.call)):
        return base
    if inspect.isclass(subject):
        return replace(base, init=(*base.init, (_SWITCH, True)))
    return replace(base, call=(*base.call, (_SWITCH, True)))


def _kinds(subject: Any) -> tuple[Kind, ...]:
    if inspect.isclass(subject):
        return ("class",)
    # What jax.jit and tf.function make of a function is no function, but says which one it wraps.
    function = inspect.unwrap(subject)
    if inspect.isroutine(function) or isinstance(function, (functools.partial, torch.jit.ScriptFunction)):
        return ("function", "factory")
    return ("instance",)


def _class_counts(known: Mapping[str, Any]) -> tuple[int, ...]:
    if isinstance(known.get("num_classes"), int) and known["num_classes"] > 0:
        return (known["num_classes"],)
    if isinstance(known.get("weight"), tuple) and known["weight"]:
        return (len(known["weight"]),)
    return CLASS_COUNTS


def _bare_call(trials: Trials, base: Convention, case: Case) -> tuple[Convention, Outcome] | None:
    """The first convention that works with nothing but the data and what the signature requires.

    One whose result is not finite is kept only if probabilities instead of logits do no better; one that returns
    None only if nothing else returns anything.
    """
    reserve: tuple[Convention, Outcome] | None = None
    callables = list(_callables(trials, base, case))
    for inputs in ("logits", "probabilities"):
        for convention, order, orders in callables:
            for labels in LABEL_FORMS if inputs == "logits" else LABEL_FORMS[:2]:
                for candidate in orders if inputs == "logits" else orders[:1]:
                    wanted = replace(convention, labels=labels, inputs=inputs, **candidate)
                    wanted, outcome = _one_call(trials, wanted, case)
                    if outcome is None:
                        continue
                    if outcome.kind == "nothing" or not finite(outcome):
                        reserve = reserve or (wanted, outcome)
                        continue
                    if labels != "index" and (order is None or labels != "one_hot"):
                        wanted, outcome = plausible(trials, wanted, outcome, orders, case)
                    return replace(wanted, result=outcome.kind, result_path=outcome.path), outcome
        if reserve is not None and reserve[1].kind == "nothing":
            break
    if reserve is not None:
        convention, outcome = reserve
        return replace(convention, result=outcome.kind, result_path=outcome.path), outcome
    return None


def _callables(
    trials: Trials, base: Convention, case: Case
) -> Iterator[tuple[Convention, Order | None, list[dict[str, Any]]]]:
    """Candidates up to the constructor: with the order that the names tell, and the orders to try."""
    made: Any
    constructors = [base]
    if base.kind in ("class", "factory"):
        signature = signature_of(trials.subject) or {}
        constructors = list(_with_required(base, signature, "constructor"))
    for constructor in constructors:
        made = trials.subject
        if base.kind in ("class", "factory"):
            made = trials.make(constructor, case)
            if made is None:
                continue
            if base.kind == "factory" and isinstance(made, torch.Tensor):
                continue
        parameters = signature_of(made)
        data = data_arguments(parameters)
        if data is None:
            trials.note(constructor.render({}), "its signature has no room for logits and labels")
            continue
        order, logits_name, labels_name = data
        for convention in _with_required(constructor, parameters or {}, "call"):
            yield convention, order, _orders(order, logits_name, labels_name)


def _orders(order: Order | None, logits_name: str | None, labels_name: str | None) -> list[dict[str, Any]]:
    by_name = {"logits_name": logits_name, "labels_name": labels_name}
    if logits_name is not None:
        # Keywords make the order of no account; only the roles can be the other way round.
        swapped = {"logits_name": labels_name, "labels_name": logits_name}
        first: Order = order or "logits_first"
        return [{"order": first, **by_name}, {"order": first, **swapped}]
    orders: list[Order] = ["logits_first", "labels_first"]
    if order == "labels_first":
        orders.reverse()
    return [{"order": o, **by_name} for o in orders]


def _with_required(base: Convention, signature: Mapping[str, inspect.Parameter], where: Where) -> Iterator[Convention]:
    """``base`` with the parameters that must be given, and the class count wherever it can be."""
    taken = dict(base.init if where == "constructor" else base.call)
    parameters = list(base.parameters)
    forms: tuple[Any, ...] = (base.epsilon_form,)
    reductions: tuple[tuple[tuple[str, Any], ...], ...] = (base.reduction_values,)
    for name, p in roles(signature, taken):
        required = p.default is inspect.Parameter.empty
        if not required and (name != "num_classes" or base.can("num_classes")):
            continue
        if name == "terms" and not required:
            continue
        parameters.append(_parameter(name, p, where))
        if name == "epsilon":
            forms = ("list", "scalar") if takes_list(p) else ("scalar", "list")
        elif name == "reduction":
            reductions = tuple((("none", v),) for v in _reduction_candidates(p, base.framework)["any"])
    for form in forms:
        for values in reductions:
            yield replace(base, parameters=_sorted(parameters), epsilon_form=form, reduction_values=values)


def _parameter(name: str, p: inspect.Parameter, where: Where) -> Parameter:
    return Parameter(name, p.name, where, default_of(p), p.default is inspect.Parameter.empty)


def _sorted(parameters: list[Parameter]) -> tuple[Parameter, ...]:
    return tuple(sorted(parameters, key=lambda p: PARAMETERS.index(p.name)))


def _one_call(trials: Trials, candidate: Convention, case: Case) -> tuple[Convention, Outcome | None]:
    """Try a candidate, and again without a gradient if that is what it stumbles over."""
    outcome = trials.run(candidate, case)
    if outcome is None and "requires grad" in trials.attempts[-1].outcome:
        candidate = replace(candidate, differentiable=False)
        outcome = trials.run(candidate, case, suffix=" without a gradient")
    return candidate, outcome


def _explored(trials: Trials, convention: Convention, case: Case, outcome: Outcome) -> Convention:
    """The working bare call, extended by everything else that goes through."""
    convention = _with_reductions(trials, _with_parameters(trials, convention, case), case, outcome)
    softened = trials.run(convention, _askable(convention, soft_case(case.classes)), suffix=" with soft labels")
    convention = replace(convention, soft=softened is not None and softened.kind in (convention.result, outcome.kind))
    return replace(convention, formats=_formats(trials, convention, case))


def _askable(convention: Convention, case: Case) -> Case:
    """``case`` with a reduction that the convention has, for calls where it does not matter."""
    if convention.reduction_values:
        return case.with_spec(reduction=Reduction(convention.reduction_values[0][0]))
    return case


def _signatures(trials: Trials, convention: Convention, case: Case) -> Iterator[tuple[Where, Mapping[str, Any]]]:
    made: Any = trials.subject
    if convention.kind in ("class", "factory"):
        yield "constructor", signature_of(trials.subject) or {}
        made = trials.make(convention, case)
    yield "call", (signature_of(made) or {}) if made is not None else {}


def _offers(trials: Trials, convention: Convention, case: Case) -> Iterator[tuple[str, Where, inspect.Parameter]]:
    """Parameters that the signatures name and the convention has not got; the constructor's go before the call's."""
    attempts = len(trials.attempts)
    signatures = list(_signatures(trials, convention, case))
    del trials.attempts[attempts:]
    seen = {p.name for p in convention.parameters}
    fixed = {role_named(k) for k, _ in (*convention.init, *convention.call)}
    for where, signature in signatures:
        data = {convention.logits_name, convention.labels_name}
        for name, p in roles(signature, dict(convention.init if where == "constructor" else convention.call)):
            if name not in seen and name not in fixed and p.name not in data:
                seen.add(name)
                yield name, where, p


def _with_parameters(trials: Trials, convention: Convention, case: Case) -> Convention:
    for name, where, p in _offers(trials, convention, case):
        if name == "reduction" or (name == "terms" and convention.epsilon_form != "list"):
            continue
        candidate = replace(convention, parameters=_sorted([*convention.parameters, _parameter(name, p, where)]))
        trial = _askable(candidate, _trial_of(name, case))
        if name != "epsilon":
            if trials.run(candidate, trial) is not None:
                convention = candidate
            continue
        for form in ("list", "scalar") if takes_list(p) else ("scalar", "list"):
            formed = replace(candidate, epsilon_form=form)
            if trials.run(formed, trial) is not None:
                convention = formed
                break
    return convention


def _trial_of(name: str, case: Case) -> Case:
    """The trial case with a telling value for one parameter."""
    match name:
        case "epsilon":
            return case.with_spec(epsilon=(0.5,))
        case "alpha":
            return case.with_spec(alpha=0.25)
        case "smoothing":
            return case.with_spec(smoothing=0.125)
        case "weight":
            return replace(case, weight=tuple((1.0, 2.0, 0.5, 1.5)[k % 4] for k in range(case.classes)))
        case "ignore_index":
            return replace(case, ignore_index=-7)
    return case


def _reduction_candidates(p: inspect.Parameter, framework: str) -> dict[str, tuple[Any, ...]]:
    """What a reduction parameter may be set to, for each reduction; ``any`` for a call that must set it at all."""
    if p.name.lower() == "reduction" and framework == "tensorflow":
        means = ("sum_over_batch_size", "mean")  # Keras' own name first
        return {"none": ("none", None), "sum": ("sum",), "mean": means, "any": ("none", *means, "sum")}
    if p.name.lower() == "reduction":
        return {"none": ("none", None), "sum": ("sum",), "mean": ("mean",), "any": ("none", "mean", "sum")}
    return {"none": (False,), "sum": (False,), "mean": (True,), "any": (False, True)}


def _with_reductions(trials: Trials, convention: Convention, case: Case, outcome: Outcome) -> Convention:
    parameter = convention.parameter("reduction")
    offered = next((o for o in _offers(trials, convention, case) if o[0] == "reduction"), None)
    if parameter is not None:
        stands_in = inspect.Parameter(parameter.subject_name, inspect.Parameter.KEYWORD_ONLY)
        candidates = _reduction_candidates(stands_in, convention.framework)
        base = convention
    elif offered is not None:
        candidates = _reduction_candidates(offered[2], convention.framework)
        parameter = _parameter("reduction", offered[2], offered[1])
        base = replace(convention, parameters=_sorted([*convention.parameters, parameter]))
    else:
        return replace(convention, reductions=(_own_reduction(trials, convention, case, outcome),))
    values: list[tuple[str, Any]] = []
    result, path = outcome.kind, outcome.path
    for name in ("none", "sum", "mean"):
        for value in candidates[name]:
            found = trials.run(
                replace(base, reduction_values=((name, value),)), case.with_spec(reduction=Reduction(name))
            )
            if found is not None and (found.kind == "scalar") == (name != "none"):
                values.append((name, value))
                if name == "none":
                    result, path = found.kind, found.path
                break
    if not values:
        return replace(convention, reductions=(_own_reduction(trials, convention, case, outcome),))
    if values[0][0] != "none":
        result = "scalar"
    return replace(
        base, reductions=tuple(n for n, _ in values), reduction_values=tuple(values), result=result, result_path=path
    )


def _own_reduction(trials: Trials, convention: Convention, case: Case, outcome: Outcome) -> str:
    """The reduction that a subject does of itself: a scalar is held against the losses of the rows alone."""
    if outcome.kind != "scalar":
        return "none"
    parts = []
    for logits, target in zip(case.logits, case.target, strict=True):
        one = trials.run(convention, replace(case, logits=(logits,), target=(target,)), quiet=True)
        if one is None or one.value is None or one.value.numel() != 1:
            trials.note(convention.render({}), "returned a scalar that does not come apart; taken as the mean")
            return "mean"
        parts.append(float(one.value.reshape(())))
    whole = float(outcome.value.reshape(())) if outcome.value is not None else 0.0
    total = sum(parts)
    if abs(whole - total) < 1e-3 * abs(total) and abs(total) > 0:
        return "sum"
    if not abs(whole - total / len(parts)) <= 1e-3 * abs(total):
        trials.note(convention.render({}), "returned a scalar that is neither sum nor mean; taken as the mean")
    return "mean"


def _formats(trials: Trials, convention: Convention, case: Case) -> tuple[str, ...]:
    case = _askable(convention, case)
    return tuple(
        f.name for f in _FORMATS if trials.run(convention, replace(case, format=f), suffix=f" in {f.name}") is not None
    )


def _nothing_worked(name: str, trials: Trials) -> str:
    by_outcome: dict[str, list[str]] = {}
    for call, outcome in dict.fromkeys(trials.attempts):
        by_outcome.setdefault(outcome if len(outcome) <= _QUOTED else outcome[:_QUOTED] + "…", []).append(call)
    lines = [f"{', '.join(calls)}: {outcome}" for outcome, calls in by_outcome.items()]
    more = f"; and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    return (
        f"{name}: no way of calling it works. Tried {'; '.join(lines[:_LISTED])}{more}. "
        "Give what it needs with --init name=value (constructor) or --call name=value (call)"
    )


def _pairs(overrides: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    return tuple((name, frozen_value(value)) for name, value in (overrides or {}).items())

"""What else goes through: a working call, extended by every parameter, reduction and format that it takes.

A parameter is offered only if a call with it went through.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64
from polyref.spec import Reduction
from polyref.subject.convention import PARAMETERS, Convention, Parameter, Where
from polyref.subject.signature import default_of, role_named, roles, signature_of, takes_list
from polyref.subject.trial import Outcome, Trials, soft_case

_FORMATS = (BINARY64, BINARY32, BINARY16, BFLOAT16)


def explored(trials: Trials, convention: Convention, case: Case, outcome: Outcome) -> Convention:
    """The working bare call, extended by everything else that goes through."""
    convention = _with_reductions(trials, with_parameters(trials, convention, case), case, outcome)
    softened = trials.run(convention, _askable(convention, soft_case(case.classes)), suffix=" with soft labels")
    convention = replace(convention, soft=softened is not None and softened.kind in (convention.result, outcome.kind))
    return replace(convention, formats=formats_of(trials, convention, case))


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


def with_parameters(trials: Trials, convention: Convention, case: Case) -> Convention:
    for name, where, p in _offers(trials, convention, case):
        if name == "reduction" or (name == "terms" and convention.epsilon_form != "list"):
            continue
        candidate = replace(convention, parameters=in_order([*convention.parameters, parameter_of(name, p, where)]))
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


def reduction_candidates(p: inspect.Parameter) -> dict[str, tuple[Any, ...]]:
    """What a reduction parameter may be set to, for each reduction; ``any`` for a call that must set it at all."""
    if p.name.lower() == "reduction":
        return {"none": ("none", None), "sum": ("sum",), "mean": ("mean",), "any": ("none", "mean", "sum")}
    return {"none": (False,), "sum": (False,), "mean": (True,), "any": (False, True)}


def _with_reductions(trials: Trials, convention: Convention, case: Case, outcome: Outcome) -> Convention:
    parameter = convention.parameter("reduction")
    offered = next((o for o in _offers(trials, convention, case) if o[0] == "reduction"), None)
    if parameter is not None:
        stands_in = inspect.Parameter(parameter.subject_name, inspect.Parameter.KEYWORD_ONLY)
        candidates = reduction_candidates(stands_in)
        base = convention
    elif offered is not None:
        candidates = reduction_candidates(offered[2])
        parameter = parameter_of("reduction", offered[2], offered[1])
        base = replace(convention, parameters=in_order([*convention.parameters, parameter]))
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


def formats_of(trials: Trials, convention: Convention, case: Case) -> tuple[str, ...]:
    case = _askable(convention, case)
    return tuple(
        f.name for f in _FORMATS if trials.run(convention, replace(case, format=f), suffix=f" in {f.name}") is not None
    )


def parameter_of(name: str, p: inspect.Parameter, where: Where) -> Parameter:
    return Parameter(name, p.name, where, default_of(p), p.default is inspect.Parameter.empty)


def in_order(parameters: list[Parameter]) -> tuple[Parameter, ...]:
    return tuple(sorted(parameters, key=lambda p: PARAMETERS.index(p.name)))

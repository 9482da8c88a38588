"""What else goes through: a working call, extended by every parameter, reduction and format that it takes.

A parameter is offered only if a call with it went through.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from polyref.case import Case
from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64
from polyref.spec import Reduction
from polyref.subject.convention import PARAMETERS, Convention, Parameter, Where
from polyref.subject.frameworks.detect import finished_by
from polyref.subject.lookup import attribute
from polyref.subject.names import SYNONYMS
from polyref.subject.plausible import guess_about_inputs
from polyref.subject.signature import (
    data_arguments,
    default_of,
    epsilon_forms,
    left_alone,
    may_be_epsilon,
    reduction_values,
    role_named,
    roles,
    signature_of,
)
from polyref.subject.trial import Found, Outcome, Trials, soft_case

#: The signatures of the constructor, if there is one, and of the call.
_Signatures = list[tuple[Where, Mapping[str, inspect.Parameter]]]
#: What rounding in binary32 may leave of a difference of two losses.
_NEAR = 1e-4
_FORMATS = (BINARY64, BINARY32, BINARY16, BFLOAT16)


def explored(trials: Trials, found: Found, case: Case) -> Convention:
    """The working bare call, extended by everything else that goes through."""
    convention, outcome = found.kept, found.outcome
    if outcome.python_number:
        convention = replace(convention, differentiable=False)
    signatures = list(_signatures(trials, convention, case))
    convention = with_parameters(trials, convention, case, signatures)
    convention = _with_alpha(trials, convention, case, signatures)
    convention = _with_attribute(trials, convention, case)
    convention = _with_reductions(trials, convention, case, outcome, signatures)
    softened = trials.run(convention, _askable(convention, soft_case(case.classes)), suffix=" with soft labels")
    convention = replace(convention, soft=softened is not None and softened.kind in (convention.result, outcome.kind))
    guess = None
    if convention.inputs == "logits" and found.sensible:
        guess = guess_about_inputs(trials, convention, _askable(convention, case))
    return replace(
        convention,
        formats=formats_of(trials, convention, case),
        left=tuple(_left(convention, signatures)),
        notes=tuple(_notes(trials.subject, convention, found, guess)),
        finished_by=finished_by(trials.subject),
    )


def _notes(subject: Any, convention: Convention, found: Found, guess: str | None) -> Iterator[str]:
    if not found.sensible:
        yield (
            "No way of calling it that was tried makes little of certain right predictions and much of certain wrong "
            "ones; the first one that goes through was taken."
        )
    if (base := finished_by(subject)) is not None:
        yield f"Its base class, {base}, casts and reduces what it computes: no law judges that."
    if convention.negated:
        yield (
            "It returns the loss with its sign turned, to be maximised: a convention. It was judged with the sign "
            "turned back."
        )
    if guess is not None:
        yield (
            f"It takes inputs that {guess} for probabilities, and all others for logits: logits that do so are "
            "silently misread."
        )
    if convention.inputs != "logits":
        what = convention.inputs.replace("_", " ").replace("log ", "log-")
        yield f"It takes {what}; it was given those of each case's logits, rounded to the format."
    if convention.layout.startswith("flat"):
        yield "It takes one logit and one binary label for each of its problems: every class of a row was one of them."
    if not convention.differentiable:
        what = "returns a Python number" if found.outcome.python_number else "takes no logits that require a gradient"
        yield f"It {what}: there is no gradient, and only its value was judged."


def _left(convention: Convention, signatures: _Signatures) -> Iterator[tuple[str, Any]]:
    for where, signature in signatures:
        data = data_arguments(signature) if where == "call" else None
        names = () if data is None else (data.logits, data.labels)
        yield from ((name, value) for name, value in left_alone(signature, convention, where) if name not in names)


def _askable(convention: Convention, case: Case) -> Case:
    """``case`` with a reduction that the convention has, for calls where it does not matter."""
    if convention.reduction_values:
        return case.with_spec(reduction=Reduction(convention.reduction_values[0][0]))
    return case


def _signatures(
    trials: Trials, convention: Convention, case: Case
) -> Iterator[tuple[Where, Mapping[str, inspect.Parameter]]]:
    made: Any = trials.subject
    if convention.kind in ("class", "factory"):
        yield "constructor", signature_of(trials.subject) or {}
        made = trials.make(convention, case)
    yield "call", (signature_of(made) or {}) if made is not None else {}


def _offers(convention: Convention, signatures: _Signatures) -> Iterator[tuple[str, Where, inspect.Parameter]]:
    """Parameters that the signatures name and the convention has not got; the constructor's go before the call's."""
    seen = {p.name for p in convention.parameters}
    fixed = {role_named(k) for k, _ in (*convention.init, *convention.call)}
    for where, signature in signatures:
        data = {convention.logits_name, convention.labels_name}
        for name, p in roles(signature, dict(convention.init if where == "constructor" else convention.call)):
            if name not in seen and name not in fixed and p.name not in data:
                seen.add(name)
                yield name, where, p


def with_parameters(
    trials: Trials,
    convention: Convention,
    case: Case,
    signatures: _Signatures | None = None,
) -> Convention:
    """The convention with every parameter that it takes but the reduction."""
    signatures = list(_signatures(trials, convention, case)) if signatures is None else signatures
    for name, where, p in _offers(convention, signatures):
        if name == "reduction" or (name == "terms" and convention.epsilon_form != "list"):
            continue
        candidate = replace(convention, parameters=in_order([*convention.parameters, parameter_of(name, p, where)]))
        trial = _askable(candidate, _trial_of(name, case))
        if name != "epsilon":
            if trials.run(candidate, trial) is not None:
                convention = candidate
            continue
        for form in epsilon_forms(p):
            formed = replace(candidate, epsilon_form=form)
            if trials.run(formed, trial) is not None:
                convention = formed
                break
    return convention


def _with_alpha(trials: Trials, convention: Convention, case: Case, signatures: _Signatures) -> Convention:
    """The convention with an alpha for its epsilon, if x times alpha is what it adds and nothing else is free."""
    if any(convention.can(name) for name in ("epsilon", "gamma")) or "epsilon" in dict(convention.fixed):
        return convention
    others = [p for p in convention.parameters if p.name != "alpha"]
    for where, signature in signatures:
        settled = dict(convention.init if where == "constructor" else convention.call)
        for p in (p for p in signature.values() if may_be_epsilon(p) and p.name not in settled):
            parameters = in_order([*others, parameter_of("epsilon", p, where)])
            candidate = replace(convention, parameters=parameters, epsilon_form="scalar")
            if _adds_x(trials, candidate, case):
                return candidate
    return convention


def _adds_x(trials: Trials, convention: Convention, case: Case) -> bool:
    """Whether the value grows (or falls) by x = 1 - Pt for each 1 of epsilon, at one row."""
    one = _askable(convention, replace(case, logits=case.logits[:1], target=case.target[:1]))
    outcomes = [trials.run(convention, one.with_spec(epsilon=(e,), gamma=0.0)) for e in (0.0, 1.0, 3.0)]
    values = [o.value.double() for o in outcomes if o is not None and o.value is not None]
    if len(values) != len(outcomes):
        return False
    zero, unit, triple = values
    z = torch.tensor(one.logits[0], dtype=torch.float64)
    hit = torch.tensor([k == one.target[0] for k in range(len(z))])
    softmax = 1 - z.softmax(0)[hit]
    sigmoid = torch.where(hit, (-z).sigmoid(), z.sigmoid())
    expected = [softmax] if zero.numel() == 1 else []
    expected += [sigmoid] if zero.numel() == len(z) else [sigmoid.mean(), sigmoid.sum()]

    def near(a: torch.Tensor, b: torch.Tensor) -> bool:
        return bool(((a.ravel() - b.ravel()).abs() <= _NEAR).all())

    slope = unit - zero
    return near(triple - zero, 3 * slope) and any(near(slope, x) or near(-slope, x) for x in expected)


def _with_attribute(trials: Trials, convention: Convention, case: Case) -> Convention:
    """The convention with an epsilon that is an attribute of what the constructor makes, if it has an effect."""
    if convention.kind != "class" or convention.can("epsilon") or "epsilon" in dict(convention.fixed):
        return convention
    made = trials.make(convention, case)
    for name in (n for n in dir(made) if n.lower() in SYNONYMS["epsilon"]):
        held = attribute(made, name)
        value = held.tolist() if isinstance(held, torch.Tensor) and held.numel() == 1 else held
        value = value[0] if isinstance(value, list) else value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) <= 1e-3:
            continue
        parameter = Parameter("epsilon", name, "attribute", float(value))
        candidate = replace(convention, parameters=in_order([*convention.parameters, parameter]), epsilon_form="scalar")
        outcomes = [trials.run(candidate, _askable(candidate, case.with_spec(epsilon=(e,)))) for e in (0.5, 4.0)]
        values = [o.value for o in outcomes if o is not None and o.value is not None]
        if len(values) == 2 and not torch.equal(*values):
            return candidate
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


def _with_reductions(
    trials: Trials,
    convention: Convention,
    case: Case,
    outcome: Outcome,
    signatures: _Signatures,
) -> Convention:
    without = replace(convention, parameters=tuple(p for p in convention.parameters if p.name != "reduction"))
    offered = next((o for o in _offers(without, signatures) if o[0] == "reduction"), None)
    if offered is None:
        return replace(convention, reductions=(_own_reduction(trials, convention, case, outcome),))
    _, where, p = offered
    base = replace(without, parameters=in_order([*without.parameters, parameter_of("reduction", p, where)]))
    values: list[tuple[str, Any]] = []
    result, path = outcome.kind, outcome.path
    every = reduction_values(p, convention.framework)
    told_apart = every["sum"] != every["mean"]
    for name, candidates in every.items():
        for value in candidates:
            candidate, asked = replace(base, reduction_values=((name, value),)), case.with_spec(reduction=name)
            found = trials.run(candidate, asked)
            if found is not None and (found.kind == "scalar") == (name != "none"):
                if name != "none" and not told_apart and _own_reduction(trials, candidate, asked, found) != name:
                    continue
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
    total = math.fsum(parts)
    if abs(whole - total) < 1e-3 * abs(total) and abs(total) > 0:
        return "sum"
    if not abs(whole - total / len(parts)) <= 1e-3 * abs(total):
        trials.note(convention.render({}), "returned a scalar that is neither sum nor mean; taken as the mean")
    return "mean"


def formats_of(trials: Trials, convention: Convention, case: Case) -> tuple[str, ...]:
    """The names of the formats that a call goes through in, widest first."""
    case = _askable(convention, case)
    return tuple(
        f.name for f in _FORMATS if trials.run(convention, replace(case, format=f), suffix=f" in {f.name}") is not None
    )


def parameter_of(name: str, p: inspect.Parameter, where: Where) -> Parameter:
    """A parameter of a signature as one of a convention."""
    return Parameter(name, p.name, where, default_of(p), p.default is inspect.Parameter.empty)


def in_order(parameters: list[Parameter]) -> tuple[Parameter, ...]:
    """Parameters in the order of ``PARAMETERS``."""
    return tuple(sorted(parameters, key=lambda p: PARAMETERS.index(p.name)))

"""The first call that works: the data, and nothing else but what the signature requires.

The order is fixed: for each form of labels and order of arguments one call with every way of making the subject.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from polyref.case import Case
from polyref.subject.convention import Convention, Order, Where
from polyref.subject.explore import in_order, parameter_of, reduction_candidates
from polyref.subject.signature import data_arguments, roles, signature_of, takes_list
from polyref.subject.trial import LABEL_FORMS, Outcome, Trials, finite, plausible


def bare_call(trials: Trials, base: Convention, case: Case) -> tuple[Convention, Outcome] | None:
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
        parameters.append(parameter_of(name, p, where))
        if name == "epsilon":
            forms = ("list", "scalar") if takes_list(p) else ("scalar", "list")
        elif name == "reduction":
            reductions = tuple((("none", v),) for v in reduction_candidates(p)["any"])
    for form in forms:
        for values in reductions:
            yield replace(base, parameters=in_order(parameters), epsilon_form=form, reduction_values=values)


def _one_call(trials: Trials, candidate: Convention, case: Case) -> tuple[Convention, Outcome | None]:
    """Try a candidate, and again without a gradient if that is what it stumbles over."""
    outcome = trials.run(candidate, case)
    if outcome is None and "requires grad" in trials.attempts[-1].outcome:
        candidate = replace(candidate, differentiable=False)
        outcome = trials.run(candidate, case, suffix=" without a gradient")
    return candidate, outcome

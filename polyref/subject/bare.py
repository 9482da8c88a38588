"""The first call that works: the data, and nothing else but what the signature requires.

The order is fixed. For each form of labels and order of arguments there is one call with every way of making the
subject; where one goes through but makes no sense of logits, other inputs are tried in its place. Data of another shape
than rows are a call of their own, which comes last.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch

from polyref.case import Case
from polyref.formats import BINARY32
from polyref.subject.convention import Convention, EpsilonForm, Inputs, LabelForm, Layout, Order, Where
from polyref.subject.explore import in_order, parameter_of
from polyref.subject.names import LOG_PROBABILITIES, PLAIN_LOGITS, PROBABILITIES
from polyref.subject.overrides import Forms
from polyref.subject.plausible import judged, per_element
from polyref.subject.signature import (
    Data,
    data_arguments,
    epsilon_forms,
    reduction_values,
    roles,
    signature_of,
    switches,
    unfilled,
)
from polyref.subject.trial import Found, Trials, finite, text_of

#: The forms that labels are handed over in, in the order in which they are tried.
LABEL_FORMS: tuple[LabelForm, ...] = get_args(LabelForm)
#: Shapes of the data other than rows, and the forms of labels that they are tried with.
_SHAPES: tuple[tuple[Layout, LabelForm], ...] = (
    *(("flat", "one_hot"), ("flat", "one_hot_integer")),
    *(("flat_column", "one_hot"), ("flat_column", "one_hot_integer")),
    *(("images", "index"), ("images", "one_hot"), ("images", "index_column")),
    *(("images_last", "index"), ("images_last", "one_hot")),
)
#: Refusals that other inputs may mend.
_ABOUT_NUMBERS = re.compile(r"AssertionError|between 0 and 1|\[0, ?1|probab|sum to 1|range|negative", re.IGNORECASE)


@dataclass(frozen=True)
class _Way:
    """One way of making the subject, and where its data can go."""

    convention: Convention
    data: Data
    switched: tuple[Convention, ...]

    def ordered(self, forms: Forms) -> list[Convention]:
        """The convention in every order of the data, the likeliest first."""
        d = self.data
        first: Order = d.order or "logits_first"
        if d.keywords:
            # Keywords make the order of no account; only the roles can be the other way round.
            names = [(d.logits, d.labels), (d.labels, d.logits)]
            if forms.order is not None:
                names = names[:1] if forms.order == first else names[1:]
            return [replace(self.convention, order=first, logits_name=z, labels_name=y) for z, y in names]
        orders: list[Order] = [first, "labels_first" if first == "logits_first" else "logits_first"]
        return [replace(self.convention, order=o) for o in orders if forms.order in (None, o)]


class _Search:
    """The trials of one case over every way, and the first call of each kind that went through and made no sense."""

    def __init__(self, trials: Trials, case: Case, forms: Forms) -> None:
        self.trials = trials
        self.case = case
        self.forms = forms
        self.finite: Found | None = None
        self.not_finite: Found | None = None
        self.nothing: Found | None = None

    @property
    def reserve(self) -> Found | None:
        """What is taken if nothing makes sense."""
        return self.finite or self.not_finite or self.nothing

    def sensible(self, wanted: Convention, way: _Way) -> Found | None:
        """The call, or the same with other inputs, if it goes through and makes sense."""
        name = (way.data.logits or "").lower()
        order: list[Inputs] = ["logits", "probabilities", "log_probabilities"]
        if self.forms.inputs is not None:
            order = [self.forms.inputs]
        elif name in PROBABILITIES:
            order.sort(key=lambda i: i != "probabilities")
        elif name in LOG_PROBABILITIES:
            order.sort(key=lambda i: i != "log_probabilities")
        for inputs in order:
            for candidate in (wanted, *(_merged(wanted, s) for s in way.switched if inputs == order[0])):
                found, ran = self._tried(replace(candidate, inputs=inputs))
                if found is not None:
                    return found
                stumbled = not ran and candidate is wanted and inputs == order[0]
                if stumbled and not _ABOUT_NUMBERS.search(self.trials.last):
                    return None
            if inputs == "logits" and name in PLAIN_LOGITS and self.finite is not None:
                return None  # it says that they are logits, and they went through
        return None

    def _tried(self, wanted: Convention) -> tuple[Found | None, bool]:
        """The call if it makes sense, and whether it went through at all and gave something."""
        trials, case = self.trials, self.case
        outcome = trials.run(wanted, case)
        if outcome is None and "requires grad" in trials.last:
            wanted = replace(wanted, differentiable=False)
            outcome = trials.run(wanted, case, suffix=" without a gradient")
        if outcome is None:
            return None, False
        found = Found(wanted, outcome)
        if outcome.kind == "nothing":
            self.nothing = self.nothing or found
            return None, False
        if not finite(outcome):
            self.not_finite = self.not_finite or found
            return None, True
        judgement = judged(trials, wanted, case)
        if not judgement.plausible:
            trials.note(text_of(wanted, case), f"not taken at once: {judgement.words}")
            self.finite = self.finite or found
            return None, True
        if wanted.inputs == "probabilities" and wanted.labels.startswith("one_hot"):
            elements = wanted.layout.startswith("flat") or per_element(trials, wanted, case)
            wanted = replace(wanted, inputs="sigmoid_probabilities") if elements else wanted
        if judgement.negated:
            wanted = replace(wanted, negated=True)
            trials.note(text_of(wanted, case), f"its sign is turned: {judgement.words}")
        if wanted != found.convention:
            outcome = trials.run(wanted, case, quiet=True) or outcome
        return Found(wanted, outcome, sensible=True), True


def bare_call(trials: Trials, base: Convention, case: Case, forms: Forms) -> Found | None:
    """The first call with rows that works and makes sense, else the first that works, or that returns None."""
    ways = list(_ways(trials, base, case))
    search = _Search(trials, case, forms)
    for form, i, way in itertools.product(_label_forms(forms), range(2), ways):
        for wanted in way.ordered(forms)[i : i + 1]:
            if (found := search.sensible(replace(wanted, labels=form), way)) is not None:
                return found
    return search.reserve


def shaped_call(trials: Trials, base: Convention, case: Case, forms: Forms) -> Found | None:
    """The same with data of other shapes than rows."""
    if case.format is not BINARY32:  # whoever wants another shape can do with it
        return None
    search, ways, labels = _Search(trials, case, forms), list(_ways(trials, base, case)), _label_forms(forms)
    for (layout, form), way in itertools.product(_SHAPES, ways):
        for wanted in way.ordered(forms)[: 1 if way.data.order else 2] if form in labels else ():
            if (found := search.sensible(replace(wanted, labels=form, layout=layout), way)) is not None:
                return found
    return search.reserve


def _label_forms(forms: Forms) -> tuple[LabelForm, ...]:
    return LABEL_FORMS if forms.labels is None else (forms.labels,)


def _merged(wanted: Convention, switched: Convention) -> Convention:
    return replace(wanted, init=switched.init, call=switched.call)


# --- ways of making the subject --------------------------------------------------------------------------------------


def _ways(trials: Trials, base: Convention, case: Case) -> Iterator[_Way]:
    """Every way up to the data that can be gone: what is required is given, and the subject can be made."""
    constructors = [base]
    made_of = base.kind in ("class", "factory")
    constructing = (signature_of(trials.subject) or {}) if made_of else {}
    if made_of:
        constructors = list(_with_required(base, constructing, "constructor"))
    for constructor in constructors:
        made: Any = trials.subject
        if made_of:
            missing = unfilled(constructing, (), dict(constructor.init))
            if missing:
                if base.kind == "class" or data_arguments(constructing) is None:
                    trials.lacking("--init", missing)
                continue
            made = trials.make(constructor, case)
            if made is None or (base.kind == "factory" and isinstance(made, torch.Tensor)):
                continue
        parameters = signature_of(made)
        data = data_arguments(parameters)
        if data is None:
            trials.note(constructor.render({}), "its signature has no room for logits and labels")
            continue
        missing = unfilled(parameters or {}, (data.logits, data.labels), dict(constructor.call))
        if missing and data.logits is not None:  # else they may be data themselves
            trials.lacking("--call", missing)
            continue
        for convention in _with_required(constructor, parameters or {}, "call"):
            turned = [
                *switches(constructing, "constructor", dict(base.init)),
                *switches(parameters or {}, "call", dict(base.call)),
            ]
            yield _Way(convention, data, tuple(_switched(convention, *t) for t in turned))


def _switched(convention: Convention, where: Where, name: str, value: Any) -> Convention:
    if where == "constructor":
        return replace(convention, init=(*convention.init, (name, value)))
    return replace(convention, call=(*convention.call, (name, value)))


def _with_required(base: Convention, signature: Mapping[str, inspect.Parameter], where: Where) -> Iterator[Convention]:
    """``base`` with the parameters that must be given, and the class count wherever it can be."""
    taken = dict(base.init if where == "constructor" else base.call)
    parameters = list(base.parameters)
    forms: tuple[EpsilonForm | None, ...] = (base.epsilon_form,)
    reductions: tuple[tuple[tuple[str, Any], ...], ...] = (base.reduction_values,)
    whole: str | None = None
    for name, p in roles(signature, taken):
        required = p.default is inspect.Parameter.empty
        if not required and (name != "num_classes" or base.can("num_classes")):
            continue
        parameters.append(parameter_of(name, p, where))
        if name == "epsilon":
            forms = epsilon_forms(p)
            whole = p.name
        elif name == "reduction":
            offered = reduction_values(p, base.framework)
            # What is asked for here is any reduction at all; which ones there are is found out later.
            any_value = dict.fromkeys(values[0] for values in offered.values() if values)
            reductions = tuple((("none", v),) for v in any_value)
    for values in reductions:
        for form in forms:
            yield replace(base, parameters=in_order(parameters), epsilon_form=form, reduction_values=values)
        if whole is not None:
            # Code that counts or indexes by epsilon takes a whole number only, which is no coefficient to choose.
            others = in_order([p for p in parameters if p.name != "epsilon"])
            fixed = replace(base, parameters=others, reduction_values=values, fixed=(*base.fixed, ("epsilon", 1.0)))
            yield _switched(fixed, where, whole, 1)

"""What a signature promises: which of a subject's parameters could be which of polyref's.

Names are the ones counted over published code (design section 6). A promise is only kept by a call: the probe tries
every parameter before it is offered.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from polyref.subject.convention import PARAMETERS, Order, frozen_value

#: polyref's name -> the names in use, lower case, the most telling first.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "num_classes": (
        *("num_classes", "class_number", "n_classes", "nb_classes", "classes"),
        *("num_class", "class_num", "n_class", "number_of_classes", "num_labels", "nclasses"),
    ),
    "epsilon": (
        *("epsilon", "eps", "eps1", "poly_alpha", "poly_epsilon", "poly_eps", "epsilon1", "epsilon_1", "eps_1"),
        *("poly1_epsilon", "epsilons", "eps_list", "epsilon_list", "poly_epsilons"),
    ),
    "terms": ("n", "n_terms", "num_terms", "terms", "order", "poly_n"),
    "gamma": ("gamma", "focal_gamma"),
    "alpha": ("alpha", "focal_alpha"),
    "reduction": ("reduction", "size_average", "reduce"),
    "weight": ("weight", "weights", "class_weight", "class_weights", "ce_weight", "cls_weight"),
    "smoothing": ("label_smoothing", "smoothing"),
    "ignore_index": ("ignore_index", "ignore_label"),
}
_LOGITS = (
    *("logits", "logit", "x", "input", "inputs", "pred", "preds", "prediction", "predictions", "y_pred", "output"),
    *("outputs", "y_hat", "yhat", "score", "scores", "prob", "probs", "probabilities", "input_", "logits_", "z"),
)
_LABELS = (
    *("labels", "label", "y", "target", "targets", "y_true", "gt", "truth", "true", "ground_truth", "one_hot"),
    *("onehot", "labels_onehot", "y_onehot", "target_", "labels_", "t", "q"),
)
#: A default this small is a guard against log(0), not a coefficient.
_GUARD = 1e-3

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def signature_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """The parameters of a callable by name, self excluded; None where Python cannot tell (built-in code).

    The ``__call__`` of a torch module takes anything, so its ``forward`` is read instead.
    """
    forward = getattr(function, "forward", None)
    if callable(forward) and not inspect.isclass(function):
        function = forward
    try:
        found = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None
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
    return True


def takes_list(parameter: inspect.Parameter) -> bool:
    """Whether an epsilon looks like the list of Poly-N: by its default, its annotation or its name."""
    annotation = str(parameter.annotation).lower() if parameter.annotation is not inspect.Parameter.empty else ""
    name = parameter.name.lower()
    return (
        isinstance(parameter.default, (list, tuple))
        or any(word in annotation for word in ("list", "sequence", "tuple", "iterable"))
        or name.endswith(("s_list", "list", "epsilons"))
    )


def data_arguments(
    parameters: Mapping[str, inspect.Parameter] | None,
) -> tuple[Order | None, str | None, str | None] | None:
    """Where logits and labels go, as far as the names tell.

    Returns:
        The order (None if the names do not tell) and the keywords for logits and labels, None where they go by
        position; or None if the signature has no room for two arguments. With an order that the names do not tell,
        keywords are those of the first and the second argument.
    """
    if parameters is None or any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters.values()):
        return None, None, None
    usable = [
        p
        for p in parameters.values()
        if p.kind in (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY) and not _is_setting(p)
    ]
    if len(usable) < 2:
        return None
    logits = next((p for p in usable if p.name.lower() in _LOGITS), None)
    labels = next((p for p in usable if p.name.lower() in _LABELS), None)
    if logits is None:
        logits = next((p for p in usable if p is not labels), None)
        named = labels is not None
    else:
        named = True
        labels = labels if labels is not None else next((p for p in usable if p is not logits), None)
    if labels is None:
        labels = next(p for p in usable if p is not logits)
    if logits is None:  # cannot happen with two usable ones; it tells the type checker
        return None
    order: Order = "logits_first" if usable.index(logits) < usable.index(labels) else "labels_first"
    leading = [p for p in parameters.values() if p.kind in _POSITIONAL][:2]
    by_position = {p.name for p in leading} == {logits.name, labels.name}
    return (
        order if named else None,
        None if by_position else logits.name,
        None if by_position else labels.name,
    )


def _is_setting(parameter: inspect.Parameter) -> bool:
    """Whether a parameter of a call is a setting and not data."""
    return any(_may_be(name, parameter) for name in PARAMETERS if name != "terms")


def default_of(parameter: inspect.Parameter) -> Any:
    """The default as a value that JSON can carry; None where there is none."""
    return None if parameter.default is inspect.Parameter.empty else portable(parameter.default)


def portable(value: Any) -> Any:
    """``value`` as a number, text, bool, None or a tuple of them; anything else as its text, cut to 80 characters."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(portable(v) for v in value)
    if hasattr(value, "tolist"):
        return frozen_value(value.tolist())
    return repr(value)[:80]


def known_attributes(instance: Any) -> Iterator[tuple[str, Any]]:
    """polyref's names and the values of an instance's attributes that can only be what they are called."""
    held = dict(vars(instance)) if hasattr(instance, "__dict__") else {}
    held |= held.get("_buffers") or {}
    for name, known in SYNONYMS.items():
        if name == "terms":
            continue
        for attribute in (a for k in known for a in held if a.lower() == k):
            value = portable(held[attribute])
            if value is None or (name == "reduction" and value not in ("none", "sum", "mean")):
                continue
            if name == "epsilon" and isinstance(value, float) and 0 < value <= _GUARD:
                continue
            yield name, value
            break

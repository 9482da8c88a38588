"""When a law applies: what it needs of a subject's convention and dialect, or why it has nothing to say.

A condition is None where the subject has what it asks for, and else the reason in a few words.
"""

from __future__ import annotations

from collections.abc import Callable

from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect

Condition = Callable[[Convention, Dialect], str | None]


def always(_: Convention, __: Dialect) -> str | None:
    """Every subject."""
    return None


def needs_epsilon(_: Convention, dialect: Dialect) -> str | None:
    """A subject whose epsilon a caller can choose."""
    return None if "epsilon" in dialect.settable else "epsilon cannot be chosen"


def needs_admissible_epsilon(_: Convention, dialect: Dialect) -> str | None:
    """A subject whose epsilon can be chosen, or makes no coefficient of the series negative."""
    if "epsilon" in dialect.settable or not dialect.known:
        return None
    below = [(j, e) for j, e in enumerate(dialect.spec.epsilon, start=1) if e < -1 / j]
    return f"its epsilon_{below[0][0]}, {below[0][1]:g}, is below -1/{below[0][0]}" if below else None


def needs_hard_labels(_: Convention, dialect: Dialect) -> str | None:
    """A subject that does not smooth index labels of itself."""
    return f"it smooths its labels by {dialect.spec.smoothing:g}" if dialect.spec.smoothing else None


def needs_gradient(convention: Convention, _: Dialect) -> str | None:
    """A subject that can be differentiated."""
    if convention.framework == "numpy":
        return "numpy has no automatic differentiation"
    return None if convention.differentiable else "it accepts no logits that require a gradient"


def needs_torch(convention: Convention, _: Dialect) -> str | None:
    """A subject of torch, for what only torch has."""
    return None if convention.framework == "torch" else f"it is about torch, and this is {convention.framework}"


def needs_classes_second(convention: Convention, _: Dialect) -> str | None:
    """A subject of a framework whose losses have the classes along the second dimension."""
    return None if convention.framework == "torch" else f"in {convention.framework} the classes come last"


def needs_layouts(convention: Convention, _: Dialect) -> str | None:
    """A subject of a framework whose arrays can lie in memory in several ways."""
    laid_out = convention.framework in ("torch", "numpy")
    return None if laid_out else f"an array of {convention.framework} has no layout to choose"


def needs_own_result(convention: Convention, _: Dialect) -> str | None:
    """A subject whose result is its own doing, and not that of a framework's class that it inherits from."""
    base = convention.finished_by
    return None if base is None else f"its base class, {base}, casts and reduces what it computes"


def needs_wide_format(convention: Convention, _: Dialect) -> str | None:
    """A subject that takes a format in which a step of a difference quotient is small."""
    wide = {"binary64", "binary32"} & set(convention.formats)
    return None if wide else "it takes no format wide enough for difference quotients"


def needs_softmax(_: Convention, dialect: Dialect) -> str | None:
    """A single-label loss: one softmax over the logits of a row."""
    if not dialect.link_known:
        return "no formula was found, and its answers do not show whether its probabilities are a softmax's"
    if dialect.spec.link != "softmax":
        return "its probabilities are sigmoids, each logit by itself"
    return None


def needs_no_focal_factor(_: Convention, dialect: Dialect) -> str | None:
    """A subject whose gamma is, or can be set to, zero."""
    if "gamma" in dialect.settable or dialect.spec.gamma == 0:
        return None
    return f"gamma is fixed at {dialect.spec.gamma:g}, so its first term is x^{dialect.spec.gamma + 1:g}"


def needs_plain_classes(_: Convention, dialect: Dialect) -> str | None:
    """A subject without built-in class weights."""
    if dialect.built_in is not None or dialect.spec.alpha is not None:
        return "it has class weights built in: see the law under class weights"
    return None


def needs_class_weights(convention: Convention, dialect: Dialect) -> str | None:
    """A subject with class weights, given or built in."""
    if convention.can("weight") or needs_plain_classes(convention, dialect):
        return None
    return "it takes no class weights"


def needs_known_formula(_: Convention, dialect: Dialect) -> str | None:
    """A subject that the reference can compute."""
    return None if dialect.known else "its formula is no member of the family: see the law of the value"


def needs_index_labels(convention: Convention, _: Dialect) -> str | None:
    """A subject that is given the number of the class."""
    return "it takes one-hot labels" if convention.labels.startswith("one_hot") else None


def needs_soft_labels(convention: Convention, dialect: Dialect) -> str | None:
    """A subject that takes rows of probabilities for what they are."""
    if not convention.soft:
        return "it takes no soft labels"
    if needs_index_labels(convention, dialect) and dialect.spec.link == "softmax":
        return "one-hot rows are its form of a label, and nothing says that it takes probabilities"
    return None


def needs_weight(convention: Convention, _: Dialect) -> str | None:
    """A subject that can be given class weights."""
    return None if convention.can("weight") else "it takes no class weights"


def needs_unreduced(convention: Convention, _: Dialect) -> str | None:
    """A subject that returns the loss of every row."""
    return None if "none" in convention.reductions else "it returns no loss of each row, only a reduced one"


def all_of(*conditions: Condition) -> Condition:
    """Every one of the conditions; the first objection counts."""

    def applies(convention: Convention, dialect: Dialect) -> str | None:
        return next(filter(None, (condition(convention, dialect) for condition in conditions)), None)

    return applies

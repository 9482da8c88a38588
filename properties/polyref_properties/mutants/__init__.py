"""Mutants: wrong implementations, each with one thing wrong, that the laws must reject; and harmless variants.

All but those that say so are called like :class:`~polyref_properties.mutants.base.Textbook`, so that what tells
them apart is the mathematics. Importing this package loads no torch; :func:`all_mutants` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any, Literal

from polyref.spec import Reduction, Spec
from polyref.subject.convention import Convention, Parameter
from polyref.subject.dialect import WHOLE_LOSS, Dialect

#: semantic: another formula. numerical: the same formula, and lost digits. behaviour: what it does beside the numbers.
Kind = Literal["semantic", "numerical", "behaviour"]

#: Modules of this package with a tuple MUTANTS.
THEMES = ("formula", "parts", "weights", "reductions", "labels", "shapes", "numerics", "behaviour")

#: How mutants are called: no probe has to find out.
CONVENTION = Convention(
    name="mutant",
    kind="class",
    soft=True,
    parameters=tuple(
        Parameter(name, called, "constructor", default)
        for name, called, default in (
            ("epsilon", "epsilon", 1.0),
            ("gamma", "gamma", 0.0),
            ("reduction", "reduction", "none"),
            ("weight", "weight", None),
            ("smoothing", "label_smoothing", 0.0),
            ("ignore_index", "ignore_index", -100),
        )
    ),
    epsilon_form="list",
    reductions=("none", "sum", "mean"),
    reduction_values=(("none", "none"), ("sum", "sum"), ("mean", "mean")),
    result="per_sample",
    formats=("binary64", "binary32", "bfloat16", "binary16"),
)

#: What every mutant claims to compute.
CLAIMED = replace(
    WHOLE_LOSS,
    formula="w [x^gamma CE + sum_j eps_j x^(gamma+j)]",
    spec=Spec(epsilon=(1.0,), reduction=Reduction.NONE),
    settable=frozenset({"epsilon", "gamma", "weight", "smoothing"}),
)


@dataclass(frozen=True)
class Mutant:
    """A wrong implementation.

    Attributes:
        name: what the laws call it.
        defect: the one thing that is wrong, in a few words.
        loss: the implementation: a class like Textbook, or what ``convention`` calls.
        kind: what sort of thing is wrong.
        convention: how it is called.
        claims: the law that it is held to.
        right_in: names of the formats in which nothing is wrong with it.
    """

    name: str
    defect: str
    loss: Callable[..., Any]
    kind: Kind = "semantic"
    convention: Convention = CONVENTION
    claims: Dialect = CLAIMED
    right_in: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """A right implementation that looks unusual, which no law may accuse.

    Attributes:
        name: what reports call it.
        oddity: what is unusual about it, in a few words.
        loss: the implementation.
        convention: how it is called; None where the probe has to find out.
        claims: the law that it follows; None where identification has to find out.
    """

    name: str
    oddity: str
    loss: Callable[..., Any]
    convention: Convention | None = None
    claims: Dialect | None = None


@cache
def all_mutants() -> dict[str, Mutant]:
    """Every mutant by name, theme by theme.

    Raises:
        ValueError: for two of one name.
    """
    found: dict[str, Mutant] = {}
    for theme in THEMES:
        for mutant in import_module(f"{__name__}.{theme}").MUTANTS:
            if mutant.name in found:
                raise ValueError(f"two mutants are called {mutant.name!r}: rename one")
            found[mutant.name] = mutant
    return found


@cache
def harmless() -> dict[str, Variant]:
    """Every harmless variant by name."""
    return {v.name: v for v in import_module(f"{__name__}.variants").VARIANTS}


def textbook(logits: Any, labels: Any, epsilon: Any = 1.0, weight: Any = None, reduction: str = "none") -> Any:
    """The right implementation as a function; see :mod:`polyref_properties.mutants.base`."""
    base = import_module(f"{__name__}.base")
    return base.Textbook(epsilon, weight=weight, reduction=reduction)(logits, labels)

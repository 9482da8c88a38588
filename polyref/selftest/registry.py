"""Who takes part: the laws, our mutants and those of other packages, and the harmless variants."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from polyref.choice import nearest
from polyref.errors import UsageError
from polyref.property import Property, load_properties, loaded
from polyref_properties.mutants import Mutant, Variant, all_mutants

#: The entry point group that mutants of other packages are found through: a mapping of names to mutants, or a callable
#: that returns one.
GROUP = "polyref.mutants"

#: The right implementation that all cases of a law are tried on first.
TEXTBOOK = "textbook"


@cache
def load_laws() -> dict[str, Property]:
    """Every law by its id, in the order of an audit.

    Raises:
        UsageError: see :func:`polyref.property.load_properties`; and for a law that names a mutant that there is not.
    """
    laws = {law.id: law for law in load_properties()}
    mutants = load_mutants()
    for law in laws.values():
        for name in law.mutants:
            if name not in mutants:
                raise UsageError(
                    f"the law {law.id!r} names the mutant {name!r}, which does not exist: register it under {GROUP}, "
                    f"or name {' or '.join(nearest(name, mutants))}"
                )
    return laws


@cache
def load_mutants() -> dict[str, Mutant]:
    """Every mutant by its name: ours, and those of every installed package that registers some.

    Raises:
        UsageError: for an entry that cannot be imported or is no mapping of names to mutants, and for two of one name.
    """
    found = dict(all_mutants())
    for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        for name, mutant in _registered(entry).items():
            if not isinstance(mutant, Mutant) or mutant.name != name:
                raise UsageError(
                    f"{entry.value} holds {mutant!r:.80} under {name!r}, which is no Mutant of that name: "
                    "register a mapping of names to mutants"
                )
            if name in found:
                raise UsageError(f"{entry.value} has a second mutant called {name!r}: rename one")
            found[name] = mutant
    return found


@cache
def harmless() -> dict[str, Variant]:
    """Every harmless variant by its name, the textbook's among them."""
    return {v.name: v for v in import_module("polyref_properties.mutants.variants").VARIANTS}


def _registered(entry: EntryPoint) -> Mapping[str, Any]:
    what = loaded(entry)
    if callable(what):
        try:
            what = what()
        except Exception as e:
            raise UsageError(f"{entry.value} raised {type(e).__name__} ({e}): mend or uninstall its package") from e
    if not isinstance(what, Mapping):
        raise UsageError(f"{entry.value} is {what!r:.80}: register a mapping of names to mutants")
    return what


def theme_of(mutant: Mutant) -> str:
    """The group of a mutant: our module that it is from, or the package that registers it."""
    module = str(getattr(mutant.loss, "__module__", None) or "others")
    ours = "polyref_properties.mutants."
    return module.removeprefix(ours) if module.startswith(ours) else module.partition(".")[0]

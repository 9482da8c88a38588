"""Which inputs become golden vectors: few, and yet every defect shows, and one can be told from another.

First a greedy set cover of every defect that any input catches, and then of every boundary, regime and spec, at the
least cost in numbers to read. Then, up to the count that is asked for, the input that tells the most defects apart: two
defects are told apart where one shows and the other does not, so that the failures of a program point at one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from polyref.vectors.draw import Candidate
from polyref.vectors.results import Results
from polyref.vectors.rivals import Beyond
from polyref.vectors.specs import text_of

#: What a line costs, in numbers: about those of a row.
_LINE = 8
#: How many defects a vector names at least, if it catches as many.
_NAMED = 2


class Measured(NamedTuple):
    """An input and what was measured of it.

    Attributes:
        candidate: the input.
        results: what is exact about it.
        regime: of its smallest Pt.
        beyond: who is clearly beyond the tolerance, and in what.
        tried: the names of all who had an answer.
    """

    candidate: Candidate
    results: Results
    regime: str
    beyond: Mapping[str, Beyond]
    tried: frozenset[str]

    @property
    def goals(self) -> frozenset[tuple[str, str]]:
        """What the set has if this is in it."""
        named = (("about", self.candidate.about), ("regime", self.regime), ("spec", text_of(self.candidate.case.spec)))
        return frozenset((*named, *(("defect", name) for name in self.beyond)))

    @property
    def cost(self) -> int:
        """What it takes to read: its numbers, and as much again for whatever it is."""
        case = self.candidate.case
        return _LINE + len(case.logits) * case.classes + len(self.results.exact.all)


def choose(among: Sequence[Measured], count: int) -> list[int]:
    """The places of those that are kept, in order; every one of them catches a defect."""
    # What catches nothing is no vector.
    goals = {i: m.goals for i, m in enumerate(among) if m.beyond}
    kept: list[int] = []
    for kinds in (("defect",), ("about", "regime", "spec")):
        missing = frozenset(g for g in _all(goals) if g[0] in kinds).difference(*(goals[i] for i in kept))
        while missing and len(kept) < count:
            best = max(goals, key=lambda i: (len(goals[i] & missing) / among[i].cost, -i))
            kept.append(best)
            missing -= goals[best]
    groups: dict[str, tuple[Beyond | None, ...]] = {
        name: tuple(among[i].beyond.get(name) for i in kept) for kind, name in _all(goals) if kind == "defect"
    }
    rest = [i for i in goals if i not in kept]
    while rest and len(kept) < count:
        best = max(rest, key=lambda i: (_told_apart(groups, among[i]), -among[i].cost, -i))
        kept.append(best)
        rest.remove(best)
        groups = {name: (*group, among[best].beyond.get(name)) for name, group in groups.items()}
    return sorted(kept)


def _all(goals: Mapping[int, frozenset[tuple[str, str]]]) -> list[tuple[str, str]]:
    return sorted(frozenset[tuple[str, str]]().union(*goals.values()))


def _told_apart(groups: Mapping[str, tuple[Beyond | None, ...]], measured: Measured) -> int:
    """How many groups of defects there are once this one is in the set."""
    return len({(group, measured.beyond.get(name)) for name, group in groups.items()})


def assigned(caught: Sequence[Collection[str]]) -> list[list[str]]:
    """For each vector the defects that it is there for: the few that the fewest other vectors catch.

    Every defect is named somewhere: one that is not among the few of any vector goes where the fewest are named.

    Args:
        caught: the names of all that each vector catches.
    """
    often = Counter(name for names in caught for name in names)
    found = [sorted(names, key=lambda n: (often[n], n))[:_NAMED] for names in caught]
    named = {name for names in found for name in names}
    for name in sorted(often.keys() - named, key=lambda n: (often[n], n)):
        able = [i for i, names in enumerate(caught) if name in names]
        found[min(able, key=lambda i: (len(found[i]), len(caught[i]), i))].append(name)
    return found

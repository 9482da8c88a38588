"""What a self-test comes to: counts and orders that the terminal and the page share."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median

from polyref.report.selftest import Mutant, Pair, SelfTest, Trial
from polyref.report.words import count

#: The format in which the cost of finding a mutant is stated.
WIDEST = "binary64"


@dataclass(frozen=True)
class Cost:
    """How many examples it takes, in binary64, to find out about a semantic mutant: medians, None where nothing died.

    Attributes:
        fewest: over mutants, the fewest examples that any one law needs.
        audit: over mutants, the examples that an audit has tried, law by law in its order, when the first law objects.
        kill: over all pairs of a law and a mutant that it kills.
        largest: the largest number of the first kind, and the mutant that needs so many.
    """

    fewest: float | None
    audit: float | None
    kill: float | None
    largest: tuple[int, str] | None


def headline(d: SelfTest) -> str:
    """The answer in one line."""
    who = f"{count(len(d.laws), 'law')}, {count(len(d.mutants), 'mutant')}, {count(len(d.settings.formats), 'format')}"
    if d.exit_code == 3:
        return f"Nothing was measured: {who}"
    if d.failures:
        return f"{count(len(d.failures), 'failure')}: {who}"
    due = sum(len(m.expected) for m in d.mutants)
    if d.mutants and due and complete_laws(d):
        return f"Every mutant is killed wherever that is due, and nobody who is right is accused: {who}"
    return f"Nothing failed: {who}"


def complete_laws(d: SelfTest) -> bool:
    """Whether all laws and mutants took part."""
    return d.settings.complete


def trials(d: SelfTest) -> Counter[str]:
    """How many trials of mutants ended how, and how many there were none of."""
    found: Counter[str] = Counter(t.verdict for p in d.kills for t in p.trials.values())
    for p in d.kills:
        found["not_applicable" if p.reason else "not_tried"] += len(d.settings.formats) - len(p.trials)
    return found


def killed(trial: Trial | None) -> bool:
    """Whether a trial was a kill."""
    return trial is not None and trial.verdict == "killed"


def killers(d: SelfTest) -> dict[str, list[str]]:
    """For each mutant the laws that kill it in any format, in the order of an audit."""
    found: dict[str, list[str]] = {m.name: [] for m in d.mutants}
    for pair in d.kills:
        if any(map(killed, pair.trials.values())):
            found[pair.subject].append(pair.law)
    return found


def alone(d: SelfTest) -> dict[str, str]:
    """The mutants that one law kills and no other, with that law."""
    return {name: laws[0] for name, laws in killers(d).items() if len(laws) == 1}


def redundant(d: SelfTest) -> list[str]:
    """The laws all of whose kills are killed by other laws too."""
    needed = set(alone(d).values())
    return [law.id for law in d.laws if law.id not in needed]


def cost(d: SelfTest) -> Cost:
    """How many examples it takes to find out about a semantic mutant."""
    semantic = {m.name for m in d.mutants if m.kind == "semantic"}
    order = {law.id: i for i, law in enumerate(d.laws)}
    tried: dict[str, list[tuple[int, Trial]]] = {name: [] for name in semantic}
    for pair in d.kills:
        if pair.subject in semantic and WIDEST in pair.trials:
            tried[pair.subject].append((order[pair.law], pair.trials[WIDEST]))
    fewest: dict[str, int] = {}
    spent: list[int] = []
    every: list[int] = []
    for name, found in tried.items():
        kills = [t.examples for _, t in found if killed(t)]
        if not kills:
            continue
        every += kills
        fewest[name] = min(kills)
        total = 0
        for _, t in sorted(found, key=lambda pair: pair[0]):
            total += t.examples
            if killed(t):
                break
        spent.append(total)
    if not every:
        return Cost(None, None, None, None)
    hardest = max(sorted(fewest), key=fewest.__getitem__)
    return Cost(median(fewest.values()), median(spent), median(every), (fewest[hardest], hardest))


def by_theme(d: SelfTest) -> dict[str, list[Mutant]]:
    """The mutants, theme by theme, in the document's order."""
    found: dict[str, list[Mutant]] = {}
    for m in d.mutants:
        found.setdefault(m.theme, []).append(m)
    return found


def pairs(d: SelfTest) -> dict[tuple[str, str], Pair]:
    """Every pair by (law, subject)."""
    return {(p.law, p.subject): p for p in (*d.kills, *d.variant_trials)}


def slowest(d: SelfTest, most: int = 5) -> list[tuple[str, float]]:
    """The laws that took the longest, with the seconds over all formats."""
    found = [(law.id, sum(law.seconds.values())) for law in d.laws]
    return sorted(found, key=lambda pair: -pair[1])[:most]

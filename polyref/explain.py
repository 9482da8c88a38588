"""What a law says: where it applies, which mutants it rejects, and what a violation of it looks like."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import replace

from polyref.errors import UsageError
from polyref.formats import BINARY64
from polyref.options import PROFILES
from polyref.property import Context, Property, load_properties, objection
from polyref.report import laws as doc
from polyref.search import search
from polyref.spec import Link, Reduction
from polyref.subject.convention import Convention
from polyref.subject.dialect import Dialect
from polyref.verdict import Verdict, describe

#: How many cases may be spent on making a violation small.
_SHRINKS = 150


def listing() -> doc.Laws:
    """Every law in a few words, in the order of an audit.

    Raises:
        UsageError: see :func:`polyref.property.load_properties`.
    """
    return doc.Laws(
        laws=[
            doc.Law(id=law.id, theme=law.theme, statement=law.statement, formats=law.formats, mutants=list(law.mutants))
            for law in load_properties()
        ]
    )


def explanation(law_id: str) -> doc.Explanation:
    """All about one law.

    Raises:
        UsageError: for a law that there is not, with the nearest names, or laws and mutants that cannot be used.
        LawFailed: if the law itself raises.
    """
    known = {law.id: law for law in load_properties()}
    if law_id not in known:
        near = difflib.get_close_matches(law_id, known, n=3, cutoff=0.0)
        raise UsageError(f"no law is called {law_id!r}: choose {' or '.join(near)}, or see polyref properties")
    # Mutants are made of torch, which takes a while to load.
    from polyref.selftest import registry  # noqa: PLC0415

    law, mutants = registry.load_laws()[law_id], registry.load_mutants()
    return doc.Explanation(
        id=law.id,
        theme=law.theme,
        statement=law.statement,
        formula=law.formula,
        citation=law.citation,
        remedy=law.remedy,
        formats=law.formats,
        not_for=list(dict.fromkeys(_objections(law))),
        mutants=[doc.Mutant(name=name, defect=mutants[name].defect) for name in law.mutants],
        example=_example(law),
    )


def _objections(law: Property) -> Iterator[str]:
    """What the law says to subjects that lack one thing each."""
    for convention, dialect in _lacking():
        reason = objection(law, convention, dialect)
        if reason is not None:
            yield reason


def _lacking() -> Iterator[tuple[Convention, Dialect]]:
    """A subject that can be told everything, with one thing taken away after the other."""
    from polyref_properties.mutants import CLAIMED, CONVENTION  # noqa: PLC0415 - only selftest and this know mutants

    for name in ("epsilon", "gamma", "weight", "smoothing", "ignore_index", "reduction"):
        parameters = tuple(p for p in CONVENTION.parameters if p.name != name)
        without = replace(CLAIMED, settable=CLAIMED.settable - {name})
        yield replace(CONVENTION, parameters=parameters), without
    yield replace(CONVENTION, epsilon_form="scalar"), CLAIMED
    yield replace(CONVENTION, soft=False), CLAIMED
    yield replace(CONVENTION, differentiable=False), CLAIMED
    yield replace(CONVENTION, kind="function"), CLAIMED
    yield replace(CONVENTION, classes=10), CLAIMED
    for reduction in Reduction:
        if str(reduction) in CONVENTION.reductions:
            yield replace(CONVENTION, reductions=(str(reduction),)), CLAIMED
    fixed = replace(CLAIMED, settable=CLAIMED.settable - {"gamma"}, spec=replace(CLAIMED.spec, gamma=2.0))
    yield CONVENTION, fixed
    yield CONVENTION, replace(CLAIMED, spec=replace(CLAIMED.spec, link=Link.SIGMOID))
    yield CONVENTION, replace(CLAIMED, built_in=(0.5, 1.0))
    yield CONVENTION, replace(CLAIMED, known=False)


def _example(law: Property) -> doc.Example | None:
    """The smallest case in which the first mutant breaks the law, in binary64; None if none is found."""
    from polyref.selftest import registry  # noqa: PLC0415
    from polyref.selftest.work import one_thread  # noqa: PLC0415
    from polyref.subject.local import LocalSubject  # noqa: PLC0415

    mutant = registry.load_mutants()[law.mutants[0]]
    if objection(law, mutant.convention, mutant.claims) is not None:
        return None
    subject = LocalSubject(mutant.loss, name=mutant.name, convention=mutant.convention)
    examples, _ = PROFILES["default"]
    # Where an example is expensive, so is each step towards a smaller one.
    shrinks = _SHRINKS if law.limit is None else min(law.limit, _SHRINKS)
    with one_thread():
        context = Context(subject, mutant.claims, BINARY64)
        found = search(law, context, examples=law.examples(examples), seed=0, shrinks=shrinks)
    if found.verdict is not Verdict.VIOLATED or found.case is None or found.outcome is None:
        return None
    return doc.Example(
        mutant=mutant.name,
        case=found.case.to_json(),
        case_text=describe(found.case),
        expected=found.outcome.expected,
        observed=found.outcome.observed,
        ratio=found.outcome.ratio,
        explanation=found.outcome.explanation,
        remedy=found.outcome.remedy or law.remedy,
    )

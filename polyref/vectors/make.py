"""Golden vectors made: inputs drawn, measured, chosen and written down."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple, cast

import msgspec

from polyref import __version__
from polyref.case import Case, Row
from polyref.errors import NothingMeasured, UsageError
from polyref.formats import Format
from polyref.reference.enclosure import Enclosure
from polyref.report.progress import progress
from polyref.spec import Spec
from polyref.vectors import choose, rivals, schema
from polyref.vectors.draw import Candidate, candidates
from polyref.vectors.numbers import hexadecimal, pattern
from polyref.vectors.results import Outputs, Undecided, regime, results
from polyref.vectors.rivals import Rival
from polyref.vectors.specs import text_of

#: How many vectors there are, unless the user says otherwise.
COUNT = 60
_DECIMAL_DIGITS = 30


class Vectors(NamedTuple):
    """A header and its vectors."""

    header: schema.Header
    vectors: list[schema.Vector]


def make(fmt: Format, specs: Sequence[Spec], *, seed: int = 0, count: int = COUNT) -> Vectors:
    """The golden vectors of a format: the same ones for the same arguments.

    Raises:
        UsageError: for a count below 1.
        NothingMeasured: if no input of these specs catches a defect.
    """
    if count < 1:
        raise UsageError(f"--count {count} is not allowed: give at least 1")
    specs = list(dict.fromkeys(specs))
    against = rivals.rivals(specs)
    drawn = [*candidates(fmt, specs, seed)]
    with rivals.at_work(specs), progress("vectors", total=len(drawn)) as meter:
        measured = []
        for candidate in drawn:
            if (found := measure(candidate, against)) is not None:
                measured.append(found)
            meter.step()
    kept = [measured[i] for i in choose.choose(measured, count)]
    if not kept:
        raise NothingMeasured(
            f"no input catches a defect of {' or '.join(map(text_of, specs))} in {fmt.name}: give other specs, or a "
            "wider format"
        )
    caught = {name for m in kept for name in m.beyond}
    tried = frozenset[str]().union(*(m.tried for m in measured))
    defects = [schema.Defect(name=r.name, defect=r.defect) for r in against if r.name in caught]
    places = {d.name: i for i, d in enumerate(defects)}
    width = max(3, len(str(len(kept))))
    header = schema.Header(
        format=cast(schema.FormatName, fmt.name),
        specs=[text_of(s) for s in specs],
        seed=seed,
        vectors=len(kept),
        made_by=_versions(),
        defects=defects,
        uncaught=[r.name for r in against if r.name in tried and r.name not in caught],
    )
    words = in_words(defects, [m.beyond for m in kept])
    vectors = [
        vector(m, f"{fmt.name}-{i:0{width}d}", places=places, catches=words[i - 1]) for i, m in enumerate(kept, start=1)
    ]
    return Vectors(header, vectors)


def dumps(made: Vectors) -> bytes:
    """The lines."""
    return line(made.header) + b"".join(map(line, made.vectors))


def line(part: schema.Header | schema.Vector) -> bytes:
    """One line."""
    return msgspec.json.encode(part) + b"\n"


def measure(candidate: Candidate, against: Sequence[Rival]) -> choose.Measured | None:
    """What an input shows, or None where it is no vector: it says nothing, or a result is beyond the format."""
    try:
        found = results(candidate.case)
    except (Undecided, UsageError):  # a spec that says nothing about these weights
        return None
    if not all(map(math.isfinite, found.rounded.all)) or not any(map(math.isfinite, found.tolerance.all)):
        return None
    seen = {r.name: b for r in against if (b := r.beyond(candidate.case, found)) is not None}
    beyond = {name: b for name, b in seen.items() if any(b)}
    return choose.Measured(candidate, found, regime(candidate.case), beyond, frozenset(seen))


def in_words(defects: Sequence[schema.Defect], caught: Sequence[Collection[str]]) -> list[list[str]]:
    """What each vector is there to catch."""
    said = {d.name: f"{d.name}: {d.defect}" for d in defects}
    return [[said[name] for name in names] for names in choose.assigned(caught)]


def vector(measured: choose.Measured, id: str, *, places: Mapping[str, int], catches: Sequence[str]) -> schema.Vector:
    """A vector written down.

    Args:
        measured: what it is made of.
        id: what it is called.
        places: of the defects in the header.
        catches: what it is there to catch.
    """
    case, found = measured.candidate.case, measured.results
    fmt = case.format
    soft = [t for t in case.target if isinstance(t, tuple)] if case.soft else None

    def row(numbers: Row) -> list[str]:
        return [hexadecimal(v) for v in numbers]

    def bits(numbers: Row) -> list[str]:
        return [pattern(v, fmt) for v in numbers]

    def each(quantity: int) -> list[int]:
        return sorted(places[name] for name, seen in measured.beyond.items() if seen[quantity])

    enclosed = found.exact.map(_enclosed)
    return schema.Vector(
        id=id,
        about=measured.candidate.about,
        regime=measured.regime,
        catches=list(catches),
        rows=len(case.logits),
        classes=case.classes,
        loss=_loss(case),
        logits=[row(r) for r in case.logits],
        logits_bits=[bits(r) for r in case.logits],
        target=None if case.soft else [t for t in case.target if isinstance(t, int)],
        soft_target=None if soft is None else [row(t) for t in soft],
        soft_target_bits=None if soft is None else [bits(t) for t in soft],
        weight=None if case.weight is None else row(case.weight),
        weight_bits=None if case.weight is None else bits(case.weight),
        ignore_index=case.ignore_index,
        value=row(found.rounded.value),
        value_bits=bits(found.rounded.value),
        gradient=[row(g) for g in found.rounded.gradient],
        gradient_bits=[bits(g) for g in found.rounded.gradient],
        enclosure=schema.Enclosures(value=list(enclosed.value), gradient=[list(r) for r in enclosed.gradient]),
        tolerance=_radii(found.tolerance),
        accurate=_radii(found.accurate),
        beyond=schema.Caught(value=each(0), gradient=each(1)),
    )


def _loss(case: Case) -> schema.Loss:
    spec = case.spec

    def maybe(value: float | None) -> str | None:
        return None if value is None else hexadecimal(value)

    return schema.Loss(
        link=spec.link.value,
        epsilon=[hexadecimal(e) for e in spec.epsilon],
        gamma=hexadecimal(spec.gamma),
        weighting=spec.weighting.value,
        smoothing=hexadecimal(spec.smoothing),
        reduction=spec.reduction.value,
        alpha=maybe(spec.alpha),
        alpha_on_polynomial=spec.alpha_on_polynomial,
        polynomial_link=None if spec.polynomial_link is None else spec.polynomial_link.value,
        polynomial_gamma=maybe(spec.polynomial_gamma),
    )


def _enclosed(exact: Enclosure) -> schema.Enclosed:
    mid, rad = exact.decimal(_DECIMAL_DIGITS)
    return schema.Enclosed(mid=mid, rad=rad, hex_mid=hexadecimal(exact.mid), hex_rad=hexadecimal(exact.rad))


def _radii(found: Outputs[float]) -> schema.Radii:
    written = found.map(lambda r: r if math.isfinite(r) else None)
    return schema.Radii(value=list(written.value), gradient=[list(row) for row in written.gradient])


def _versions() -> dict[str, str]:
    found = {"polyref": __version__}
    for package in ("python-flint", "mpmath", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found

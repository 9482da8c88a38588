"""A case: one exact input, every number a value of its format, that survives a journey through JSON.

Numbers are written as C99 hexadecimal floats, so what is read is what was written, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import index
from typing import Any

from polyref.errors import UsageError
from polyref.formats import Format, named
from polyref.spec import Link, Reduction, Spec, Weighting

Row = tuple[float, ...]

_ZERO, _ONE = Fraction(0), Fraction(1)


@dataclass(frozen=True)
class Case:
    """One input of a loss.

    Attributes:
        spec: the loss's parameters.
        format: the format of logits and weights, and the one that a subject gets them in.
        logits: N rows of C logits.
        target: N class indices, or N rows of C soft targets.
        weight: C class weights, or None for all ones.
        ignore_index: an index target of this value removes its row.

    Raises:
        UsageError: when shapes disagree, a target is out of range, or a number is not of the format.
    """

    spec: Spec
    format: Format
    logits: tuple[Row, ...]
    target: tuple[int | Row, ...]
    weight: Row | None = None
    ignore_index: int = -100

    def __post_init__(self) -> None:
        if not self.logits or not self.logits[0]:
            raise UsageError("the batch is empty: give at least one row of at least one logit")
        # Whole numbers are welcome, and kept as the floats that they are.
        object.__setattr__(self, "logits", tuple(tuple(map(float, row)) for row in self.logits))
        if self.weight is not None:
            object.__setattr__(self, "weight", tuple(map(float, self.weight)))
        object.__setattr__(self, "target", tuple(_target(i, t) for i, t in enumerate(self.target)))
        classes = self.classes
        for i, row in enumerate(self.logits):
            if len(row) != classes:
                raise UsageError(f"row {i} has {len(row)} logits and row 0 has {classes}: give rows of one length")
            for k, z in enumerate(row):
                if math.isnan(z) or z == math.inf:
                    raise UsageError(f"logit {k} of row {i} is {z!r}: give a number, or -inf for an impossible class")
                if not self.format.contains(z):
                    raise self._foreign(f"logit {k} of row {i}", z)
            if all(z == -math.inf for z in row):
                raise UsageError(f"every logit of row {i} is -inf, so it has no probabilities: give a finite one")
        if len(self.target) != len(self.logits):
            raise UsageError(f"{len(self.target)} targets for {len(self.logits)} rows of logits: give one a row")
        for i, t in enumerate(self.target):
            if isinstance(t, tuple) is not self.soft:
                raise UsageError(f"target {i} is {t!r} where target 0 is {self.target[0]!r}: give one kind of target")
            if isinstance(t, tuple):
                self._check_soft(i, t)
            elif t != self.ignore_index and not 0 <= t < classes:
                raise UsageError(
                    f"target {t} of row {i} is out of range: with {classes} classes give 0 to {classes - 1}"
                )
        if self.weight is not None:
            if len(self.weight) != classes:
                raise UsageError(f"the weight vector has {len(self.weight)} entries: give {classes}, one a class")
            for k, w in enumerate(self.weight):
                if not math.isfinite(w) or w < 0:
                    raise UsageError(f"weight {k} is {w!r}: give a finite number, at least 0")
                if not self.format.contains(w):
                    raise self._foreign(f"weight {k}", w)

    def _check_soft(self, i: int, row: Row) -> None:
        if len(row) != self.classes:
            raise UsageError(f"soft target {i} has {len(row)} entries: give {self.classes}, one a class")
        for k, q in enumerate(row):
            if not 0 <= q <= 1:
                raise UsageError(f"entry {k} of soft target {i} is {q!r}: give a number from 0 to 1")

    def _foreign(self, what: str, value: float) -> UsageError:
        return UsageError(f"{what} is {value!r}, no number of {self.format.name}: round it, or choose a wider format")

    @property
    def classes(self) -> int:
        """C, the number of classes."""
        return len(self.logits[0])

    @property
    def soft(self) -> bool:
        """Whether the targets are rows of probabilities."""
        return isinstance(self.target[0], tuple)

    def ignored(self, i: int) -> bool:
        """Whether row ``i`` carries the ignore_index."""
        return self.target[i] == self.ignore_index

    def distribution(self, i: int) -> tuple[Fraction, ...]:
        """The exact soft target of row ``i``, label smoothing included.

        Softmax: (1 - s) q + s/C. Sigmoid, where every element has two classes: (1 - s) q + s/2.
        """
        t = self.target[i]
        q = (
            tuple(Fraction(v) for v in t)
            if isinstance(t, tuple)
            else tuple(_ONE if k == t else _ZERO for k in range(self.classes))
        )
        s = Fraction(self.spec.smoothing)
        if s == 0:
            return q
        uniform = Fraction(1, 2) if self.spec.link is Link.SIGMOID else Fraction(1, self.classes)
        return tuple((1 - s) * v + s * uniform for v in q)

    @property
    def weights(self) -> tuple[Fraction, ...]:
        """The exact class weights, ones where none were given."""
        return tuple(Fraction(w) for w in self.weight) if self.weight is not None else (Fraction(1),) * self.classes

    @property
    def denominator(self) -> Fraction | None:
        """What the reduction divides the sum by; None where there is no reduction, 0 where a mean is undefined.

        torch's conventions: see :class:`polyref.spec.Reduction`.
        """
        reduction = self.spec.reduction
        if reduction is Reduction.NONE:
            return None
        if reduction is Reduction.SUM:
            return Fraction(1)
        kept = [t for i, t in enumerate(self.target) if not self.ignored(i)]
        if reduction is Reduction.MEAN and self.spec.link is Link.SIGMOID:
            return Fraction(len(kept) * self.classes)
        if reduction is Reduction.MEAN and not self.soft:
            weights = self.weights
            return sum((weights[t] for t in kept if isinstance(t, int)), Fraction(0))
        return Fraction(len(kept))

    def with_spec(self, **changes: Any) -> Case:
        """The same input under another spec."""
        return replace(self, spec=replace(self.spec, **changes))

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict that :meth:`from_json` reads back to an equal case."""
        spec = self.spec
        return {
            "format": self.format.name,
            "logits": [[z.hex() for z in row] for row in self.logits],
            "target": [[q.hex() for q in t] if isinstance(t, tuple) else t for t in self.target],
            "weight": None if self.weight is None else [w.hex() for w in self.weight],
            "ignore_index": self.ignore_index,
            "spec": {
                "link": str(spec.link),
                "epsilon": [e.hex() for e in spec.epsilon],
                "gamma": spec.gamma.hex(),
                "weighting": str(spec.weighting),
                "smoothing": spec.smoothing.hex(),
                "reduction": str(spec.reduction),
                "alpha": None if spec.alpha is None else spec.alpha.hex(),
                "polynomial_link": None if spec.polynomial_link is None else str(spec.polynomial_link),
                "polynomial_gamma": None if spec.polynomial_gamma is None else spec.polynomial_gamma.hex(),
                # Rare, and unknown to older documents.
                **({"alpha_on_polynomial": True} if spec.alpha_on_polynomial else {}),
            },
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Case:
        """The case that :meth:`to_json` wrote.

        Raises:
            UsageError: if a field is missing or malformed.
        """
        try:
            s = data["spec"]
            spec = Spec(
                link=Link(s["link"]),
                epsilon=_hex_row(s["epsilon"]),
                gamma=float.fromhex(s["gamma"]),
                weighting=Weighting(s["weighting"]),
                smoothing=float.fromhex(s["smoothing"]),
                reduction=Reduction(s["reduction"]),
                alpha=None if s["alpha"] is None else float.fromhex(s["alpha"]),
                alpha_on_polynomial=s.get("alpha_on_polynomial", False),
                polynomial_link=None if s["polynomial_link"] is None else Link(s["polynomial_link"]),
                polynomial_gamma=None if s["polynomial_gamma"] is None else float.fromhex(s["polynomial_gamma"]),
            )
            target = tuple(_hex_row(t) if isinstance(t, list) else index(t) for t in data["target"])
            return cls(
                spec=spec,
                format=named(data["format"]),
                logits=tuple(_hex_row(row) for row in data["logits"]),
                target=target,
                weight=None if data["weight"] is None else _hex_row(data["weight"]),
                ignore_index=index(data["ignore_index"]),
            )
        except UsageError:
            raise
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as e:
            raise UsageError(f"this is no case document ({type(e).__name__}: {e}): give what Case.to_json wrote") from e


def _hex_row(values: Any) -> Row:
    if not isinstance(values, list):
        raise TypeError(f"{values!r} is no list of hexadecimal numbers")
    return tuple(float.fromhex(v) for v in values)


def _target(i: int, given: Any) -> int | Row:
    if isinstance(given, Sequence):
        return tuple(map(float, given))
    try:
        return index(given)
    except TypeError:
        raise UsageError(
            f"target {given!r} of row {i} is no class index: give an integer, or a row of shares"
        ) from None

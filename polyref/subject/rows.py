"""One case as arrays, and the value of a formula that is made of choices: the numerics of odd formulas.

A formula outside the certified family only has to be told from others, so binary64 at half of its digits is enough.
Every class k of a row has a logarithmic part and a polynomial part,

    A_k = w_k F_k L_k,    B_k = w_k sum_j c_j X_k(j),

which the labels q mix into the row's own, a = sum_k q_k A_k and b = sum_k q_k B_k; the reduction makes the value of
them. With the sigmoid link every element stays by itself. What stands for each letter is a choice of
:mod:`polyref.subject.hypotheses`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polyref.case import Case
from polyref.spec import Link, Reduction, Weighting

if TYPE_CHECKING:
    from polyref.subject.hypotheses import Formula

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Rows:
    """The numbers of one case, in the dialect that the subject is nearest to.

    Attributes:
        z: the logits, (N, C).
        q: the labels as distributions, (N, C), before any smoothing.
        soft: whether they were given as distributions.
        kept: which rows are not ignored.
        raw: the labels as they were given, for what is done with an ignored one; the likeliest class where soft.
        w: the class weights, (C,).
        epsilon: eps_1, ..., eps_N.
        gamma: the focal exponent.
        smoothing: the label smoothing.
        reduction: the reduction, mean_over_samples where the subject's mean is one.
        link: the link of both parts.
        alpha: the factor on the logarithm of a sigmoid's target, or None.
        alpha_on_polynomial: whether it is one on the polynomial too.
        weighting: which parts the class weight multiplies.
        ignore_index: the label of rows to be ignored.
        clamp: how near to 0 and 1 every probability may come.
    """

    z: Array
    q: Array
    soft: bool
    kept: Array
    raw: Array
    w: Array
    epsilon: tuple[float, ...]
    gamma: float
    smoothing: float
    reduction: Reduction
    link: Link
    alpha: float | None
    alpha_on_polynomial: bool
    weighting: Weighting
    ignore_index: int
    clamp: float = 0.0

    @classmethod
    def of(cls, case: Case) -> Rows:
        """The arrays of a case that is in the subject's own dialect."""
        spec, z = case.spec, np.array(case.logits)
        q = np.zeros(z.shape)
        raw = np.zeros(len(z), dtype=int)
        for n, target in enumerate(case.target):
            if isinstance(target, tuple):
                q[n], raw[n] = target, int(np.argmax(target))
            else:
                raw[n] = target
                q[n, 0 if case.ignored(n) else target] = 1.0
        return cls(
            z=z,
            q=q,
            soft=case.soft,
            kept=np.array([not case.ignored(n) for n in range(len(z))]),
            raw=raw,
            w=np.ones(case.classes) if case.weight is None else np.array(case.weight),
            epsilon=spec.epsilon,
            gamma=spec.gamma,
            smoothing=spec.smoothing,
            reduction=spec.reduction,
            link=spec.link,
            alpha=spec.alpha,
            alpha_on_polynomial=spec.alpha_on_polynomial,
            weighting=spec.weighting,
            ignore_index=case.ignore_index,
        )

    @cached_property
    def y(self) -> Array:
        """The likeliest class of each row, (N,)."""
        return np.asarray(np.argmax(self.q, axis=1))

    @cached_property
    def log_p(self) -> Array:
        """log Pt of each class as the target; with the sigmoid link, of each element by its own label."""
        if self.link is Link.SIGMOID:
            return np.asarray(-np.logaddexp(0, np.where(self.q > 0, -self.z, self.z)))
        top = self.z.max(axis=1, keepdims=True)
        log_p = self.z - top - np.log(np.exp(self.z - top).sum(axis=1, keepdims=True))
        return np.asarray(log_p.clip(np.log(self.clamp), np.log1p(-self.clamp)) if self.clamp else log_p)

    @cached_property
    def p(self) -> Array:
        """Pt of each class, (N, C)."""
        return np.asarray(np.exp(self.log_p))

    # What steps that are done right make of the rows, for one formula after another.

    @cached_property
    def x(self) -> Array:
        """1 - Pt of each class, (N, C)."""
        return np.asarray(1 - self.p)

    @cached_property
    def focal(self) -> Array:
        """The focal factor of each class, (N, C)."""
        return np.asarray(self.x**self.gamma)

    @cached_property
    def rescaled(self) -> Array:
        """1 - Pt of each class as the polynomial takes it, (N, C)."""
        if self.weighting is not Weighting.RESCALED_P:
            return self.x
        return np.asarray(1 - (1 - self.x) * self.w / self.w.mean())

    @cached_property
    def polynomial(self) -> Array:
        """The polynomial of each class, (N, C)."""
        found = np.zeros(self.z.shape)
        for j, coefficient in enumerate(self.epsilon, start=1):
            if coefficient:
                found = found + coefficient * self.rescaled ** (self.gamma + j)
        return found

    @cached_property
    def smoothed(self) -> Array:
        """The labels after smoothing, (N, C)."""
        return np.asarray((1 - self.smoothing) * self.q + self.smoothing / self.q.shape[1])

    @cached_property
    def whole(self) -> bool:
        """Whether no row is ignored."""
        return bool(self.kept.all())

    @cached_property
    def weighted(self) -> bool:
        """Whether there are class weights that do something."""
        return bool((self.w != 1).any())

    def of_target(self, every: Array) -> Array:
        """The column of each row's own class, (N, 1), of numbers (N, C)."""
        return np.take_along_axis(every, self.y[:, None], axis=1)


@dataclass(frozen=True, eq=False)
class Pieces:
    """What the logarithmic and the polynomial part of every class are made of, all (N, C)."""

    focal: Array
    logarithm: Array
    polynomial: Array


#: The steps that the polynomial comes of.
_OF_POLYNOMIAL = frozenset({"probability", "polynomial probability", "polynomial", "coefficient", "power"})


def pieces(formula: Formula, rows: Rows) -> Pieces:
    """Focal factor, logarithm and polynomial of every class, without weights."""
    steps = formula.steps
    x = 1 - formula("probability", rows) if "probability" in steps else rows.x
    focal = rows.focal if x is rows.x and "focal" not in steps else formula("focal", rows, x)
    logarithm = formula("logarithm", rows, x)
    if _OF_POLYNOMIAL.isdisjoint(steps):
        return Pieces(focal, logarithm, rows.polynomial)
    own = x
    if "polynomial probability" in steps:
        own = 1 - formula("polynomial probability", rows)
    elif rows.weighting is Weighting.RESCALED_P:
        own = 1 - (1 - x) * rows.w / rows.w.mean()
    if "polynomial" in steps:
        polynomial = formula("polynomial", rows, own)
    else:
        polynomial = np.zeros(rows.z.shape)
        for j in range(1, len(rows.epsilon) + 1):
            coefficient = formula("coefficient", rows, j)
            if coefficient:
                polynomial = polynomial + coefficient * formula("power", rows, own, j)
    return Pieces(focal, logarithm, polynomial)


def prepared(formula: Formula, rows: Rows) -> tuple[Rows, Array, Array]:
    """The rows as the formula reads them, with the labels of the logarithm and of the polynomial."""
    steps = formula.steps
    if "ignored rows" in steps:
        rows = formula("ignored rows", rows)
    if "all probabilities" in steps:
        rows = formula("all probabilities", rows)
    if "logits" in steps:
        rows = replace(rows, z=formula("logits", rows))
    if "labels" in steps:
        rows = replace(rows, q=formula("labels", rows))
    if "given weights" in steps and rows.weighted:  # what a mean divides by changes with them
        rows = replace(rows, w=formula("given weights", rows))
    log_labels, poly_labels = formula("smoothing", rows)
    return rows, log_labels, poly_labels


def reduced(formula: Formula, rows: Rows, found: Pieces, log_labels: Array, poly_labels: Array) -> Array:
    """The value: pieces under their weights, mixed by the labels, and reduced."""
    steps = formula.steps
    weight = formula("weight", rows)
    log_weight = formula("weight of the logarithm", rows) if "weight of the logarithm" in steps else weight
    poly_weight = weight if rows.weighting is Weighting.BOTH else 1.0
    if "weight of the polynomial" in steps:
        poly_weight = formula("weight of the polynomial", rows)
    a = log_weight * found.focal * found.logarithm
    b = poly_weight * found.polynomial
    if "factor" in steps:
        factor = formula("factor", rows)
        a, b = factor * log_weight * found.focal * found.logarithm, factor * poly_weight * found.polynomial
    if rows.link is Link.SOFTMAX:
        a, b = np.add.reduce(log_labels * a, axis=1), np.add.reduce(poly_labels * b, axis=1)
        if not rows.whole:
            a, b = np.where(rows.kept, a, 0.0), np.where(rows.kept, b, 0.0)
    elif rows.alpha is not None:
        share = np.where(rows.q > 0, rows.alpha, 1 - rows.alpha)
        a, b = a * share, b * share if rows.alpha_on_polynomial else b
    if "losses" in steps:
        a, b = formula("losses", rows, a, b)
    name = "mean" if rows.reduction is Reduction.MEAN_OVER_SAMPLES else rows.reduction.value
    return np.asarray(formula(name, rows, a, b), dtype=float).reshape(-1)


def evaluate(formula: Formula, rows: Rows) -> Array:
    """The value of a formula: one number a row (or element), or one in all."""
    rows, log_labels, poly_labels = prepared(formula, rows)
    return reduced(formula, rows, pieces(formula, rows), log_labels, poly_labels)

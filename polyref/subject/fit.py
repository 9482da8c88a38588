"""A fit for subjects outside the family: the law in the terms 1, CE, x, x^2, ... with the residual that it leaves.

For each setting of epsilon the responses are fitted by least squares to every small set of basis functions; the
smallest set that explains them to half of the digits is the law, and its coefficients are read as a + b epsilon.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polyref.case import Case
from polyref.spec import Link
from polyref.subject.dialect import Dialect

if TYPE_CHECKING:
    from polyref.subject.questions import Sample

Vector = NDArray[np.floating[Any]]

_MEANS = ((1, ""), (2, "^2"), (3, "^3"))
#: The most basis functions that a law is looked for in.
_TERMS = 3


def fit(nearest: Dialect, samples: Sequence[Sample], limit: float) -> Dialect:
    """The dialect with the fitted law as its formula; ``nearest`` otherwise, no longer known.

    Args:
        nearest: the member of the family that comes closest.
        samples: what the subject answered.
        limit: the relative residual at which a law counts as found.
    """
    groups: dict[float, list[Sample]] = {}
    for s in samples:
        if s.case.weight is None and len(s.case.logits) == 1 and s.case.spec.gamma == 0:
            groups.setdefault(s.case.spec.epsilon[0], []).append(s)
    names, columns, values = _tables(groups, sigmoid=nearest.spec.link is Link.SIGMOID)
    if not columns:
        return replace(nearest, known=False, weighting="other", formula="no law found: too few answers to fit")
    chosen, residual = _smallest(columns, values, limit)
    if chosen is None:
        tried = f"no combination of up to {_TERMS} of the {len(names)} terms {', '.join(names[:4])}, ..."
        text = f"no law found: {tried} explains it (residual {residual:.2g})"
        return replace(nearest, known=False, weighting="other", formula=text, residual=residual)
    coefficients = {e: np.linalg.lstsq(columns[e][:, chosen], values[e], rcond=None)[0] for e in columns}
    picked = [names[i] for i in chosen]
    text = _text(picked, coefficients, settable="epsilon" in nearest.settable)
    if "weight" in nearest.settable:
        text += _under_weights(picked, samples, limit)
    if _depends_on_neighbours(samples, limit):
        text += "; in a batch a sample's value depends on the others"
    return replace(nearest, known=False, weighting="other", formula=text, residual=residual)


def _tables(
    groups: dict[float, list[Sample]], *, sigmoid: bool
) -> tuple[list[str], dict[float, Vector], dict[float, Vector]]:
    names: list[str] = []
    columns, values = {}, {}
    for epsilon, samples in groups.items():
        rows: list[list[float]] = []
        answers: list[float] = []
        for s in samples:
            for described in _elements(s.case) if sigmoid else _rows(s.case):
                names = list(described)
                rows.append(list(described.values()))
            answers += s.value
        if len(rows) != len(answers):
            continue
        columns[epsilon], values[epsilon] = np.array(rows), np.array(answers)
    return names, columns, values


def _under_weights(picked: Sequence[str], samples: Sequence[Sample], limit: float) -> str:
    """Which of the fitted terms the class weight multiplies, and by what, where epsilon is 1."""
    chosen = [s for s in samples if s.case.weight and len(s.case.logits) == 1 and s.case.spec.epsilon == (1.0,)]
    chosen = [s for s in chosen if len(s.value) == 1 and s.case.spec.gamma == 0]
    if not chosen:
        return ""
    names: list[str] = []
    rows, answers = [], []
    for s in chosen:
        (described,), w = _rows(s.case), s.case.weight or ()
        target = s.case.target[0]
        k = target if isinstance(target, int) else 0
        factors = {"": 1.0, "w ": w[k], "w/mean(w) ": w[k] * len(w) / sum(w)}
        row = {f"{f}{n}": v * described[n] for n in dict.fromkeys((*picked, "1")) for f, v in factors.items()}
        names = list(row)
        rows.append(list(row.values()))
        answers.append(s.value[0])
    table, values = np.array(rows), np.array(answers)
    found, _ = _smallest({1.0: table}, {1.0: values}, limit)
    if found is None:
        return "; under class weights no law was found"
    solution = np.linalg.lstsq(table[:, found], values, rcond=None)[0]
    classes = chosen[0].case.classes
    law = " + ".join(_weighted(float(c), names[i], classes) for i, c in zip(found, solution, strict=True))
    return f"; under class weights, at eps = 1: {law}".replace("+ -", "- ")


def _weighted(coefficient: float, name: str, classes: int) -> str:
    """A term under weights; 1/C w/mean(w) is w/sum(w)."""
    if name.startswith("w/mean(w) ") and abs(coefficient * classes - 1) < 1e-6:
        coefficient, name = 1.0, name.replace("mean", "sum", 1)
    return _term(_rounded(coefficient), name)


def _depends_on_neighbours(samples: Sequence[Sample], limit: float) -> bool:
    """Whether a row's value in a batch differs from its value alone."""
    alone = {
        (s.case.spec, s.case.weight, s.case.logits[0], s.case.target[0]): s.value
        for s in samples
        if len(s.case.logits) == 1
    }
    for s in samples:
        each = len(s.value) // len(s.case.logits)
        if len(s.case.logits) == 1 or each == 0 or s.case.spec.reduction != "none":
            continue
        for i, (row, target) in enumerate(zip(s.case.logits, s.case.target, strict=True)):
            single = alone.get((s.case.spec, s.case.weight, row, target))
            in_batch = s.value[i * each : (i + 1) * each]
            if single and any(abs(a - b) > limit * max(1.0, abs(a)) for a, b in zip(single, in_batch, strict=False)):
                return True
    return False


def _rows(case: Case) -> list[dict[str, float]]:
    """The basis functions at each row of a softmax case."""
    result = []
    for row, target in zip(case.logits, case.target, strict=True):
        z = np.array(row)
        p = np.exp(z - z.max())
        p /= p.sum()
        k = int(target) if isinstance(target, int) else 0
        pt = float(p[k])
        sig = 1 / (1 + np.exp(-z))
        sig_pt = np.where(np.arange(len(z)) == k, sig, 1 - sig)
        highest = float(p.max())
        named = _powers(pt)
        named |= {f"mean_k (1 - sigmoid Pt_k){power}": float(((1 - sig_pt) ** j).mean()) for j, power in _MEANS}
        named |= {"(1 - sigmoid z_y)": 1 - float(sig[k]), "(1 - max_k p_k)": 1 - highest, "z_y": float(z[k])}
        named |= {"mean_k CE_k": float(-np.log(p).mean()), "CE of the probabilities": _twice(p, k)}
        result.append(named)
    return result


def _elements(case: Case) -> list[dict[str, float]]:
    """The basis functions at each element of a sigmoid case."""
    result = []
    for row, target in zip(case.logits, case.target, strict=True):
        for k, z in enumerate(row):
            p = 1 / (1 + math.exp(-z))
            hit = k == target
            named = _powers(p if hit else 1 - p)
            result.append({f"{n} [target]": v * hit for n, v in named.items()} | {f"{n}": v for n, v in named.items()})
    return result


def _powers(pt: float) -> dict[str, float]:
    x, ce = 1 - pt, -math.log(pt)
    return {"1": 1.0, "CE": ce, "x": x, "x^2": x**2, "x^3": x**3, "x^4": x**4, "x CE": x * ce, "x^2 CE": x * x * ce}


def _twice(p: Vector, k: int) -> float:
    return float(np.log(np.exp(p).sum()) - p[k])


def _smallest(
    columns: dict[float, Vector], values: dict[float, Vector], limit: float
) -> tuple[list[int] | None, float]:
    """The smallest set of columns that explains every group, and its relative residual."""
    count = next(iter(columns.values())).shape[1]
    best = math.inf
    for size in range(1, _TERMS + 1):
        sets = itertools.combinations(range(count), size)
        scored = ((max(_misfit(columns[e][:, list(s)], values[e]) for e in columns), s) for s in sets)
        residual, chosen = min(scored)
        best = min(best, residual)
        if residual <= limit:
            return list(chosen), residual
    return None, best


def _misfit(a: Vector, b: Vector) -> float:
    solution = np.linalg.lstsq(a, b, rcond=None)[0]
    return float(np.max(np.abs(a @ solution - b)) / max(1.0, float(np.max(np.abs(b)))))


def _text(names: Sequence[str], coefficients: dict[float, Vector], *, settable: bool) -> str:
    """The law as a sum; each coefficient is read as a + b eps where that is what the settings show."""
    parts = []
    for i, name in enumerate(names):
        points = {e: float(c[i]) for e, c in coefficients.items()}
        parts.append((_coefficient(points) if settable else _rounded(next(iter(points.values()))), name))
    text = " + ".join(_term(c, n) for c, n in parts if c != "0")
    if settable and all("eps" not in c for c, _ in parts):
        text += ", no dependence on epsilon"
    return text.replace("+ -", "- ")


def _term(coefficient: str, name: str) -> str:
    if name == "1":
        return coefficient
    return name if coefficient == "1" else f"-{name}" if coefficient == "-1" else f"{coefficient} {name}"


def _coefficient(points: dict[float, float]) -> str:
    laws: tuple[tuple[str, Callable[[float], float]], ...] = (
        ("eps", lambda e: e),
        ("(1 + eps)", lambda e: 1 + e),
        ("-eps", lambda e: -e),
        ("eps^2", lambda e: e * e),
        ("|eps|", abs),
    )
    scale = max(1.0, *(abs(v) for v in points.values()))
    if max(points.values()) - min(points.values()) <= 1e-7 * scale:
        return _rounded(next(iter(points.values())))
    for text, law in laws:
        if all(abs(law(e) - v) <= 1e-7 * scale for e, v in points.items()):
            return text
    if {0.0, 1.0} <= points.keys():
        a, b = points[0.0], points[1.0] - points[0.0]
        if all(abs(a + b * e - v) <= 1e-7 * scale for e, v in points.items()):
            head = "" if abs(a) <= 1e-7 * scale else f"{_rounded(a)} + "
            slope = _term(_rounded(b), "eps")
            return slope if not head else f"({head}{slope})".replace("+ -", "- ")
    shown = ", ".join(f"{_rounded(v)} at {e:g}" for e, v in sorted(points.items()))
    return f"c(eps) [{shown}]"


def _rounded(value: float) -> str:
    """A coefficient to the digits that a fit can tell."""
    return f"{round(value, 6):g}" if abs(value) > 5e-7 else "0"

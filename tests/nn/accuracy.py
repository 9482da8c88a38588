"""The error of polyref.nn in ulps of the exact result, by the reference's ball engine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from flint import arb
from torch import Tensor

from polyref.case import Case
from polyref.formats import Dyadic, Format, named
from polyref.nn import poly_cross_entropy
from polyref.reference.ball import evaluate_balls
from polyref.spec import Spec

#: Pt from 1e-30 to 1 - 1e-30.
MARGIN = 69.0


def rows(classes: int, count: int, dtype: torch.dtype, *, seed: int, scale: float = 2.0) -> Tensor:
    """Rows whose first logit stands from -69 to 69 above the log-sum-exp of the others, in even steps."""
    generator = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    z[:, 0] = z[:, 1:].logsumexp(1) + torch.linspace(-MARGIN, MARGIN, count, dtype=torch.float64)
    # A shift moves the rounding of z - max z about, and nothing else.
    return (z + 20 * (torch.rand(count, 1, generator=generator, dtype=torch.float64) - 0.5)).to(dtype)


@dataclass(frozen=True)
class Worst:
    """Worst errors in ulps, in the binade of the exact result."""

    value: float
    gradient: float

    @classmethod
    def of(cls, each: Iterable[Worst]) -> Worst:
        """The worst of several."""
        found = list(each)
        return cls(max(w.value for w in found), max(w.gradient for w in found))


def ulps(got: float, exact: arb, fmt: Format) -> float:
    """The distance of a result from the exact one in units of the format's spacing at the exact one."""
    if not math.isfinite(got):
        return math.inf
    man, exp = exact.mid().man_exp()
    ulp = fmt.ulp(Dyadic(int(man), int(exp)))
    return abs(float((arb(got) - exact) * arb((1, -ulp.exp))))


def measure(z: Tensor, epsilon: tuple[float, ...], gamma: float = 0.0) -> Iterator[Worst]:
    """The worst error of each row, target 0, of the value and of every gradient entry."""
    fmt = named(str(z.dtype))
    logits = z.clone().requires_grad_()
    target = torch.zeros(len(z), dtype=torch.int64)
    loss = poly_cross_entropy(logits, target, epsilon, gamma=gamma, reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    floor = fmt.emin - 3 * fmt.precision
    for row, value, entries in zip(z.tolist(), loss.tolist(), gradient.tolist(), strict=True):
        case = Case(Spec(epsilon=epsilon, gamma=gamma), fmt, (tuple(row),), (0,))
        exact = evaluate_balls(case, bits=fmt.precision + 16, floor=floor)
        assert exact.value is not None
        errors = (ulps(g, e, fmt) for g, e in zip(entries, exact.gradient[0], strict=True))
        yield Worst(ulps(value, exact.value[0], fmt), max(errors))

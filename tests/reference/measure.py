"""Error over tolerance of many rows at once: torch in one batch, the exact results and the model row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from polyref.case import Case
from polyref.formats import Format
from polyref.reference.ball import Balls
from polyref.reference.model import reference_for, textbook
from polyref.spec import Spec

#: Rows to a case: enough to share its overhead, few enough that one hard row does not raise the precision of many.
ROWS = 8


def dtype_of(fmt: Format) -> torch.dtype:
    return getattr(torch, fmt.torch_name)


def rows(fmt: Format, n: int, classes: int, scales: tuple[float, float], generator: torch.Generator) -> tuple:
    """n normal rows with log-uniform scales, rounded to the format, and n random targets."""
    low, high = scales
    scale = low * (high / low) ** torch.rand(n, 1, generator=generator, dtype=torch.float64)
    z = torch.randn(n, classes, generator=generator, dtype=torch.float64) * scale
    return z.to(dtype_of(fmt)), torch.randint(classes, (n,), generator=generator)


def run(loss: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Values and the gradient of their sum, as binary64."""
    z = z.clone().requires_grad_()
    value = loss(z)
    value.sum().backward()
    return value.detach().double().reshape(-1).numpy(), z.grad.double().numpy()


def cases(fmt: Format, z: torch.Tensor, t: torch.Tensor, spec: Spec, *, weight=None, size=ROWS) -> Iterable[Case]:
    logits = z.double().tolist()
    target = [tuple(v) if isinstance(v, list) else v for v in t.tolist()]
    for start in range(0, len(logits), size):
        some = slice(start, start + size)
        yield Case(spec, fmt, tuple(map(tuple, logits[some])), tuple(target[some]), weight)


class Judge:
    """The exact results of rows and their tolerances, as arrays."""

    def __init__(self, every: Iterable[Case], compute: Format | None = None) -> None:
        values, gradients, value_radii, gradient_radii = [], [], [], []
        for case in every:
            exact: Balls = reference_for(case)
            tolerance = textbook(case, compute=compute, exact=exact)
            values += [_split(v) for v in exact.value or ()]
            value_radii += tolerance.value
            for row, radii in zip(exact.gradient, tolerance.gradient, strict=True):
                gradients.append([_split(g) for g in row])
                gradient_radii.append(radii)
        self.value, self.gradient = np.array(values), np.array(gradients)
        self.value_radius, self.gradient_radius = np.array(value_radii), np.array(gradient_radii)

    def of_value(self, seen: np.ndarray) -> np.ndarray:
        return _over(seen, self.value, self.value_radius)

    def of_gradient(self, seen: np.ndarray) -> np.ndarray:
        return _over(seen, self.gradient, self.gradient_radius)

    def worst(self, loss: Callable[[torch.Tensor], torch.Tensor], z: torch.Tensor) -> tuple[float, float]:
        value, gradient = run(loss, z)
        return float(self.of_value(value).max()), float(self.of_gradient(gradient).max())


def _split(ball) -> tuple[float, float]:
    """A ball's midpoint as the unevaluated sum of two floats: 2**-106 of it is lost, far below any tolerance here."""
    high = float(ball)
    return (high, float(ball - high)) if np.isfinite(high) else (high, 0.0)


def _over(seen: np.ndarray, exact: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """|seen - exact| / radius; what has no tolerance says nothing, and NaN is an infinite error."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        error = np.abs((seen - exact[..., 0]) - exact[..., 1])
        ratio = np.where(error == 0, 0.0, error / radius)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    return np.where(np.isinf(radius), 0.0, ratio)


def worst_of(ratios: Sequence[np.ndarray]) -> float:
    return max(float(r.max()) for r in ratios)

"""Judging parts of a sweep: the filter decides what it can prove, and the balls decide the rest.

The worst cases go to the balls too, so every figure that is reported for a single case is certified.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polyref.grades import Grade, judged
from polyref.reference.model import cancellation_free
from polyref.regimes import REGIMES
from polyref.spec import Spec
from polyref.sweep.exact import Losses
from polyref.sweep.filter import Bounds
from polyref.sweep.radii import BASE, CELLS, SHIFT, Radii, edges, radii_at, tables
from polyref.sweep.space import Space
from polyref.sweep.tally import finite
from polyref.verdict import Truth


class Judge:
    """Judges subjects under one spec.

    Args:
        space: the inputs.
        spec: the loss, with no reduction.
        places: the part of them that will be judged; all of them by default.
        device: where the subject's results are; the filter works there too.
    """

    def __init__(self, space: Space, spec: Spec, places: tuple[int, int] | None = None, *, device: str = "cpu") -> None:
        self.space, self.spec = space, spec
        self.losses = Losses(spec)
        found = tables(spec, space.format, *space.magnitudes(*(places or (0, space.size))))

        def placed(radii: Radii) -> Bounds:
            flat = (np.ascontiguousarray(a.ravel()) for a in (radii.inner, radii.outer))
            return Bounds(*(torch.from_numpy(a).to(device) for a in flat))

        self.textbook = [placed(r) for r in found.textbook]
        self.free = [placed(r) for r in found.free]
        self.regime_ends = torch.tensor([upper for _, upper in REGIMES[:-1]], dtype=torch.float64, device=device)
        ends = torch.from_numpy(edges()).to(device)
        # On side 0 the log-odds of the target are minus the magnitude, on side 1 the magnitude itself.
        sides = [torch.bucketize(sign * ends, self.regime_ends) for sign in (-1.0, 1.0)]
        self._regime_of_cell = torch.cat([torch.where(s[:-1] == s[1:], s[:-1], -1) for s in sides])

    def cells(self, margins: Tensor) -> Tensor:
        """The cells of margins z_o - z_y, those of side 1 after those of side 0."""
        cells = (margins.abs().view(torch.int64) >> SHIFT).sub_(BASE).clamp_(0, CELLS - 1)
        return cells.add_(margins <= 0, alpha=CELLS)

    def regimes(self, margins: Tensor, cells: Tensor) -> Tensor:
        """The regime of each margin: that of its cell, but for the few cells where one ends."""
        regimes = self._regime_of_cell[cells]
        open_ones = (regimes < 0).nonzero().flatten()
        if len(open_ones):
            regimes[open_ones] = torch.bucketize(-margins[open_ones], self.regime_ends)
        return regimes

    def bounds(self, cells: Tensor, column: int) -> tuple[Bounds, Bounds]:
        """The bounds of the radii of inputs by their cells: of the textbook and of the cancellation-free model.

        Args:
            cells: (N,), those of side 1 after those of side 0.
            column: 0 for the value, 1 and 2 for the derivatives in the target's and the other logit.
        """
        return self.textbook[column].at(cells), self.free[column].at(cells)

    def bounds_at(self, margins: Tensor) -> list[tuple[Bounds, Bounds]]:
        """The same for these very margins z_o - z_y, column by column: much narrower, and much more work."""
        found = radii_at(self.spec, self.space.format, margins.abs().cpu().numpy())
        side, every = (margins <= 0).long(), torch.arange(len(margins), device=margins.device)

        def chosen(radii: Radii) -> Bounds:
            return Bounds(*(torch.from_numpy(a).to(margins.device)[side, every] for a in (radii.inner, radii.outer)))

        return [(chosen(t), chosen(f)) for t, f in zip(found.textbook, found.free, strict=True)]

    def certified(self, place: int, quantity: str, observed: list[float]) -> tuple[float, float, Grade]:
        """One input's error in ulps and over the tolerance, and its grade, by the balls."""
        case = self.space.case(place, self.spec)
        truth = Truth.of(case)
        free = cancellation_free(case, exact=truth.balls)
        if quantity == "value":
            exact, radii, sharp = [truth.value(0)], truth.tolerance.value, free.value
        else:
            exact, radii, sharp = (
                [truth.gradient(0, k) for k in range(2)],
                truth.tolerance.gradient[0],
                free.gradient[0],
            )
        ulps, ratios, grade = judged(observed, exact, case.format, radii, sharp)
        return finite(max(ulps)), finite(max(ratios)), grade

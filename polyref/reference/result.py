"""What both engines return for a case."""

from __future__ import annotations

from dataclasses import dataclass

from polyref.reference.enclosure import Enclosure


@dataclass(frozen=True)
class Result:
    """Enclosures of the exact results of one case.

    Attributes:
        value: one a row (softmax) or an element, row by row (sigmoid); a single one where the spec reduces.
        gradient: N x C, of the reduced loss, or of the sum of the values where the reduction is none.
        pt: for each row its Pt (softmax, index target), its C probabilities (soft targets) or its C Pts (sigmoid);
            empty for an ignored row.
        pt_gradient: dl/dPt of each row, unreduced; None unless the target is one class of a softmax, unsmoothed.
        engine: "series" or "ball".
        bits: the working precision that sufficed.
    """

    value: tuple[Enclosure, ...]
    gradient: tuple[tuple[Enclosure, ...], ...]
    pt: tuple[tuple[Enclosure, ...], ...]
    pt_gradient: tuple[Enclosure | None, ...]
    engine: str
    bits: int

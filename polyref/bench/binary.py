"""Forward and backward of the binary loss, beside torch's binary cross-entropy and a copy of the logits.

The binary loss has one implementation, of torch operations, so there is nothing to choose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from polyref.bench import losses
from polyref.bench.contender import Contender, Group
from polyref.bench.goals import COPY
from polyref.nn.binary import poly_binary_cross_entropy_with_logits

SECTIONS = {
    "cpu": "binary losses, CPU",
    "cuda": "binary losses, CUDA",
}

POLYREF = "polyref"
BINARY_CROSS_ENTROPY = "F.binary_cross_entropy_with_logits"


def polyref(logits: Tensor, target: Tensor) -> Tensor:
    """The binary loss of this package."""
    return poly_binary_cross_entropy_with_logits(logits, target, 1.0)


def group(name: str, shape: Sequence[int], dtype: torch.dtype, budget: float, *, device: str = "cpu") -> Group:
    """The losses and the copies, for one shape and dtype; the targets are 0 and 1."""
    logits, _ = losses.inputs(shape, dtype, device=device)
    target = torch.randint(2, shape, generator=torch.Generator().manual_seed(2)).to(device=device, dtype=dtype)
    forms: dict[str, losses.Loss] = {POLYREF: polyref, BINARY_CROSS_ENTROPY: F.binary_cross_entropy_with_logits}
    found = [Contender(called, losses.differentiated(loss, logits, target)) for called, loss in forms.items()]
    found += losses.copies(logits)
    return Group(
        section=SECTIONS[device],
        title=f"{name} {str(dtype).removeprefix('torch.')}",
        contenders=tuple(found),
        pairs=losses.ratios([c.name for c in found], to=(BINARY_CROSS_ENTROPY, COPY)),
        budget=budget,
        logits=logits.numel() * logits.element_size(),
        legend=f"{name} = ({','.join(map(str, shape))})",
        device=device,
        parallel=True,
    )


def groups(
    shapes: Mapping[str, tuple[int, ...]], dtypes: Sequence[torch.dtype], budget: float, *, device: str
) -> Iterator[Group]:
    """One group a shape and dtype, made when it is its turn."""
    for name, shape in shapes.items():
        for dtype in dtypes:
            yield group(name, shape, dtype, budget, device=device)

"""Forward and backward of the fast loss, beside torch's cross-entropy, the textbook forms, and a copy of the logits.

All losses are Poly-1 with epsilon 1 and reduction mean, and a call is ``torch.autograd.grad`` of a fresh loss: the
gradient is a new tensor each time, and counts in the memory as one times the logits. The copy into a given buffer is
the least that anything can do which reads the logits and writes their gradient; the copy into a new tensor shows what
a new tensor of that size costs under the allocator of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from polyref.bench.contender import Contender, Group
from polyref.nn.functional import poly_cross_entropy

SECTION = "losses: forward and backward"

POLYREF = "polyref"
CROSS_ENTROPY = "F.cross_entropy"
ONE_HOT = "one-hot"
GATHER = "gather"
COPY = "copy"
NEW_COPY = "new copy"

Loss = Callable[[Tensor, Tensor], Tensor]

_PAIRS = (
    (POLYREF, CROSS_ENTROPY),
    (POLYREF, ONE_HOT),
    (POLYREF, GATHER),
    (POLYREF, COPY),
    (ONE_HOT, CROSS_ENTROPY),
    (GATHER, CROSS_ENTROPY),
    (CROSS_ENTROPY, COPY),
    (NEW_COPY, COPY),
)
_SCALE = 3.0


def polyref(logits: Tensor, target: Tensor) -> Tensor:
    """The loss of this package."""
    return poly_cross_entropy(logits, target, 1.0)


def one_hot(logits: Tensor, target: Tensor) -> Tensor:
    """The textbook form that is met most: one_hot * softmax, and cross_entropy beside it."""
    chosen = F.one_hot(target, logits.shape[1]).to(logits.dtype).movedim(-1, 1)
    pt = (chosen * logits.softmax(1)).sum(1)
    return (F.cross_entropy(logits, target, reduction="none") + (1 - pt)).mean()


def gather(logits: Tensor, target: Tensor) -> Tensor:
    """The same with the target's probability gathered."""
    pt = logits.softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)
    return (F.cross_entropy(logits, target, reduction="none") + (1 - pt)).mean()


LOSSES: dict[str, Loss] = {
    POLYREF: polyref,
    CROSS_ENTROPY: F.cross_entropy,
    ONE_HOT: one_hot,
    GATHER: gather,
}


def inputs(shape: Sequence[int], dtype: torch.dtype, *, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Normal logits of scale 3 that want a gradient, and index targets."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(*shape, generator=draw).mul_(_SCALE).to(dtype).requires_grad_()
    return logits, torch.randint(shape[1], (shape[0], *shape[2:]), generator=draw)


def group(name: str, shape: Sequence[int], dtype: torch.dtype, budget: float) -> Group:
    """All losses and the copies, for one shape (N, C, ...) and dtype."""
    logits, target = inputs(shape, dtype)
    plain = logits.detach()
    buffer = torch.empty_like(plain)

    def differentiated(loss: Loss) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(logits, target), logits)

    return Group(
        section=SECTION,
        title=f"{name} {str(dtype).removeprefix('torch.')}",
        contenders=(
            *(Contender(called, differentiated(loss)) for called, loss in LOSSES.items()),
            Contender(COPY, lambda: buffer.copy_(plain)),
            Contender(NEW_COPY, plain.clone),
        ),
        pairs=_PAIRS,
        budget=budget,
        logits=plain.numel() * plain.element_size(),
        legend=f"{name} = ({','.join(map(str, shape))})",
    )


def groups(
    shapes: dict[str, tuple[int, ...]], dtypes: Sequence[torch.dtype], budgets: dict[str, float]
) -> Iterator[Group]:
    """One group a shape and dtype, made when it is its turn: the large ones need not be in memory together."""
    for name, shape in shapes.items():
        for dtype in dtypes:
            yield group(name, shape, dtype, budgets[name])

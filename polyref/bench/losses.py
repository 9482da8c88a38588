"""Forward and backward of the fast loss, beside torch's cross-entropy, the textbook forms, and a copy of the logits.

All losses but F.cross_entropy are Poly-1 with epsilon 1, all have the reduction mean, and a call is
``torch.autograd.grad`` of a fresh loss: the gradient is a new tensor each time, and counts in the memory as one times
the logits. The copy into a given buffer is the least that anything can do which reads the logits and writes their
gradient; the copy into a new tensor shows what a new tensor of that size costs under the allocator of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from polyref.bench import ours
from polyref.bench.contender import Contender, Group
from polyref.bench.goals import COPY, CROSS_ENTROPY, OURS, goals
from polyref.nn.functional import poly_cross_entropy

SECTIONS = {"cpu": "losses, CPU", "cuda": "losses, CUDA"}

IN_PLACE = OURS + "in-place"
ONE_HOT = "one-hot"
GATHER = "gather"
NEW_COPY = "new copy"
COMPILED = " compiled"

Loss = Callable[[Tensor, Tensor], Tensor]
Compiler = Callable[[Loss], Loss]

_SCALE = 3.0
_REASON = 100


def polyref(logits: Tensor, target: Tensor) -> Tensor:
    """The loss of this package."""
    return poly_cross_entropy(logits, target, 1.0)


def in_place(logits: Tensor, target: Tensor) -> Tensor:
    """The same, whose gradient replaces the logits."""
    return poly_cross_entropy(logits, target, 1.0, inplace_backward=True)


def one_hot(logits: Tensor, target: Tensor) -> Tensor:
    """The textbook form that is met most: one_hot * softmax, and cross_entropy beside it."""
    chosen = F.one_hot(target, logits.shape[1]).to(logits.dtype).movedim(-1, 1)
    pt = (chosen * logits.softmax(1)).sum(1)
    return (F.cross_entropy(logits, target, reduction="none") + (1 - pt)).mean()


def gather(logits: Tensor, target: Tensor) -> Tensor:
    """The same with the target's probability gathered."""
    pt = logits.softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)
    return (F.cross_entropy(logits, target, reduction="none") + (1 - pt)).mean()


#: What others have, and what is compiled.
OTHERS: dict[str, Loss] = {CROSS_ENTROPY: F.cross_entropy, ONE_HOT: one_hot, GATHER: gather}


def inductor(loss: Loss) -> Loss:
    """A loss under torch.compile, for the one shape and dtype that it will meet."""
    return torch.compile(loss, dynamic=False, fullgraph=True)


def inputs(shape: Sequence[int], dtype: torch.dtype, *, device: str = "cpu", seed: int = 1) -> tuple[Tensor, Tensor]:
    """Normal logits of scale 3 that want a gradient, and index targets; the same on every device."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(*shape, generator=draw).mul_(_SCALE).to(dtype)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=draw)
    return logits.to(device).requires_grad_(), target.to(device)


def differentiated(loss: Loss, logits: Tensor, target: Tensor) -> Callable[[], object]:
    """One call: forward and backward."""
    return lambda: torch.autograd.grad(loss(logits, target), logits)


def copies(logits: Tensor) -> tuple[Contender, Contender]:
    """A copy into a new tensor, and one into a given buffer."""
    plain = logits.detach()
    return Contender(NEW_COPY, plain.clone), Contender(COPY, partial(torch.empty_like(plain).copy_, plain))


def ratios(names: Sequence[str], *, to: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Everyone to each of ``to``, and the first to everyone else."""
    pairs = [(name, other) for other in to for name in names if name != other]
    pairs += [(names[0], other) for other in names[1:]]
    return tuple(dict.fromkeys(pairs))


def group(
    name: str,
    shape: Sequence[int],
    dtype: torch.dtype,
    budget: float,
    *,
    device: str = "cpu",
    compiler: Compiler | None = inductor,
) -> Group:
    """All losses and the copies, for one shape (N, C, ...) and dtype; compiled here, where nobody looks at a clock."""
    logits, target = inputs(shape, dtype, device=device)
    plain = logits.detach()
    # No leaf: the gradient may not replace a parameter.
    own = logits.clone()

    found, left_out = ours.contenders(device, differentiated(polyref, logits, target))
    fastest = ours.fastest(device)
    found.append(
        Contender(
            IN_PLACE,
            differentiated(in_place, own, target),
            before=partial(own.detach().copy_, plain),
            within=partial(ours.backend, fastest),
        )
    )
    fast, reasons = compiled(logits, target, compiler)
    others = [Contender(called, differentiated(loss, logits, target)) for called, loss in (OTHERS | fast).items()]
    found += [others[0], *copies(logits), *others[1:]]
    kind = str(dtype).removeprefix("torch.")
    return Group(
        section=SECTIONS[device],
        title=f"{name} {kind}",
        contenders=tuple(found),
        pairs=ratios([c.name for c in found], to=(CROSS_ENTROPY, COPY)),
        budget=budget,
        logits=plain.numel() * plain.element_size(),
        legend=f"{name} = ({','.join(map(str, shape))})",
        device=device,
        parallel=True,
        left_out={**left_out, **reasons},
        goals=goals(device, name, kind),
    )


def compiled(logits: Tensor, target: Tensor, compiler: Compiler | None) -> tuple[dict[str, Loss], dict[str, str]]:
    """What others have, compiled and run once; and what cannot be compiled, with the reason."""
    if compiler is None:
        return {}, {name + COMPILED: "a quick run compiles nothing" for name in OTHERS}
    # A function compiled for one shape before would now be compiled for any shape.
    torch.compiler.reset()
    found: dict[str, Loss] = {}
    left_out: dict[str, str] = {}
    for name, loss in OTHERS.items():
        try:
            fast = compiler(loss)
            differentiated(fast, logits, target)()
        except Exception as e:  # whatever is missing: a C++ compiler, Triton, a supported Python
            left_out[name + COMPILED] = (str(e).strip().splitlines() or [type(e).__name__])[0][:_REASON]
        else:
            found[name + COMPILED] = fast
    return found, left_out


def groups(
    shapes: Mapping[str, tuple[int, ...]],
    dtypes: Sequence[torch.dtype],
    budgets: Mapping[str, float],
    *,
    device: str,
    compiler: Compiler | None,
) -> Iterator[Group]:
    """One group a shape and dtype, made when it is its turn: the large ones need not be in memory together."""
    for name, shape in shapes.items():
        for dtype in dtypes:
            yield group(name, shape, dtype, budgets[name], device=device, compiler=compiler)

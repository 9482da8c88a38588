"""Handing data over in a manner: tensors arranged, and the subject made ready."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from polyref.subject.manner import Manner, direction

# As in :mod:`polyref.subject.call`.
_tensor, _ones_like, _grad = torch.tensor, torch.ones_like, torch.autograd.grad


class Refused(Exception):
    """polyref cannot hand the case over in this manner; the subject was not called."""


class Inputs(NamedTuple):
    """The tensors of one case: logits (N, C), labels (N,), (N, 1) or (N, C), weight (C,) or None."""

    logits: Tensor
    labels: Tensor
    weight: Tensor | None

    def clone(self) -> Inputs:
        """Copies that share no memory with these."""
        return Inputs(self.logits.clone(), self.labels.clone(), None if self.weight is None else self.weight.clone())


def arranged(inputs: Inputs, manner: Manner) -> Inputs:
    """The tensors of a case as a manner has them, differentiable in the logits that are given.

    Raises:
        Refused: where the labels have no index to replace, or the rows do not fill the shape.
    """
    logits, labels = inputs.logits, inputs.labels
    if manner.logit is not None:
        at = torch.zeros_like(logits, dtype=torch.bool)
        at[0, 0] = True
        logits = logits.masked_fill(at, manner.logit)
    if manner.labels is not None:
        if labels.is_floating_point() or labels.numel() != len(labels):
            raise Refused("its labels are no indices")
        labels = labels.clone()
        labels.view(-1)[0] = manner.labels
    if manner.empty:
        logits, labels = logits[:0], labels[:0]
    if manner.shape is not None:
        logits, labels = _shaped(logits, manner.shape), _shaped(labels, manner.shape)
    return inputs._replace(logits=_laid_out(logits, manner.layout), labels=labels)


def _shaped(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(N, ...) as positions of a shape, with the classes behind the first of them."""
    count = torch.Size(shape).numel()
    if count != len(rows):
        raise Refused(f"{len(rows)} rows do not fill {shape}")
    spread = rows.reshape((*shape, *rows.shape[1:]))
    if rows.dim() == 1 or len(shape) < 2:
        return spread
    return spread.movedim(-1, 1).contiguous()


def _laid_out(logits: Tensor, layout: str) -> Tensor:
    if layout == "transposed":
        return logits.movedim(0, -1).contiguous().movedim(-1, 0)
    if layout == "strided":
        return torch.stack((logits, torch.zeros_like(logits)), -1).flatten(-2)[..., ::2]
    if layout == "expanded":
        return logits[:1].expand(logits.shape)
    return logits


def prepared(made: Any, another: Callable[[], Any], manner: Manner, dtype: torch.dtype) -> Any:
    """The subject as the mode asks for it.

    Args:
        made: the subject, ready to be called.
        another: makes a second one, with other class weights.
        manner: of the call.
        dtype: of the logits.

    Raises:
        Refused: for a mode that is for modules only.
    """
    if manner.mode == "compiled":
        torch.compiler.reset()
        return torch.compile(made, backend="aot_eager", dynamic=False)
    if manner.mode == "copied":
        return copy.deepcopy(made)
    if manner.mode in ("reloaded", "moved"):
        if not isinstance(made, torch.nn.Module):
            raise Refused("it is no torch.nn.Module")
        if manner.mode == "moved":
            return made.to(dtype)
        other = another()
        other.load_state_dict(made.state_dict())
        return other
    return made


def surroundings(manner: Manner, device: str) -> AbstractContextManager[Any]:
    """What the call happens within."""
    if manner.mode == "compiled":
        from torch._functorch import config  # noqa: PLC0415 - for this manner only

        # To merge equal nodes changes no bit of a result, and what it takes to compile without it is half of the time.
        merging: AbstractContextManager[Any] = config.patch(cse=False)
        return merging
    if manner.mode != "autocast":
        return nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16)


def curved(gradient: Tensor, leaf: Tensor) -> tuple[Tensor | None, str | None]:
    """The derivative of <v, gradient> for the direction of the manner, or why there is none."""
    if not gradient.requires_grad:
        return None, "the gradient is cut off from the logits (no second derivative)"
    v = _tensor(direction(leaf.shape[-1]), dtype=leaf.dtype, device=leaf.device)
    try:
        along = (gradient * v).sum()
        # With ones of its own, torch would look them up in a module that the subject can write to.
        (found,) = _grad(along, leaf, _ones_like(along), allow_unused=True)
    except Exception as e:
        return None, f"the second backward pass raised {type(e).__name__}"
    return (found, None) if found is not None else (None, "the gradient does not depend on the logits")

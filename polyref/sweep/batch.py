"""A subject asked for many inputs of two classes at once, as tensors in and tensors out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import Format
from polyref.spec import Reduction, Spec
from polyref.subject.call import Caller
from polyref.subject.convention import PROBABILITIES, Convention
from polyref.subject.forms import brought_back, formed
from polyref.subject.handover import Inputs
from polyref.subject.result import described, tensor_at

# Bound before any subject is imported, as in :mod:`polyref.subject.call`.
_grad, _ones_like, _zeros = torch.autograd.grad, torch.ones_like, torch.zeros


class Answers(NamedTuple):
    """What a subject returned for N inputs, in binary64: values (N,), and gradients (N, 2) where there are any."""

    value: Tensor
    gradient: Tensor | None


class Unusable(Exception):
    """A result that is no loss of the inputs; the text says what it is."""


def check_sweepable(name: str, convention: Convention, spec: Spec, fmt: Format) -> Spec:
    """The spec as this subject can be asked for it.

    Raises:
        UsageError: if it cannot be asked for losses of two classes one by one, or for this spec or format.
    """
    if Reduction.NONE not in convention.reductions and str(Reduction.NONE) not in convention.reductions:
        raise UsageError(
            f"{name} returns one number a batch, and a sweep takes one a row: give a form that does no reduction"
        )
    if convention.inputs in PROBABILITIES:
        raise UsageError(f"{name} takes probabilities, which are rounded before it sees them: sweep one of logits")
    if not all(math.isfinite(fmt.round(e)) for e in spec.epsilon):
        raise UsageError(
            f"epsilon {', '.join(f'{e:g}' for e in spec.epsilon)} is beyond {fmt.name}: give a smaller one"
        )
    asked = replace(spec, reduction=Reduction.NONE)
    case = Case(asked, fmt, ((0.0, 0.0),), (0,))
    if not convention.supports(case):
        raise UsageError(
            f"{name} cannot be asked for {fmt.name}, two classes and this loss: {_refusal(convention, case)}"
        )
    return asked


def _refusal(convention: Convention, case: Case) -> str:
    try:
        convention.require(case)
    except Exception as e:
        return str(e)
    return ""


class Batched:
    """A subject under a convention, ready for batches.

    Args:
        subject: the class, function, factory or instance.
        convention: how it is called.
        spec: the loss that it is asked for, without reduction.
        fmt: the format of the logits.
        device: where they are put.
        settle: called after every call of the subject, before its result is read.
    """

    def __init__(
        self,
        subject: Any,
        convention: Convention,
        spec: Spec,
        fmt: Format,
        *,
        device: str = "cpu",
        settle: Callable[[], object] = lambda: None,
    ) -> None:
        self._caller = Caller(subject, convention, device=device, settle=settle)
        self._convention, self._settle = convention, settle
        self._case = Case(spec, fmt, ((0.0, 0.0),), (0,))
        self._device = device

    def ask(self, logits: Tensor, *, gradient: bool) -> Answers:
        """The losses of rows of two logits whose target is the first class.

        Args:
            logits: (N, 2), in the format's dtype.
            gradient: whether gradients are wanted too.

        Raises:
            Unusable: if what comes back is no row of losses.
            Exception: whatever the subject raises.
        """
        count = len(logits)
        labels = formed(_zeros(count, dtype=torch.int64, device=self._device), self._convention.labels, 2, logits.dtype)
        leaf = logits.clone().requires_grad_(gradient)
        given = Inputs(leaf.clone() if gradient else leaf, labels, None)
        made = self._caller.make(self._case, None)
        raw = self._caller.call(made, self._case, given)
        value = tensor_at(raw, self._convention.result_path)
        if value is None or value.is_complex():
            raise Unusable(f"returned {described(raw)}, no losses")
        value = brought_back(value, self._convention, count, 2)
        if value.shape != (count,):
            raise Unusable(f"returned shape {tuple(value.shape)} for {count} rows")
        slopes = None
        if gradient:
            if not value.requires_grad:
                raise Unusable("returned values that are cut off from the logits (no grad_fn)")
            try:
                (found,) = _grad(value, leaf, _ones_like(value), allow_unused=True)
            finally:
                self._settle()
            if found is None:
                raise Unusable("returned values that do not depend on the logits")
            slopes = found.detach().double()
        return Answers(value.detach().double(), slopes)

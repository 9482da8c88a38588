"""What a framework must be able to do: take exact numbers over, run a call, and give numbers and gradients back.

Tensors of torch are the common form. An adapter makes arrays of its framework of them, bit by bit, and tensors of what
comes back; each such tensor knows its gradient, which the framework's own differentiation has found.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from polyref.subject.convention import FrameworkName
from polyref.subject.manner import Manner


class Call(NamedTuple):
    """One call, its arrays still tensors.

    Attributes:
        made: what is called.
        subject: the class, function, factory or instance behind it.
        constructor: what the subject is made with, None where it is not made anew.
        positional: arguments by position.
        keywords: arguments by keyword.
        logits: the tensor among them that the gradient is taken of; none is wanted where it does not require one.
    """

    made: Callable[..., Any]
    subject: Any
    constructor: Mapping[str, Any] | None
    positional: tuple[Any, ...]
    keywords: Mapping[str, Any]
    logits: Tensor

    def values(self) -> Iterator[tuple[str, Any]]:
        """Everything that is handed over under a name of its own; :meth:`bound` takes it apart again."""
        yield from ((f"made {name}", value) for name, value in (self.constructor or {}).items())
        yield from ((f"at {i}", value) for i, value in enumerate(self.positional))
        yield from ((f"as {name}", value) for name, value in self.keywords.items())

    def bound(self, values: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[Any], dict[str, Any]]:
        """Constructor settings, positional arguments and keywords of values by :meth:`values`' names."""
        made = None if self.constructor is None else {name: values[f"made {name}"] for name in self.constructor}
        return (
            made,
            [values[f"at {i}"] for i in range(len(self.positional))],
            {name: values[f"as {name}"] for name in self.keywords},
        )


class Framework(ABC):
    """One framework.

    Attributes:
        name: as users write it.
        no_gradient: why there is never a gradient; None where the framework differentiates.
        makes_anew: whether a call makes the subject once more, inside of what the framework traces.
    """

    name: ClassVar[FrameworkName]
    no_gradient: ClassVar[str | None] = None
    makes_anew: ClassVar[bool] = False

    @abstractmethod
    def array(self, tensor: Tensor) -> Any:
        """The framework's array of the same dtype and the same bits.

        Raises:
            TypeError: if the framework has no such dtype.
        """

    @abstractmethod
    def run(self, call: Call) -> Any:
        """What the subject returns, its arrays as tensors that autograd can differentiate in the logits."""

    def make(self, subject: Callable[..., Any], settings: Mapping[str, Any]) -> Any:
        """The subject constructed, tensors among the settings as arrays."""
        return subject(**self.arrays(settings))

    def arrays(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values with each tensor as an array."""
        return {name: self.array(v) if isinstance(v, Tensor) else v for name, v in values.items()}

    def objection(self, manner: Manner) -> str | None:
        """Why a case cannot be handed over in this manner, None if it can."""
        if manner.mode != "plain":
            return f"the mode {manner.mode} is of torch, and this is {self.name}"
        if manner.curvature:
            return f"second derivatives are asked of torch only, and this is {self.name}"
        return None if manner.layout == "contiguous" else f"an array of {self.name} has no layout to choose"

    def seed(self, number: int) -> None:  # noqa: B027 -- most have nothing more to seed
        """Seed the framework's own random numbers; those of torch, numpy and Python are seeded anyway."""

    @abstractmethod
    def version(self) -> str:
        """The framework's version."""

    def flushes(self, dtype: torch.dtype) -> bool:
        """Whether arithmetic makes zeros of subnormal results of a dtype."""
        smallest = torch.tensor([torch.finfo(dtype).tiny], dtype=dtype)
        half = torch.tensor([0.5], dtype=dtype)
        try:
            product: Tensor = self.run(Call(_product, _product, None, (smallest, half), {}, smallest))
        except TypeError:  # it has no such dtype
            return False
        return not product.any()


def _product(a: Any, b: Any) -> Any:
    return a * b


def mapped(raw: Any, change: Callable[[Any], Any]) -> Any:
    """A result with ``change`` applied to it, or to the entries of a tuple, list or dict."""
    if isinstance(raw, Mapping):
        return {key: change(value) for key, value in raw.items()}
    if isinstance(raw, (tuple, list)):
        return [change(value) for value in raw]
    return change(raw)


class _Attached(torch.autograd.Function):
    """A value with a gradient that is known already, that of its sum: polyref asks for no other."""

    @staticmethod
    def forward(ctx: Any, _: Tensor, value: Tensor, gradient: Tensor | Exception | None) -> Tensor:
        ctx.gradient = gradient
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        if not bool((upstream == 1).all()):
            raise AssertionError("only the gradient of the sum is known")
        if isinstance(ctx.gradient, Exception):
            raise ctx.gradient
        return ctx.gradient, None, None


def attached(logits: Tensor, value: Tensor, gradient: Tensor | Exception | None) -> Tensor:
    """``value`` as a function of ``logits``.

    Args:
        logits: what it depends on.
        value: the number or numbers.
        gradient: of the sum of the value; the exception that its computation raised; None if it does not depend on
            the logits.
    """
    if not (logits.requires_grad and value.is_floating_point()):
        return value
    found: Tensor = _Attached.apply(logits, value, gradient)  # type: ignore[no-untyped-call]
    return found

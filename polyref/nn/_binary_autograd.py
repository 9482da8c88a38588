"""Autograd, functorch and torch.compile for the losses of the sigmoid link.

The kernels are operators of torch.library, which a compiler sees as one opaque step. Two autograd Functions call them:
the loss, and the product of a factor with a derivative of the elementwise loss. The second is also its own derivative,
with the next order, up to the second derivative of the loss.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from polyref.nn import _binary
from polyref.nn._binary import BinaryParameters, Operands

_OPERANDS = "Tensor logits, Tensor target, Tensor? weight, Tensor? pos_weight"
_PARAMETERS = "float[] epsilon, float gamma, str reduction, int lanes"

_library = torch.library.Library("polyref", "FRAGMENT")
_library.define(
    f"binary_forward({_OPERANDS}, {_PARAMETERS}, bool gradient, ScalarType dtype) -> (Tensor loss, Tensor gradient)",
    tags=torch.Tag.pt2_compliant_tag,
)
_library.define(
    f"binary_derivative(Tensor factor, {_OPERANDS}, {_PARAMETERS}, int order, ScalarType dtype) -> Tensor",
    tags=torch.Tag.pt2_compliant_tag,
)


def _forward(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    epsilon: list[float],
    gamma: float,
    reduction: str,
    lanes: int,
    gradient: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    parameters = BinaryParameters(tuple(epsilon), gamma, reduction, lanes)
    data = Operands(logits, target, weight, pos_weight)
    return _binary.forward(data, parameters, gradient=gradient, dtype=dtype)


def _forward_fake(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    epsilon: list[float],
    gamma: float,
    reduction: str,
    lanes: int,
    gradient: bool,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    if reduction == "none":
        return torch.empty_like(logits, dtype=dtype), logits.new_empty(0)
    loss = logits.new_empty(logits.shape[:lanes], dtype=dtype)
    return loss, torch.empty_like(logits) if gradient else logits.new_empty(0)


def _derivative(
    factor: Tensor,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    epsilon: list[float],
    gamma: float,
    reduction: str,
    lanes: int,
    order: int,
    dtype: torch.dtype,
) -> Tensor:
    parameters = BinaryParameters(tuple(epsilon), gamma, reduction, lanes)
    data = Operands(logits, target, weight, pos_weight)
    return _binary.derivative(factor, data, parameters, order=order, dtype=dtype)


def _derivative_fake(
    factor: Tensor,
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    epsilon: list[float],
    gamma: float,
    reduction: str,
    lanes: int,
    order: int,
    dtype: torch.dtype,
) -> Tensor:
    return torch.empty_like(logits, dtype=dtype)


for _name, _kernel, _fake in (
    ("binary_forward", _forward, _forward_fake),
    ("binary_derivative", _derivative, _derivative_fake),
):
    _library.impl(_name, _kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(f"polyref::{_name}", _fake, lib=_library)


class Call(NamedTuple):
    """What is not a tensor: the parameters, and the dtype of the result."""

    epsilon: tuple[float, ...]
    gamma: float
    reduction: str
    lanes: int
    dtype: torch.dtype
    #: Whether the forward pass computes the gradient for an incoming gradient of 1.
    gradient: bool = False
    #: Which derivative, where it is one.
    order: int = 1

    @property
    def parameters(self) -> tuple[list[float], float, str, int]:
        """The parameters in the order of the operators' schemas."""
        return list(self.epsilon), self.gamma, self.reduction, self.lanes

    def reduced(self, values: Tensor) -> Tensor:
        """Per-element values, reduced as the loss is."""
        if self.reduction == "none":
            return values
        dims = list(range(self.lanes, values.dim()))
        total = values.sum(dims) if dims else values
        return total / math.prod(values.shape[self.lanes :]) if self.reduction == "mean" else total

    def per_element(self, values: Tensor, like: Tensor) -> Tensor:
        """The transpose of :meth:`reduced`."""
        if self.reduction == "none":
            return values
        expanded = values.reshape(values.shape + (1,) * (like.dim() - values.dim())).expand(like.shape)
        return expanded / math.prod(like.shape[self.lanes :]) if self.reduction == "mean" else expanded


def batched(info: Any, dims: tuple[int | None, ...], tensors: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """The tensors with the batch dimension first; those without one, and weights, broadcast behind it.

    The first tensor decides how many dimensions there are; all but weights, which broadcast, have them.
    """
    first = tensors[0]
    assert first is not None
    rank = first.dim() - (dims[0] is not None)
    result: list[Tensor | None] = []
    for tensor, dim in zip(tensors, dims, strict=True):
        if tensor is None or dim is None:
            result.append(tensor)
        else:
            moved = tensor.movedim(dim, 0)
            result.append(moved.reshape(moved.shape[:1] + (1,) * (rank + 1 - moved.dim()) + moved.shape[1:]))
    return result


class BinaryLoss(torch.autograd.Function):
    """The loss; its inputs are saved, and on the CPU its gradient, which the first backward pass hands on."""

    @staticmethod
    def forward(
        logits: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, call: Call
    ) -> tuple[Tensor, Tensor]:
        """The loss, and the gradient for an incoming gradient of 1 or a tensor of shape (0,)."""
        return cast(
            tuple[Tensor, Tensor],
            torch.ops.polyref.binary_forward(
                logits, target, weight, pos_weight, *call.parameters, call.gradient, call.dtype
            ),
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Save the inputs."""
        *tensors, call = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.set_materialize_grads(False)
        ctx.call = call
        ctx.ready = output[1] if call.gradient else None

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, None, None, None, None]:
        """The incoming gradient times the first derivative."""
        call = ctx.call
        if grad is None:
            return None, None, None, None, None
        # It is handed on once and not kept, so that nothing shares its memory with the receiver.
        ready, ctx.ready = ctx.ready, None
        if ready is not None and not torch.is_grad_enabled() and is_one(grad):
            return ready, None, None, None, None
        del ready  # before as much memory is taken again
        logits, *others = ctx.saved_tensors
        derivative = call._replace(dtype=logits.dtype, gradient=False, order=1)
        return differentiate(grad, logits, *others, derivative), None, None, None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        pos_weight: Tensor | None,
        call: Call,
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int | None]]:
        """One more lane at the front."""
        stacked = batched(info, in_dims[:4], (logits, target, weight, pos_weight))
        if in_dims[0] is None:
            stacked[0] = logits.expand(info.batch_size, *logits.shape)
        lanes = call._replace(lanes=call.lanes + 1)
        output = evaluate(*stacked, lanes)
        return output, (0, 0 if call.gradient else None)


class BinaryDerivative(torch.autograd.Function):
    """A factor of the loss's shape times the derivative of the elementwise loss of one order, in the logits' shape."""

    @staticmethod
    def forward(
        factor: Tensor,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        pos_weight: Tensor | None,
        call: Call,
    ) -> Tensor:
        """For a mean divided by the number of elements; rounded once, to ``call.dtype``."""
        return cast(
            Tensor,
            torch.ops.polyref.binary_derivative(
                factor, logits, target, weight, pos_weight, *call.parameters, call.order, call.dtype
            ),
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save the inputs."""
        *tensors, ctx.call = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        """The same derivative for the factor, the next one for the logits.

        Raises:
            RuntimeError: for the third derivative of the loss.
        """
        if grad is None:
            return None, None, None, None, None, None
        factor, logits, *others = ctx.saved_tensors
        call: Call = ctx.call
        for_factor = for_logits = None
        if ctx.needs_input_grad[0]:
            each = call._replace(reduction="none", dtype=torch.float64)
            product = differentiate(grad, logits, *others, each)
            for_factor = call.reduced(product).to(factor.dtype)
        if ctx.needs_input_grad[1]:
            next_order = following(call)._replace(reduction="none", dtype=logits.dtype)
            share = grad.double() * call.per_element(factor.double(), logits)
            for_logits = differentiate(share, logits, *others, next_order)
        return for_factor, for_logits, None, None, None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        factor: Tensor,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        pos_weight: Tensor | None,
        call: Call,
    ) -> tuple[Tensor, int]:
        """One more lane at the front."""
        stacked = batched(info, in_dims[1:5], (logits, target, weight, pos_weight))
        if in_dims[1] is None:
            stacked[0] = logits.expand(info.batch_size, *logits.shape)
        factor = factor.expand(info.batch_size, *factor.shape) if in_dims[0] is None else factor.movedim(in_dims[0], 0)
        result = differentiate(factor, *stacked, call._replace(lanes=call.lanes + 1))
        return result, 0


class ForwardBinaryLoss(BinaryLoss):
    """The loss with forward-mode derivatives, which the compiler does not trace."""

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor | None, *_: Any) -> tuple[Tensor | None, None]:
        """The reduced product of the tangent with the first derivative."""
        if tangent is None:
            return None, None
        call = ctx.call
        each = call._replace(reduction="none", dtype=torch.float64, gradient=False, order=1)
        change = differentiate(tangent, *ctx.saved_tensors, each)
        return call.reduced(change).to(call.dtype), None


class ForwardBinaryDerivative(BinaryDerivative):
    """The derivative with forward-mode derivatives, which the compiler does not trace."""

    @staticmethod
    def jvp(ctx: Any, factor_tangent: Tensor | None, tangent: Tensor | None, *_: Any) -> Tensor | None:
        """The product rule.

        Raises:
            RuntimeError: for the third derivative of the loss.
        """
        factor, logits, *others = ctx.saved_tensors
        call: Call = ctx.call
        result: Tensor | None = None
        if factor_tangent is not None:
            result = differentiate(factor_tangent, logits, *others, call)
        if tangent is not None:
            share = tangent.double() * call.per_element(factor.double(), logits)
            next_order = following(call)._replace(reduction="none")
            change = differentiate(share, logits, *others, next_order)
            result = change if result is None else result + change
        return result


def evaluate(*arguments: Any) -> tuple[Tensor, Tensor]:
    """:class:`BinaryLoss`, outside of a compiler with forward mode."""
    function = BinaryLoss if torch.compiler.is_compiling() else ForwardBinaryLoss
    return cast(tuple[Tensor, Tensor], function.apply(*arguments))  # type: ignore[no-untyped-call]


def differentiate(*arguments: Any) -> Tensor:
    """:class:`BinaryDerivative`, outside of a compiler with forward mode."""
    function = BinaryDerivative if torch.compiler.is_compiling() else ForwardBinaryDerivative
    return cast(Tensor, function.apply(*arguments))  # type: ignore[no-untyped-call]


def following(call: Call) -> Call:
    """The call for the derivative of the next order.

    Raises:
        RuntimeError: for the third.
    """
    if call.order == 2:
        raise RuntimeError(
            "the loss has no third derivative: differentiate it twice, the second time without create_graph=True"
        )
    return call._replace(order=call.order + 1)


def is_one(grad: Tensor) -> bool:
    """Whether an incoming gradient on the CPU is 1 throughout; inside a transform, where that cannot be asked, no."""
    try:
        return bool((grad == 1).all())
    except RuntimeError:
        return False


def binary_loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    parameters: BinaryParameters,
    dtype: torch.dtype,
) -> Tensor:
    """The loss in ``dtype``, differentiable with respect to the logits."""
    # With the gradient in hand the backward pass has nothing left to do. On an accelerator, learning that the incoming
    # gradient is 1 would wait for the device; a compiled graph cannot ask either.
    gradient = (
        logits.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and torch.is_grad_enabled()
        and logits.requires_grad
    )
    call = Call(
        parameters.epsilon, parameters.gamma, parameters.reduction, parameters.lanes, dtype,
        gradient=gradient and parameters.reduction != "none",
    )  # fmt: skip
    return evaluate(logits, target, weight, pos_weight, call)[0]

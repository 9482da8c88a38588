"""The losses under autograd: value, gradient and curvature are three functions, each the derivative of the one before.

    Loss         the loss of the logits; its backward is Gradient, or the gradient that the forward pass wrote already
    Gradient     of the logits and the incoming gradient; its backward is Curvature
    Curvature    the Hessian times a vector; it has no derivative

All of them fold the dimensions that ``torch.vmap`` adds into the rows: a loss is one for each row, and a reduction is
done group by group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.graph import increment_version

from polyref.nn import _ops
from polyref.nn._backend import kernel
from polyref.nn._curvature import curvature
from polyref.nn._kernel import Parameters
from polyref.nn._soft import target_gradient


@dataclass(frozen=True, slots=True)
class Call:
    """What a loss is computed with, besides tensors.

    Attributes:
        parameters: of the loss.
        dtype: of the loss.
        backend: that computes it.
        gradient: whether the forward pass writes the gradient for an incoming gradient of 1.
        inplace: whether the backward pass writes the gradient into the logits.
    """

    parameters: Parameters
    dtype: torch.dtype
    backend: str
    gradient: bool
    inplace: bool = False

    def grouped(self, batch: int) -> Call:
        """The same for ``batch`` times as many rows, each batch reduced by itself; without a gradient ahead."""
        groups = batch * max(self.parameters.groups, 1)
        return replace(self, parameters=replace(self.parameters, groups=groups), gradient=False)

    def losses(self, logits: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """The loss, and the gradient for an incoming gradient of 1 or an empty tensor."""
        if _plain(logits):
            return kernel(self.backend).forward(
                logits, target, weight, self.parameters, gradient=self.gradient, dtype=self.dtype
            )
        packed = _ops.packed(self.parameters)
        return _ops.forward(logits, target, weight, self.gradient, self.dtype, *packed, self.backend)  # type: ignore[no-any-return]

    def write(
        self, out: Tensor, grad: Tensor, logits: Tensor, target: Tensor, weight: Tensor | None, *, filled: bool = False
    ) -> Tensor:
        """The gradient, written into ``out``."""
        if _plain(logits):
            kernel(self.backend).backward_(out, grad, logits, target, weight, self.parameters, filled=filled)
        else:
            packed = _ops.packed(self.parameters)
            _ops.backward_(out, grad, logits, target, weight, filled, *packed, self.backend)
        return out


class Loss(Function):
    """The loss, and the gradient for an incoming gradient of 1 if the call asks for it."""

    @staticmethod
    def forward(logits: Tensor, target: Tensor, weight: Tensor | None, call: Call) -> tuple[Tensor, Tensor]:
        """The loss in the call's dtype, and the gradient or an empty tensor."""
        return call.losses(logits, target, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """The logits are kept as they are; what is computed from them is the gradient alone."""
        logits, target, weight, call = inputs
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(logits, target, weight, output[1])
        ctx.save_for_forward(logits, target, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, Tensor | None, None, None]:
        """The gradients with respect to the logits, and to a target of class probabilities."""
        if grad is None:
            return None, None, None, None
        logits, target, weight, ahead = ctx.saved_tensors
        call: Call = ctx.call
        labels = _of_the_target(grad, logits, target, weight, call) if ctx.needs_input_grad[1] else None
        if not ctx.needs_input_grad[0]:
            return None, labels, None, None
        if call.inplace:
            return _into_the_logits(grad, logits, target, weight, call), labels, None, None
        if torch.is_grad_enabled():
            return applied(ForwardGradient, grad, logits, target, weight, call), labels, None, None
        if not call.gradient:
            return call.write(torch.empty_like(logits), grad, logits, target, weight), labels, None, None
        # What was computed ahead may be needed again if the graph is kept, else it is ours to write to and give away.
        out = ahead.clone() if _graph_is_kept() else ahead
        return call.write(out, grad, logits, target, weight, filled=True), labels, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[tuple[Tensor, Tensor], tuple[int, None]]:
        """The batch becomes more rows."""
        (logits, target), weight, call, lanes = _folded(info, in_dims, inputs, 2)
        if lanes is not None:
            losses = [applied(ForwardLoss, *lane, replace(call, gradient=False))[0] for lane in lanes]
            return (torch.stack(losses), logits.new_empty((0,))), (0, None)
        loss, none = applied(ForwardLoss, logits, target, weight, call.grouped(info.batch_size))
        return (_unfolded(loss, info.batch_size, call), none), (0, None)


class Gradient(Function):
    """The gradient of the loss times an incoming gradient."""

    @staticmethod
    def forward(grad: Tensor, logits: Tensor, target: Tensor, weight: Tensor | None, call: Call) -> Tensor:
        """A new tensor of the logits' shape and dtype."""
        return call.write(torch.empty_like(logits), grad, logits, target, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """The inputs are enough."""
        *tensors, ctx.call = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, vector: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """The Hessian times the vector for the logits, the gradient times the vector for the incoming gradient."""
        hessian, dot = applied(Curvature, vector, *ctx.saved_tensors, ctx.call)
        return dot, hessian, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        """The batch becomes more rows."""
        (grad, logits, target), weight, call, lanes = _folded(info, in_dims, inputs, 3)
        if lanes is not None:
            return torch.stack([applied(ForwardGradient, *lane, call) for lane in lanes]), 0
        result = applied(ForwardGradient, grad, logits, target, weight, call.grouped(info.batch_size))
        return result.view(info.batch_size, -1, *result.shape[1:]), 0


class Curvature(Function):
    """The derivatives of <vector, gradient> with respect to the logits and to the incoming gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        vector: Tensor, grad: Tensor, logits: Tensor, target: Tensor, weight: Tensor | None, call: Call
    ) -> tuple[Tensor, Tensor]:
        """Of the shapes and dtypes of the logits and of the incoming gradient."""
        return curvature(vector, grad, logits, target, weight, call.parameters)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Nothing is needed."""

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[None, ...]:
        """There is none.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("the loss has no third derivative: leave out create_graph=True in the second")


class ForwardLoss(Loss):
    """The loss with forward-mode derivatives too, which torch.compile does not trace."""

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor | None, *_: Any) -> tuple[Tensor | None, None]:
        """The derivative of the loss in a direction."""
        logits, target, weight = ctx.saved_tensors
        if tangent is None:
            return None, None
        call: Call = ctx.call
        one = torch.ones(
            _ops.loss_shape(logits, call.parameters.reduction, call.parameters.groups),
            dtype=call.dtype,
            device=logits.device,
        )
        gradient = applied(ForwardGradient, one, logits, target, weight, call)
        return contraction(gradient, tangent, call.parameters, call.dtype), None


class ForwardGradient(Gradient):
    """The gradient with forward-mode derivatives too."""

    @staticmethod
    def jvp(ctx: Any, grad_tangent: Tensor | None, tangent: Tensor | None, *_: Any) -> Tensor | None:
        """The Hessian is symmetric, so forwards is backwards."""
        grad, logits, target, weight = ctx.saved_tensors
        call: Call = ctx.call
        result = None
        if tangent is not None:
            result = applied(Curvature, tangent, grad, logits, target, weight, call)[0]
        if grad_tangent is not None:
            other = applied(ForwardGradient, grad_tangent, logits, target, weight, call)
            result = other if result is None else result + other
        return result


def evaluate(logits: Tensor, target: Tensor, weight: Tensor | None, call: Call) -> Tensor:
    """The loss, differentiable in every way that the caller can see."""
    function = Loss if torch.compiler.is_compiling() else ForwardLoss
    loss: Tensor = applied(function, logits, target, weight, call)[0]
    return loss


def applied(function: Any, *inputs: Any) -> Any:
    """``function.apply``, without the look at its signature that torch takes each time, a third of the time of a call.

    There are no defaults to bind, and outside of transforms nothing to unwrap: what is left is the base class's apply.
    """
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return function.apply(*inputs)
    return super(Function, function).apply(*inputs)


def contraction(gradient: Tensor, tangent: Tensor, parameters: Parameters, dtype: torch.dtype) -> Tensor:
    """The sum of the products, over the classes of a row or over all that a loss is made of."""
    product = gradient.to(dtype) * tangent.to(dtype)
    if parameters.reduction == "none":
        return product.sum(1)
    return product.reshape(parameters.groups, -1).sum(1) if parameters.groups else product.sum()


def _of_the_target(grad: Tensor, logits: Tensor, target: Tensor, weight: Tensor | None, call: Call) -> Tensor:
    """The gradient with respect to class probabilities: the weighted loss of every class.

    Raises:
        RuntimeError: if it is to be differentiated in its turn.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the loss has no second derivative with respect to class probabilities: pass target.detach(), "
            "or leave out create_graph=True"
        )
    return target_gradient(grad, logits, target, weight, call.parameters)


def _into_the_logits(grad: Tensor, logits: Tensor, target: Tensor, weight: Tensor | None, call: Call) -> Tensor:
    """The gradient in the logits' storage.

    Raises:
        RuntimeError: if the logits may be needed again.
    """
    if torch.is_grad_enabled() or _graph_is_kept():
        raise RuntimeError(
            "inplace_backward=True overwrites the logits in the backward pass, which then cannot be kept or repeated: "
            "leave out retain_graph and create_graph, or inplace_backward"
        )
    out = logits.detach()
    call.write(out, grad, logits, target, weight)
    # Whoever saved the logits for a backward pass of his own is told by autograd, instead of computing with a gradient.
    increment_version(out)
    return out


def _plain(tensor: Tensor) -> bool:
    """Whether nobody watches: then a kernel is called at once, and not as an operator, which takes 15 microseconds."""
    return type(tensor) is Tensor and not torch.compiler.is_compiling()


def _graph_is_kept() -> bool:
    """Whether the running backward pass leaves the graph for another one; a compiled one does not say."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._autograd._get_current_graph_task_keep_graph()


def _folded(
    info: Any, in_dims: tuple[Any, ...], inputs: tuple[Any, ...], count: int
) -> tuple[list[Tensor], Tensor | None, Call, list[tuple[Any, ...]] | None]:
    """The first ``count`` tensors with the batch in front of their rows; or the lanes one by one.

    A weight for each lane is a loss of its own: the kernels know one weight.
    """
    *tensors, weight, call = inputs
    batch = info.batch_size
    moved = [
        t.unsqueeze(0).expand(batch, *t.shape) if d is None else t.movedim(d, 0)
        for t, d in zip(tensors, in_dims, strict=False)
    ]
    if in_dims[count] is not None:
        weights = weight.movedim(in_dims[count], 0)
        return moved, None, call, [tuple(v[i] for v in (*moved, weights)) for i in range(batch)]
    folded = [(t.flatten(0, 1) if t.dim() > 1 else t).contiguous() for t in moved]
    return folded, weight, call, None


def _unfolded(loss: Tensor, batch: int, call: Call) -> Tensor:
    """The losses with the batch in front again."""
    if call.parameters.reduction == "none" or call.parameters.groups:
        return loss.view(batch, -1, *loss.shape[1:])
    return loss

"""The Poly-N losses as functions, with torch's own conventions.

With Pt the softmax probability of the target, x = 1 - Pt and w the target's class weight,

    l = w [ -x^gamma log Pt + sum_{j=1..N} eps_j x^(gamma+j) ]

(Leng et al., PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions, ICLR 2022,
arXiv 2204.12511). Nothing is subtracted that could cancel: x comes from the other classes' exponentials and never from
1 - Pt, the gradient of the target is -c x and never p - 1, and eps_j = -1/j, which takes the term of x^j away, leaves a
remainder with a series of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from polyref.nn._arguments import (
    check_inplace,
    check_input,
    check_target,
    check_weight,
    checked_epsilon,
    checked_gamma,
    checked_ignore_index,
    checked_reduction,
    checked_smoothing,
)
from polyref.nn._autograd import Call, evaluate
from polyref.nn._backend import choose
from polyref.nn._kernel import Parameters
from polyref.nn.binary import poly_binary_cross_entropy_with_logits as poly_binary_cross_entropy_with_logits

_HALF = (torch.float16, torch.bfloat16)


def poly_cross_entropy(
    input: Tensor,
    target: Tensor,
    epsilon: float | Sequence[float] = (1.0,),
    *,
    gamma: float = 0.0,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    inplace_backward: bool = False,
) -> Tensor:
    """The Poly-N loss of logits, focal if gamma > 0; ``epsilon=0`` is ``torch.nn.functional.cross_entropy``.

    Args:
        input: logits, (C,), (N, C) or (N, C, d1, ...), of float16, bfloat16, float32 or float64.
        target: class indices of int64 or uint8, () , (N,) or (N, d1, ...); or class probabilities, of a floating point
            dtype and the input's shape, which give the expectation sum_k q_k w_k l_k of the index losses. A probability
            of exactly 0 contributes nothing, even where that class's loss is infinite (torch: NaN).
        epsilon: eps_1, ..., eps_N, or eps_1 alone; empty is cross-entropy.
        gamma: the focal exponent, at least 0.
        weight: C class weights of the input's dtype. The weight multiplies the whole loss, logarithm and polynomial.
            As in torch a weight of 0 times an infinite loss is NaN; its gradient is 0.
        ignore_index: rows with this target contribute nothing to value, gradient or denominator, NaN logits or not.
        reduction: 'none', 'sum', or 'mean': sum w l / sum w over the rows that are not ignored; for class probabilities
            sum l / number of rows. The mean of no rows is NaN.
        label_smoothing: in [0, 1]; the target becomes (1 - s) q + s/C.
        inplace_backward: write the gradient into the logits' storage in the backward pass, which then needs no memory
            of its own. The logits are lost: read what you want of them (an accuracy, say) before. A leaf that requires
            grad, logits that are not contiguous, a graph that is kept, and torch.func transforms are refused; and
            autograd refuses the backward pass of whoever else saved these logits.

    Returns:
        The loss, in the input's dtype: a scalar, or for 'none' one loss for each row, of the shape of the index target.
        Under autocast the loss of 16-bit logits is float32, as torch's is; the logits are not copied for it.

    Raises:
        ValueError: for a batch size that does not match, an unknown reduction, no classes, or a gamma or epsilon out of
            range.
        IndexError: for a target out of range, on the CPU.
        RuntimeError: for a target or weight of the wrong dtype, shape or device, for label_smoothing out of range, for
            a backend of the environment that cannot be used, where inplace_backward would do harm; and from the
            backward pass of a second derivative, because there is no third.
        TypeError, NotImplementedError: for an argument of the wrong type; for a dtype that has no implementation.

    Impossible classes, with logits of -inf, contribute nothing; as a target they make the loss inf and leave the
    gradient finite. NaN in gives NaN out, for its own row only. For inputs of 16 and 32 bits nothing overflows but a
    result beyond the dtype's range; for float64 also a difference of logits beyond it.

    Accuracy: worst error in units of the dtype's u (2^-24, 2^-53) as value / gradient entry, where these are normal
    numbers, against mpmath at 200 bits and more. 7,800 rows a dtype of C = 2, 3 and 10, and 290 of C = 1000 in float32
    (14 in the other dtypes): random logits of scale 0.1 to 10, shifted by up to 50 (float64: 300), Pt from 1e-30 to
    1 - 1e-30, gamma = 0, 0.5, 1 and 2; torch 2.13 on a CPU with AVX-512.

    ========================  =============  =============
    index targets             float32        float64
    ========================  =============  =============
    epsilon 0, 0.5, 1, 2      3.2 / 5.4      4.6 / 5.3
    epsilon -1                5.2 / 5.9      8.8 / 7.4
    (-1, -1/2)                7.8 / 8.2      13 / 11
    (-1, -1/2, -1/3)          11 / 11        18 / 18
    any of these, gamma 2     15 / 15        25 / 23
    ========================  =============  =============

    The growth is that of the condition number, N + 1 + gamma for a loss that begins with x^(N+1+gamma), times the error
    of the exponentials. 16-bit dtypes: 0.50 ulp, correctly rounded but for near ties. Class probabilities and smoothed
    labels, 990 one-hot rows: float32 0.50 ulp, because all of it is computed in float64; float64 31 / 28 u. With random
    probabilities and with smoothing 0.1 and 0.001 (epsilon 1 and -1, gamma 0 and 2, 900 rows, C up to 10): 0.99 u, and
    8.8 / 14 u, the latter relative to the sum of the magnitudes of a gradient's terms, which cancel near the minimum.
    Where the loss itself crosses zero (eps_1 < -1) only its absolute error is small.
    """
    check_input(input)
    parameters = Parameters(
        checked_epsilon(epsilon),
        checked_gamma(gamma),
        checked_ignore_index(ignore_index),
        checked_reduction(reduction),
        checked_smoothing(label_smoothing),
    )
    target = check_target(target, input, ignore_index)
    device = input.device.type
    autocast = torch.is_autocast_enabled(device)
    check_weight(weight, input, autocast=autocast)
    if inplace_backward:
        check_inplace(input)
    soft = target.is_floating_point() or parameters.label_smoothing > 0
    half = input.dtype in _HALF
    logits, labels = rows(input, target)
    call = Call(
        parameters,
        # Under autocast the loss is float32, as torch's is; no float32 copy of the logits is made for that.
        dtype=torch.float32 if autocast and half else input.dtype,
        # Two constants, because a smoothing that torch.compile has made a symbol makes one of the comparison as well.
        backend=choose(device, input.dtype, True) if soft else choose(device, input.dtype, False),
        gradient=writes_ahead(input) and not inplace_backward and reduction != "none",
        inplace=inplace_backward,
    )
    loss = evaluate(logits, labels, weight, call)
    if reduction == "none" and input.dim() != 2:
        return loss.reshape(input.shape[:0] if input.dim() == 1 else (*input.shape[:1], *input.shape[2:]))
    return loss


def rows(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Logits as (N, C) or (N, C, D) and their target, contiguous; where the layout allows it nothing is copied."""
    if input.dim() == 1:
        input, target = input.unsqueeze(0), target.unsqueeze(0)
    elif input.dim() > 2:
        probabilities = target.dim() == input.dim()
        if input.stride(1) == 1 and not input.is_contiguous():
            # Classes last in memory: every pixel is a row.
            last = input.movedim(1, -1)
            if last.is_contiguous():
                labels = target.movedim(1, -1).reshape(-1, input.shape[1]) if probabilities else target.reshape(-1)
                return last.reshape(-1, input.shape[1]), labels.contiguous()
        input = input.flatten(2)
        target = target.flatten(2 if probabilities else 1)
    return input.contiguous(), target.contiguous()


def writes_ahead(input: Tensor) -> bool:
    """Whether the gradient can be written with the loss: it is wanted, and no transform will ask for another one."""
    return torch.is_grad_enabled() and input.requires_grad and not torch._C._are_functorch_transforms_active()

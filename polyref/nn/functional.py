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
    checked_parameters,
)
from polyref.nn._autograd import Call, evaluate
from polyref.nn._backend import choose
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

    Accuracy: worst error in ulps of the exact result, as value / gradient entry, against the ball engine, Pt from 1e-30
    to 1 - 1e-30 in even steps of the margin; torch 2.13 on a CPU with AVX-512. The first two lines: 1001 rows a dtype
    of each of C = 2, 3 and 10, and 201, 41 and 7 of C = 100, 1000 and 32,000 (reports/nn/accuracy.json; ``pytest -m
    long tests/nn/test_accuracy.py``); the others 401 rows of each of C = 2, 3 and 10. 16-bit dtypes: 0.50 in all lines.

    =============================  ===========  ===========  ===========  ===========
    index targets                  native f32   native f64   eager f32    eager f64
    =============================  ===========  ===========  ===========  ===========
    epsilon -0.5, 0, 1, 2          1.3 / 2.1    1.3 / 2.3    2.2 / 3.4    2.7 / 3.6
    epsilon -1                     2.2 / 2.2    2.2 / 2.2    2.4 / 3.4    5.4 / 4.2
    (-1, -1/2)                     3.9 / 3.1    3.0 / 2.8    2.5 / 2.5    6.8 / 8.3
    (-1, -1/2, -1/3)               3.2 / 3.4    3.6 / 3.8    2.7 / 2.6    8.2 / 8.9
    epsilon 0, 1 or -1, gamma 2    3.2 / 3.1    4.7 / 3.9    2.4 / 3.2    9.8 / 12
    (-1, -1/2), gamma 2            4.4 / 4.9    5.0 / 5.0    3.5 / 3.9    9.9 / 15
    =============================  ===========  ===========  ===========  ===========

    The growth is that of the condition number, N + 1 + gamma for a loss that begins with x^(N+1+gamma), times the error
    of the exponentials. The Triton kernel states its own, in :mod:`polyref.nn._triton.launch`. Class probabilities and
    smoothed labels are computed in float64 by torch operations on every device; one-hot rows are within 0.50 ulp in
    float32 and within 5.8 / 7.7 (epsilon 1 or -1) to 16 / 19 (all of the above) in float64.
    Where the loss itself crosses zero (eps_1 < -1) only its absolute error is small.
    """
    check_input(input)
    parameters = checked_parameters(epsilon, gamma, ignore_index, reduction, label_smoothing)
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

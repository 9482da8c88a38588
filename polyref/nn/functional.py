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
from typing import cast

from torch import Tensor

from polyref.nn._arguments import (
    check_input,
    check_target,
    check_weight,
    checked_epsilon,
    checked_gamma,
    checked_reduction,
    checked_smoothing,
)
from polyref.nn._rows import IndexLoss, Options, class_dim
from polyref.nn._soft import SoftLoss


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

    Returns:
        The loss, in the input's dtype: a scalar, or for 'none' one loss for each row, of the shape of the index target.

    Raises:
        ValueError: for a batch size that does not match, an unknown reduction, no classes, or a gamma or epsilon out of
            range.
        IndexError: for a target out of range, on the CPU.
        RuntimeError: for a target or weight of the wrong dtype or shape, for label_smoothing out of range; and from the
            backward pass under create_graph=True, because there is no second derivative yet.
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
    options = Options(
        checked_epsilon(epsilon),
        checked_gamma(gamma),
        checked_reduction(reduction),
        ignore_index,
        checked_smoothing(label_smoothing),
    )
    target = check_target(target, input, ignore_index)
    check_weight(weight, input, input.shape[class_dim(input)])
    if target.is_floating_point() or options.label_smoothing > 0:
        return cast(Tensor, SoftLoss.apply(input, target, weight, options))  # type: ignore[no-untyped-call]
    return cast(Tensor, IndexLoss.apply(input, target, weight, options))  # type: ignore[no-untyped-call]

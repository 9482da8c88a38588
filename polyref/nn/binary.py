"""The Poly-N loss of the sigmoid link as a function, with the conventions of torch's own.

Every logit z is a two-class problem of its own. With p = sigmoid(z), x = 1 - p and q the target,

    l(z) = -x^gamma log p + sum_{j=1..N} eps_j x^(gamma+j),       loss = weight [pos_weight q l(z) + (1 - q) l(-z)]

(Leng et al., PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions, ICLR 2022,
arXiv 2204.12511, for one of two classes).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from polyref.nn._arguments import checked_epsilon, checked_gamma, checked_reduction
from polyref.nn._binary import BinaryParameters
from polyref.nn._binary_arguments import check_factor, check_logits, check_shares
from polyref.nn._binary_autograd import binary_loss


def poly_binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    epsilon: float | Sequence[float] = (1.0,),
    *,
    gamma: float = 0.0,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The Poly-N loss of logits that are independent of each other, focal if gamma > 0.

    ``epsilon=0`` is ``torch.nn.functional.binary_cross_entropy_with_logits``.

    Args:
        input: logits of any shape, of float16, bfloat16, float32 or float64.
        target: of the input's shape and any of these dtypes, not necessarily the input's: the probability q of the
            positive class, 0 or 1 for hard labels. A side whose share, q or 1 - q, is exactly 0 contributes nothing,
            even where its loss is infinite (torch: NaN). As in torch a q outside [0, 1] is not refused: the loss is
            affine in q.
        epsilon: eps_1, ..., eps_N, or eps_1 alone; empty is binary cross-entropy.
        gamma: the focal exponent, at least 0.
        weight: multiplies the whole loss of an element; broadcasts to the input's shape.
        pos_weight: multiplies l(z), the loss of the positive class, logarithm and polynomial; broadcasts to the input's
            shape, so that C values are one for each of C classes in the last dimension.
        reduction: 'none', 'sum', or 'mean', over all elements. The mean of no elements is NaN.

    Returns:
        The loss: a scalar, or for 'none' of the input's shape. As in torch its dtype is the target's; under autocast
        float32 where that has 16 bits, with no copy of the logits in float32.

    Raises:
        ValueError: for a target of another size than the input's, an unknown reduction, or a gamma or epsilon out of
            range.
        RuntimeError: for a target that is not floating point, for a weight or pos_weight that does not broadcast to the
            input's shape; for one of these three that requires a gradient; and for a third derivative.
        TypeError, NotImplementedError: for an argument of the wrong type; for logits of a dtype without implementation.

    Everything is computed in float64 and rounded once, the gradient for any incoming gradient too, so that results of
    16 and 32 bits are correctly rounded but for near ties, even where the two sides of a soft label cancel. It can be
    differentiated twice, backward and forward. On the CPU the extra memory is the gradient and a few MiB a thread.

    Accuracy: worst error in ulp of value / gradient against mpmath at 1200 bits, 104 logits from -120 to 120 with hard
    labels and with both weights, epsilon -1, -0.5, 0, 1, 2, (-1, -1/2), (-1, -1/2, -1/3) and two longer ones, gamma 0,
    0.25, 1, 2 and 3.5, 14,040 elements a dtype; torch 2.13 on a CPU with AVX-512. Soft labels are within these figures;
    in float64, where their gradients cancel, relative to the sum of the magnitudes of the two terms.

    ===========================  ===============  ===========  ===========
    epsilon                      16 and 32 bits   float64      with gamma
    ===========================  ===============  ===========  ===========
    one number                   0.500 / 0.500    5.2 / 3.3    12 / 12
    (-1, -1/2)                   0.500 / 0.500    6.1 / 4.9    12 / 15
    (-1, -1/2, -1/3)             0.500 / 0.500    14 / 7.2     13 / 17
    (-1, -1/2, ..., -1/5)        0.500 / 0.500    21 / 47      22 / 70
    ===========================  ===============  ===========  ===========

    The growth is that of the condition number, N + 1 + gamma, and for the last one the cancellation of a gradient that
    is near x^6 where x is little above 1/2.

    The focal ``alpha`` of some libraries weights positive labels by alpha and negative ones by 1 - alpha. That is
    ``weight=torch.tensor(1 - alpha), pos_weight=torch.tensor(alpha / (1 - alpha))``; with ``epsilon=0, gamma=2`` it is
    the sigmoid focal loss of Lin et al. (Focal Loss for Dense Object Detection, ICCV 2017).
    """
    check_logits(input)
    check_shares(target, input)
    check_factor("weight", weight, input)
    check_factor("pos_weight", pos_weight, input)
    parameters = BinaryParameters(checked_epsilon(epsilon), checked_gamma(gamma), checked_reduction(reduction))
    dtype = target.dtype
    if dtype in (torch.float16, torch.bfloat16) and torch.is_autocast_enabled(input.device.type):
        dtype = torch.float32
    return binary_loss(input, target, weight, pos_weight, parameters, dtype)

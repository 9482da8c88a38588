"""The sigmoid link: loss and derivatives of logits that are each a two-class problem of their own, on plain tensors.

With m = |z| every logit has a right side, where the probability is 1 - t, and a wrong side, where it is t,

    s = exp(-m),   t = s/(1 + s),   1 - t = 1/(1 + s),   -log(1 - t) = log1p(s),   -log t = m + log1p(s),

and a label is a share a of l(z) and b of l(-z): a = pos_weight q and b = 1 - q. Whichever of the two falls on the wrong
side is called c, the other one r. Nothing here cancels: t is never 1 - (1 - t). In m, so that dl/dz takes sign(z),

    l = r l(t) + c l(1 - t),    dl/dm = c f(1 - t) (1 - t) - r f(t) t,    d2l/dm2 = r h(t) + c h(1 - t),

with f = Pt dl/dx the slope and h = x Pt (f + x f'). From f = x^gamma (gamma Pt R + M), R = P/x and M = Pt dP/dx,

    x f' = x^gamma [gamma (gamma - 1) Pt R + 2 gamma M - gamma x R + x dM/dx].

All of it is computed in float64 and rounded once, for logits of 16 and 32 bits too: the two sides of a label between 0
and 1 cancel in the gradient near the minimum, and only the wider format leaves digits there. The work goes in pieces
that stay in the cache, so that no temporary has the size of the logits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from polyref.nn._response import horner, respond, tables

Index = tuple[int | slice, ...]

#: Elements of a piece, for each thread: its float64 temporaries fit in a core's second-level cache. Elsewhere than on
#: the CPU a piece has to be large enough to fill the device.
CPU_PIECE, DEVICE_PIECE = 1 << 14, 1 << 22

_LARGEST = torch.finfo(torch.float64).max
_LOG2_E = 1 / math.log(2)


@dataclass(frozen=True, slots=True)
class BinaryParameters:
    """The parameters of a loss, checked.

    Attributes:
        epsilon: eps_1, ..., eps_N.
        gamma: the focal exponent, at least 0.
        reduction: 'none', 'mean' or 'sum'.
        lanes: how many dimensions at the front hold independent losses, each reduced by itself; the loss then has their
            shape. Without meaning for 'none'.
    """

    epsilon: tuple[float, ...]
    gamma: float = 0.0
    reduction: str = "mean"
    lanes: int = 0

    def divisor(self, shape: torch.Size) -> int:
        """What the sum over a lane's elements is divided by."""
        return math.prod(shape[self.lanes :]) if self.reduction == "mean" else 1

    def direct(self) -> float | None:
        """eps_1, where -log Pt + eps_1 x in float64 is exact enough for results of 24 bits; else None.

        That sum loses the factor (1 + |eps_1|) / |1 + eps_1| at most on the right side, where it is near (1 + eps_1) x.
        """
        epsilon = tables(self.epsilon, 24).direct
        if self.gamma or len(epsilon) > 1:
            return None
        first = epsilon[0] if epsilon else 0.0
        return first if abs(1 + first) >= 2**-16 * (1 + abs(first)) else None


class Operands(NamedTuple):
    """The tensors of a loss; target, weight and pos_weight broadcast to the logits' shape."""

    logits: Tensor
    target: Tensor
    weight: Tensor | None
    pos_weight: Tensor | None


@dataclass(slots=True)
class Sides:
    """One piece in float64: m, t, 1 - t, the shares of the wrong and the right side, and the weight of both."""

    sign: Tensor
    m: Tensor
    s: Tensor
    t: Tensor
    wrong: Tensor
    right: Tensor | None  # None: 1 - wrong
    weight: Tensor | None
    infinite: Tensor | None  # where m is infinite and replaced by the largest number

    @classmethod
    def of(
        cls,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        pos_weight: Tensor | None,
        index: Index,
        *,
        wide: bool,
    ) -> Sides:
        """The piece at ``index`` of tensors of one shape; ``wide`` if 53 bits are wanted of the result."""
        z = logits[index].to(torch.float64, copy=True)
        q = target[index].to(torch.float64)
        m = z.abs()
        infinite: Tensor | None = None
        # Looking is cheap on the CPU. Elsewhere it would wait for the device. (A NaN fails this comparison too.)
        if m.numel() and not (m.device.type == "cpu" and m.amax().item() <= _LARGEST):
            infinite = m == math.inf
            m.clamp_(max=_LARGEST)
        # 2^-m' is half the time of e^-m; the rounding of m' costs m units of 2^-53, which narrower results do not see.
        s = (-m).exp_() if wide else (m * -_LOG2_E).exp2_()
        t = s / (1 + s)
        positive = z.ge_(0)
        right: Tensor | None = None
        if pos_weight is None:
            wrong = torch.addcmul(q, positive, 1 - 2 * q) if not wide else torch.where(positive == 0, q, 1 - q)
            if wide:
                right = torch.where(positive == 0, 1 - q, q)
        else:
            a, b, negative = q * pos_weight[index], 1 - q, positive == 0
            wrong, right = torch.where(negative, a, b), torch.where(negative, b, a)
        scale = None if weight is None else weight[index].to(torch.float64)
        return cls(positive.mul_(2).sub_(1), m, s, t, wrong, right, scale, infinite)

    def direct_response(self, eps: float, *, value: bool, derivative: bool) -> tuple[Tensor | None, Tensor | None]:
        """For N = 1, gamma = 0 and d = c - r: (c + r) log1p(s) + c m + eps (c - d t), c - (c + r) t + eps d (t - t^2).

        These are l and dl/dm. For c = 0 the terms cancel where eps is near -1, which ``direct`` excludes, and for r = 0
        where it is below -1, and the loss itself changes its sign.
        """
        t, c, r = self.t, self.wrong, self.right
        d = (2 * c).sub_(1) if r is None else c - r
        both = None if r is None else c + r
        loss = slope = None
        if value:
            loss = self.s.log1p()
            if both is not None:
                loss.mul_(both)
            loss.addcmul_(c, self.m)
            if eps:
                loss.add_(torch.addcmul(c, d, t, value=-1), alpha=eps)
        if derivative:
            slope = c - t if both is None else torch.addcmul(c, both, t, value=-1)
            if eps:
                slope.addcmul_(d, torch.addcmul(t, t, t, value=-1), value=eps)
        return loss, slope

    def response(self, parameters: BinaryParameters, *, wide: bool) -> tuple[Tensor, Tensor]:
        """l and dl/dm for every N and gamma."""
        t, c = self.t, self.wrong
        r = 1 - c if self.right is None else self.right
        big, log, bits = 1 / (1 + self.s), self.s.log1p(), 53 if wide else 24
        options = {"epsilon": parameters.epsilon, "gamma": parameters.gamma, "bits": bits}
        loss, slope = respond(t, big, log, **options)  # type: ignore[arg-type]
        loss_wrong, slope_wrong = respond(big, t, log + self.m, **options)  # type: ignore[arg-type]
        return loss.mul_(r).addcmul_(c, loss_wrong), (slope_wrong * big).mul_(c).sub_(slope.mul_(t).mul_(r))

    def curvature(self, parameters: BinaryParameters) -> Tensor:
        """d2l/dm2."""
        t, c, gamma = self.t, self.wrong, parameters.gamma
        r = 1 - c if self.right is None else self.right
        big, log = 1 / (1 + self.s), self.s.log1p()
        m = self.m.clamp(max=1000)  # s and both terms are 0 long before, and 0 must not meet infinity
        table = tables(parameters.epsilon, 53)
        first = table.series[0] if table.series else 1.0
        result = torch.zeros_like(t)
        for x, pt, minus_log, share in ((t, big, log, r), (big, t, log + m, c)):
            poly, slope = respond(x, pt, minus_log, epsilon=parameters.epsilon, gamma=0.0, bits=53)
            change = torch.zeros_like(x)
            if table.direct:
                # x dM/dx, where x is small from the coefficients of M, which may be 0, else from those of dP/dx.
                if x is t:
                    change = horner(tuple(i * v for i, v in enumerate(table.near)), x)
                else:
                    falls = horner(table.far, x)
                    rises = horner(tuple(i * v for i, v in enumerate(table.far)), x)
                    change = rises * pt - falls * x
            if gamma:
                ratio = torch.where(x > 0, poly / x, first)
                power, near = x.pow(gamma), gamma * pt * ratio
                change = power * ((gamma - 1) * near + 2 * gamma * slope - gamma * poly + change)
                slope = power * (near + slope)
            result.addcmul_(share, (slope + change) * x * pt)
        return result


def forward(
    data: Operands, parameters: BinaryParameters, *, gradient: bool, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The loss in ``dtype``, and its gradient for an incoming gradient of 1.

    The gradient has the shape and dtype of the logits. It has the shape (0,) where it is not wanted, and for 'none',
    where an incoming gradient of 1 is rare.
    """
    shape, lanes = data.logits.shape, parameters.lanes
    reduced, divisor = parameters.reduction != "none", parameters.divisor(shape)
    grad = torch.empty_like(data.logits) if gradient and reduced else None
    each = None if reduced else torch.empty_like(data.logits, dtype=dtype)
    total = data.logits.new_zeros(shape[:lanes], dtype=torch.float64)
    wide = torch.float64 in (dtype, data.logits.dtype)
    eps = None if wide else parameters.direct()

    logits, target, weight, pos_weight, out_grad, out_each = aligned([*data, grad, each], shape, lanes)
    assert logits is not None
    assert target is not None
    for index in pieces(logits.shape, logits.device):
        sides = Sides.of(logits, target, weight, pos_weight, index, wide=wide)
        value, slope = (
            sides.response(parameters, wide=wide)
            if eps is None
            else sides.direct_response(eps, value=True, derivative=grad is not None)
        )
        assert value is not None
        if sides.weight is not None:
            value.mul_(sides.weight)
        if sides.infinite is not None:
            value = torch.where(sides.infinite & (sides.wrong != 0), value * math.inf, value)
        if out_each is not None:
            out_each[index] = value
        else:
            add_to_lanes(total, value, index, lanes)
        if out_grad is not None and slope is not None:
            if sides.weight is not None:
                slope.mul_(sides.weight)
            out_grad[index] = slope.mul_(sides.sign).div_(divisor)
    return (
        (total / divisor).to(dtype) if each is None else each,
        data.logits.new_empty(0) if grad is None else grad,
    )


def derivative(
    factor: Tensor, data: Operands, parameters: BinaryParameters, *, order: int, dtype: torch.dtype
) -> Tensor:
    """``factor`` times the first or second derivative, for a mean over the number of elements, in ``dtype``.

    ``factor`` has the shape of the loss, the result that of the logits.
    """
    shape, lanes = data.logits.shape, parameters.lanes
    divisor = 1 if parameters.reduction == "none" else parameters.divisor(shape)
    if parameters.reduction != "none":
        factor = factor.reshape(shape[:lanes] + (1,) * (len(shape) - lanes))
    wide = torch.float64 in (dtype, data.logits.dtype)
    eps = None if wide or order > 1 else parameters.direct()
    result = torch.empty_like(data.logits, dtype=dtype)
    logits, target, weight, pos_weight, scale, out = aligned([*data, factor, result], shape, lanes)
    assert logits is not None
    assert target is not None
    assert scale is not None
    assert out is not None
    for index in pieces(logits.shape, logits.device):
        sides = Sides.of(logits, target, weight, pos_weight, index, wide=wide or order > 1)
        if order > 1:
            value: Tensor | None = sides.curvature(parameters)
        elif eps is None:
            value = sides.response(parameters, wide=wide)[1].mul_(sides.sign)
        else:
            value = sides.direct_response(eps, value=False, derivative=True)[1]
            assert value is not None
            value.mul_(sides.sign)
        assert value is not None
        if sides.weight is not None:
            value.mul_(sides.weight)
        out[index] = value.mul_(scale[index].to(torch.float64)).div_(divisor)
    return result


def aligned(tensors: list[Tensor | None], shape: torch.Size, lanes: int) -> list[Tensor | None]:
    """Views of the tensors, all expanded to ``shape``, with the fewest dimensions that all of them have in common.

    Dimensions behind the lanes are put in the order of the first tensor's memory, and neighbours that are one run of
    memory in every tensor become one dimension.
    """
    views = [None if t is None else t.expand(shape) for t in tensors]
    given = [v for v in views if v is not None]
    order = [*range(lanes), *sorted(range(lanes, len(shape)), key=given[0].stride, reverse=True)]
    given = [v.permute(order) for v in given]
    sizes: list[int] = []
    for d, size in enumerate(given[0].shape):
        joins = d > lanes and all(
            v.stride(d - 1) == v.stride(d) * size or size == 1 or v.shape[d - 1] == 1 for v in given
        )
        if joins:
            sizes[-1] *= size
        else:
            sizes.append(size)
    joined = iter([v.view(sizes) for v in given])
    return [None if v is None else next(joined) for v in views]


def pieces(shape: torch.Size, device: torch.device) -> Iterator[Index]:
    """Indices that cut a tensor into pieces of a size that suits the device: numbers, then at most one slice."""
    size = DEVICE_PIECE if device.type != "cpu" else CPU_PIECE * torch.get_num_threads()
    if 0 in shape:
        return
    behind = math.prod(shape)
    for cut, length in enumerate(shape):
        behind //= length
        if behind <= size:
            step = math.ceil(length / math.ceil(length / max(1, size // behind)))
            for lead in itertools.product(*(range(n) for n in shape[:cut])):
                for start in range(0, length, step):
                    yield *lead, slice(start, start + step)
            return
    yield ()


def add_to_lanes(total: Tensor, values: Tensor, index: Index, lanes: int) -> None:
    """Add the values of a piece to the sums of the lanes that they belong to."""
    if lanes >= len(index) and index:
        kept = lanes - len(index) + 1  # the dimension of the slice is a lane's, as are these
        total[index] += values.flatten(kept).sum(-1) if values.dim() > kept else values
    else:
        total[index[:lanes]] += values.sum()

"""The loss and gradient of one piece of logits for results of at most 24 bits, with few operations and no new memory.

With 29 bits to spare the arithmetic can be simpler than in :mod:`polyref.nn._binary_sides`, whose notation this is:

- exp(-m) is 2^-m', half the time; the rounding of m' costs m units of 2^-53.
- 1 - t is subtracted, which is exact enough for t <= 1/2.
- -log Pt + sum eps_j x^j is formed as it stands, on the wrong side always and on the right side down to the crossover
  that the tables give for 24 bits, which is 0 unless 1 + eps_1 is near 0.
- x^gamma is a power of two of the logarithm at hand, and x f = x^gamma (gamma Pt P + x M) needs no P/x.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from polyref.nn._binary_sides import LARGEST
from polyref.nn._response import Tables, tables

_LOG2_E = 1 / math.log(2)


class Scratch:
    """float64 buffers that one piece after the other uses: fresh memory would cost more than the arithmetic in it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._buffers: list[Tensor] = []
        self._views: list[Tensor] = []
        self._shape: torch.Size | None = None
        self._used = 0

    def begin(self, shape: torch.Size) -> None:
        """A piece of this shape: all buffers are free again."""
        if shape != self._shape:
            self._shape, self._views = shape, []
        self._used = 0

    def __call__(self) -> Tensor:
        """The next free buffer, with the content that it had."""
        assert self._shape is not None
        size = self._shape.numel()
        if self._used == len(self._views):
            if self._used == len(self._buffers) or self._buffers[self._used].numel() < size:
                self._buffers[self._used :] = [torch.empty(size, dtype=torch.float64, device=self._device)]
            self._views.append(self._buffers[self._used][:size].view(self._shape))
        self._used += 1
        return self._views[self._used - 1]


def horner(coefficients: tuple[float, ...], x: Tensor, out: Tensor, inner: Tensor | None = None) -> Tensor:
    """The polynomial with these coefficients, constant first, in ``out``; ``inner`` is added to the last one."""
    *rest, last = coefficients
    if inner is not None:
        torch.add(inner, last, out=out)
    elif rest:
        torch.mul(x, last, out=out).add_(rest.pop())
    else:
        out.fill_(last)
    for c in reversed(rest):
        out.mul_(x).add_(c)
    return out


class Narrow:
    """The arithmetic for one set of parameters.

    Attributes:
        infinite: after an evaluation, where the loss's share of an infinite |z| is, or None; there m was replaced by
            the largest number, so that a share of 0 makes it 0.
        wrong: after an evaluation that found infinities, the share of the wrong side.
    """

    def __init__(self, epsilon: tuple[float, ...], gamma: float, device: torch.device) -> None:
        self.table: Tables = tables(epsilon, 24)
        self.gamma = gamma
        self.scratch = Scratch(device)
        self.infinite: Tensor | None = None
        self.wrong: Tensor | None = None

    def __call__(
        self, logits: Tensor, target: Tensor, pos_weight: Tensor | None, *, value: bool, derivative: bool, scale: float
    ) -> tuple[Tensor | None, Tensor | None]:
        """The loss and ``scale`` times its derivative in z, each where it is wanted, for tensors of one shape."""
        new = self.scratch
        new.begin(logits.shape)
        z = new().copy_(logits)
        c = new().copy_(target)
        m = torch.abs(z, out=new())
        self.infinite = None
        # Looking is cheap on the CPU. Elsewhere it would wait for the device. (A NaN fails this comparison too.)
        if not (m.device.type == "cpu" and m.amax().item() <= LARGEST):
            self.infinite = m == math.inf
            m.clamp_(max=LARGEST)
        s = torch.mul(m, -_LOG2_E, out=new()).exp2_()
        t = torch.add(s, 1, out=new())
        torch.div(s, t, out=t)
        spare = new()
        r: Tensor | None = None
        if pos_weight is None:
            positive = z.ge_(0)
            torch.mul(c, -2, out=spare).add_(1)
            c.addcmul_(positive, spare)
        else:
            negative = z < 0
            positive = z.ge_(0)
            a = torch.mul(c, pos_weight, out=spare)
            b = c.neg_().add_(1)
            r = torch.where(negative, b, a, out=new())
            c = torch.where(negative, a, b, out=b)
        if self.infinite is not None:
            self.wrong = c.clone()
        if self.gamma or len(self.table.direct) > 1 or self.table.crossover:
            loss, slope = self._general(m, s, t, c, r, value=value, derivative=derivative)
        else:
            loss, slope = self._first_order(m, s, t, c, r, spare, value=value, derivative=derivative)
        if slope is not None:
            slope.mul_(positive.mul_(2 * scale).sub_(scale))
        return loss, slope

    def _first_order(
        self, m: Tensor, s: Tensor, t: Tensor, c: Tensor, r: Tensor | None, d: Tensor, *, value: bool, derivative: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """For N <= 1, gamma = 0 and d = c - r: (c + r) log1p(s) + c m + eps (c - d t), c - (c + r) t + eps d (t - t^2).

        These are l and dl/dm. All operands are overwritten.
        """
        eps = self.table.direct[0] if self.table.direct else 0.0
        if r is None:
            torch.mul(c, 2, out=d).sub_(1)
        else:
            torch.sub(c, r, out=d)
            r.add_(c)
        loss: Tensor | None = None
        if value:
            loss = s.log1p_()
            if r is not None:
                loss.mul_(r)
            loss.addcmul_(c, m)
            if eps:
                loss.add_(torch.addcmul(c, d, t, value=-1, out=m), alpha=eps)
        if not derivative:
            return loss, None
        slope = torch.sub(c, t, out=c) if r is None else c.addcmul_(r, t, value=-1)
        if eps:
            slope.addcmul_(d, torch.addcmul(t, t, t, value=-1, out=t), value=eps)
        return loss, slope

    def _general(
        self, m: Tensor, s: Tensor, t: Tensor, c: Tensor, r: Tensor | None, *, value: bool, derivative: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Any N and gamma; all operands are overwritten."""
        new, table, gamma = self.scratch, self.table, self.gamma
        if r is None:
            r = torch.mul(c, -1, out=new()).add_(1)
        big = torch.mul(t, -1, out=new()).add_(1)
        polynomials = value or gamma > 0
        own = other = None
        log = s.log1p_()
        log_other = m.add_(log)
        if gamma:
            r.mul_(self._power(t, log_other))
            c.mul_(self._power(big, log))
        if polynomials:
            own, other = log, log_other
            if table.direct:
                own.addcmul_(horner(table.direct, t, new()), t)
            if table.crossover:
                own = torch.where(t < table.crossover, self._series(t), own)
            if table.direct:
                other.addcmul_(horner(table.direct, big, new()), big)
        slope: Tensor | None = None
        if derivative:
            slope = new().fill_(1.0)
            wrong = new().fill_(1.0)
            if table.direct:
                horner(table.near, t, slope)
                wrong.addcmul_(horner(table.far, big, new()), t)
            slope.mul_(t)
            wrong.mul_(big)
            if gamma:
                assert own is not None
                assert other is not None
                slope.addcmul_(big, own, value=gamma)
                wrong.addcmul_(t, other, value=gamma)
            slope.mul_(r).neg_().addcmul_(c, wrong)
        loss: Tensor | None = None
        if value:
            assert own is not None
            assert other is not None
            loss = own.mul_(r).addcmul_(c, other)
        return loss, slope

    def _power(self, x: Tensor, log: Tensor) -> Tensor:
        """x^gamma, where log is -log x."""
        if self.gamma == 1:
            return x
        if self.gamma == 2:
            return torch.mul(x, x, out=self.scratch())
        return torch.mul(log, -self.gamma * _LOG2_E, out=self.scratch()).exp2_()

    def _series(self, x: Tensor) -> Tensor:
        """P = sum_{j<=N} (1/j + eps_j) x^j + R_N for x below the crossover, by the remainder's series."""
        new, table = self.scratch, self.table
        n = len(table.direct)
        inverse = torch.mul(x, -1, out=new()).add_(2).reciprocal_()
        s = torch.mul(x, inverse, out=new())
        square = torch.mul(s, s, out=new())
        tail = horner(table.odd, square, new()).mul_(s if n % 2 == 0 else square)
        for _ in range(n):
            tail.mul_(inverse)
        return horner(table.series, x, square, tail.addcmul_(horner(table.q, s, square), s)).mul_(x)

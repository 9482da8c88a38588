"""The sigmoid link: loss and derivatives of logits that are each a two-class problem of their own, on plain tensors.

With m = |z| every logit has a right side, where the probability is 1 - t, and a wrong side, where it is t,

    s = exp(-m),   t = s/(1 + s),   1 - t = 1/(1 + s),   -log(1 - t) = log1p(s),   -log t = m + log1p(s),

and a label is a share a of l(z) and b of l(-z): a = pos_weight q and b = 1 - q. Whichever of the two falls on the wrong
side is called c, the other one r. Nothing here cancels: t is never 1 - (1 - t). In m, so that dl/dz takes sign(z),

    l = r l(t) + c l(1 - t),    dl/dm = c f(1 - t) (1 - t) - r f(t) t,    d2l/dm2 = r h(t) + c h(1 - t),

with f = Pt dl/dx the slope and h = x Pt (f + x f'). From f = x^gamma (gamma Pt R + M), R = P/x and M = Pt dP/dx,

    f + x f' = x^gamma [M + x dM/dx + gamma (gamma Pt R + 2 M - P)].

This is the evaluation for results of 53 bits, and of every second derivative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from polyref.nn._response import horner, respond, tables

LARGEST = torch.finfo(torch.float64).max


@dataclass(slots=True)
class Sides:
    """One piece in float64: m, t, 1 - t, and the shares of the wrong and the right side."""

    sign: Tensor
    m: Tensor
    s: Tensor
    t: Tensor
    wrong: Tensor
    right: Tensor
    infinite: Tensor | None  # where m is infinite and replaced by the largest number

    @classmethod
    def of(
        cls,
        logits: Tensor,
        target: Tensor,
        pos_weight: Tensor | None,
    ) -> Sides:
        """The piece whose tensors, of one shape, these are."""
        z, q = logits.to(torch.float64, copy=True), target.to(torch.float64)
        m = z.abs()
        infinite: Tensor | None = None
        # Looking is cheap on the CPU. Elsewhere it would wait for the device. (A NaN fails this comparison too.)
        if not (m.device.type == "cpu" and m.amax().item() <= LARGEST):
            infinite = m == math.inf
            m.clamp_(max=LARGEST)
        s = (-m).exp_()
        negative = z < 0
        a, b = q if pos_weight is None else q * pos_weight, 1 - q
        return cls(
            sign=z.ge_(0).mul_(2).sub_(1),
            m=m,
            s=s,
            t=s / (1 + s),
            wrong=torch.where(negative, a, b),
            right=torch.where(negative, b, a),
            infinite=infinite,
        )

    def response(self, epsilon: tuple[float, ...], gamma: float) -> tuple[Tensor, Tensor]:
        """l and dl/dm for every N and gamma."""
        t, c, r = self.t, self.wrong, self.right
        big, log = 1 / (1 + self.s), self.s.log1p()
        options = {"epsilon": epsilon, "gamma": gamma, "bits": 53}
        loss, slope = respond(t, big, log, **options)  # type: ignore[arg-type]
        loss_wrong, slope_wrong = respond(big, t, log + self.m, **options)  # type: ignore[arg-type]
        return loss.mul_(r).addcmul_(c, loss_wrong), (slope_wrong * big).mul_(c).sub_(slope.mul_(t).mul_(r))

    def curvature(self, epsilon: tuple[float, ...], gamma: float) -> Tensor:
        """d2l/dm2."""
        t, c, r = self.t, self.wrong, self.right
        big, log = 1 / (1 + self.s), self.s.log1p()
        m = self.m.clamp(max=1000)  # s and both terms are 0 long before, and 0 must not meet infinity
        table = tables(epsilon, 53)
        first = table.series[0] if table.series else 1.0
        result = torch.zeros_like(t)
        for x, pt, minus_log, share in ((t, big, log, r), (big, t, log + m, c)):
            poly, slope = respond(x, pt, minus_log, epsilon=epsilon, gamma=0.0, bits=53)
            # M + x dM/dx: for small x from the coefficients of M, which may be 0, for small Pt from those of F = dP/dx
            # - 1/Pt, in the form 1 - F + Pt (2 F + x dF/dx), which vanishes with Pt where it does.
            if not table.direct:
                both = torch.ones_like(x)
            elif x is t:
                both = horner(tuple((1 + i) * v for i, v in enumerate(table.near)), x)
            else:
                both = horner(tuple((2 + i) * v for i, v in enumerate(table.far)), x).mul_(pt)
                both += 1 - horner(table.far, x)
            if gamma:
                ratio = torch.where(x > 0, poly / x, first)
                both += gamma * (gamma * pt * ratio + 2 * slope - poly)
                both *= x.pow(gamma)
            result.addcmul_(share, both.mul_(x).mul_(pt))
        return result

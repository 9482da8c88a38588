"""What torch really returns lies in the ball that the arithmetic gives, operation by operation."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from flint import arb, ctx

from polyref.formats import BFLOAT16, BINARY16, BINARY32, BINARY64, Format
from polyref.reference.arithmetic import Arithmetic

FORMATS = [BINARY64, BINARY32, BINARY16, BFLOAT16]
COUNT = 2000

Operation = tuple[Callable[..., torch.Tensor], Callable[..., arb]]
BINARY: dict[str, Operation] = {
    "add": (torch.add, Arithmetic.add),
    "sub": (torch.sub, Arithmetic.sub),
    "mul": (torch.mul, Arithmetic.mul),
    "div": (torch.div, Arithmetic.div),
}
UNARY: dict[str, tuple[Callable[..., torch.Tensor], Callable[..., arb], Callable[[torch.Tensor], torch.Tensor]]] = {
    "exp": (torch.exp, Arithmetic.exp, lambda v: -v.abs()),
    "log": (torch.log, Arithmetic.log, torch.abs),
    "log1p": (torch.log1p, Arithmetic.log1p, torch.abs),
    "expm1": (torch.expm1, Arithmetic.expm1, lambda v: -v.abs()),
}
POWERS = [Fraction(1, 2), Fraction(-1, 2), Fraction(3, 2), Fraction(2), Fraction(3), Fraction(-1), Fraction(13, 4)]


def dtype(fmt: Format) -> torch.dtype:
    return getattr(torch, fmt.torch_name)


def operands(fmt: Format, seed: int) -> torch.Tensor:
    """Finite numbers of the format: half ordinary, half any pattern."""
    generator = torch.Generator().manual_seed(seed)
    exponents = torch.rand(COUNT, generator=generator, dtype=torch.float64) * 12 - 8
    ordinary = torch.randn(COUNT, generator=generator, dtype=torch.float64) * 2.0**exponents
    high = torch.randint(1 << 32, (COUNT,), generator=generator).tolist()
    low = torch.randint(1 << 32, (COUNT,), generator=generator).tolist()
    patterns = [fmt.decode(((a << 32) | b) >> (64 - fmt.bits)) for a, b in zip(high, low, strict=True)]
    mixed = torch.tensor([v for v in patterns if math.isfinite(v)], dtype=torch.float64)
    return torch.cat([ordinary.to(dtype(fmt)), mixed.to(dtype(fmt))])


def check(fmt: Format, seen: list[float], balls: Callable[[Arithmetic, int], arb]) -> int:
    """How many results were finite, normal or not, and compared."""
    compared = 0
    with ctx.workprec(fmt.precision + 48):
        arithmetic = Arithmetic(fmt)
        for i, value in enumerate(seen):
            if math.isnan(value):
                continue  # 0 / 0, which no algorithm here forms
            ball = balls(arithmetic, i)
            if math.isinf(value):
                assert abs(float(ball.abs_upper())) >= fmt.largest or not ball.is_finite()
                continue
            if not ball.is_finite():
                continue  # a pole: nothing is bounded
            assert ball.contains(arb(value)), (i, value.hex(), ball)
            compared += 1
    return compared


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_arithmetic(fmt: Format, name: str) -> None:
    real, ideal = BINARY[name]
    a, b = operands(fmt, 1), operands(fmt, 2)
    size = min(len(a), len(b))
    a, b = a[:size], b[:size]
    left, right = a.double().tolist(), b.double().tolist()
    compared = check(fmt, real(a, b).double().tolist(), lambda ar, i: ideal(ar, arb(left[i]), arb(right[i])))
    assert compared > COUNT


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_functions(fmt: Format, name: str) -> None:
    real, ideal, domain = UNARY[name]
    a = domain(operands(fmt, 3))
    a = a[a != 0] if name == "log" else a
    values = a.double().tolist()
    compared = check(fmt, real(a).double().tolist(), lambda ar, i: ideal(ar, arb(values[i])))
    assert compared > COUNT / 2
    scalar = [float(real(v)) for v in a[:200]]  # one at a time takes another path than a vector
    check(fmt, scalar, lambda ar, i: ideal(ar, arb(values[i])))


@pytest.mark.parametrize("exponent", POWERS, ids=str)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_powers(fmt: Format, exponent: Fraction) -> None:
    a = operands(fmt, 4).abs()
    a = a[(a > 0) & (a <= 1)]
    values = a.double().tolist()

    def ideal(ar: Arithmetic, i: int) -> arb:
        return ar.power(arb(values[i]), exponent)

    check(fmt, (a ** float(exponent)).double().tolist(), ideal)
    if exponent.denominator == 1 and exponent > 0:
        product = a.clone()
        for _ in range(int(exponent) - 1):
            product = product * a
        check(fmt, product.double().tolist(), ideal)


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
@pytest.mark.parametrize("terms", [2, 3, 10, 100])
def test_sums_in_any_order(fmt: Format, terms: int) -> None:
    rows = operands(fmt, 5)[:COUNT]  # the ordinary half: sums of others overflow
    rows = rows[: len(rows) // terms * terms].reshape(-1, terms)
    values = rows.double().tolist()

    def ideal(ar: Arithmetic, i: int) -> arb:
        return ar.sum([arb(v) for v in values[i]])

    forward, backward = rows[:, 0], rows[:, -1]
    for k in range(1, terms):
        forward, backward = forward + rows[:, k], backward + rows[:, -1 - k]
    for seen in (rows.sum(-1), forward, backward):
        assert check(fmt, seen.double().tolist(), ideal) == len(values)


@pytest.mark.parametrize("fmt", [BINARY16, BFLOAT16, BINARY32], ids=lambda f: f.name)
def test_rounding_to_another_format(fmt: Format) -> None:
    wide = operands(BINARY64, 6)
    wide = wide[wide.abs() <= fmt.largest]
    values = wide.tolist()
    with ctx.workprec(101):
        arithmetic = Arithmetic(BINARY64)
        for value in values:
            ball = arithmetic.rounded_to(fmt, arb(value))
            assert ball.contains(arb(fmt.round(value)))
        assert arithmetic.rounded_to(fmt, arb(0)).is_zero()
        assert arithmetic.rounded_to(BINARY64, arb(1)).is_exact()


def test_balls_have_the_documented_width() -> None:
    ar = Arithmetic(BINARY32)
    u = 2.0**-24
    assert float(ar.add(arb(1), arb(2)).rad()) == pytest.approx(3 * u)
    assert float(ar.exp(arb(0)).rad()) == pytest.approx(2 * u)
    assert float(ar.sum([arb(1)] * 5).rad()) == pytest.approx(20 * u, rel=1e-6)
    assert ar.sum([]).is_zero()
    assert ar.sum([arb(2)]) == 2
    assert ar.log(arb(1)).is_zero()
    assert float(ar.power(arb(0.5), Fraction(5)).rad()) == pytest.approx(4 * u / 32, rel=1e-6)
    assert ar.power(arb(0.5), Fraction(0)) == 1
    assert ar.power(arb(0.5), Fraction(1)) == 0.5
    assert not ar.power(arb(0, 1e-9), Fraction(-1, 2)).is_finite()
    assert ar.power(arb(0, 1e-9), Fraction(1, 2)).contains(arb(0))
    assert ar.complement(arb(1)).is_zero()
    assert ar.complement(arb(0)) == 1
    assert ar.complement(arb(0.25)).rad() > 0


def test_a_parameter_is_what_the_format_holds_or_what_was_given() -> None:
    ar = Arithmetic(BFLOAT16)
    assert ar.parameter(Fraction(1, 4)).is_exact()
    third = ar.parameter(Fraction(1, 3))
    assert third.contains(arb(1) / 3)
    assert third.contains(arb(BFLOAT16.round(Fraction(1, 3))))
    assert ar.holds(Fraction(1, 4))
    assert not ar.holds(Fraction(1, 3))


def test_overflow_is_noticed() -> None:
    for value, overflowed in ((65504.0, False), (65505.0, True), (-1e9, True), (math.nan, True), (math.inf, True)):
        ar = Arithmetic(BINARY16)
        ar.checked(arb(value))
        assert ar.overflowed is overflowed
    ar = Arithmetic(BINARY16)
    ar.sum([arb(1)] * 5000)  # the bound for so many terms says nothing in this format
    assert ar.overflowed

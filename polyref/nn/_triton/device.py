"""The kernels. What is written here is Triton's language, of which Python only supplies the grammar.

Rows. A program treats a tile of ROWS rows by BLOCK classes. ``batch`` counts what is laid out alike: with (N, C) logits
a batch is a group of rows, one row after another; with (N, C, D) it is one of the N, and its D rows lie side by side.

The mathematics is that of ``_response.py``, with x from the exponentials of the other classes. Particular to a GPU:

- The exponentials are scaled by 2^SHIFT. exp(z - max) is then a normal number down to exp(-131) = 1e-57, whether or not
  the device keeps subnormal numbers, and a large class weight does not bring up digits that were never there.
- log1p is never needed. For x = 1 - Pt < 1/2 the series gives the logarithm as well, and from 1/2 on -log Pt is
  at least log 2, so that log(Pt) is good to the last digit; or t + log S, t = max z - z_y, where Pt would underflow.
- Error-free transformations survive the compiler: it may contract a product and a sum into an FMA, and the difference
  below has no product; it does not reorder additions. The reduction of the exponent's argument is exact with or without
  an FMA, because k * LN2_HIGH is exact.
- What there is one of for each row is computed in ROW, float64 where digits of it are visible in the result. Factors
  that may be huge (class weights, the incoming gradient, one over the denominator) are multiplied in float64 always.
"""
# Types are those of the device: nothing here is a Python object that a checker could follow.
# mypy: ignore-errors
# ruff: noqa: PLR0915, SIM102

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
# ln 2 = LN2_HIGH + LN2_LOW; the first has 15 bits, so that its product with an integer of 8 is exact.
LN2_HIGH = tl.constexpr(0.693145751953125)
LN2_LOW = tl.constexpr(1.42860677e-06)
# Added and taken away again, 1.5 * 2^23 rounds to an integer, which stands in the low bits of the sum.
ROUNDER = tl.constexpr(12582912.0)
LARGEST32 = tl.constexpr(3.4028234663852886e38)


@triton.jit
def rounded(value, TYPE: tl.constexpr):
    """Rounded to TYPE; by way of float32, from which every device converts to 16 bits (a second rounding of 2^-13)."""
    return value.to(tl.float32).to(TYPE)


@triton.jit
def widened(value):
    """As float64; 16 bits by way of float32, likewise."""
    if value.dtype.primitive_bitwidth == 16:
        value = value.to(tl.float32)
    return value.to(tl.float64)


@triton.jit
def exponential(z, highest, ACCURATE: tl.constexpr, SHIFT: tl.constexpr):
    """exp(z - highest) 2^SHIFT for z <= highest, in float32; and what is left of it, of use where it is accurate.

    Accurate: the rounding of z - highest (TwoDiff) is added to the reduced argument, and the polynomial is minimax,
    2^-28 on [-ln2/2, ln2/2]. The last sum, 1 + q with |q| < 1/2, leaves q - (p - 1), exact by Fast2Sum; contracted with
    the product in q, in either place, it holds as well. Below exp(-131) both are 0.
    Otherwise the device's exp2, as good as 16-bit results need. NaN stays NaN.
    """
    d = z - highest
    if ACCURATE:
        back = d - z
        rest = (z - (d - back)) - (highest + back)
        shifted = tl.fma(d, LOG2E, ROUNDER)
        k = shifted - ROUNDER
        r = tl.fma(k, -LN2_HIGH, d)
        r = tl.fma(k, -LN2_LOW, r) + rest
        p = tl.fma(r, 0.0013814540579915047, 0.00836874544620514)
        p = tl.fma(p, r, 0.04166838899254799)
        p = tl.fma(p, r, 0.1666652113199234)
        p = tl.fma(p, r, 0.4999999403953552)
        q = tl.fma(p, r, 1.0) * r
        p = 1.0 + q
        # The shift by 23 leaves of the sum's bits only those of k, as an exponent.
        exponent = (shifted.to(tl.int32, bitcast=True) << 23) + ((127 + SHIFT) << 23)
        power = exponent.to(tl.float32, bitcast=True)
        result = tl.where(d < -131.0, 0.0, p * power)
        left = tl.where(d < -131.0, 0.0, (q - (p - 1.0)) * power)
    else:
        result = tl.exp2(tl.fma(d, LOG2E, SHIFT * 1.0))
        left = result * 0.0
    return result, left


@triton.jit
def total(e, left, k, y, ACCURATE: tl.constexpr, EXTRA: tl.constexpr):
    """The sum of a row's exponentials but that of the target, which is left out, not subtracted.

    Accurate ones are added in float64, whatever the order. With EXTRA so is what is left of them: a loss that begins
    with a high power of x multiplies the error of x by the exponent.
    """
    own = k == y[:, None]
    others = tl.where(own, 0.0, e)
    if ACCURATE:
        result = tl.sum(others.to(tl.float64), 1)
        if EXTRA:
            result += tl.sum(tl.where(own, 0.0, left), 1).to(tl.float64)
    else:
        result = tl.sum(others, 1)
    return result


@triton.jit
def polynomial(table, COUNT: tl.constexpr, x):
    """The polynomial whose COUNT coefficients, constant first, stand in ``table``."""
    result = x * 0.0  # keeps NaN, and the dtype
    for i in range(COUNT):
        result = result * x + tl.load(table + (COUNT - 1 - i)).to(x.dtype)
    return result


@triton.jit
def respond(x, pt, log, table, N: tl.constexpr, Q: tl.constexpr, ODD: tl.constexpr, FOCAL: tl.constexpr):
    """The loss x^gamma P and the slope Pt d(loss)/dx; see ``_response.py``, and ``launch.coefficients`` for the table.

    ``log``, -log Pt, is used for x >= 1/2 only.
    """
    series = table + 1
    near = series + N
    direct = near + N + 1
    far = direct + N
    quotient = far + N
    odd = quotient + Q
    r = 1.0 / (2.0 - x)
    s = x * r
    tail = polynomial(odd, ODD, s * s) * s
    if N % 2 == 1:
        tail = tail * s
    for _ in range(N):
        tail = tail * r
    ratio = polynomial(quotient, Q, s) * s + tail
    for i in range(N - 1):
        ratio = (ratio + tl.load(series + (N - 1 - i)).to(x.dtype)) * x
    ratio = ratio + tl.load(series).to(x.dtype)
    beyond = polynomial(direct, N, x) * x + log
    small = x < 0.5
    value = tl.where(small, x * ratio, beyond)
    slope = tl.where(small, polynomial(near, N + 1, x), polynomial(far, N, x) * pt + 1.0)
    if FOCAL:
        gamma = tl.load(table).to(x.dtype)
        # P/x: x^(gamma - 1), infinite at x = 0 for gamma < 1, is never formed. Where the logarithm is infinite Pt is 0,
        # and a finite value keeps their product 0.
        ratio = tl.where(small, ratio, tl.where(beyond > LARGEST32, LARGEST32, beyond / x))
        power = tl.where(x == 0.0, 0.0, tl.exp2(gamma * tl.log2(tl.where(x == 0.0, 1.0, x))))
        value = power * value
        slope = power * (gamma * pt * ratio + slope)
    return value, slope


@triton.jit(do_not_specialize=["ignore_index"])
def count_kernel(target, weight, counts, rows, classes, chunks, chunk, ignore_index, BLOCK: tl.constexpr):
    """What a mean divides by: for each group and chunk of its rows the sum of the weights that are not ignored."""
    program = tl.program_id(0)
    group = program // chunks
    start = (program % chunks).to(tl.int64) * chunk
    total = tl.zeros([BLOCK], tl.float64)
    for offset in range(0, chunk, BLOCK):
        row = start + offset + tl.arange(0, BLOCK)
        valid = (row < rows) & (offset + tl.arange(0, BLOCK) < chunk)
        y = tl.load(target + group.to(tl.int64) * rows + row, mask=valid, other=0)
        counted = valid & (y != ignore_index)
        if weight is None:
            total += tl.where(counted, 1.0, 0.0)
        else:
            inside = counted & (y >= 0) & (y < classes)
            total += widened(tl.load(weight + y, mask=inside, other=0.0))
    tl.store(counts + program, tl.sum(total, 0))


@triton.jit
def finish_kernel(partials, counts, loss, width, chunks, BLOCK: tl.constexpr):
    """The loss of each group: the sum of its partial sums, over that of its counts for a mean; rounded once."""
    group = tl.program_id(0)
    total = tl.zeros([BLOCK], tl.float64)
    for start in range(0, width, BLOCK):
        k = start + tl.arange(0, BLOCK)
        total += tl.load(partials + group.to(tl.int64) * width + k, mask=k < width, other=0.0)
    result = tl.sum(total, 0)
    if counts is not None:
        weight = tl.zeros([BLOCK], tl.float64)
        for start in range(0, chunks, BLOCK):
            k = start + tl.arange(0, BLOCK)
            weight += tl.load(counts + group.to(tl.int64) * chunks + k, mask=k < chunks, other=0.0)
        result = result / tl.sum(weight, 0)
    tl.store(loss + group, rounded(result, loss.dtype.element_ty))


@triton.jit(do_not_specialize=["ignore_index"])
def loss_kernel(
    logits,
    target,
    weight,
    table,
    counts,
    grad,
    loss,
    out,
    rows,
    classes,
    tiles,
    per_group,
    chunks,
    grad_stride,
    grad_row_stride,
    ignore_index,
    N: tl.constexpr,
    Q: tl.constexpr,
    ODD: tl.constexpr,
    FOCAL: tl.constexpr,
    ACCURATE: tl.constexpr,
    SHIFT: tl.constexpr,
    ROW: tl.constexpr,
    STRIDED: tl.constexpr,
    EACH: tl.constexpr,
    FILLED: tl.constexpr,
    SINGLE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    COUNTS: tl.constexpr,
):
    """The losses of a tile of rows, or with EACH false their sum, into ``loss``; the gradient into ``out``.

    Args:
        logits, target, weight: as for a backend; a batch after the other, each of ``rows`` rows.
        table: the coefficients.
        counts: for a mean what :func:`count_kernel` wrote, ``chunks`` for each group; else None.
        grad: the incoming gradient, at batch or group * grad_stride + row * grad_row_stride; None for 1.
        loss, out: what is to be written, or None. ``out`` may be the logits.
        tiles, per_group: programs for each batch, batches for each group.
        STRIDED: the classes of a row are ``rows`` elements apart; else they are neighbours.
        FILLED: ``out`` is the gradient for 1 already: a group whose incoming gradient is 1 is left alone.
        SINGLE: BLOCK classes are all of a row. It stays in registers; else the row is read twice.
    """
    EXTRA: tl.constexpr = FOCAL or N > 1
    program = tl.program_id(0)
    batch = program // tiles
    group = batch // per_group
    if FILLED:
        if tl.load(grad + group.to(tl.int64) * grad_stride).to(tl.float32) == 1.0:
            return
    row = (program % tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    valid = row < rows
    position = batch.to(tl.int64) * rows + row
    given = tl.load(target + position, mask=valid, other=0)
    ignored = (given == ignore_index) | (row >= rows)
    # A target out of range reads nothing, is no class, and makes its row NaN.
    inside = (given >= 0) & (given < classes) & (given != ignore_index) & valid
    y = tl.where(inside, given, -1).to(tl.int32)
    if STRIDED:
        stride = rows.to(tl.int64)
        origin = batch.to(tl.int64) * rows * classes + row
    else:
        stride = 1
        origin = position * classes
    own_logit = tl.load(logits + origin + y * stride, mask=inside, other=float("nan")).to(tl.float32)
    # With out = logits, nobody may write before everybody has read.
    tl.debug_barrier()

    lanes = tl.arange(0, BLOCK)
    here = logits + origin[:, None]
    if SINGLE:
        k = lanes[None, :]
        mask = valid[:, None] & (k < classes)
        z = tl.load(here + k * stride, mask=mask, other=float("-inf")).to(tl.float32)
        highest = tl.max(z, 1)
        e, left = exponential(z, highest[:, None], ACCURATE, SHIFT)
        rest = total(e, left, k, y, ACCURATE, EXTRA).to(ROW)
    else:
        highest = tl.full([ROWS], float("-inf"), tl.float32)
        rest = tl.zeros([ROWS], ROW)
        for start in range(0, classes, BLOCK):
            k = start + lanes[None, :]
            mask = valid[:, None] & (k < classes)
            z = tl.load(here + k * stride, mask=mask, other=float("-inf")).to(tl.float32)
            top = tl.maximum(highest, tl.max(z, 1))
            # Rows of nothing but -inf so far: a maximum of -inf would make their differences NaN.
            e, left = exponential(z, tl.where(top == float("-inf"), 0.0, top)[:, None], ACCURATE, SHIFT)
            smaller = tl.exp(tl.where(highest == top, 0.0, highest.to(ROW) - top.to(ROW)))
            rest = rest * smaller + total(e, left, k, y, ACCURATE, EXTRA).to(ROW)
            highest = top

    own, left_of_own = exponential(own_logit, highest, ACCURATE, SHIFT)
    own = own.to(ROW) + left_of_own.to(ROW)
    inverse = 1.0 / (rest + own)
    x = rest * inverse
    unit: tl.constexpr = 2.0**-SHIFT
    pt = own * inverse
    behind = highest.to(ROW) - own_logit.to(ROW)
    # The logarithm of the very Pt that belongs to this x, as long as there is one: its error is then that of x, which
    # L - x - x^2/2 - ... does not amplify.
    near = behind < 64.0
    log = tl.log(tl.where(near, pt, (rest + own) * unit))
    log = tl.where(near, -log, behind + log)
    value, slope = respond(x, pt, log, table, N, Q, ODD, FOCAL)
    value = value.to(tl.float64)
    slope = slope.to(tl.float64)
    if weight is not None:
        factor = widened(tl.load(weight + y, mask=inside, other=0.0))
        value = value * factor
        slope = slope * factor
    if loss is not None:
        value = tl.where(ignored, 0.0, value)
        if EACH:
            tl.store(loss + position, rounded(value, loss.dtype.element_ty), mask=valid)
        else:
            tl.store(loss + program, tl.sum(value, 0))

    if out is not None:
        if counts is not None:
            c = tl.arange(0, COUNTS)
            count = tl.load(counts + group.to(tl.int64) * chunks + c, mask=c < chunks, other=0.0)
            slope = slope * (1.0 / tl.sum(count, 0))
        if grad is not None:
            at = grad + group.to(tl.int64) * grad_stride + row * grad_row_stride
            slope = slope * widened(tl.load(at, mask=valid, other=0.0))
        own_gradient = tl.where(ignored, 0.0, -slope * x.to(tl.float64)).to(tl.float32)
        scale = slope * (inverse.to(tl.float64) * 2.0**SHIFT)
        # Two factors, e * first * second: a scale near either end of float32's range overflows nothing and loses no
        # digits. One beyond 2^254 is cut, for the exponentials of 0; an infinite one is the caller's.
        large = tl.abs(scale) >= 1.0
        first = tl.where(large, 2.0 ** (126 - SHIFT), unit)
        second = tl.where(large, scale * 2.0**-126, scale)
        cut = (tl.abs(second) > LARGEST32) & (tl.abs(second) < float("inf"))
        second = tl.where(cut, tl.where(second > 0.0, LARGEST32, -LARGEST32), second).to(tl.float32)
        there = out + origin[:, None]
        if SINGLE:
            g = e * first[:, None] * second[:, None]
            g = tl.where((k == y[:, None]) | ignored[:, None], own_gradient[:, None], g)
            tl.store(there + k * stride, rounded(g, out.dtype.element_ty), mask=mask)
        else:
            for start in range(0, classes, BLOCK):
                k = start + lanes[None, :]
                mask = valid[:, None] & (k < classes)
                z = tl.load(here + k * stride, mask=mask, other=float("-inf")).to(tl.float32)
                e, left = exponential(z, highest[:, None], ACCURATE, SHIFT)
                g = e * first[:, None] * second[:, None]
                g = tl.where((k == y[:, None]) | ignored[:, None], own_gradient[:, None], g)
                tl.store(there + k * stride, rounded(g, out.dtype.element_ty), mask=mask)

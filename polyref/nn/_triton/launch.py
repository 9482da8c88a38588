"""From tensors to launches: tiles, coefficients, and the three kernels of a call.

A call launches at most three kernels and waits for nothing: one counts the rows for a mean, one computes losses and
gradient, one adds the partial sums of each group. There are no atomics: equal inputs give equal bits.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from polyref.nn._kernel import Parameters
from polyref.nn._response import remainder_polynomial

_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
#: A program of the counting kernel reads this many targets at a time; a chunk is a multiple of it.
_TARGETS = 1024
_MOST_CHUNKS = 256
#: Beyond this many partial sums the last kernel, one program for each group, would be long in adding them.
_MOST_PARTIALS = 1 << 14


def unavailable() -> str:
    """Why this backend cannot run here, in a line; empty where it can."""
    if not _installed():
        return "triton is not installed: pip install 'polyref[cuda]'"
    if not torch.cuda.is_available() and not _interpreted():
        return "torch sees no CUDA device"
    return ""


@lru_cache(maxsize=1)
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


def _interpreted() -> bool:
    """Whether triton runs its kernels in its interpreter, on tensors of the CPU."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")


def applies(logits: Tensor, parameters: Parameters) -> bool:
    """Whether this backend can take these logits and parameters; looks at no data."""
    return (
        logits.dtype in _DTYPES
        and (logits.is_cuda or (_interpreted() and logits.device.type == "cpu"))
        and parameters.label_smoothing == 0
        and logits.shape[1] < 2**30
        and not unavailable()
    )


def _series_terms(n: int) -> int:
    """How many terms of the sum over odd j > n leave out less than 2^-29 of R_n, for every x below 1/2, so s < 1/3.

    At 1/2 the part left out is largest relative to R_n >= x^(n+1)/(n+1); from j on it is at most 2 s^j / (j (1 - s^2)).
    The kernels use the series up to 1/2 for every n, because for small x it is also their logarithm.
    """
    first = n + 1 + n % 2
    floor = 2.0 ** -(n + 1) / (n + 1) * 2.0**-29
    return next(i for i in range(1, 99) if 9 / 4 * 3.0 ** -(first + 2 * i) / (first + 2 * i) < floor)


@lru_cache(maxsize=256)
def coefficients(epsilon: tuple[float, ...]) -> tuple[tuple[float, ...], int, int, int]:
    """The numbers that :func:`polyref.nn._triton.device.respond` reads, and how many of them there are.

    With C_j = eps_j, trailing zeros cut off but for the first, in this order: room for gamma; 1/j + C_j for j = 1..N;
    the N + 1 coefficients of Pt dP/dx in powers of x; C_j; j C_j; Q_N / 2^N; and 2/j for the odd j > N. Each is rounded
    once. Cross-entropy is N = 1 with C_1 = 0, so that it has the series too.

    Returns:
        The table, N, and the lengths of the last two parts.
    """
    n = max((j for j, e in enumerate(epsilon, start=1) if e != 0), default=1)
    given = (*epsilon, 0.0)[:n]
    c = [Fraction(0), *(Fraction(e) for e in given), Fraction(0)]
    quotient = [float(v / 2**n) for v in remainder_polynomial(n)]
    first = n + 1 + n % 2
    odd = [2.0 / j for j in range(first, first + 2 * _series_terms(n), 2)]
    table = (
        0.0,
        *(float(Fraction(1, j) + c[j]) for j in range(1, n + 1)),
        *(float((i + 1) * c[i + 1] - i * c[i] + (i == 0)) for i in range(n + 1)),
        *given,
        *(float(j * c[j]) for j in range(1, n + 1)),
        *quotient,
        *odd,
    )
    return table, n, len(quotient), len(odd)


def device_table(parameters: Parameters, device: torch.device) -> tuple[Tensor, int, int, int]:
    """The coefficients on the device, and their numbers.

    They are written by kernels that carry a number each, because a copy from the host would wait. Each stream has its
    own: one that another stream wrote might not be there yet. What a graph captures is written when it is replayed, and
    so nobody else's.
    """
    stream, capturing = 0, False
    if device.type == "cuda":
        stream = torch.cuda.current_stream(device).cuda_stream
        capturing = torch.cuda.is_current_stream_capturing()
    make = _device_table.__wrapped__ if capturing else _device_table
    return make(parameters.epsilon, parameters.gamma, device, stream)


@lru_cache(maxsize=64)
def _device_table(
    epsilon: tuple[float, ...], gamma: float, device: torch.device, stream: int
) -> tuple[Tensor, int, int, int]:
    numbers, n, quotient, odd = coefficients(epsilon)
    table = torch.empty(len(numbers), dtype=torch.float64, device=device)
    for i, number in enumerate((gamma, *numbers[1:])):
        table[i].fill_(number)
    return table, n, quotient, odd


def _power_of_two(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()


@dataclass(frozen=True, slots=True)
class Tiling:
    """How many elements a program has, and how many each of its threads; all of them powers of two.

    What there is one of for each row every thread of the row computes for itself, in float64 mostly: so the threads are
    few, with as many elements each as the registers hold.

    Attributes:
        single: a tile of whole rows with at most this many elements stays in registers.
        tile: what a program aims at where rows are shorter.
        piece: the piece of a row that is too long.
        pixels: with (N, C, D) logits at least this many neighbours of D: a line of the cache in float32.
    """

    single: int = 32768
    tile: int = 1024
    piece: int = 4096
    pixels: int = 32

    def block(self, rows: int, classes: int, strided: bool) -> tuple[int, int, bool, int]:
        """Rows and classes of a tile, whether it holds whole rows, and the number of warps."""
        width, most = _power_of_two(classes), _power_of_two(rows)
        fewest = min(self.pixels, most) if strided else 1
        whole = width * fewest <= self.single
        if not whole:
            width = max(self.piece // fewest, 1)
        if strided:
            height = min(max(2 * self.tile // width, fewest), 4 * self.pixels, most)
            return height, width, whole, _warps(width * height, 64)
        if width >= 256:
            return 1, width, whole, _warps(width, 32)
        height = min(max(self.tile // width, 1), most)
        return height, width, whole, _warps(width * height, 4)


def _warps(elements: int, each: int) -> int:
    """How many warps give each thread that many elements, as far as a program may have them."""
    return min(max(elements // (32 * each), 1), 32)


@dataclass(frozen=True, slots=True)
class _Shape:
    """Batches of rows that are laid out alike, some of them to a group; see ``device.loss_kernel``."""

    batches: int
    rows: int
    classes: int
    groups: int
    strided: bool

    @classmethod
    def of(cls, logits: Tensor, parameters: Parameters) -> _Shape:
        n, classes = logits.shape[:2]
        spatial = logits.shape[2] if logits.dim() == 3 else 1
        groups = (parameters.groups or 1) if parameters.reduction != "none" else 1
        if spatial != 1:
            return cls(n, spatial, classes, groups, strided=True)
        return cls(groups, n // groups, classes, groups, strided=False)

    @property
    def empty(self) -> bool:
        return self.batches * self.rows == 0

    @property
    def rows_of_a_group(self) -> int:
        return self.batches * self.rows // self.groups


@dataclass(frozen=True, slots=True)
class TritonKernel:
    """A :class:`polyref.nn._kernel.Kernel` for index targets, label_smoothing 0, float16, bfloat16 and float32.

    A target out of range reads nothing and gives NaN for its row: to raise an error the host would have to wait.

    Accuracy in float32, worst error in ulps of the exact result as value / gradient entry: epsilon 0, -1, -0.5, 1, 2
    with gamma 0, 0.5, 2: 2.5 / 2.9; (-1, -1/2) and (-1, -1/2, -1/3) with the same gammas: 3.4 / 3.7. Measured in
    Triton's interpreter, not on a device, at least 4,000 rows of C = 2, 2,000 of C = 10 and 100 of C = 1000 for each
    pair, Pt from 1e-30 to 1 - 1e-30. 16 bits: 0.50 ulp. Classes below exp(-131) of the largest count as impossible; in
    float16 below 2^-126.
    """

    tiling: Tiling = Tiling()

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        parameters: Parameters,
        *,
        gradient: bool,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`polyref.nn._kernel.Kernel.forward`."""
        shape = _Shape.of(logits, parameters)
        each = parameters.reduction == "none"
        wanted = gradient and not each
        out = torch.empty_like(logits) if wanted else logits.new_empty(0)
        if each:
            loss = torch.empty(target.shape, dtype=dtype, device=logits.device)
        else:
            groups = (parameters.groups,) if parameters.groups else ()
            loss = torch.empty(groups, dtype=dtype, device=logits.device)
        if shape.empty:
            return loss.fill_(float("nan") if parameters.reduction == "mean" else 0.0), out
        with _on(logits.device):
            counts, chunks = _counts(target, weight, shape, parameters)
            partials = self._launch(
                logits, target, weight, parameters, shape, (counts, chunks),
                grad=None, loss=loss if each else None, out=out if wanted else None, dtype=dtype,
            )  # fmt: skip
            if partials is not None:
                if partials.shape[1] > _MOST_PARTIALS:
                    partials = partials.sum(1, keepdim=True)
                _kernels().finish_kernel[(shape.groups,)](
                    partials, counts, loss, partials.shape[1], chunks, BLOCK=1024, num_warps=8, enable_fp_fusion=True
                )
        return loss, out

    def backward_(
        self,
        out: Tensor,
        grad: Tensor,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        parameters: Parameters,
        *,
        filled: bool,
    ) -> None:
        """As :meth:`polyref.nn._kernel.Kernel.backward_`; the device decides whether the gradient is there already."""
        shape = _Shape.of(logits, parameters)
        if shape.empty:
            return
        with _on(logits.device):
            self._launch(
                logits, target, weight, parameters, shape, _counts(target, weight, shape, parameters),
                grad=grad, loss=None, out=out, dtype=logits.dtype, filled=filled,
            )  # fmt: skip

    def _launch(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None,
        parameters: Parameters,
        shape: _Shape,
        counted: tuple[Tensor | None, int],
        *,
        grad: Tensor | None,
        loss: Tensor | None,
        out: Tensor | None,
        dtype: torch.dtype,
        filled: bool = False,
    ) -> Tensor | None:
        """One launch of ``loss_kernel``; the partial sums, a row for each group, where neither loss nor grad is given.

        ``dtype`` is the widest that anything is rounded to.
        """
        each = parameters.reduction == "none"
        rows, block, single, warps = self.tiling.block(shape.rows, shape.classes, shape.strided)
        tiles = -(-shape.rows // rows)
        partials = None
        if loss is None and grad is None:
            partials = torch.empty(
                (shape.groups, shape.batches * tiles // shape.groups), dtype=torch.float64, device=logits.device
            )
        table, n, quotient, odd = device_table(parameters, logits.device)
        accurate = dtype == torch.float32
        narrow = not accurate and n == 1 and parameters.gamma == 0
        strides = (0, 0)
        if grad is not None:
            if not each:
                strides = (grad.stride(0) if grad.dim() else 0, 0)
            elif shape.strided:
                strides = (grad.stride(0), grad.stride(1))
            else:
                strides = (0, grad.stride(0))
        counts, chunks = counted
        constants: dict[str, Any] = {
            "N": n, "Q": quotient, "ODD": odd, "FOCAL": parameters.gamma > 0, "ACCURATE": accurate,
            # In float16 results everything below 2^-126 is 0 anyway, and the shift would cost half a digit.
            "SHIFT": 64 if accurate or logits.dtype == torch.bfloat16 else 0,
            "ROW": _kernels().tl.float32 if narrow else _kernels().tl.float64,
            "STRIDED": shape.strided, "EACH": each, "FILLED": filled and not each, "SINGLE": single,
            "ROWS": rows, "BLOCK": block, "COUNTS": _power_of_two(chunks), "num_warps": warps,
            # Contraction is harmless (see device.py), and what it defaults to depends on triton's version.
            "enable_fp_fusion": True,
        }  # fmt: skip
        _kernels().loss_kernel[(shape.batches * tiles,)](
            logits, target, weight, table, counts, grad, partials if loss is None else loss, out,
            shape.rows, shape.classes, tiles, 1 if each else shape.batches // shape.groups, chunks, *strides,
            parameters.ignore_index, **constants,
        )  # fmt: skip
        return partials


def _counts(target: Tensor, weight: Tensor | None, shape: _Shape, parameters: Parameters) -> tuple[Tensor | None, int]:
    """For a mean the sum of the weights in each chunk of each group's rows, and the number of chunks."""
    if parameters.reduction != "mean":
        return None, 1
    rows = shape.rows_of_a_group
    pieces = -(-rows // _TARGETS)
    chunk = _TARGETS * -(-pieces // _MOST_CHUNKS)
    chunks = -(-rows // chunk)
    counts = torch.empty((shape.groups, chunks), dtype=torch.float64, device=target.device)
    _kernels().count_kernel[(shape.groups * chunks,)](
        target, weight, counts, rows, shape.classes, chunks, chunk, parameters.ignore_index,
        BLOCK=_TARGETS, num_warps=4, enable_fp_fusion=True,
    )  # fmt: skip
    return counts, chunks


def _on(device: torch.device) -> torch.cuda.device:
    """The device made current, because Triton launches there; for the CPU's interpreter nothing changes.

    Raises:
        RuntimeError: for another device.
    """
    if device.type != "cuda" and not (device.type == "cpu" and _interpreted()):
        raise RuntimeError(f"the triton backend runs on CUDA, not on {device}: move the logits or choose another")
    return torch.cuda.device(device if device.type == "cuda" else -1)


def _kernels() -> Any:
    """The module of the kernels, imported when the first of them is launched: it needs triton."""
    return importlib.import_module("polyref.nn._triton.device")


_KERNEL = TritonKernel()
forward = _KERNEL.forward
backward_ = _KERNEL.backward_

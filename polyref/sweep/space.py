"""The inputs of a sweep: every number of a format, or every pair of them, each by its place in one long row.

Margins are the logits (m, 0), one for each bit pattern of m; pairs are the logits (a, b), one for each pair of bit
patterns. The target is the first class. A place is the bit pattern, or the two of them one behind the other, so it
names its input in any language.

A sample of pairs takes the patterns from a generator without a state, so that any part of it can be had by itself: the
i-th number of SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA
2014) is a pair. All bit patterns are as likely, so magnitudes are as likely as their exponents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from polyref.case import Case
from polyref.errors import UsageError
from polyref.formats import Format, named
from polyref.spec import Spec

Kind = Literal["margins", "pairs"]
#: The formats that can be swept: 2^32 margins are minutes, 2^64 are a geological age.
_WIDEST = 32
_WIDEST_PAIRS = 16
_WHOLE_NUMBERS = {16: torch.int16, 32: torch.int32}
#: The increment of SplitMix64, and the shifts and factors that mix its state.
_GAMMA = 0x9E3779B97F4A7C15
_MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
_WORD = 64


@dataclass(frozen=True)
class Space:
    """All inputs of one kind in one format, or a sample of them.

    Attributes:
        kind: margins or pairs.
        format_name: the format's name.
        sample: how many pairs are drawn; 0 for all there are.
        seed: of the sample; another one draws others.

    Raises:
        UsageError: for a format that is too wide for it, or narrower than any dtype that losses take.
    """

    kind: Kind
    format_name: str
    sample: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        fmt = self.format
        if self.sample and self.kind != "pairs":
            raise UsageError(f"--sample {self.sample} is for --pairs: all margins can be swept, so leave it out")
        if self.sample < 0 or not 0 <= self.seed < 1 << _WORD:
            raise UsageError(f"a sample of {self.sample} with the seed {self.seed} cannot be drawn: give whole numbers")
        widest = _WIDEST_PAIRS if self.kind == "pairs" and not self.sample else _WIDEST
        if not _WIDEST_PAIRS <= fmt.bits <= widest:
            choices = "bfloat16 or binary16" if self.kind == "pairs" else "bfloat16, binary16 or binary32"
            if self.kind == "pairs" and not self.sample and fmt.bits == _WIDEST:
                choices += ", or a --sample of them"
            raise UsageError(f"all {self.kind} of {fmt.name} cannot be swept: choose {choices}")

    @property
    def format(self) -> Format:
        """The format of the logits."""
        return named(self.format_name)

    @property
    def size(self) -> int:
        """How many inputs there are."""
        return self.sample or 1 << (self.format.bits * (2 if self.kind == "pairs" else 1))

    def logits(self, start: int, stop: int, device: str = "cpu") -> Tensor:
        """The logits (N, 2) of the places from ``start`` up to, not including, ``stop``, in the format's dtype."""
        if self.kind == "margins":
            margins = _decoded(torch.arange(start, stop, dtype=torch.int64, device=device), self.format)
            return torch.stack((margins, torch.zeros_like(margins)), 1)
        if self.sample:
            drawn = _drawn(torch.arange(start, stop, dtype=torch.int64, device=device), self.seed)
            bits, mask = self.format.bits, (1 << self.format.bits) - 1
            both = ((drawn >> (_WORD - bits)) & mask, (drawn >> (_WORD - 2 * bits)) & mask)
            return torch.stack([_decoded(p, self.format) for p in both], 1)
        every, bits = _every_number(self.format_name, device), self.format.bits
        made = torch.empty((stop - start, 2), dtype=every.dtype, device=device)
        while start < stop:  # the pairs of one first logit
            first, second = start >> bits, start & ((1 << bits) - 1)
            count = min(stop - start, len(every) - second)
            rows = made[-(stop - start) :][:count]
            rows[:, 0] = every[first]
            rows[:, 1] = every[second : second + count]
            start += count
        return made

    def numbers(self, place: int) -> tuple[float, float]:
        """The two logits at a place."""
        fmt = self.format
        if self.kind == "margins":
            return fmt.decode(place), 0.0
        patterns = self._patterns(place)
        return fmt.decode(patterns >> fmt.bits), fmt.decode(patterns & ((1 << fmt.bits) - 1))

    def magnitudes(self, start: int, stop: int) -> tuple[float, float]:
        """Numbers between which the finite |z_o - z_y| of a part lie."""
        sign = 1 << (self.format.bits - 1)
        if self.kind == "pairs" or start < sign < stop:
            return 0.0, math.inf
        # Of one sign, magnitudes grow with the bit patterns, up to infinity and what is no number.
        least, most = (self.format.decode(place % sign) for place in (start, stop - 1))
        return (least if math.isfinite(least) else self.format.largest), (most if math.isfinite(most) else math.inf)

    def _patterns(self, place: int) -> int:
        """The bit patterns at a place, one behind the other."""
        if not self.sample:
            return place
        drawn = int(_drawn(torch.tensor([place]), self.seed)[0]) & ((1 << _WORD) - 1)
        return drawn >> (_WORD - 2 * self.format.bits)

    def case(self, place: int, spec: Spec) -> Case:
        """The case at a place whose logits are finite, or -inf for one of them."""
        return Case(spec, self.format, (self.numbers(place),), (0,))

    def name(self, place: int) -> str:
        """The bit patterns at a place as hexadecimal digits."""
        digits = self.format.bits * (2 if self.kind == "pairs" else 1) // 4
        return f"{self._patterns(place):#0{digits + 2}x}"

    def bound(self, place: int) -> str:
        """A place as the bound of a range: hexadecimal digits."""
        return f"0x{place:0{self.size.bit_length() // 4}x}"


def _drawn(places: Tensor, seed: int) -> Tensor:
    """The numbers of SplitMix64 at some places, as int64, whose arithmetic wraps around."""
    drawn = (places + 1) * _signed(_GAMMA) + _signed(seed)
    for shift, factor in _MIXING:
        drawn = (drawn ^ ((drawn >> shift) & ((1 << (_WORD - shift)) - 1))) * _signed(factor)
    return drawn


def _signed(word: int) -> int:
    return word - (1 << _WORD) if word >> (_WORD - 1) else word


def _decoded(patterns: Tensor, fmt: Format) -> Tensor:
    """The numbers of bit patterns."""
    half = 1 << (fmt.bits - 1)
    # No unsigned dtype has a full set of operations.
    signed = torch.where(patterns >= half, patterns - 2 * half, patterns)
    return signed.to(_WHOLE_NUMBERS[fmt.bits]).view(getattr(torch, fmt.torch_name))


@lru_cache(maxsize=4)
def _every_number(name: str, device: str) -> Tensor:
    """All numbers of a 16-bit format, by their bit patterns."""
    fmt = named(name)
    return _decoded(torch.arange(1 << fmt.bits, dtype=torch.int64, device=device), fmt)


def part(text: str, space: Space) -> tuple[int, int]:
    """The places of ``A:B``: from A up to, not including, B; decimal or 0x numbers, either may be left out.

    Raises:
        UsageError: if it is no range of places of the space.
    """
    first, colon, last = text.partition(":")
    try:
        start = int(first, 0) if first else 0
        stop = int(last, 0) if last else space.size
    except ValueError:
        start, stop = 1, 0
    if not colon or not 0 <= start < stop <= space.size:
        raise UsageError(
            f"range {text!r} is no part of the {space.size:#x} {space.kind} of {space.format_name}: "
            "give A:B, from A up to, not including, B"
        )
    return start, stop

"""What is swept, as data that travels to other processes and machines and that a checkpoint is recognised by."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from polyref.spec import Reduction, Spec
from polyref.sweep.space import Kind, Space


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One sweep.

    Attributes:
        target: the target's text.
        convention: how it is called, as :meth:`polyref.subject.convention.Convention.to_json` writes it.
        path: folders beside the installed ones that the target is looked for in.
        source: the digest of the target's file, where it is one.
        kind: margins or pairs.
        format: the name of the format.
        sample: how many pairs are drawn; 0 for all there are.
        seed: of the sample.
        epsilons: the eps_1, ..., eps_N of each spec.
        gamma: the focal exponent of all of them.
        gradient: whether gradients are judged.
        device: where subject and filter run.
        start: the first place.
        stop: the place after the last one.
        length: the places of a range.
        versions: what the results may depend on: polyref, torch, the processor.
    """

    target: str
    convention: dict[str, Any]
    path: list[str]
    source: str | None
    kind: Kind
    format: str
    sample: int = 0
    seed: int = 0
    epsilons: list[list[float]]
    gamma: float
    gradient: bool
    device: str
    start: int
    stop: int
    length: int
    versions: dict[str, str]

    @property
    def space(self) -> Space:
        """The inputs."""
        return Space(self.kind, self.format, self.sample, self.seed)

    @property
    def specs(self) -> list[Spec]:
        """The losses that the subject is asked for and judged by."""
        return [Spec(epsilon=tuple(e), gamma=self.gamma, reduction=Reduction.NONE) for e in self.epsilons]

    @property
    def ranges(self) -> list[Range]:
        """The parts that are swept one by one, each under every spec."""
        return [Range(a, min(a + self.length, self.stop)) for a in range(self.start, self.stop, self.length)]

    @property
    def digest(self) -> str:
        """What tells this sweep from every other one; the folders where its target was found do not matter."""
        text = msgspec.json.encode(msgspec.structs.replace(self, path=[]), order="sorted")
        return hashlib.sha256(text).hexdigest()[:16]


def source_digest(file: str | None) -> str | None:
    """What tells the content of a target's file from every other one; None where there is none to read."""
    try:
        return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]
    except OSError:
        return None


class Range(msgspec.Struct, frozen=True, order=True):
    """Places from ``start`` up to, not including, ``stop``."""

    start: int
    stop: int

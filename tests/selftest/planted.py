"""A small world for the self-test: two laws, a few mutants, and what tests plant among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from polyref.formats import BINARY32, BINARY64
from polyref.property import Property
from polyref.report.selftest import SelfTest
from polyref.selftest import registry
from polyref.selftest.run import Options, selftest
from polyref_properties import ALL
from polyref_properties.mutants import CLAIMED, CONVENTION, Mutant, Variant, all_mutants
from polyref_properties.mutants.base import Textbook

LAWS = {law.id: law for law in ALL}
VALUE = replace(LAWS["value-matches-the-reference"], mutants=("sign-flipped",))
SUMS = replace(LAWS["gradient-sums-to-zero"], mutants=("normaliser-detached",))
RIGHT = Variant("textbook", "nothing", Textbook, CONVENTION, CLAIMED)


class Endless(Textbook):
    """Never comes back, and catches whatever is thrown at it, once."""

    def forward(self, *_):
        try:
            while True:
                pass
        except BaseException:
            while True:
                pass


class SignFlipped(Textbook):
    """Wrong."""

    def terms(self):
        return [(j, -eps) for j, eps in super().terms()]


class LeavesEarly(Textbook):
    """Raises for three classes."""

    def forward(self, logits, labels):
        if logits.shape[-1] == 3:
            raise ArithmeticError("three is too many")
        return super().forward(logits, labels)


class NegativeZero(Textbook):
    """Right up to the sign of zero."""

    def forward(self, logits, labels):
        losses = super().forward(logits, labels)
        return torch.where(losses == 0, -0.0, losses)


def plain(logits, labels, epsilon=1.0):
    """Right, and called in its own way."""
    return Textbook(epsilon)(logits, labels)


def world(
    monkeypatch: pytest.MonkeyPatch,
    *,
    laws: tuple[Property, ...] = (VALUE, SUMS),
    mutants: Mapping[str, Mutant] | None = None,
    variants: tuple[Variant, ...] = (RIGHT,),
) -> None:
    """Let the self-test see these and nobody else."""
    ours = {name: all_mutants()[name] for name in ("sign-flipped", "normaliser-detached")}
    monkeypatch.setattr(registry, "load_laws", lambda: {law.id: law for law in laws})
    monkeypatch.setattr(registry, "load_mutants", lambda: {**ours, **(mutants or {})})
    monkeypatch.setattr(registry, "harmless", lambda: {v.name: v for v in variants})


def run(**options: object) -> SelfTest:
    """A self-test of that world in this process."""
    given = {"jobs": 1, "examples": 12, "formats": (BINARY64, BINARY32), "patience": 5.0} | options
    return selftest(Options(**given))


def mutant(name: str, loss: object, kind: str = "semantic", **more: object) -> dict[str, Mutant]:
    """One more mutant."""
    return {name: Mutant(name, "planted", loss, kind, **more)}

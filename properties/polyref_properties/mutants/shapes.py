"""Mutants of shapes and layouts."""

from __future__ import annotations

from polyref_properties.mutants import Mutant

MUTANTS: tuple[Mutant, ...] = ()

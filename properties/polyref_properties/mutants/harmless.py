"""Right implementations that look unusual: no law may accuse one."""

from __future__ import annotations

from polyref_properties.mutants import Variant

VARIANTS: tuple[Variant, ...] = ()

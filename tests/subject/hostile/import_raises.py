"""Cannot be imported, and says so at length."""

from subject.hostile import base

loss = base.poly

raise ValueError("m" * 10_000_000)

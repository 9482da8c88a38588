"""Subjects of other frameworks than torch, right and wrong ones; each module needs its framework."""

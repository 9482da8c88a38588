"""Sweeps: a loss judged on every number of a format, not on a sample."""

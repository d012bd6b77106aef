"""Measures of a generator: one file per metric."""

"""Evaluations: names, passes over images, statistics, caches."""

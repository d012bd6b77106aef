"""Classifiers of binary attributes: their labels, files and training."""

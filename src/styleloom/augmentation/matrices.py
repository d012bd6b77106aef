"""Matrices of plane transformations, and of colours: float64 [N, 3, 3] and [N, 4, 4] on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor


def identity(count: int, side: int = 3) -> Tensor:
    """`count` unit matrices."""
    return torch.eye(side, dtype=torch.float64).repeat(count, 1, 1)


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Stretching by `x` and `y`, each [N]."""
    matrix = identity(len(x))
    matrix[:, 0, 0], matrix[:, 1, 1] = x, y
    return matrix


def rotation(angle: Tensor) -> Tensor:
    """By `angle` [N], radians, from the x axis towards the y axis."""
    matrix = identity(len(angle))
    matrix[:, 0, 0] = matrix[:, 1, 1] = angle.cos()
    matrix[:, 1, 0], matrix[:, 0, 1] = angle.sin(), -angle.sin()
    return matrix


def translation(x: Tensor, y: Tensor) -> Tensor:
    """By `x` and `y`, each [N]."""
    matrix = identity(len(x))
    matrix[:, 0, 2], matrix[:, 1, 2] = x, y
    return matrix

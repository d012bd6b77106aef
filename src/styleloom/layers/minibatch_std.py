"""Minibatch standard deviation (ProGAN section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8


def minibatch_std(x: Tensor, group_size: int, features: int = 1) -> Tensor:
    """Standard deviations of groups of samples as further channels: [N, C, H, W] -> [N, features, H, W].

    A group has min(group_size, N) members, samples i, i + M, i + 2M, ... with M = N / group. The biased
    standard deviation over a group is averaged over pixels and over C / features channels.

    Raises:
        ValueError: N is no multiple of the group, or C none of `features`.
    """
    n, c, height, width = x.shape
    group = min(group_size, n)
    if n % group or c % features:
        raise ValueError(f"minibatch_std: batch {n} and {c} channels, groups of {group}, {features} features")
    y = x.float().reshape(group, n // group, features, c // features, height, width)
    variance = (y - y.mean(0)).square().mean(0)  # [M, F, C/F, H, W]
    std = torch.sqrt(variance + EPSILON).mean((2, 3, 4))  # [M, F]
    maps = std.to(x.dtype).repeat(group, 1).view(n, features, 1, 1)
    return torch.zeros_like(x[:, :features]) + maps  # laid out as x: joined to it, it keeps x's layout

"""What keeps optimised noise maps noise: no autocorrelation, mean 0, variance 1 (StyleGAN2 appendix D)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

LOWEST_PX = 8
"""Pyramids end at this side; smaller maps have their own level alone."""


def noise_autocorrelation_reference(maps: Sequence[Tensor], level_gain: float = 1.0) -> Tensor:
    """Slow reference of `noise_autocorrelation`: one map after the other."""
    total = maps[0].new_zeros(len(maps[0]))
    for n in maps:
        while True:
            total = total + (n * n.roll(1, 3)).mean((1, 2, 3)).square()
            total = total + (n * n.roll(1, 2)).mean((1, 2, 3)).square()
            if not _is_halved(n):
                break
            n = avg_pool2d(n, 2) * level_gain
    return total


def noise_autocorrelation(maps: Sequence[Tensor], level_gain: float = 1.0) -> Tensor:
    """Sum over maps and levels of mean(n(x, y) n(x - 1, y))^2 + mean(n(x, y) n(x, y - 1))^2, wrapping.

    The levels of a map are the map itself and its means of 2 x 2 pixels, down to 8 px on the shorter side.
    Maps and reduced maps of one size are taken together.

    Args:
        maps: one or more, each [N, 1, H, W].
        level_gain: see `Projection`.

    Returns:
        [N].
    """
    total = maps[0].new_zeros(len(maps[0]))
    waiting: dict[tuple[int, int], list[Tensor]] = {}
    for n in maps:
        waiting.setdefault((n.shape[2], n.shape[3]), []).append(n)
    while waiting:
        together = torch.cat(waiting.pop(max(waiting)), 1)  # [N, K, H, W]
        for axis in (2, 3):
            total = total + (together * together.roll(1, axis)).mean((2, 3)).square().sum(1)
        if _is_halved(together):
            half = avg_pool2d(together, 2) * level_gain
            waiting.setdefault((half.shape[2], half.shape[3]), []).append(half)
    return total


def _is_halved(n: Tensor) -> bool:
    height, width = n.shape[2:]
    return min(height, width) > LOWEST_PX and height % 2 == width % 2 == 0


@torch.no_grad()
def normalize_(maps: Sequence[Tensor]) -> None:
    """Give every map [N, 1, H, W] mean 0 and variance 1 (not corrected for bias), in place."""
    for n in maps:
        n -= n.mean((1, 2, 3), keepdim=True)
        n *= n.square().mean((1, 2, 3), keepdim=True).rsqrt()

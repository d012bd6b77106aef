"""Images whose statistics are known: for the sliced Wasserstein distance and its parts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def scenes(num: int, side: int = 32, channels: int = 3, seed: int = 0) -> Tensor:
    """float [num, channels, side, side] in [40, 215]: blobs of several sizes and some grain."""
    generator = torch.Generator().manual_seed(seed)

    def random(size: int, depth: int = channels) -> Tensor:
        field = torch.randn(num, depth, size, size, generator=generator)
        return F.interpolate(field, size=(side, side), mode="bilinear", align_corners=False)

    field = (
        random(max(side // 8, 2), 1) + 0.5 * random(side // 4) + 0.3 * random(side // 2) + 0.1 * random(side)
    )
    return 127.5 + 87.5 * torch.tanh(0.8 * field)


def wide(num: int, height: int, width: int, seed: int = 0) -> Tensor:
    """float [num, 3, height, width]: the middle rows or columns of `scenes`."""
    side = 1 << (max(height, width) - 1).bit_length()
    top, left = (side - height) // 2, (side - width) // 2
    return scenes(num, side, seed=seed)[..., top : top + height, left : left + width]

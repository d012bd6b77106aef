"""The exponential moving average of the generator (ProGAN section 6.1, REFERENCE B.2)."""

from __future__ import annotations

import torch
from torch import nn


def ema_beta(batch: int, half_life_kimg: float) -> float:
    """Decay per step for a half-life in images: 0.5^(batch / half-life); 0.997784 at batch 32, 10 kimg."""
    return 0.5 ** (batch / (half_life_kimg * 1000)) if half_life_kimg > 0 else 0.0


@torch.no_grad()
def update_ema(average: nn.Module, source: nn.Module, beta: float) -> None:
    """Move `average` towards `source`; buffers (w_avg, noise maps) are copied, not averaged."""
    targets = [p.data for p in average.parameters()]
    torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
        targets, [p.data for p in source.parameters()], 1 - beta
    )
    for buffer, theirs in zip(average.buffers(), source.buffers(), strict=True):
        buffer.copy_(theirs)

"""The exponential moving average of the generator (ProGAN appendix A.1)."""

from __future__ import annotations

import torch
from torch import nn


def ema_beta(batch: int, half_life_kimg: float) -> float:
    """Decay per step for a half-life in images: 0.5^(batch / half-life); 0.997784 at batch 32, 10 kimg."""
    return 0.5 ** (batch / (half_life_kimg * 1000)) if half_life_kimg > 0 else 0.0


@torch.no_grad()
def update_ema(average: nn.Module, source: nn.Module, beta: float) -> None:
    """average <- beta average + (1 - beta) source, for parameters; buffers (w_avg, noise maps) are copied."""
    targets, sources = ([p.data for p in module.parameters()] for module in (average, source))
    torch._foreach_lerp_(targets, sources, 1 - beta)  # pyright: ignore[reportPrivateImportUsage]
    torch._foreach_copy_(  # pyright: ignore[reportPrivateImportUsage]
        list(average.buffers()), list(source.buffers())
    )

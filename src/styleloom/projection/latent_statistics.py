"""Mean and deviation of w, where a projection begins (StyleGAN2 appendix D)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from styleloom.errors import UserError
from styleloom.networks.assembly import StyleGenerator

SEED = 123
"""Of the latents, in the authors' codes."""

BATCH = 1000


@torch.no_grad()
def w_statistics(
    generator: StyleGenerator, count: int = 10_000, label: Tensor | None = None
) -> tuple[Tensor, float]:
    """Mean [W] of w, and its deviation: the root of the mean squared distance of w from its mean.

    z are `RandomState(123).randn(count, Z)` in float32, as in the authors' codes. The deviation is one number
    over all dimensions. Sums are float64.

    Args:
        generator: on any device.
        count: latents, 1 or more.
        label: [1, K], which all latents share, for generators that take labels.

    Raises UserError for a generator that takes z beside w.
    """
    z = torch.from_numpy(np.random.RandomState(SEED).randn(count, generator.z_dim)).float()
    parts = []
    for some in z.split(BATCH):
        own = None if label is None else label.expand(len(some), -1)
        ws = generator.mapping(some.to(generator.w_avg.device), own)
        if not torch.equal(ws, ws[:, :1].expand_as(ws)):
            raise UserError(
                "snapshot: an input of this generator takes z itself, so that no w stands for an image"
            )
        parts.append(ws[:, 0].cpu().double())
    w = torch.cat(parts)
    mean = w.mean(0)
    deviation = (w - mean).square().sum(1).mean().sqrt().item()
    return mean.float().to(generator.w_avg.device), deviation

"""Where the two latents of a sample meet: the draws of style mixing regularization (StyleGAN section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_cutoffs(
    batch: int, num_ws: int, probability: float, generator: torch.Generator, active: int, unit: int
) -> Tensor:
    """Layer index below which each sample keeps its first latent: [N] in 1..num_ws; num_ws is unmixed.

    A coin and a uniform cut in 1..active-1 are drawn for each `unit` of samples. Members of a unit are
    strided through the batch, i, i + M, ..., like the groups of minibatch standard deviation.

    Args:
        active: style inputs of the active levels; without growing all, `num_ws`.
        unit: samples that share one coin and one cut.
    """
    units = max(batch // unit, 1)
    coins = torch.rand(units, generator=generator)
    cuts = torch.randint(1, max(active, 2), (units,), generator=generator)
    cutoffs = torch.where(coins < probability, cuts, num_ws)
    return cutoffs.repeat(-(-batch // units))[:batch]

"""Where the two latents of a sample meet: the draws of style mixing regularization (StyleGAN section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_cutoffs(
    batch: int, num_ws: int, probability: float, generator: torch.Generator, active: int, unit: int
) -> Tensor:
    """The crossover layer of each sample, [N] in 1..num_ws: layers below it keep the first latent.

    With `probability`, the layer is uniform in 1..active - 1; otherwise it is num_ws, and nothing is mixed.
    `unit` samples share one draw; they are samples i, i + M, i + 2M, ... of the batch, as in the groups of
    minibatch standard deviation.

    Args:
        active: style inputs of the active levels; without growing all, `num_ws`.
        unit: samples that share one coin and one cut.
    """
    units = max(batch // unit, 1)
    coins = torch.rand(units, generator=generator)
    cuts = torch.randint(1, max(active, 2), (units,), generator=generator)
    cutoffs = torch.where(coins < probability, cuts, num_ws)
    return cutoffs.repeat(-(-batch // units))[:batch]

"""How much images of fixed latents change from one snapshot to the next (MSG-GAN Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from styleloom.errors import UserError
from styleloom.metrics.probes.full_size import at_level
from styleloom.sampling import Sampler


@torch.no_grad()
def images_at(sampler: Sampler, seeds: Sequence[int], labels: Tensor | None = None) -> dict[int, Tensor]:
    """Images of a block of seeds at each resolution that the generator makes.

    Of a pyramid that is every level. Of other generators it is the one resolution; in a growing run that of
    the active level, faded as it was, so that ProGAN goes through the figure's resolutions in turn. Latents
    and noise maps depend on the seed alone: differences between snapshots are the network's. No truncation.

    Args:
        sampler: a snapshot, which holds the EMA of the generator.
        seeds: one image each; the figure has 36.
        labels: [N, K], for generators that take them.

    Returns:
        Nominal side, px -> [N, C, H, W], float32 in about [-1, 1] (not clipped), on the CPU.
    """
    sampler = at_level(sampler)
    z, maps = sampler.draw(seeds)
    ws = sampler.generator.mapping(z, labels)
    images = sampler.generator.synthesis(ws, sampler.growth, maps)
    if isinstance(images, Tensor):
        return {sampler.resolution: images.float().cpu()}
    sides = sampler.experiment.generator.pyramid_sides
    assert sides is not None
    return {side: level.float().cpu() for side, level in zip(sides, images, strict=True)}


def changes(previous: Mapping[int, Tensor], current: Mapping[int, Tensor]) -> dict[int, float]:
    """Mean squared error between the images of two snapshots, for each resolution that both have.

    The mean is over latents, channels and pixels of images in [-1, 1]; the paper does not say its range. In
    a growing run the snapshots before and after a new level have no resolution in common: there is no result.

    Args:
        previous, current: of `images_at`, for the same seeds.

    Returns:
        Nominal side, px, ascending -> mean squared error.

    Raises UserError for images of different numbers or sizes.
    """
    result: dict[int, float] = {}
    for side in sorted(previous.keys() & current.keys()):
        before, after = previous[side], current[side]
        if before.shape != after.shape:
            raise UserError(
                f"images at {side} px: {list(before.shape)} before, {list(after.shape)} after; valid: the "
                "same seeds of the same generator"
            )
        result[side] = (after.double() - before.double()).square().mean().item()
    return result

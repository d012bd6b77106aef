"""Images of several latents each: what StyleGAN Table 2 computes FIDs of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from styleloom.config.growth import active_ws
from styleloom.errors import UserError
from styleloom.layers.style_mixing import mix
from styleloom.networks.assembly import finest
from styleloom.sampling import Sampler


@torch.no_grad()
def mixed_images(
    sampler: Sampler, seeds: Sequence[int], num_latents: int = 1, labels: Tensor | None = None
) -> Tensor:
    """One image for each seed, of `num_latents` latents that meet at random crossover points.

    StyleGAN section 3.1 and Table 2 randomize "latents and the crossover points between them"; how is not
    published. Here the num_latents - 1 points are different and uniform among 1..active - 1, so that each
    latent styles at least one layer of the active levels. With one latent the image is that of
    `Sampler.generate`; further latents come after the noise maps in the seed's own random generator. No
    truncation.

    Args:
        sampler: the generator.
        seeds: one image each.
        num_latents: 1 to 4 in the table; at most the style inputs of the active levels.
        labels: [N, K], for generators that take them; all latents of an image share its label.

    Returns:
        Finest images [N, C, H, W], about [-1, 1] (not clipped), on the generator's device.

    Raises UserError where layers cannot take the styles of different latents, or there are too few of them.
    """
    generator, active = sampler.generator, check_latents(sampler, num_latents)

    def images(at: Sequence[int]) -> Tensor:
        z, maps, streams = sampler.draw_streams([seeds[i] for i in at])
        latents = [z, *(sampler.further_latents(streams) for _ in range(num_latents - 1))]
        own = None if labels is None else labels[list(at)]
        styles = [generator.mapping(z, own) for z in latents]
        cuts = torch.stack([crossover_points(active, num_latents - 1, rng) for rng in streams])
        return finest(generator.synthesis(mix(styles, cuts), sampler.growth, maps))

    return torch.cat(list(sampler.passes(len(seeds), images)))


def check_latents(sampler: Sampler, num_latents: int) -> int:
    """Style inputs at work. Raises UserError unless `num_latents` latents can share them."""
    active = active_ws(sampler.growth, sampler.generator.num_ws)
    most = active if sampler.experiment.generator.mixes_styles else 1
    if not 1 <= num_latents <= most:
        reason = f"has {active} style inputs at work" if most > 1 else "cannot mix the styles of latents"
        raise UserError(
            f"num_latents: {num_latents} is not valid, this generator {reason}; valid: "
            f"{f'1 to {most}' if most > 1 else 1}"
        )
    return active


def crossover_points(active: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` different layers of 1..active - 1, in order: int64 [count]. All choices are equally likely."""
    return torch.randperm(active - 1, generator=generator)[:count].add(1).sort().values

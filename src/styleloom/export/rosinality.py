"""Checkpoints of rosinality's StyleGAN2: what encoders and editing tools read.

The file holds `g_ema`, `latent_avg` (the average of w), and `g` and `d` where the snapshot keeps them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleloom.errors import UserError
from styleloom.export.inverse import inverted, weights_of
from styleloom.export.targets import Options
from styleloom.networks.assembly import StyleGenerator
from styleloom.ops.upfirdn import fir_kernel
from styleloom.snapshot import Snapshot
from styleloom.weights import rosinality, sayable

logger = logging.getLogger(__name__)


def export(snapshot: Snapshot, out: Path, options: Options) -> dict[str, Any]:
    """Write the checkpoint; which networks are in it, with how many layers and which channel multiplier.

    Raises UserError for a generator that the layout cannot say. A discriminator that it cannot say is left
    out, with a warning.
    """
    cfg = sayable.rosinality_generator(snapshot.experiment.generator)
    content: dict[str, Any] = {"g_ema": _generator(snapshot.generator, cfg)}
    content["latent_avg"] = content["g_ema"].pop("latent_avg")
    if snapshot.raw is not None:
        content["g"] = _generator(snapshot.raw, cfg)
        content["g"].pop("latent_avg")
    if snapshot.discriminator is not None:
        try:
            d = sayable.rosinality_discriminator(snapshot.experiment.discriminator)
        except UserError as error:
            logger.warning(f"the discriminator is left out: {error}")
        else:
            content["d"] = _discriminator(snapshot.discriminator, d)
    multiplier = rosinality.channel_multiplier(cfg)
    if multiplier is None:
        logger.warning(
            "the channels of this network are not those that rosinality's code has: its table of channels "
            f"must be changed to { ({side: cfg.features.at_side(side) for side in cfg.sides}) } there"
        )
    torch.save(content, out)
    about = {"size": cfg.resolution, "latent": cfg.w_dim, "n_mlp": cfg.mapping.layers}
    return {
        "networks": [name for name in content if name != "latent_avg"],
        **about,
        "channel_multiplier": multiplier,
    }


def _generator(network: StyleGenerator, cfg: sayable.Generator) -> dict[str, Tensor]:
    """Its state dict there, and latent_avg."""
    found = inverted(rosinality.generator_table(cfg), weights_of(network), cfg.sides)
    kernel = fir_kernel(cfg.resample_filter, 4)
    for block in range(1, len(cfg.sides)):
        for pattern, number in zip(rosinality.UP_KERNELS, (2 * block - 2, block - 1), strict=True):
            found[pattern.format(n=number)] = kernel.clone()
    return found


def _discriminator(network: torch.nn.Module, cfg: sayable.Discriminator) -> dict[str, Tensor]:
    """Its state dict there."""
    found = inverted(rosinality.discriminator_table(cfg), weights_of(network), cfg.sides)
    for block in range(1, len(cfg.sides)):
        for pattern in rosinality.DOWN_KERNELS:
            found[pattern.format(n=block)] = fir_kernel(cfg.resample_filter).clone()
    return found

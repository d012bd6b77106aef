"""Checkpoints of rosinality's StyleGAN2: what encoders and editing tools read.

The file holds `g_ema`, `latent_avg` (the average of w), and `g` and `d` where the snapshot keeps them. What
the layout rounds, biases of styles, is there once more as it is: our own reader takes those.
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
from styleloom.weights.tables import same

logger = logging.getLogger(__name__)


def export(snapshot: Snapshot, out: Path, options: Options) -> dict[str, Any]:
    """Write the checkpoint; which networks are in it, with how many layers and which channel multiplier.

    Raises UserError for a generator that the layout cannot say. A discriminator that it cannot say is left
    out, with a warning.
    """
    cfg = sayable.rosinality_generator(snapshot.experiment.generator)
    generators = {"g_ema": snapshot.generator} | ({} if snapshot.raw is None else {"g": snapshot.raw})
    content: dict[str, Any] = {name: _generator(network, cfg) for name, network in generators.items()}
    averages = [content[name].pop("latent_avg") for name in generators]
    content["latent_avg"] = averages[0]
    content[rosinality.STYLE_BIASES] = {n: _style_biases(network, cfg) for n, network in generators.items()}
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
        "networks": [name for name in ("g_ema", "g", "d") if name in content],
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


def _style_biases(network: StyleGenerator, cfg: sayable.Generator) -> dict[str, Tensor]:
    """Biases of styles as they are here, by their names there."""
    found = inverted(rosinality.generator_table(cfg, same), weights_of(network), cfg.sides)
    return {name: t for name, t in found.items() if name.endswith(rosinality.STYLE_BIAS)}


def _discriminator(network: torch.nn.Module, cfg: sayable.Discriminator) -> dict[str, Tensor]:
    """Its state dict there."""
    found = inverted(rosinality.discriminator_table(cfg), weights_of(network), cfg.sides)
    for block in range(1, len(cfg.sides)):
        for pattern in rosinality.DOWN_KERNELS:
            found[pattern.format(n=block)] = fir_kernel(cfg.resample_filter).clone()
    return found

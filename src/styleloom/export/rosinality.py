"""Checkpoints of rosinality's StyleGAN2: what encoders and editing tools read.

The file holds `g_ema`, `latent_avg` (the average of w), and `g` and `d` where the snapshot keeps them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleloom.config.networks import StyleGAN2Discriminator, StyleGAN2Generator
from styleloom.errors import UserError, quoted
from styleloom.export.inverse import inverted, refuse, weights_of
from styleloom.export.targets import Options
from styleloom.networks.assembly import StyleGenerator
from styleloom.ops.upfirdn import Taps, fir_kernel
from styleloom.snapshot import Snapshot
from styleloom.weights import rosinality

logger = logging.getLogger(__name__)

WHERE = "rosinality's layout"


def export(snapshot: Snapshot, out: Path, options: Options) -> dict[str, Any]:
    """Write the checkpoint; which networks are in it, with how many layers and which channel multiplier.

    Raises UserError for a generator that the layout cannot say. A discriminator that it cannot say is left
    out, with a warning.
    """
    cfg = snapshot.experiment.generator
    check_generator(cfg)
    assert isinstance(cfg, StyleGAN2Generator)
    content: dict[str, Any] = {"g_ema": _generator(snapshot.generator, cfg)}
    content["latent_avg"] = content["g_ema"].pop("latent_avg")
    if snapshot.raw is not None:
        content["g"] = _generator(snapshot.raw, cfg)
        content["g"].pop("latent_avg")
    if snapshot.discriminator is not None:
        d = snapshot.experiment.discriminator
        try:
            check_discriminator(d)
        except UserError as error:
            logger.warning(f"the discriminator is left out: {error}")
        else:
            assert isinstance(d, StyleGAN2Discriminator)
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


def _generator(network: StyleGenerator, cfg: StyleGAN2Generator) -> dict[str, Tensor]:
    """Its state dict there, and latent_avg."""
    found = inverted(rosinality.generator_table(cfg), weights_of(network), cfg.sides)
    kernel = fir_kernel(cfg.resample_filter, 4)
    for block in range(1, len(cfg.sides)):
        for pattern, number in zip(rosinality.UP_KERNELS, (2 * block - 2, block - 1), strict=True):
            found[pattern.format(n=number)] = kernel.clone()
    return found


def _discriminator(network: torch.nn.Module, cfg: StyleGAN2Discriminator) -> dict[str, Tensor]:
    """Its state dict there."""
    found = inverted(rosinality.discriminator_table(cfg), weights_of(network), cfg.sides)
    for block in range(1, len(cfg.sides)):
        for pattern in rosinality.DOWN_KERNELS:
            found[pattern.format(n=block)] = fir_kernel(cfg.resample_filter).clone()
    return found


def check_generator(cfg: object) -> None:
    """Raise UserError for a generator that the layout cannot say."""
    if not isinstance(cfg, StyleGAN2Generator):
        raise UserError(
            f"{WHERE} is of StyleGAN2 alone; this generator is of {quoted(getattr(cfg, 'family', ''))}"
        )
    mapping = cfg.mapping
    refuse(
        WHERE,
        {
            "generator.architecture": (cfg.architecture, "skip"),
            "generator.normalization": (cfg.normalization, "demodulation"),
            "generator.channels": (cfg.channels, 3),
            "generator.label_dim": (cfg.label_dim, 0),
            "generator.grid": (cfg.grid, (4, 4)),
            "generator.activation": (cfg.activation, "lrelu"),
            "generator.clamp": (cfg.clamp, None),
            "generator.z_dim": (cfg.z_dim, cfg.w_dim),
            "generator.mapping.width": (mapping.width, cfg.w_dim),
            "generator.mapping.activation": (mapping.activation, "lrelu"),
            "generator.mapping.lr_multiplier": (mapping.lr_multiplier, 0.01),
            "generator.mapping.normalize_z": (mapping.normalize_z, True),
            **_filter("generator", cfg.resample_filter),
        },
    )


def check_discriminator(cfg: object) -> None:
    """Raise UserError for a discriminator that the layout cannot say."""
    if not isinstance(cfg, StyleGAN2Discriminator):
        raise UserError(f"{WHERE} is of StyleGAN2 alone")
    refuse(
        WHERE,
        {
            "discriminator.architecture": (cfg.architecture, "resnet"),
            "discriminator.channels": (cfg.channels, 3),
            "discriminator.label_dim": (cfg.label_dim, 0),
            "discriminator.grid": (cfg.grid, (4, 4)),
            "discriminator.activation": (cfg.activation, "lrelu"),
            "discriminator.clamp": (cfg.clamp, None),
            "discriminator.minibatch_std.group_size": (cfg.minibatch_std.group_size, 4),
            "discriminator.minibatch_std.features": (cfg.minibatch_std.features, 1),
            **_filter("discriminator", cfg.resample_filter),
        },
    )


def _filter(role: str, taps: Taps) -> dict[str, tuple[object, object]]:
    """Filters are in the file, but their padding is in the code, for four taps; nor is it known which way
    round it takes them."""
    return {
        f"taps of {role}.resample_filter": (len(taps), 4),
        f"{role}.resample_filter": (taps, tuple(reversed(taps))),
    }

"""The one table from configurations to networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from styleloom.config import networks as config
from styleloom.networks import msg, progan, stylegan, stylegan2
from styleloom.networks.assembly import DiscriminatorTrunk, StyleGenerator

GENERATORS: dict[type, Callable[[Any], StyleGenerator]] = {
    config.ProGANGenerator: progan.build_generator,
    config.MSGProGANGenerator: msg.build_progan_generator,
    config.MSGStyleGANGenerator: msg.build_stylegan_generator,
    config.StyleGANGenerator: stylegan.build_generator,
    config.StyleGAN2Generator: stylegan2.build_generator,
}

DISCRIMINATORS: dict[type, Callable[[Any], DiscriminatorTrunk]] = {
    config.ProGANDiscriminator: progan.Discriminator,
    config.MSGProGANDiscriminator: msg.ProGANPyramidDiscriminator,
    config.MSGStyleGANDiscriminator: msg.StyleGANPyramidDiscriminator,
    config.StyleGANDiscriminator: stylegan.Discriminator,
    config.StyleGAN2Discriminator: stylegan2.Discriminator,
}


def build_generator(cfg: config.GeneratorConfig) -> StyleGenerator:
    """A generator with fresh weights, drawn from torch's global random generator."""
    return GENERATORS[type(cfg)](cfg)


def build_discriminator(cfg: config.DiscriminatorConfig) -> DiscriminatorTrunk:
    """A discriminator with fresh weights, drawn from torch's global random generator."""
    return DISCRIMINATORS[type(cfg)](cfg)


def count_parameters(network: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)

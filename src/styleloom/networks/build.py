"""The one table from configurations to networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from styleloom.config import networks as config
from styleloom.networks import stylegan2
from styleloom.networks.assembly import StyleGenerator, Trunk

GENERATORS: dict[type, Callable[[Any], StyleGenerator]] = {
    config.StyleGAN2Generator: stylegan2.build_generator,
}

DISCRIMINATORS: dict[type, Callable[[Any], Trunk]] = {
    config.StyleGAN2Discriminator: stylegan2.Discriminator,
}


def build_generator(cfg: config.GeneratorConfig) -> StyleGenerator:
    """A generator with fresh weights, drawn from torch's global random generator."""
    return GENERATORS[type(cfg)](cfg)


def build_discriminator(cfg: config.DiscriminatorConfig) -> Trunk:
    """A discriminator with fresh weights, drawn from torch's global random generator."""
    return DISCRIMINATORS[type(cfg)](cfg)


def count_parameters(network: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)

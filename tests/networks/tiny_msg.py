"""MSG-GAN's networks, narrow enough for tests, and what they take."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch

from styleloom.config.networks import (
    FeatureMaps,
    Mapping,
    MinibatchStd,
    MSGProGANDiscriminator,
    MSGProGANGenerator,
    MSGStyleGANDiscriminator,
    MSGStyleGANGenerator,
    ProGANGenerator,
    StyleGANGenerator,
)
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.types import Pyramid

from .tiny import shake

Base: TypeAlias = Literal["ProGAN", "StyleGAN"]
BASES: tuple[Base, ...] = ("ProGAN", "StyleGAN")

FEATURES = FeatureMaps(base=64, max=12)
"""12 maps at 4 and 8 px, 8 at 16, 4 at 32, 2 at 64."""

GENERATORS: dict[Base, Any] = {"ProGAN": MSGProGANGenerator, "StyleGAN": MSGStyleGANGenerator}
DISCRIMINATORS: dict[Base, Any] = {"ProGAN": MSGProGANDiscriminator, "StyleGAN": MSGStyleGANDiscriminator}
PLAIN: dict[Base, Any] = {"ProGAN": ProGANGenerator, "StyleGAN": StyleGANGenerator}

SIZES: dict[Base, dict[str, Any]] = {
    "ProGAN": {"z_dim": 6, "features": FEATURES},
    "StyleGAN": {"z_dim": 6, "w_dim": 8, "features": FEATURES, "mapping": Mapping(2, 8)},
}


def generator(base: Base, resolution: int = 16, **fields: Any) -> Any:
    """A narrow generator with non-trivial noise strengths and biases."""
    return shake(build_generator(GENERATORS[base](resolution=resolution, **SIZES[base] | fields)))


def discriminator(base: Base, resolution: int = 16, **fields: Any) -> Any:
    """A narrow discriminator with non-trivial biases."""
    given = {"features": FEATURES, "minibatch_std": MinibatchStd(2)} | fields
    return shake(build_discriminator(DISCRIMINATORS[base](resolution=resolution, **given)))


def images_for(d: Any, n: int = 4) -> Pyramid:
    """Noise of the sizes that `d` takes."""
    cfg = d.cfg
    return tuple(torch.randn(n, cfg.channels, *cfg.size_at(side)) for side in cfg.pyramid_sides)


def changed(images: Pyramid, sample: int, scale: int | None = None) -> Pyramid:
    """Another image in one place, at one scale or at all."""
    copies = tuple(x.clone() for x in images)
    for i, x in enumerate(copies):
        if scale is None or scale == i:
            x[sample] += torch.randn_like(x[sample])
    return copies

"""Network configurations: a class for each family and role, collected from one file for each paper."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from styleloom.config.msg import (
    MSGProGANDiscriminator,
    MSGProGANGenerator,
    MSGStyleGANDiscriminator,
    MSGStyleGANGenerator,
)
from styleloom.config.parts import (
    Activation,
    FeatureMaps,
    ImageShape,
    Mapping,
    MinibatchStd,
)
from styleloom.config.progan import ProGANDiscriminator, ProGANGenerator
from styleloom.config.stylegan import StyleGANDiscriminator, StyleGANGenerator
from styleloom.config.stylegan2 import (
    TABLE_2_ARCHITECTURES,
    Architecture,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
    StyleNormalization,
)

GeneratorConfig: TypeAlias = (
    StyleGAN2Generator | StyleGANGenerator | ProGANGenerator | MSGProGANGenerator | MSGStyleGANGenerator
)
DiscriminatorConfig: TypeAlias = (
    StyleGAN2Discriminator
    | StyleGANDiscriminator
    | ProGANDiscriminator
    | MSGProGANDiscriminator
    | MSGStyleGANDiscriminator
)


class Family(NamedTuple):
    """The configuration classes of one family of networks."""

    generator: type
    discriminator: type


FAMILIES: dict[str, Family] = {
    g.family: Family(g, d)
    for g, d in (
        (ProGANGenerator, ProGANDiscriminator),
        (StyleGANGenerator, StyleGANDiscriminator),
        (MSGProGANGenerator, MSGProGANDiscriminator),
        (MSGStyleGANGenerator, MSGStyleGANDiscriminator),
        (StyleGAN2Generator, StyleGAN2Discriminator),
    )
}
"""The one place that knows which classes a family's name stands for."""

__all__ = [
    "FAMILIES",
    "TABLE_2_ARCHITECTURES",
    "Activation",
    "Architecture",
    "DiscriminatorConfig",
    "Family",
    "FeatureMaps",
    "GeneratorConfig",
    "ImageShape",
    "MSGProGANDiscriminator",
    "MSGProGANGenerator",
    "MSGStyleGANDiscriminator",
    "MSGStyleGANGenerator",
    "Mapping",
    "MinibatchStd",
    "ProGANDiscriminator",
    "ProGANGenerator",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "StyleGANDiscriminator",
    "StyleGANGenerator",
    "StyleNormalization",
]

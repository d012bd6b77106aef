"""Networks small enough to differentiate in milliseconds."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from styleloom.config.networks import (
    FeatureMaps,
    Mapping,
    MinibatchStd,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from styleloom.layers.noise import NoiseInput
from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.networks.stylegan2 import Discriminator, SynthesisNetwork
from styleloom.types import Images

M = TypeVar("M", bound=nn.Module)

FEATURES = FeatureMaps(base=64, max=12)
"""12 maps at 4 and 8 px, 8 at 16, 4 at 32, 2 at 64."""


def generator(resolution: int = 16, **fields: Any) -> StyleGenerator:
    """A narrow generator with non-trivial noise strengths and biases."""
    given = {"z_dim": 6, "w_dim": 8, "features": FEATURES, "mapping": Mapping(2, 8)} | fields
    return shake(build_generator(StyleGAN2Generator(resolution=resolution, **given)))


def discriminator(resolution: int = 16, **fields: Any) -> Discriminator:
    """A narrow discriminator with non-trivial biases."""
    given = {"features": FEATURES, "minibatch_std": MinibatchStd(2)} | fields
    d = build_discriminator(StyleGAN2Discriminator(resolution=resolution, **given))
    assert isinstance(d, Discriminator)
    return shake(d)


@torch.no_grad()
def shake(network: M) -> M:
    """Parameters that start at zero get other values, so that they count."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias") or name.endswith("strength"):
            parameter.copy_(torch.randn(parameter.shape))
    return network


def synthesis_of(g: StyleGenerator) -> SynthesisNetwork:
    """The synthesis network, with its type."""
    assert isinstance(g.synthesis_network, SynthesisNetwork)
    return g.synthesis_network


def noise_inputs(g: StyleGenerator) -> list[NoiseInput]:
    """The noise inputs in layer order."""
    return [m for m in g.modules() if isinstance(m, NoiseInput)]


def tensor(images: Images) -> Tensor:
    """Images that are one tensor."""
    assert isinstance(images, Tensor)
    return images

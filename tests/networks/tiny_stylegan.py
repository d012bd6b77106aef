"""StyleGAN's networks, small enough to differentiate in milliseconds."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleloom.config.networks import Mapping, MinibatchStd, StyleGANDiscriminator, StyleGANGenerator
from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.networks.stylegan import Discriminator, SynthesisNetwork

from .tiny import FEATURES, shake

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "b": {"styles": "none", "input": "w", "noise": "none", "normalization": ("pixel",)},
    "c": {"input": "w", "noise": "none"},
    "c-paper": {"input": "z", "noise": "none", "z_dim": 8},
    "d": {"noise": "none"},
    "f": {},
}
"""Rows of Table 1 by what differs from the default; E differs from F in training alone."""


def generator(resolution: int = 16, **fields: Any) -> StyleGenerator:
    """A narrow generator, z of 6 and w of 8 values, with non-trivial noise strengths, biases and constant."""
    given = {"z_dim": 6, "w_dim": 8, "features": FEATURES, "mapping": Mapping(2, 8)} | fields
    g = shake(build_generator(StyleGANGenerator(resolution=resolution, **given)))
    constant = synthesis_of(g).input.const
    if constant is not None:
        nn.init.normal_(constant)
    return g


def discriminator(resolution: int = 16, **fields: Any) -> Discriminator:
    """A narrow discriminator with non-trivial biases."""
    given = {"features": FEATURES, "minibatch_std": MinibatchStd(2)} | fields
    d = build_discriminator(StyleGANDiscriminator(resolution=resolution, **given))
    assert isinstance(d, Discriminator)
    return shake(d)


def synthesis_of(g: StyleGenerator) -> SynthesisNetwork:
    """The synthesis network, with its type."""
    assert isinstance(g.synthesis_network, SynthesisNetwork)
    return g.synthesis_network


def layers_of(g: StyleGenerator) -> list[Any]:
    """Epilogues in layer order; all but the first have a convolution."""
    return [layer for block in synthesis_of(g).blocks for layer in block.children()]


def repeated(x: Tensor) -> Tensor:
    """Each pixel 2 x 2."""
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def pooled(x: Tensor) -> Tensor:
    """Mean of 2 x 2 pixels."""
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


def conv(x: Tensor, layer: Any, bias: bool = True) -> Tensor:
    """The 3x3 convolution of an equalized layer as ProGAN section 4.1 writes it: weights times c."""
    fan_in = layer.weight[0].numel()
    weight = layer.weight * (2 / fan_in) ** 0.5
    return F.conv2d(x, weight, layer.bias if bias else None, padding=layer.weight.shape[2] // 2)


def filtered(x: Tensor, taps: tuple[float, ...] = (1, 2, 1)) -> Tensor:
    """Separable filter, zeros beyond the border."""
    kernel = torch.tensor(taps, dtype=x.dtype)
    kernel = kernel.outer(kernel) / kernel.sum() ** 2
    before, after = (len(taps) - 1) // 2, len(taps) // 2
    padded = F.pad(x, (before, after, before, after))
    return F.conv2d(padded, kernel.expand(x.shape[1], 1, -1, -1), groups=x.shape[1])

"""Trainable parameters of StyleGAN's networks, in total and level by level."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from every import every
from styleloom.config.networks import Mapping, StyleGANDiscriminator, StyleGANGenerator
from styleloom.networks.assembly import StyleGenerator
from styleloom.networks.build import build_discriminator, build_generator, count_parameters
from styleloom.networks.stylegan import Discriminator

from .tiny_stylegan import CONFIGURATIONS, synthesis_of

ROWS: dict[str, dict[str, Any]] = {
    **CONFIGURATIONS,
    "b": CONFIGURATIONS["b"] | {"mapping": Mapping(layers=0)},
    "c-paper": CONFIGURATIONS["c-paper"] | {"z_dim": 512},
    "traditional-8": CONFIGURATIONS["b"],
}

# parameters at 1024, 512, 256 px
GENERATORS = {
    "b": (23_079_115, 23_072_120, 23_044_309),
    "c": (30_400_651, 30_360_824, 30_267_349),
    "c-paper": (30_400_651, 30_360_824, 30_267_349),
    "d": (26_214_539, 26_174_712, 26_081_237),
    "f": (26_219_627, 26_179_768, 26_086_229),
    "traditional-8": (25_180_363, 25_173_368, 25_145_557),
}
DISCRIMINATORS = (23_087_249, 23_080_225, 23_052_353)
MAPPING = 2_101_248

# For each side from 4 to 1024 px.
G_LEVELS = {
    "b": (6_554_624, 4_719_616, 4_719_616, 4_719_616, 1_769_984, 442_624, 110_720, 27_712, 6_944),
    "f": (3_420_160, 5_771_264, 5_771_264, 5_771_264, 2_295_808, 705_536, 242_176, 93_440, 39_808),
}
TO_RGB = (1_539, 1_539, 1_539, 1_539, 771, 387, 195, 99, 51)
D_LEVELS = (6_559_745, 4_719_616, 4_719_616, 4_719_616, 1_770_240, 442_752, 110_784, 27_744, 6_960)
FROM_RGB = (2_048, 2_048, 2_048, 2_048, 1_024, 512, 256, 128, 64)


@cache
def generator(row: str, resolution: int) -> StyleGenerator:
    """On the meta device: no memory, no time."""
    with torch.device("meta"):
        return build_generator(StyleGANGenerator(resolution=resolution, **ROWS[row]))


@cache
def discriminator(resolution: int) -> Discriminator:
    """On the meta device."""
    with torch.device("meta"):
        d = build_discriminator(StyleGANDiscriminator(resolution=resolution))
    assert isinstance(d, Discriminator)
    return d


def counts(modules: Any) -> tuple[int, ...]:
    """Parameters of each."""
    return tuple(count_parameters(module) for module in modules)


@every("row", GENERATORS)
def test_generators(row: str) -> None:
    assert counts(generator(row, side) for side in (1024, 512, 256)) == GENERATORS[row]


def test_discriminators() -> None:
    assert counts(discriminator(side) for side in (1024, 512, 256)) == DISCRIMINATORS


@pytest.mark.parametrize("row", G_LEVELS)
def test_generator_level_by_level(row: str) -> None:
    g = generator(row, 1024)
    network = synthesis_of(g)
    of_input, *others = counts([nn.ModuleList([network.input, network.blocks[0]]), *network.blocks[1:]])
    assert (of_input, *others) == G_LEVELS[row]
    assert counts(network.to_rgb.values()) == TO_RGB
    assert list(network.to_rgb) == [str(2**r) for r in range(2, 11)]
    assert count_parameters(g.mapping_network) == (0 if row == "b" else MAPPING)


def test_discriminator_level_by_level() -> None:
    d = discriminator(1024)
    assert counts([d.tail, *d.blocks]) == D_LEVELS
    assert counts(d.from_rgb.values()) == FROM_RGB


def test_the_constant_replaces_the_input_layer() -> None:
    """C to D: 512 x 8192 weights of the input layer become 8192 values."""
    assert GENERATORS["c"][0] - GENERATORS["d"][0] == 511 * 8192
    sizes = [count_parameters(synthesis_of(generator(row, 1024)).input) for row in ("c", "d")]
    assert sizes == [512 * 8192, 8192]


def test_buffers_are_not_counted() -> None:
    g = generator("f", 1024)
    buffers = dict(g.named_buffers())
    assert buffers["w_avg"].numel() == 512
    assert sum(name.endswith("noise.fixed") for name in buffers) == 18
    assert sum(p.numel() for p in g.parameters()) == GENERATORS["f"][0]


def test_sums_printed_in_the_paper() -> None:
    """Section 2: 26.2M parameters, where the traditional generator has 23.1M."""
    assert (round(GENERATORS["f"][0] / 1e6, 1), round(GENERATORS["b"][0] / 1e6, 1)) == (26.2, 23.1)

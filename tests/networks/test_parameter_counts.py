"""Trainable parameters, in total and block by block."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from every import every
from styleloom.config.networks import Architecture, FeatureMaps, StyleGAN2Discriminator, StyleGAN2Generator
from styleloom.networks.build import build_discriminator, build_generator, count_parameters
from styleloom.networks.stylegan2 import Discriminator

from .tiny import synthesis_of

BASE = {"B-D": 8192, "E": 8192, "F": 16384}
MAPPING = 2_101_248

# row, architecture: parameters at 1024, 512, 256 px
GENERATORS: dict[tuple[str, Architecture], tuple[int, int, int]] = {
    ("E", "skip"): (24_900_764, 24_860_935, 24_767_458),
    ("E", "orig"): (23_596_292, 23_572_978, 23_512_528),
    ("E", "resnet"): (24_557_316, 24_533_490, 24_470_992),
    ("B-D", "growing"): (24_900_764, 24_860_935, 24_767_458),
    ("F", "skip"): (30_370_060, 30_276_583, 30_034_338),
}
DISCRIMINATORS: dict[tuple[str, Architecture], tuple[int, int, int]] = {
    ("E", "resnet"): (24_038_161, 24_030_753, 24_001_089),
    ("E", "orig"): (23_077_137, 23_070_241, 23_042_625),
    ("E", "skip"): (23_087_249, 23_080_225, 23_052_353),
    ("B-D", "growing"): (23_087_249, 23_080_225, 23_052_353),
    ("F", "resnet"): (29_012_513, 28_982_849, 28_864_129),
}

SIDES = tuple(2**r for r in range(2, 11))
# For each side; B-D are as E here.
G_BLOCKS = {
    "E": (2_630_657, 5_244_930, 5_244_930, 5_244_930, 2_163_970, 639_618, 209_218, 76_962, 31_570),
    "F": (2_630_657, 5_244_930, 5_244_930, 5_244_930, 5_244_930, 2_163_970, 639_618, 209_218, 76_962),
}
TO_RGB = {
    "E": (264_195, 264_195, 264_195, 264_195, 132_099, 66_051, 33_027, 16_515, 8_259),
    "F": (264_195, 264_195, 264_195, 264_195, 264_195, 132_099, 66_051, 33_027, 16_515),
}
D_BLOCKS = {
    "E": (6_559_745, 4_981_760, 4_981_760, 4_981_760, 1_901_312, 475_520, 118_976, 29_792, 7_472),
    "F": (6_559_745, 4_981_760, 4_981_760, 4_981_760, 4_981_760, 1_901_312, 475_520, 118_976, 29_792),
}
FROM_RGB_E = (2_048, 2_048, 2_048, 2_048, 1_024, 512, 256, 128, 64)


@cache
def generator(row: str, architecture: Architecture, resolution: int) -> Any:
    """On the meta device: no memory, no time."""
    with torch.device("meta"):
        features = FeatureMaps(base=BASE[row])
        return build_generator(
            StyleGAN2Generator(resolution=resolution, architecture=architecture, features=features)
        )


@cache
def discriminator(row: str, architecture: Architecture, resolution: int) -> Discriminator:
    """On the meta device."""
    with torch.device("meta"):
        features = FeatureMaps(base=BASE[row])
        d = build_discriminator(
            StyleGAN2Discriminator(resolution=resolution, architecture=architecture, features=features)
        )
    assert isinstance(d, Discriminator)
    return d


def count(modules: Iterable[nn.Module | None]) -> int:
    """Parameters of all of these that exist."""
    return sum(count_parameters(m) for m in modules if m is not None)


@every("i", range(3))
@every(("row", "architecture"), GENERATORS)
def test_generators(row: str, architecture: Architecture, i: int) -> None:
    assert count_parameters(generator(row, architecture, 1024 >> i)) == GENERATORS[row, architecture][i]


@every("i", range(3))
@every(("row", "architecture"), DISCRIMINATORS)
def test_discriminators(row: str, architecture: Architecture, i: int) -> None:
    assert (
        count_parameters(discriminator(row, architecture, 1024 >> i)) == DISCRIMINATORS[row, architecture][i]
    )


@pytest.mark.parametrize("row", ["E", "F"])
def test_generator_block_by_block(row: str) -> None:
    g = generator(row, "skip", 1024)
    network = synthesis_of(g)
    assert count_parameters(g.mapping_network) == MAPPING
    blocks: list[Any] = list(network.blocks)
    own = [count_parameters(block) - count_parameters(block.to_rgb) for block in blocks]
    own[0] += network.const.numel()
    assert tuple(own) == G_BLOCKS[row]
    assert tuple(count_parameters(block.to_rgb) for block in blocks) == TO_RGB[row]


@pytest.mark.parametrize("row", ["E", "F"])
def test_discriminator_block_by_block(row: str) -> None:
    d = discriminator(row, "resnet", 1024)
    blocks: list[Any] = list(d.blocks)
    own = [count_parameters(block) - count([block.from_rgb]) for block in blocks]
    assert (count_parameters(d.tail), *reversed(own)) == D_BLOCKS[row]
    assert count([block.from_rgb for block in blocks]) == (64 if row == "E" else 128)


def test_from_rgb_of_a_skip_discriminator() -> None:
    d = discriminator("E", "skip", 1024)
    blocks: list[Any] = [*d.blocks, d.tail]
    assert tuple(count_parameters(block.from_rgb) for block in reversed(blocks)) == FROM_RGB_E


def test_growing_networks_block_by_block() -> None:
    """Configurations B to D: the layers of E without residual branches, RGB at every level."""
    g, d = generator("B-D", "growing", 1024), discriminator("B-D", "growing", 1024)
    network = synthesis_of(g)
    blocks: list[Any] = list(network.blocks)
    own = [count_parameters(block) - count_parameters(block.to_rgb) for block in blocks]
    assert (own[0] + network.const.numel(), *own[1:]) == G_BLOCKS["E"]
    assert tuple(count_parameters(block.to_rgb) for block in blocks) == TO_RGB["E"]
    blocks = [d.tail, *reversed(d.blocks)]
    own = [count_parameters(block) - count_parameters(block.from_rgb) for block in blocks]
    maps = [FeatureMaps(base=8192).at_side(side) for side in SIDES]
    skips = [0, *(here * below for below, here in itertools.pairwise(maps))]
    assert tuple(map(sum, zip(own, skips, strict=True))) == D_BLOCKS["E"]
    assert tuple(count_parameters(block.from_rgb) for block in blocks) == FROM_RGB_E


def test_buffers_are_not_counted() -> None:
    g = generator("E", "skip", 256)
    buffers = dict(g.named_buffers())
    assert buffers["w_avg"].numel() == 512
    assert sum(name.endswith("fixed") for name in buffers) == 13
    assert sum(p.numel() for p in g.parameters()) == count_parameters(g)
    frozen = nn.Linear(2, 2)
    frozen.bias.requires_grad_(False)
    assert count_parameters(frozen) == 4


def test_sums_printed_in_the_paper() -> None:
    """StyleGAN2 appendix B: 25M and 24M in E, 30M (+22%) and 29M (+21%) in F."""
    e, f = GENERATORS["E", "skip"][0], GENERATORS["F", "skip"][0]
    assert (round(e / 1e6), round(f / 1e6), round(100 * (f / e - 1))) == (25, 30, 22)
    e, f = DISCRIMINATORS["E", "resnet"][0], DISCRIMINATORS["F", "resnet"][0]
    assert (round(e / 1e6), round(f / 1e6), round(100 * (f / e - 1))) == (24, 29, 21)

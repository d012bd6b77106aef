"""A synthesis network as a list of layers, each of which says what it depends on.

StyleGAN2's networks without growth are taken apart; their parts are the modules of the network itself. Those
of other papers are one stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from styleloom.networks.assembly import StyleGenerator, finest
from styleloom.networks.stylegan2 import StyledConv, SynthesisBlock, SynthesisNetwork
from styleloom.ops.upfirdn import upsample2d
from styleloom.types import GrowthState, NoiseMode

MapsOrMode: TypeAlias = "Sequence[Tensor] | NoiseMode"


@dataclass(frozen=True)
class Features:
    """What passes from stage to stage.

    Args:
        x: feature maps [N, C, H, W]; None before the first stage.
        image: RGB so far, [N, C, H, W].
        shortcut: in residual blocks, what is added to the block's result.
    """

    x: Tensor | None = None
    image: Tensor | None = None
    shortcut: Tensor | None = None


@dataclass(frozen=True)
class Stage:
    """One layer.

    Args:
        side: nominal side of its level, px.
        kind: "up" and "conv" make feature maps, "rgb" adds to the image; "whole" is all of a network.
        styles: rows of ws that it reads.
        noises: indices of noise maps that it reads.
        run: features, ws [N, L, W] and noise to features.
    """

    side: int
    kind: Literal["up", "conv", "rgb", "whole"]
    styles: tuple[int, ...]
    noises: tuple[int, ...]
    run: Callable[[Features, Tensor, MapsOrMode], Features]


def stages_of(generator: StyleGenerator, growth: GrowthState | None) -> list[Stage]:
    """The stages of a generator, in order: all of them one after the other are its synthesis."""
    network = generator.synthesis_network
    if not isinstance(network, SynthesisNetwork) or network.cfg.grows:
        return [_whole(generator, growth)]
    stages: list[Stage] = []
    for level, side in enumerate(network.cfg.sides):
        block, row = network.blocks[level], max(2 * level - 1, 0)
        assert isinstance(block, SynthesisBlock)
        if block.conv_up is not None:
            stages.append(Stage(side, "up", (row,), (row,), _up(block, row)))
            row += 1
        stages.append(Stage(side, "conv", (row,), (row,), _conv(network, block, row)))
        if block.to_rgb is not None:
            stages.append(Stage(side, "rgb", (row + 1,), (), _rgb(network, block.to_rgb, row + 1)))
    return stages


def _whole(generator: StyleGenerator, growth: GrowthState | None) -> Stage:
    def run(features: Features, ws: Tensor, noise: MapsOrMode) -> Features:
        return Features(image=finest(generator.synthesis(ws, growth, noise)))

    noises = range(len(generator.synthesis_network.noise_sizes))
    return Stage(generator.resolution, "whole", tuple(range(generator.num_ws)), tuple(noises), run)


def _one(noise: MapsOrMode, at: int) -> Tensor | NoiseMode:
    return noise if isinstance(noise, str) else noise[at]


def _up(block: SynthesisBlock, row: int) -> Callable[[Features, Tensor, MapsOrMode], Features]:
    layer = block.conv_up
    assert layer is not None

    def run(features: Features, ws: Tensor, noise: MapsOrMode) -> Features:
        assert features.x is not None
        shortcut = None if block.skip is None else block.skip(features.x)
        return replace(features, x=layer(features.x, ws[:, row], _one(noise, row)), shortcut=shortcut)

    return run


def _conv(
    network: SynthesisNetwork, block: SynthesisBlock, row: int
) -> Callable[[Features, Tensor, MapsOrMode], Features]:
    def run(features: Features, ws: Tensor, noise: MapsOrMode) -> Features:
        x = features.x
        if x is None:
            x = network.enter(network.const.expand(ws.shape[0], -1, -1, -1))
        y = block.conv(x, ws[:, row], _one(noise, row))
        return Features(y if features.shortcut is None else y + features.shortcut, features.image)

    return run


def _rgb(
    network: SynthesisNetwork, layer: StyledConv, row: int
) -> Callable[[Features, Tensor, MapsOrMode], Features]:
    def run(features: Features, ws: Tensor, noise: MapsOrMode) -> Features:
        assert features.x is not None
        rgb = layer(features.x, ws[:, row]).float()
        below = features.image
        image = rgb if below is None else upsample2d(below, network.cfg.resample_filter) + rgb
        return replace(features, image=image)

    return run


@torch.no_grad()
def run_all(stages: Sequence[Stage], ws: Tensor, noise: MapsOrMode) -> Tensor:
    """The image [N, C, H, W] that all stages make: the slow reference of `engine.Engine`."""
    features = Features()
    for stage in stages:
        features = stage.run(features, ws, noise)
    assert features.image is not None
    return features.image

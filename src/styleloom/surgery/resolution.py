"""Levels added above, or removed.

Added: a generator that sums its levels ("skip") gets levels that add nothing; its picture is the old one,
enlarged by its own filter. A growing network gets fresh levels, and grows into them from the old resolution.
A pyramid (MSG-GAN) gets fresh levels above the old ones. D of StyleGAN2 starts as the old one after a
reduction by its own filter: "skip" adds nothing yet, "resnet" and "orig" hand the image down in pairs of
channels, y and -y, from which leaky ReLUs can be undone: a(y) - a(-y) = (1 + slope) y.

Removed: pictures of growing networks and pyramids are those of the lower level. The highest toRGB of a sum is
fitted, so that the picture is the old one, averaged over blocks of pixels, as nearly as that layer can make
it. D of "resnet" and "orig" gets a fresh fromRGB there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from styleloom.config import Experiment
from styleloom.errors import UserError
from styleloom.networks.assembly import StyleGenerator
from styleloom.surgery.fitting import fit_highest_rgb
from styleloom.surgery.networks import Networks

if TYPE_CHECKING:
    from styleloom.layers.equalized import EqualizedConv

SLOPES = {"lrelu": 0.2, "relu": 0.0, "linear": 1.0}
"""Slope below 0 of activations that can be undone from y and -y."""


def changed(before: Experiment, resolution: int) -> Experiment:
    """The experiment at another resolution; a growing one begins at the old resolution."""
    g, more = before.generator, resolution > before.resolution
    after = replace(before, growth=replace(before.growth, mode="none")).with_data(resolution=resolution)
    if g.grows:
        if not more:
            return after
        growth = replace(before.growth, mode="progressive", initial_resolution=before.resolution)
        return replace(after, growth=growth, compile="none")
    old, new = g.pyramid_sides, after.generator.pyramid_sides
    if old is not None and new is not None:
        if not (set(old) <= set(new) if more else set(new) <= set(old)):
            raise UserError(
                f"resolution: {resolution} is not valid, the levels with an image would be others: "
                f"{', '.join(map(str, old))} px now"
            )
    elif not g.sums_levels:
        raise UserError(
            f"resolution: {resolution} is not valid, this {g.family} generator makes RGB at its full "
            "resolution alone; only sums of levels (architecture skip), growing networks and pyramids can "
            "change it"
        )
    return after


def generator(both: Networks, name: str) -> Tensor | None:
    """New levels of a sum add nothing."""
    new = name not in both.names and ".to_rgb." in name
    if both.after.sums_levels and new and name.endswith((".to_rgb.weight", ".to_rgb.bias")):
        return torch.zeros_like(both.fresh[name])
    return None


def finish(old: StyleGenerator, new: StyleGenerator, after: Experiment) -> None:
    """Where levels of a sum were removed, the highest that is left makes up for them."""
    if after.generator.sums_levels and new.resolution < old.resolution:
        fit_highest_rgb(old, new, after.generator)


def discriminator(both: Networks, name: str) -> Tensor | None:
    """New levels hand down what the old ones read."""
    block = ".".join(name.split(".")[:2])
    lowest_new = len(both.before.sides)
    cfg = both.after
    if both.levels.get(block, 0) < lowest_new or cfg.grows or cfg.pyramid_sides is not None:
        return None
    layer, _, kind = name[len(block) + 1 :].rpartition(".")
    if cfg.architecture == "skip":
        return torch.zeros_like(both.fresh[name]) if layer == "conv_down" else None
    return _Carrier(both, block, both.levels[block] == lowest_new).tensor(name, layer, kind)


class _Carrier:
    """Blocks that hand an image of C channels down as y and -y, and at last give what fromRGB gave.

    Args:
        both: the networks.
        block: name of a new block.
        last: whether what follows is the highest of the old blocks.
    """

    def __init__(self, both: Networks, block: str, last: bool) -> None:
        self.both, self.block, self.last = both, block, last
        self.count = both.after.channels
        self.old = "blocks.0.from_rgb"  # blocks count from the highest

    def tensor(self, name: str, layer: str, kind: str) -> Tensor | None:
        """The tensor of a layer; None for a fresh one, all of them where there is no room for y and -y."""
        cfg = self.both.after
        sides = cfg.sides[len(self.both.before.sides) :]
        room = min(cfg.features.at_side(side) for side in sides)
        if cfg.activation not in SLOPES or room < 2 * self.count:
            return None
        made = self.both.fresh[name].clone()
        ends = layer in ("conv_down", "skip") and self.last
        if kind == "bias":
            return (
                self.both.given[f"{self.old}.bias"] * self._ratio() if layer == "conv_down" and ends else made
            )
        rows = slice(None) if ends else slice(2 * self.count)
        made[rows] = 0
        if layer == "skip":
            return made
        values = torch.eye(self.count) if not ends else self._from_rgb()
        middle = made.shape[2] // 2
        signs = torch.cat([values, -values]) if not ends else values
        weights = signs / self.both.scale(name)
        if layer == "from_rgb":
            made[rows, :, 0, 0] = weights
            return made
        weights = weights / self._undone(layer)
        made[rows, : self.count, middle, middle] = weights
        made[rows, self.count : 2 * self.count, middle, middle] = -weights
        return made

    def _from_rgb(self) -> Tensor:
        """What the old fromRGB multiplied the image by, for the gain of the layer that takes its place."""
        weight = self.both.given[f"{self.old}.weight"][:, :, 0, 0]
        return weight * (_layer(self.both.old, self.old).scale * self._ratio())

    def _ratio(self) -> float:
        """Gain of the old fromRGB over that of the layer that takes its place."""
        return _gain(_layer(self.both.old, self.old)) / _gain(
            _layer(self.both.new, f"{self.block}.conv_down")
        )

    def _undone(self, layer: str) -> float:
        """What a(y) - a(-y) is times y, in the output of the layer before."""
        number = int(self.block.rpartition(".")[2])
        above = f"{self.block}.from_rgb" if number == 0 else f"blocks.{number - 1}.conv_down"
        before = f"{self.block}.conv" if layer == "conv_down" else above
        return (1 + SLOPES[self.both.after.activation]) * _gain(_layer(self.both.new, before))


def _layer(network: object, name: str) -> EqualizedConv:
    return network.get_submodule(name)  # type: ignore[attr-defined, no-any-return]


def _gain(layer: EqualizedConv) -> float:
    inner, outer = layer.settings.gains()
    return inner * outer

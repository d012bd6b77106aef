"""Layers that a training leaves as they are: FreezeD and others.

Fine-tuning on few images keeps the lower layers of D, those next to the image, which know what images look
like in general (FreezeD; Mo, Cho and Shin, "Freeze the Discriminator: a Simple Baseline for Fine-Tuning
GANs", 2020). Frozen layers get no gradients, so that the optimizers leave them alone; gradients pass through
them.

How layers of D count: from the image on, each layer with weights is one. In a block of StyleGAN2 these are
fromRGB where it has one, the convolution, the down-convolution and the shortcut of "resnet" where it has one,
so that d:3 is all of the highest block but its shortcut. Files of stylegan2-ada-pytorch show the same count;
what other codes and the paper call a layer may be more. fromRGB layers that a growing network uses at lower
levels alone do not count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from styleloom.errors import UserError, nearest, quoted
from styleloom.networks.assembly import DiscriminatorTrunk, StyleGenerator

MAPPING = "mapping"

FIRST_OF_D = re.compile(r"d:(\d{1,6})")


def frozen_layers(g: StyleGenerator, d: DiscriminatorTrunk, freeze: Sequence[str]) -> list[nn.Module]:
    """The modules whose parameters stay as they are.

    Args:
        g, d: the networks.
        freeze: of the experiment: "d:N" for the first N layers of D, "mapping", or names of layers as states
            have them, such as g.synthesis_network.blocks.0.

    Raises UserError for what does not exist, and where nothing of a network would learn.
    """
    found = [layer for word in freeze for layer in _named(g, d, word)]
    frozen = {id(p) for layer in found for p in layer.parameters()}
    for name, network in (("generator", g), ("discriminator", d)):
        if all(id(p) in frozen for p in network.parameters()):
            raise UserError(
                f"freeze: {quoted(','.join(freeze))} is not valid, the {name} would learn nothing"
            )
    return found


def layers_from_image(d: DiscriminatorTrunk) -> dict[str, nn.Module]:
    """D's layers with weights in the order in which an image of full size passes them, by name."""
    names = {module: name for name, module in d.named_modules()}
    found = [layer for part in d.from_image() for layer in part.modules() if _has_weights(layer)]
    unused = d.lower_from_rgb()
    return {names[layer]: layer for layer in found if layer not in unused}


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _named(g: StyleGenerator, d: DiscriminatorTrunk, word: str) -> list[nn.Module]:
    """The modules that one word of `freeze` means."""
    first = FIRST_OF_D.fullmatch(word)
    if first is not None:
        layers, count = layers_from_image(d), int(first[1])
        if not 1 <= count < len(layers):
            raise UserError(
                f"freeze: {quoted(word)} is not valid; this discriminator has {len(layers)} layers, from the "
                f"image on: {', '.join(layers)}"
            )
        return list(layers.values())[:count]
    if word == MAPPING:
        if not any(True for _ in g.mapping_network.parameters()):
            raise UserError(f"freeze: {quoted(word)} is not valid, this generator has no mapping network")
        return [g.mapping_network]
    known = {
        f"{key}.{name}": module
        for key, network in (("g", g), ("d", d))
        for name, module in network.named_modules()
        if name and any(True for _ in module.parameters())
    }
    if word not in known:
        raise UserError(
            f"freeze: {quoted(word)}: no such layer, {nearest(word, known)}valid: d:NUMBER for the first "
            f"layers of the discriminator, {MAPPING}, or the name of a layer, among them "
            f"{', '.join(name for name in known if name.count('.') <= 2)}"
        )
    return [known[word]]

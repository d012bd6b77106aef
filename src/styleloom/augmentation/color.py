"""Brightness, contrast, inversion, hue, saturation (appendix B, colour transformations).

They are matrices [N, 4, 4] on (red, green, blue, 1), each multiplied to those before from the left.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from styleloom.augmentation.draws import Draws
from styleloom.augmentation.geometry import log_normal
from styleloom.augmentation.matrices import identity
from styleloom.augmentation.strengths import Strengths

GREY = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64) / math.sqrt(3)
"""The axis of grey colours, a unit vector."""


def brightness(chance: float, deviation: float, count: int, draws: Draws) -> Tensor:
    """Add a normal number to all channels."""
    added = draws.normal("brightness", count) * deviation
    matrix = identity(count, 4)
    matrix[:, :3, 3] = (added * draws.chosen("brightness", chance, count))[:, None]
    return matrix


def contrast(chance: float, deviation: float, count: int, draws: Draws) -> Tensor:
    """Multiply all channels."""
    matrix = identity(count, 4)
    matrix[:, :3, :3] *= log_normal("contrast", chance, deviation, count, draws)[:, None, None]
    return matrix


def lumaflip(chance: float, count: int, draws: Draws) -> Tensor:
    """Invert the brightness of half of the chosen images, and keep hue and saturation."""
    coin = (draws.uniform("lumaflip", count) * 2).floor() * draws.chosen("lumaflip", chance, count)
    return identity(count, 4) - 2 * GREY.outer(GREY) * coin[:, None, None]


def hue(chance: float, most: float, count: int, draws: Draws) -> Tensor:
    """Turn colours about the axis of greys by up to `most` half turns either way (Rodrigues' formula)."""
    angle = (draws.uniform("hue", count) * 2 - 1) * (math.pi * most)
    angle = (angle * draws.chosen("hue", chance, count))[:, None, None]
    v = GREY[0].item()
    across = torch.zeros(4, 4, dtype=torch.float64)  # the vector product with the axis, as a matrix
    across[:3, :3] = torch.tensor([[0, -v, v], [v, 0, -v], [-v, v, 0]])
    return identity(count, 4) + angle.sin() * across + (1 - angle.cos()) * (across @ across)


def saturation(chance: float, deviation: float, count: int, draws: Draws) -> Tensor:
    """Multiply the distance from the axis of greys."""
    factor = log_normal("saturation", chance, deviation, count, draws)[:, None, None]
    along = GREY.outer(GREY)
    along[3, 3] = 1  # the constant 1 is no colour
    return along + (torch.eye(4, dtype=torch.float64) - along) * factor


def color_matrices(strengths: Strengths, p: float, count: int, channels: int, draws: Draws) -> Tensor:
    """The product of all five, [count, 4, 4]. Images without colours have no hue and no saturation."""
    steps = []
    if strengths.brightness > 0:
        steps.append(brightness(strengths.brightness * p, strengths.brightness_std, count, draws))
    if strengths.contrast > 0:
        steps.append(contrast(strengths.contrast * p, strengths.contrast_std, count, draws))
    if strengths.lumaflip > 0:
        steps.append(lumaflip(strengths.lumaflip * p, count, draws))
    if strengths.hue > 0 and channels >= 3:
        steps.append(hue(strengths.hue * p, strengths.hue_max, count, draws))
    if strengths.saturation > 0 and channels >= 3:
        steps.append(saturation(strengths.saturation * p, strengths.saturation_std, count, draws))
    total = identity(count, 4)
    for step in steps:
        total = step @ total
    return total


def recolored(images: Tensor, matrices: Tensor) -> Tensor:
    """The images [N, C, H, W] in the colours that the matrices [N, 4, 4] give them.

    Of RGBA images, alpha stays. Of grey images, the one value follows what the matrices do to greys.
    """
    n, channels, height, width = images.shape
    colors = 3 if channels >= 3 else 1
    weights = torch.eye(channels, dtype=torch.float64).repeat(n, 1, 1)
    offset = torch.zeros(n, channels, 1, dtype=torch.float64)
    if colors == 3:
        weights[:, :3, :3], offset[:, :3, 0] = matrices[:, :3, :3], matrices[:, :3, 3]
    else:
        grey = matrices[:, :3].mean(1)
        weights[:, 0, 0], offset[:, 0, 0] = grey[:, :3].sum(1), grey[:, 3]
    weights, offset = weights.to(images), offset.to(images)
    return torch.baddbmm(offset, weights, images.flatten(2)).reshape(n, channels, height, width)

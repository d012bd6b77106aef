"""A rectangle of each image set to zero (appendix B, image-space corruptions)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from styleloom.augmentation.draws import Draws


class Rectangles(NamedTuple):
    """What is cut out, as shares of the images' sides.

    Args:
        centers: [N, 2], x and y.
        sides: [N]; 0 cuts nothing.
    """

    centers: Tensor
    sides: Tensor


def rectangles(chance: float, side: float, count: int, draws: Draws) -> Rectangles:
    """One for each image; that of images that are not chosen is empty."""
    sides = draws.chosen("cutout", chance, count).double() * side
    return Rectangles(draws.uniform("cutout", count, 2), sides)


def cut(images: Tensor, cuts: Rectangles) -> Tensor:
    """The images [N, C, H, W] with zeros in their rectangles. A pixel belongs where its middle lies."""
    keep = []
    for axis, length in ((0, images.shape[3]), (1, images.shape[2])):
        middles = (torch.arange(length, dtype=torch.float64) + 0.5) / length
        distance = (middles - cuts.centers[:, axis, None]).abs()
        keep.append(distance >= cuts.sides[:, None] / 2)
    columns, rows = keep
    return images * (columns[:, None, None, :] | rows[:, None, :, None]).to(images)

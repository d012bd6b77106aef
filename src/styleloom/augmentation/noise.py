"""Noise (appendix B, image-space corruptions)."""

from __future__ import annotations

from torch import Tensor

from styleloom.augmentation.draws import Draws
from styleloom.data.pixels import box_mean


def deviations(chance: float, deviation: float, count: int, draws: Draws) -> Tensor:
    """The deviation of each image's noise, [count]: that of images that are not chosen is 0."""
    sigma = draws.half_normal("noise", count) * deviation
    return sigma * draws.chosen("noise", chance, count)


def noisy(scales: list[Tensor], sigma: Tensor, draws: Draws) -> list[Tensor]:
    """Images [N, C, H, W], or the scales of a pyramid, with noise of deviation `sigma` [N].

    Lower scales get the 2x2 means of the noise of the highest.
    """
    field = draws.field("noise", scales[-1]) * sigma.to(scales[-1])[:, None, None, None]
    found = []
    for images in reversed(scales):
        while field.shape[2] > images.shape[2]:
            field = box_mean(field)
        found.append(images + field)
    return found[::-1]

"""Mirroring, quarter turns and shifts by whole pixels (appendix B, pixel blitting).

Each function appends its transformation to the matrices [N, 3, 3] that lead from a pixel of the result back
to the original. Coordinates are pixels, from the image's middle.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from styleloom.augmentation.draws import Draws
from styleloom.augmentation.matrices import rotation, scaling, translation
from styleloom.augmentation.strengths import Strengths


def xflip(back: Tensor, chance: float, draws: Draws) -> Tensor:
    """Mirror half of the chosen images left and right."""
    n = len(back)
    coin = (draws.uniform("xflip", n) * 2).floor()
    coin = coin * draws.chosen("xflip", chance, n)
    return back @ scaling(1 - 2 * coin, torch.ones_like(coin))


def rotate90(back: Tensor, chance: float, draws: Draws) -> Tensor:
    """Turn the chosen images by 0 to 3 quarters, counter-clockwise."""
    n = len(back)
    quarters = (draws.uniform("rotate90", n) * 4).floor()
    quarters = quarters * draws.chosen("rotate90", chance, n)
    return back @ rotation(quarters * (math.pi / 2))


def xint(back: Tensor, chance: float, most: float, size: tuple[int, int], draws: Draws) -> Tensor:
    """Shift the chosen images by whole pixels, up to `most` of their size to each side."""
    n, (height, width) = len(back), size
    shares = (draws.uniform("xint", n, 2) * 2 - 1) * most
    shares = shares * draws.chosen("xint", chance, n)[:, None]
    return back @ translation(-(shares[:, 0] * width).round(), -(shares[:, 1] * height).round())


def blit(back: Tensor, strengths: Strengths, p: float, size: tuple[int, int], draws: Draws) -> Tensor:
    """All three, in the paper's order. `size` is [height, width] of the images, px."""
    if strengths.xflip > 0:
        back = xflip(back, strengths.xflip * p, draws)
    if strengths.rotate90 > 0:
        back = rotate90(back, strengths.rotate90 * p, draws)
    if strengths.xint > 0:
        back = xint(back, strengths.xint * p, strengths.xint_max, size, draws)
    return back

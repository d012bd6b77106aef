"""Scaling, rotation, stretching and shifts by any amount (appendix B, general geometric transformations).

As in `blit`, each function appends to the matrices that lead from the result back to the original.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from styleloom.augmentation.draws import Draws
from styleloom.augmentation.matrices import rotation, scaling, translation
from styleloom.augmentation.strengths import Strengths


def log_normal(name: str, chance: float, deviation: float, count: int, draws: Draws) -> Tensor:
    """Factors [count] whose base-2 logarithm is normal with `deviation`; 1 for images that are not chosen."""
    powers = draws.normal(name, count) * deviation
    return (powers * draws.chosen(name, chance, count)).exp2()


def scale(back: Tensor, chance: float, deviation: float, draws: Draws) -> Tensor:
    """Enlarge or shrink the chosen images."""
    factor = log_normal("scale", chance, deviation, len(back), draws)
    return back @ scaling(1 / factor, 1 / factor)


def rotate(back: Tensor, chance: float, most: float, name: str, draws: Draws) -> Tensor:
    """Turn the chosen images by up to `most` half turns either way."""
    n = len(back)
    angle = (draws.uniform(name, n) * 2 - 1) * (math.pi * most)
    angle = angle * draws.chosen(name, chance, n)
    return back @ rotation(angle)


def aniso(back: Tensor, chance: float, deviation: float, draws: Draws) -> Tensor:
    """Stretch the chosen images along x by a factor, and along y by its inverse."""
    factor = log_normal("aniso", chance, deviation, len(back), draws)
    return back @ scaling(1 / factor, factor)


def xfrac(back: Tensor, chance: float, deviation: float, size: tuple[int, int], draws: Draws) -> Tensor:
    """Shift the chosen images by a normal share of their size."""
    n, (height, width) = len(back), size
    shares = draws.normal("xfrac", n, 2) * deviation
    shares = shares * draws.chosen("xfrac", chance, n)[:, None]
    return back @ translation(-shares[:, 0] * width, -shares[:, 1] * height)


def half_chance(chance: float) -> float:
    """The chance of each of two rotations of which one at least happens with probability `chance`."""
    return 1 - math.sqrt(min(max(1 - chance, 0.0), 1.0))


def geometry(back: Tensor, strengths: Strengths, p: float, size: tuple[int, int], draws: Draws) -> Tensor:
    """All of them, in the paper's order: rotation comes before and after the stretching."""
    turn = half_chance(strengths.rotate * p)
    if strengths.scale > 0:
        back = scale(back, strengths.scale * p, strengths.scale_std, draws)
    if strengths.rotate > 0:
        back = rotate(back, turn, strengths.rotate_max, "rotate_pre", draws)
    if strengths.aniso > 0:
        back = aniso(back, strengths.aniso * p, strengths.aniso_std, draws)
    if strengths.rotate > 0:
        back = rotate(back, turn, strengths.rotate_max, "rotate_post", draws)
    if strengths.xfrac > 0:
        back = xfrac(back, strengths.xfrac * p, strengths.xfrac_std, size, draws)
    return back


def moved(back: Tensor) -> Tensor:
    """Which images the matrices move at all: bool [N]."""
    return (back != torch.eye(3, dtype=back.dtype)).any(2).any(1)

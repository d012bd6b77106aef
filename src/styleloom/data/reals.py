"""Real images on their way to the discriminator: mirroring, range, fade or pyramid.

The loader mirrors the stored uint8 images of the active level. `Inputs.reals` then brings them to [-1, 1],
fades them where a new level fades in, or makes MSG-GAN's pyramid of them. All levels of a pyramid are
mirrored alike, since mirroring comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.data.pixels import box_mean
from styleloom.types import Pyramid


def to_signed(images_u8: Tensor) -> Tensor:
    """uint8 [...] in 0..255 to float32 in [-1, 1]: x / 127.5 - 1. Raises TypeError for another dtype."""
    if images_u8.dtype != torch.uint8:
        raise TypeError(f"images_u8 has dtype {images_u8.dtype}, expected uint8")
    return images_u8.to(torch.float32) / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """Float [...] in [-1, 1] (not necessarily clipped) to uint8: trunc(clamp(127.5 x + 128, 0, 255)).

    The conversion behind every FID of the StyleGAN papers. It inverts `to_signed` exactly. Raises TypeError
    for integer images.
    """
    if not images.is_floating_point():
        raise TypeError(f"images have dtype {images.dtype}, expected floating point")
    # In float32: half precision cannot tell 128 + small from 128.
    return (images.to(torch.float32) * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def mirror(images: Tensor, coins: Tensor) -> Tensor:
    """Flip left and right those of [N, C, H, W] whose coin (bool [N]) is True."""
    return torch.where(coins[:, None, None, None], images.flip(3), images)


def pyramid(images: Tensor, sides: Sequence[int]) -> Pyramid:
    """The levels of `sides`, low to high, by repeated 2x2 means of float images; the last is `images` itself
    (MSG-GAN).

    Args:
        images: floating [N, C, H, W], full resolution.
        sides: nominal side of each level, px, the last that of `images`: each a power of two times the one
            before. Levels between them are left out, as in MSG-GAN's subsets (section 4, Table 4).

    Raises TypeError for integer images, which would be rounded at every level, and ValueError for other
    `sides`.
    """
    if not images.is_floating_point():
        raise TypeError(f"images have dtype {images.dtype}, expected floating point")
    if not sides:
        raise ValueError("sides (): valid: one or more")
    result = [images]
    for low, high in reversed(list(pairwise(sides))):
        halvings = (high // max(low, 1)).bit_length() - 1
        if halvings < 1 or low << halvings != high:
            raise ValueError(f"sides {tuple(sides)}: valid: each a power of two times the one before it")
        for _ in range(halvings):
            images = box_mean(images)
        result.append(images)
    return tuple(reversed(result))


def fade(images: Tensor, alpha: float) -> Tensor:
    """Blend float [N, C, H, W] with its own next lower level, as the growing networks see it (ProGAN Fig. 2).

    alpha x + (1 - alpha) up2(down2(x)), with nearest-neighbour up2 and 2x2-mean down2. `alpha` is that of
    `GrowthState`: 1 returns `images` unchanged, 0 returns the lower level alone. The papers' code writes the
    same with a = lod - floor(lod) = 1 - alpha. Raises ValueError for `alpha` outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha {alpha}: valid: 0 to 1")
    if alpha == 1:
        return images
    low = F.interpolate(box_mean(images), scale_factor=2, mode="nearest")
    return torch.lerp(low, images, alpha)

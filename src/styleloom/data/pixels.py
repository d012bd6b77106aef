"""Arrays of pixels, and the one reduction that the papers apply to them: means of square blocks.

There are two kinds because images wait as uint8 arrays, before torch is needed, and meet networks as
float tensors. They differ in rounding: arrays are averaged exactly and rounded once, tensors are not rounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

COMPARED_PX = 256
"""Images whose longer side is twice as many px or more are averaged down before a distance compares them."""

PixelArray: TypeAlias = NDArray[np.uint8]
"""One image, uint8 [C, H, W], or several, uint8 [N, C, H, W]."""

ImageData: TypeAlias = "bytes | PixelArray"
"""One image of a source: an encoded file, or its pixels, uint8 [C, H, W] with C from 1 to 4."""


def image_of(pixels: PixelArray) -> Image.Image:
    """One image, uint8 [C, H, W] with C from 1 to 4, as Pillow has it."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def box_mean_u8(pixels: PixelArray, factor: int) -> PixelArray:
    """Mean of each factor x factor block of uint8 [..., H, W], rounded once, halves to even.

    Both sides must be multiples of `factor`. Sums are whole numbers, so they are exact. This gives the levels
    of ProGAN's stored pyramid: the authors repeat the 2x2 mean on float and round a copy of each level for
    storage, so that no level is computed from a rounded one.
    """
    if factor == 1:
        return pixels
    rows = pixels[..., ::factor, :].astype(np.uint32)
    for k in range(1, factor):  # strided sums: several times faster than numpy's mean over two axes
        rows += pixels[..., k::factor, :]
    blocks = rows[..., ::factor].copy()
    for k in range(1, factor):
        blocks += rows[..., k::factor]
    return np.rint(blocks / factor**2).astype(np.uint8)


def box_mean(images: Tensor, factor: int = 2) -> Tensor:
    """Mean of each factor x factor block, not rounded: float [N, C, H, W] to [N, C, H / factor, W / factor].

    Raises ValueError when `factor` does not divide the size.
    """
    from torch.nn.functional import avg_pool2d

    if factor < 1 or images.shape[-2] % factor or images.shape[-1] % factor:
        raise ValueError(f"factor {factor} does not divide images of {tuple(images.shape[-2:])} px")
    return images if factor == 1 else avg_pool2d(images, factor)


def reduced_to_compare(images: Tensor) -> Tensor:
    """Images [N, C, H, W] in the size in which a perceptual distance compares them: below 512 px.

    Where the longer side L is 512 px or more, blocks of f x f pixels are averaged: f is L / 256 rounded down
    to a power of two, which divides every size that a generator makes. On the papers' square images that is
    the authors' rule. The longer side counts because their wide images have bars that make them square.
    """
    factor = max(images.shape[2:]) // COMPARED_PX
    return box_mean(images, 1 << (factor.bit_length() - 1)) if factor > 1 else images

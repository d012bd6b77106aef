"""Amplify and weaken bands of frequencies (appendix B, image-space filtering)."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from styleloom.augmentation.draws import Draws
from styleloom.augmentation.geometry import log_normal
from styleloom.augmentation.strengths import Strengths
from styleloom.augmentation.warp import reflected
from styleloom.augmentation.wavelets import BANDS, POWERS, filter_bank


def band_gains(strengths: Strengths, p: float, count: int, draws: Draws) -> Tensor:
    """The amplification of each band, [count, 4]: each gets a factor of its own with probability p.

    Each factor is followed by a division, after which an image of the expected spectrum has as much power as
    before.
    """
    powers = torch.tensor(POWERS, dtype=torch.float64)
    gains = torch.ones(count, BANDS, dtype=torch.float64)
    for band, multiplier in enumerate(strengths.imgfilter_bands):
        factors = torch.ones_like(gains)
        chance = strengths.imgfilter * multiplier * p
        factors[:, band] = log_normal(f"imgfilter{band}", chance, strengths.imgfilter_std, count, draws)
        power = (powers * factors.square()).sum(1, keepdim=True).sqrt()
        gains = gains * torch.where((factors == 1).all(1, keepdim=True), factors, factors / power)
    return gains


def reduced_gains(gains: Tensor, factor: int) -> Tensor:
    """`gains` [N, 4] for the images' means of `factor` x `factor` pixels, a power of two.

    A frequency of the full image is `factor` times as high there, one band further up for each halving.
    """
    halvings = min(factor.bit_length() - 1, BANDS - 1)
    return torch.cat([gains[:, :1].expand(-1, halvings), gains[:, : BANDS - halvings]], 1)


def filtered_reference(images: Tensor, gains: Tensor) -> Tensor:
    """Slow reference of `filtered`: reflected borders, and a shifted, weighted copy for each tap and axis."""
    taps = (gains @ filter_bank()).to(images)
    reach = taps.shape[1] // 2
    for axis in (2, 3):
        side = images.shape[axis]
        wide = images.index_select(axis, reflected(side, reach, reach).to(images.device))
        images = torch.stack(
            [taps[:, k, None, None, None] * wide.narrow(axis, k, side) for k in range(2 * reach + 1)]
        ).sum(0)
    return images


def filtered(images: Tensor, gains: Tensor) -> Tensor:
    """The images [N, C, H, W] with their bands amplified by `gains` [N, 4], along both axes.

    Along an axis the filter with its reflected borders is a matrix for each image.
    """
    n, channels, height, width = images.shape
    weights = gains.to(images)
    rows = torch.einsum("nb,bij->nij", weights, _band_matrices(height, images.dtype, images.device))
    columns = torch.einsum("nb,bij->nji", weights, _band_matrices(width, images.dtype, images.device))
    across = torch.bmm(images.reshape(n, channels * height, width), columns)
    across = across.reshape(n, channels, height, width)
    return torch.matmul(rows[:, None], across)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)  # autograd refuses to save an inference tensor
def _band_matrices(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What each band's filter makes of a line of `side` pixels, [4, side, side]."""
    bank = filter_bank()
    taps = bank.shape[1]
    where = reflected(side, taps // 2, taps // 2)
    matrices = torch.zeros(len(bank), side, side, dtype=torch.float64, device="cpu")
    for pixel in range(side):
        matrices[:, pixel].index_add_(1, where[pixel : pixel + taps], bank)
    return matrices.to(device=device, dtype=dtype)

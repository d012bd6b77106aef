"""Multi-scale structural similarity (Wang, Simoncelli & Bovik 2003), by which ProGAN measures variety."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.errors import UserError

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first (Wang et al. 2003, section 3.2)."""

WINDOW_PX = 11
WINDOW_SIGMA = 1.5
K1, K2 = 0.01, 0.03
RANGE = 255
MIN_SIDE = 1 << (len(WEIGHTS) - 1)
"""Least side of an image, px: halved four times, it is 1 at the last scale."""

MIDDLE = 128
"""Of the range; subtracted before squaring, so that squares are smaller and round less."""


def ms_ssim(a_u8: Tensor, b_u8: Tensor) -> Tensor:
    """Similarity of pairs of images at five scales: 1 for equal images, towards 0 for unrelated ones.

    Wang et al. 2003, eq. 7, as ProGAN has it (section 5, appendix B), which takes the mean over random pairs
    of generated images: the higher, the less the images vary. At each scale the mean goes over height, width
    and channels; the product over the scales follows. `scale_terms` says what else the papers leave open.

    Args:
        a_u8, b_u8: uint8 [N, C, H, W], H and W at least 16.

    Returns:
        float32 [N] in [0, 1].

    Raises:
        UserError: another type, different shapes, or images too small for five scales.
    """
    return mean_then_product(scale_terms(a_u8, b_u8))


def ms_ssim_per_channel(a_u8: Tensor, b_u8: Tensor) -> Tensor:
    """As `ms_ssim`, but the product over the scales is taken for each channel by itself, then the mean over
    channels. Equal to it for a single channel; where no mean is negative, no higher (Hölder's inequality)."""
    return product_then_mean(scale_terms(a_u8, b_u8))


def mean_then_product(terms: Tensor) -> Tensor:
    """ProGAN's similarity [N] from `scale_terms`: at each scale the mean over channels, then the product."""
    return _product(terms.mean(2, keepdim=True))[:, 0]


def product_then_mean(terms: Tensor) -> Tensor:
    """Similarity [N] from `scale_terms`: of each channel the product over scales, then the mean."""
    return _product(terms).mean(1)


def _product(terms: Tensor) -> Tensor:
    """Product over scales of the terms to the power of `WEIGHTS`: [N, scales, C] -> [N, C].

    A negative term, which has no real fractional power, counts as 0.
    """
    weights = torch.tensor(WEIGHTS, device=terms.device)[:, None]
    return terms.clamp_min(0).pow(weights).prod(1)


@torch.no_grad()
def scale_terms(a_u8: Tensor, b_u8: Tensor) -> Tensor:
    """Similarity of contrast and structure at each scale, averaged over the pixels of each channel.

    At the last scale it is multiplied by the similarity of luminance before it is averaged.

    What the papers leave open:

    - the window, 11 px with a deviation of 1.5 px, stays inside the image; where a scale is smaller than
      that, the window is as large as the shorter side and its deviation as much smaller;
    - from scale to scale, means of 2x2 pixels; an odd last row or column is left out.

    Args:
        a_u8, b_u8: as in `ms_ssim`.

    Returns:
        float32 [N, scales, C] in [-1, 1].

    Raises:
        UserError: as `ms_ssim` does.
    """
    check_pair(a_u8, b_u8)
    if min(a_u8.shape[2:]) < MIN_SIDE:
        raise UserError(f"images are {list(a_u8.shape[2:])} px; valid: {MIN_SIDE} px or more for MS-SSIM")
    a, b = a_u8.float() - MIDDLE, b_u8.float() - MIDDLE
    terms: list[Tensor] = []
    for scale in range(len(WEIGHTS)):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        luminance, contrast = similarity(a, b)
        term = luminance * contrast if scale == len(WEIGHTS) - 1 else contrast
        terms.append(term.mean(dim=(2, 3)))
    return torch.stack(terms, 1)


def check_pair(a_u8: Tensor, b_u8: Tensor) -> None:
    """Raise UserError unless both are uint8 [N, C, H, W] of one shape."""
    for name, images in (("a_u8", a_u8), ("b_u8", b_u8)):
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise UserError(f"{name}: {images.dtype} {list(images.shape)}; valid: torch.uint8 [N, C, H, W]")
    if a_u8.shape != b_u8.shape:
        raise UserError(f"a_u8 is {list(a_u8.shape)}, b_u8 {list(b_u8.shape)}; valid: the same")


def similarity(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity of luminance, and of contrast and structure, at each place of the window: [N, C, h, w].

    Wang et al. 2003, eqs. 2 to 4, with C3 = C2 / 2. Images are float 0 to 255, less `MIDDLE`.
    """
    size = min(WINDOW_PX, *a.shape[2:])
    window = _gaussian(size, WINDOW_SIGMA * size / WINDOW_PX).to(a)
    mean_a, mean_b, square_a, square_b, product = (
        _blur(images, window) for images in (a, b, a * a, b * b, a * b)
    )
    variances = (square_a - mean_a * mean_a) + (square_b - mean_b * mean_b)
    covariance = product - mean_a * mean_b
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    contrast = (2 * covariance + c2) / (variances + c2)
    mean_a, mean_b = mean_a + MIDDLE, mean_b + MIDDLE
    return (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1), contrast


def _gaussian(size: int, sigma: float) -> Tensor:
    """float32 [size], symmetric, sum 1."""
    places = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return (-0.5 * (places / sigma) ** 2).softmax(dim=0).float()


def _blur(images: Tensor, window: Tensor) -> Tensor:
    """Windowed means [N, C, H, W] to [N, C, H - size + 1, W - size + 1]: along columns, then along rows."""
    flat = images.flatten(0, 1)[:, None]
    blurred = F.conv2d(F.conv2d(flat, window[None, None, :, None]), window[None, None, None])
    return blurred[:, 0].unflatten(0, images.shape[:2])

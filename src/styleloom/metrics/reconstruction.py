"""How near an image is to the one that it is to be: PSNR, and SSIM at one scale."""

from __future__ import annotations

import torch
from torch import Tensor

from styleloom.metrics.ms_ssim import MIDDLE, RANGE, check_pair, similarity


def psnr(a_u8: Tensor, b_u8: Tensor) -> Tensor:
    """Peak signal-to-noise ratio, dB: 10 log10(255^2 / mean squared difference over pixels and channels).

    Args:
        a_u8, b_u8: uint8 [N, C, H, W].

    Returns:
        float64 [N]; infinite for equal images.

    Raises UserError for another type, and for different shapes.
    """
    check_pair(a_u8, b_u8)
    error = (a_u8.double() - b_u8.double()).square().mean((1, 2, 3))
    return 10 * torch.log10(RANGE**2 / error)


@torch.no_grad()
def ssim(a_u8: Tensor, b_u8: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004, "Image Quality Assessment"), in a Gaussian window of 11 px.

    Of luminance, contrast and structure at each place of the window, which stays inside the image; the mean
    over places and channels.

    Args:
        a_u8, b_u8: uint8 [N, C, H, W].

    Returns:
        float32 [N], 1 for equal images.

    Raises UserError for another type, and for different shapes.
    """
    check_pair(a_u8, b_u8)
    luminance, contrast = similarity(a_u8.float() - MIDDLE, b_u8.float() - MIDDLE)
    return (luminance * contrast).mean((1, 2, 3))

"""Laplacian pyramids, held against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from every import every
from styleloom.errors import UserError
from styleloom.metrics import pyramid

from .scenes import scenes

KERNEL = np.array([1, 4, 6, 4, 1]) / 16


def test_reduce_is_a_mirrored_five_tap_filter_and_every_other_pixel() -> None:
    image = scenes(1, 16, 1, seed=3).double()
    filtered = image[0, 0].numpy()
    for axis in (0, 1):
        filtered = ndimage.convolve1d(filtered, KERNEL, axis=axis, mode="mirror")
    np.testing.assert_allclose(pyramid.reduce(image)[0, 0].numpy(), filtered[::2, ::2], rtol=1e-12)


def test_expand_is_a_mirrored_five_tap_filter_on_stuffed_zeros() -> None:
    image = scenes(1, 16, 1, seed=3).double()
    stuffed = np.zeros((32, 32))
    stuffed[::2, ::2] = image[0, 0].numpy()
    for axis in (0, 1):
        stuffed = ndimage.convolve1d(stuffed, 2 * KERNEL, axis=axis, mode="mirror")
    np.testing.assert_allclose(pyramid.expand(image)[0, 0].numpy(), stuffed, rtol=1e-12)


@pytest.mark.parametrize(("channels", "side", "lowest"), [(1, 16, 16), (3, 64, 16), (4, 32, 2), (3, 8, 16)])
def test_collapse_inverts_the_pyramid(channels: int, side: int, lowest: int) -> None:
    image_u8 = scenes(5, side, channels).to(torch.uint8)
    bands = pyramid.laplacian_pyramid(image_u8.float(), lowest)
    assert list(bands) == [s for s in (64, 32, 16, 8, 4, 2) if min(lowest, side) <= s <= side]
    assert all(band.shape == (5, channels, s, s) for s, band in bands.items())
    assert torch.equal(pyramid.collapse(bands).round().to(torch.uint8), image_u8)
    exact = pyramid.laplacian_pyramid(image_u8.double(), lowest)
    torch.testing.assert_close(pyramid.collapse(exact), image_u8.double(), rtol=0, atol=1e-12)


def test_band_pass_levels_of_a_flat_image_are_zero() -> None:
    bands = pyramid.laplacian_pyramid(torch.full((2, 3, 64, 64), 77.0), 16)
    assert bands[64].abs().max() == bands[32].abs().max() == 0
    assert torch.equal(bands[16], torch.full((2, 3, 16, 16), 77.0))


@every(
    ("images", "lowest", "message"),
    [
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), 16, "uint8.*valid: floating"),
        (torch.zeros(2, 3, 32, 16), 16, "valid: floating"),
        (torch.zeros(2, 3, 24, 24), 16, "resolution is 24 px; valid: a power of two"),
        (torch.zeros(2, 3, 32, 32), 12, "lowest is 12 px"),
        (torch.zeros(2, 3, 32, 32), 1, "lowest is 1 px"),
    ],
)
def test_pyramid_refuses(images: Tensor, lowest: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pyramid.laplacian_pyramid(images, lowest)

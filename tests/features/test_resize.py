"""Resize rules, held against SciPy, Pillow and hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from torch import Tensor

from every import every
from styleloom.errors import UserError
from styleloom.features import resize


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 255


@pytest.mark.parametrize(("height", "width", "side"), [(5, 9, 7), (7, 7, 7), (16, 3, 5), (2, 1, 6)])
def test_tf1_bilinear_reads_scaled_coordinates(height: int, width: int, side: int) -> None:
    images = noise(2, 3, height, width)
    y, x = np.meshgrid(
        np.arange(side) * height / side, np.arange(side) * width / side, indexing="ij", sparse=False
    )
    for image, resized in zip(
        images.flatten(0, 1), resize.tf1_bilinear(images, side).flatten(0, 1), strict=True
    ):
        expected = ndimage.map_coordinates(image.numpy(), [y, x], order=1, mode="nearest")
        np.testing.assert_allclose(resized.numpy(), expected, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_tf1_bilinear_equals_its_reference(height: int, width: int, side: int) -> None:
    images = noise(2, 3, height, width, seed=height * 13 + width)
    torch.testing.assert_close(
        resize.tf1_bilinear(images, side), resize.tf1_bilinear_reference(images, side), rtol=0, atol=1e-3
    )


def test_tf1_bilinear_differentiates_as_its_reference() -> None:
    images = noise(1, 3, 5, 4).requires_grad_()
    weight = noise(1, 3, 6, 6, seed=1)
    fast, slow = (
        torch.autograd.grad((rule(images, 6) * weight).sum(), images)[0]
        for rule in (resize.tf1_bilinear, resize.tf1_bilinear_reference)
    )
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-3)


def test_tf1_bilinear_by_hand() -> None:
    """Doubling keeps the pixels at even places and repeats the edge; halving drops every other pixel."""
    row = torch.tensor([[[[10.0, 20.0, 40.0]]]]).expand(1, 3, 3, 3)
    assert resize.tf1_bilinear(row, 6)[0, 0, 0].tolist() == [10, 15, 20, 30, 40, 40]
    images = noise(1, 3, 8, 8)
    assert torch.equal(resize.tf1_bilinear(images, 4), images[:, :, ::2, ::2])


def test_tf1_bilinear_takes_bytes_of_any_shape_and_layout() -> None:
    images = noise(2, 3, 21, 33).to(torch.uint8)
    resized = resize.tf1_bilinear(images, 16)
    assert resized.dtype == torch.float32
    assert torch.equal(resized, resize.tf1_bilinear(images.float(), 16))
    assert torch.equal(resized, resize.tf1_bilinear(images.contiguous(memory_format=torch.channels_last), 16))


@pytest.mark.parametrize(("height", "width", "side"), [(64, 48, 16), (20, 20, 33), (9, 30, 9)])
def test_antialiased_bilinear_is_pillows(height: int, width: int, side: int) -> None:
    images = noise(1, 3, height, width).to(torch.uint8)
    resized = resize.antialiased_bilinear(images, side)
    assert resized.dtype == torch.float32
    for channel, result in zip(images[0], resized[0], strict=True):
        image = Image.fromarray(channel.numpy().astype(np.float32))
        expected = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-3)


def test_the_rules_differ() -> None:
    """Only one of them filters: a checkerboard of single pixels becomes grey, or its even pixels."""
    board = (255 * (torch.arange(8)[:, None] + torch.arange(8)).remainder(2)).to(torch.uint8)
    images = board.expand(1, 3, 8, 8)
    assert resize.tf1_bilinear(images, 4).eq(0).all()
    assert (resize.antialiased_bilinear(images, 4) - 127.5).abs().max() < 20


def test_grey_becomes_three_equal_channels() -> None:
    grey = noise(2, 1, 4, 5).to(torch.uint8)
    colour = resize.as_rgb(grey)
    assert colour.shape == (2, 3, 4, 5)
    assert colour.dtype == torch.uint8
    assert all(torch.equal(colour[:, i], grey[:, 0]) for i in range(3))
    assert resize.as_rgb(colour) is colour


@every("shape", [(1, 4, 8, 8), (1, 2, 8, 8), (3, 8, 8)])
def test_other_channels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"feature networks take \[N, C, H, W\] with C = 1 \(grey\) or 3"):
        resize.as_rgb(torch.zeros(shape, dtype=torch.uint8))


def test_unknown_layers_are_refused() -> None:
    resize.check_layers("net", ["pool"], {"pool": 1, "logits": 2})
    with pytest.raises(UserError, match="net: no layer 'pol', did you mean 'pool'"):
        resize.check_layers("net", ["logits", "pol"], {"pool": 1, "logits": 2})

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from every import every
from styleloom.ops.resample_conv import (
    downsample_conv2d,
    downsample_conv2d_reference,
    upsample_conv2d,
    upsample_conv2d_reference,
)
from styleloom.ops.upfirdn import Taps

from .derivatives import assert_equal_derivatives, derivatives, randn

TAPS: list[Taps] = [(1,), (1, 1), (1, 2, 1), (1, 3, 3, 1), (1, 2, 3, 4, 5, 6), ((1, 2), (3, 4))]


@every(("taps", "k", "factor"), product(TAPS, (1, 3), (2, 3)))
def test_upsample_conv2d(taps: Taps, k: int, factor: int) -> None:
    inputs = [randn(2, 3, 4, 3), randn(2, 3, k, k, seed=1)]
    assert_equal_derivatives(
        lambda x, w: upsample_conv2d(x, w, taps, factor, 0.7),
        lambda x, w: upsample_conv2d_reference(x, w, taps, factor, 0.7),
        inputs,
    )
    assert upsample_conv2d(inputs[0], inputs[1], taps, factor).shape == (2, 2, 4 * factor, 3 * factor)


@every(("taps", "k", "factor", "bias"), product(TAPS, (1, 3), (2, 3), (False, True)))
def test_downsample_conv2d(taps: Taps, k: int, factor: int, bias: bool) -> None:
    inputs = [randn(2, 3, 6, 7), randn(2, 3, k, k, seed=1), *([randn(2, seed=2)] if bias else [])]

    def run(function: object) -> object:
        def call(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
            return function(x, w, taps, factor, 0.7, b)  # type: ignore[operator]

        return call

    fast, reference = run(downsample_conv2d), run(downsample_conv2d_reference)
    assert_equal_derivatives(fast, reference, inputs)  # type: ignore[arg-type]
    assert downsample_conv2d(inputs[0], inputs[1], taps, factor).shape == (2, 2, 6 // factor, 7 // factor)


@pytest.mark.parametrize("k", [1, 3])
def test_third_derivatives(k: int) -> None:
    inputs, taps = [randn(1, 2, 4, 4), randn(2, 2, k, k, seed=1)], (1, 3, 3, 1)
    for fast, reference in (
        (upsample_conv2d, upsample_conv2d_reference),
        (downsample_conv2d, downsample_conv2d_reference),
    ):
        ours = derivatives(lambda x, w, f=fast: f(x, w, taps), inputs, 3)
        theirs = derivatives(lambda x, w, f=reference: f(x, w, taps), inputs, 3)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_up_convolution_in_words() -> None:
    """Zero insertion, padding once, filter with gain 4, plain convolution (StyleGAN2 section 4.1)."""
    x, w = randn(1, 2, 3, 3), randn(2, 2, 3, 3, seed=1)
    taps = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64)
    spread = x.new_zeros(1, 2, 6, 6)
    spread[:, :, ::2, ::2] = x
    full = F.pad(spread, (3, 2, 3, 2))  # 4 taps and 3 taps shorten by 5
    kernel = (taps.outer(taps) / 64 * 4).expand(2, 1, 4, 4)
    expected = F.conv2d(F.conv2d(full, kernel, groups=2), w)
    torch.testing.assert_close(upsample_conv2d(x, w, (1, 3, 3, 1)), expected)


def test_down_convolution_in_words() -> None:
    """Padding once, filter, convolution with stride 2."""
    x, w = randn(1, 2, 6, 6), randn(2, 2, 3, 3, seed=1)
    taps = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64)
    kernel = (taps.outer(taps) / 64).expand(2, 1, 4, 4)
    expected = F.conv2d(F.conv2d(F.pad(x, (2, 2, 2, 2)), kernel, groups=2), w, stride=2)
    torch.testing.assert_close(downsample_conv2d(x, w, (1, 3, 3, 1)), expected)


@pytest.mark.parametrize("k", [1, 3])
def test_a_constant_image_becomes_a_constant_interior(k: int) -> None:
    """no checkerboard, gain 1, padding at the borders alone."""
    w = randn(2, 3, k, k, seed=1)
    levels = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    x = levels[None, :, None, None].expand(1, 3, 12, 12)
    expected = w.sum((2, 3)) @ levels
    for y in (upsample_conv2d(x, w, (1, 3, 3, 1)), downsample_conv2d(x, w, (1, 3, 3, 1))):
        margin = 4 if y.shape[2] == 24 else 2
        inner = y[0, :, margin:-margin, margin:-margin]
        torch.testing.assert_close(inner, expected[:, None, None].expand_as(inner))


def test_features_are_not_shifted() -> None:
    """A symmetric image stays symmetric: the kernel is not off by half a pixel."""
    x = randn(1, 1, 8, 8)
    x = x + x.flip(2)
    x = x + x.flip(3)
    w = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    for y in (upsample_conv2d(x, w, (1, 3, 3, 1)), downsample_conv2d(x, w, (1, 3, 3, 1))):
        torch.testing.assert_close(y, y.flip(2))
        torch.testing.assert_close(y, y.flip(3))

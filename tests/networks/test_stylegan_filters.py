"""StyleGAN's low-pass filters, their order, and resampling convolutions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleloom.config.networks import StyleGANGenerator
from styleloom.layers.equalized import EqualizedConv
from styleloom.networks.progan import BOX
from styleloom.networks.stylegan import BlurredDown, SynthesisLayer, blur
from styleloom.ops.conv_layer import ConvSettings

from .tiny import FEATURES
from .tiny_stylegan import CONFIGURATIONS, conv, discriminator, filtered, generator, pooled, repeated


@pytest.mark.parametrize("taps", [(1, 2, 1), (1, 3, 3, 1), (1, 2, 3), (2, 1)])
def test_blur(taps: tuple[float, ...]) -> None:
    """Cross-correlation with taps of sum 1; zeros beyond the border."""
    x = torch.randn(2, 3, 7, 5)
    torch.testing.assert_close(blur(x, taps), filtered(x, taps))
    assert blur(x, (1,)) is x
    impulse = torch.zeros(1, 1, 5, 5)
    impulse[0, 0, 2, 2] = 1
    expected = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    torch.testing.assert_close(blur(impulse, (1, 2, 1))[0, 0, 1:4, 1:4], expected)
    darkened = blur(torch.ones(1, 1, 4, 4), (1, 2, 1))[0, 0]
    torch.testing.assert_close(darkened[0], torch.tensor([9.0, 12, 12, 9]) / 16)
    torch.testing.assert_close(darkened[1:3, 1:3], torch.ones(2, 2))


@pytest.mark.parametrize("size", [(4, 4), (6, 10)])
@pytest.mark.parametrize("resample", ["up", "down"])
def test_fused_resampling(resample: Any, size: tuple[int, int]) -> None:
    """One convolution for: repeat pixels, then 3x3; or 3x3, then means of 2 x 2. Up to second derivatives."""
    settings = ConvSettings(resample=resample, taps=BOX)
    layer = EqualizedConv(3, 2, 3, settings, weight_gain=math.sqrt(2), bias=False).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)

    def literal(x: Tensor) -> Tensor:
        if resample == "up":
            return conv(F.interpolate(x, scale_factor=2, mode="nearest"), layer, bias=False)
        return F.avg_pool2d(conv(x, layer, bias=False), 2)

    results = []
    for function in (layer, literal):
        y = function(x)
        first = torch.autograd.grad((y**3).sum(), [x, layer.weight], create_graph=True)
        squares = torch.stack([(g**2).sum() for g in first]).sum()
        second = torch.autograd.grad(squares, [x, layer.weight])
        results.append([y, *first, *second])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)  # filters are float32


# ---- order of filters


def inner(x: Tensor, margin: int) -> Tensor:
    """Without the border."""
    return x[:, :, margin:-margin, margin:-margin]


TAPS = pytest.mark.parametrize("taps", [(1, 2, 1), (1, 3, 3, 1), (1, 2, 3), (1,)])


def compare_orders(results: dict[str, Tensor], margin: int, taps: tuple[float, ...]) -> None:
    """Equal inside; at the border different, unless there is no filter."""
    code, paper = results["code"], results["paper"]
    torch.testing.assert_close(inner(code, margin), inner(paper, margin), rtol=1e-4, atol=1e-5)
    assert ((code - paper).abs().max() > 1e-3) == (len(taps) > 1)


@TAPS
def test_order_after_upsampling(taps: tuple[float, ...]) -> None:
    """The authors' code filters after the convolution, the paper before it."""
    x, w, results = torch.randn(2, 12, 8, 8), torch.randn(2, 8), {}
    for order in ("code", "paper"):
        torch.manual_seed(2)
        fields = CONFIGURATIONS["b"] | {"normalization": (), "blur": taps, "blur_order": order}
        cfg = StyleGANGenerator(resolution=16, z_dim=8, w_dim=8, features=FEATURES, **fields)
        layer = SynthesisLayer(cfg, 16, up=True)
        nn.init.normal_(layer.bias)
        y = repeated(x)
        if order == "paper":
            y = conv(filtered(y, taps), layer.conv, bias=False)
        else:
            y = filtered(conv(y, layer.conv, bias=False), taps)
        y = F.leaky_relu(y + layer.bias[:, None, None], 0.2)
        results[order] = layer(x, w, "none")
        torch.testing.assert_close(results[order], y, rtol=1e-4, atol=1e-5)
    compare_orders(results, 3, taps)


@TAPS
def test_order_before_downsampling(taps: tuple[float, ...]) -> None:
    """The authors' code filters before the convolution, the paper between it and the pooling."""
    x, results = torch.randn(2, 12, 16, 16), {}
    for order in ("code", "paper"):
        torch.manual_seed(2)
        block: Any = BlurredDown(12, 5, "lrelu", taps, order)
        nn.init.normal_(block.conv.bias)
        if order == "paper":
            y = filtered(conv(x, block.conv, bias=False), taps)
        else:
            y = conv(filtered(x, taps), block.conv, bias=False)
        y = F.leaky_relu(pooled(y) + block.conv.bias[:, None, None], 0.2)
        results[order] = block(x)
        torch.testing.assert_close(results[order], y, rtol=1e-4, atol=1e-5)
    compare_orders(results, 2, taps)


@pytest.mark.parametrize("build", [generator, discriminator])
def test_both_networks_take_the_order(build: Any) -> None:
    inputs = (torch.randn(2, 6) if build is generator else torch.randn(2, 3, 16, 16),)
    noise = {"noise": "fixed"} if build is generator else {}
    results = []
    for fields in ({}, {"blur_order": "paper"}, {"blur": (1,)}, {"blur": (1,), "blur_order": "paper"}):
        torch.manual_seed(3)
        results.append(build(**fields)(*inputs, **noise))
    assert not torch.allclose(results[0], results[1], rtol=1e-2, atol=1e-3)
    assert not torch.allclose(results[0], results[2], rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(results[2], results[3], rtol=1e-3, atol=1e-4)

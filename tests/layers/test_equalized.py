from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from every import every
from styleloom.config.networks import Activation
from styleloom.layers.equalized import EqualizedConv, EqualizedDense
from styleloom.ops.bias_act import RULES, ActivationSettings, bias_act
from styleloom.ops.conv_layer import ConvSettings


def fill(layer: EqualizedDense | EqualizedConv) -> None:
    """Biases that are not zero."""
    if layer.bias is not None:
        nn.init.normal_(layer.bias)


@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
@pytest.mark.parametrize("weight_gain", [1.0, math.sqrt(2)])
def test_dense_is_stored_large_and_counts_little(lr_multiplier: float, weight_gain: float) -> None:
    """Stored standard deviation 1 / lr_multiplier; run-time coefficient gain / sqrt(in) * lr_multiplier."""
    layer = EqualizedDense(400, 200, weight_gain=weight_gain, lr_multiplier=lr_multiplier)
    assert layer.bias is not None
    assert layer.weight.std().item() == pytest.approx(1 / lr_multiplier, rel=0.02)
    assert layer.bias.abs().max() == 0
    assert layer.scale == pytest.approx(weight_gain * lr_multiplier / 20)
    fill(layer)
    x = torch.randn(3, 400)
    expected = x @ (layer.weight.t() * weight_gain * lr_multiplier / 20) + layer.bias * lr_multiplier
    torch.testing.assert_close(layer(x), expected)


def test_gradient_of_a_multiplied_layer_is_smaller() -> None:
    """The stored weights are 100 times larger, their gradient 100 times smaller: Adam moves them slowly."""
    x = torch.randn(3, 8)
    one, slow = EqualizedDense(8, 4), EqualizedDense(8, 4, lr_multiplier=0.01)
    assert one.bias is not None
    assert slow.bias is not None
    with torch.no_grad():
        slow.weight.copy_(one.weight * 100)
    torch.testing.assert_close(slow(x), one(x))
    for layer in (one, slow):
        layer(x).square().sum().backward()
    for ours, theirs in ((slow.weight, one.weight), (slow.bias, one.bias)):
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad, theirs.grad * 0.01)


@every("act", get_args(Activation))
@every("act_gain", [None, 0.7])
def test_dense_activations(act: Activation, act_gain: float | None) -> None:
    layer = EqualizedDense(6, 5, ActivationSettings(act, act_gain), weight_gain=1.3, lr_multiplier=0.1)
    fill(layer)
    assert layer.bias is not None
    x = torch.randn(4, 6)
    linear = F.linear(x, layer.weight * layer.scale, layer.bias * 0.1)
    gain = RULES[act].gain if act_gain is None else act_gain
    torch.testing.assert_close(layer(x), RULES[act].function(linear, RULES[act].alpha) * gain)


def test_dense_without_bias() -> None:
    layer = EqualizedDense(6, 5, ActivationSettings("lrelu"), bias=False)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    x = torch.randn(4, 6)
    torch.testing.assert_close(layer(x), bias_act(x @ layer.weight.t() * layer.scale, None, "lrelu"))


@pytest.mark.parametrize("k", [1, 3])
def test_conv(k: int) -> None:
    """N(0, 1) weights, coefficient gain / sqrt(k k in), bias 0; a factor on the result follows everything."""
    settings = ConvSettings("lrelu", clamp=0.8)
    layer = EqualizedConv(64, 32, k, settings, weight_gain=1.5)
    assert layer.bias is not None
    assert layer.weight.std().item() == pytest.approx(1, rel=0.05)
    assert layer.bias.abs().max() == 0
    fill(layer)
    x = torch.randn(2, 64, 5, 5)
    coefficient = 1.5 / math.sqrt(64 * k * k)
    y = F.conv2d(x, layer.weight * coefficient, layer.bias, padding=k // 2)
    y = (F.leaky_relu(y, 0.2) * math.sqrt(2)).clamp(-0.8, 0.8)
    torch.testing.assert_close(layer(x), y, rtol=1e-4, atol=1e-5)
    layer.settings = settings.times(0.5)
    torch.testing.assert_close(layer(x), 0.5 * y, rtol=1e-4, atol=1e-5)


def test_conv_resamples() -> None:
    x = torch.randn(2, 3, 8, 8)
    for resample, side in (("none", 8), ("up", 16), ("down", 4)):
        settings = ConvSettings(resample=resample, taps=(1, 3, 3, 1))  # type: ignore[arg-type]
        layer = EqualizedConv(3, 5, 3, settings)
        assert layer(x).shape == (2, 5, side, side)


def test_variance_is_kept() -> None:
    """The purpose of the equalized learning rate with StyleGAN2's gains: unit variance in and out."""
    x = torch.randn(4096, 256)
    for layer in (EqualizedDense(256, 256), EqualizedDense(256, 256, lr_multiplier=0.01)):
        assert layer(x).std().item() == pytest.approx(1, rel=0.03)
    second_moment = EqualizedDense(256, 256, ActivationSettings("lrelu"))(x).square().mean().item()
    assert second_moment == pytest.approx(2 * (1 + 0.2**2) / 2, rel=0.05)

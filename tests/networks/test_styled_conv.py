"""The layers of Fig. 2c and d, and toRGB."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from styleloom.config.networks import Architecture, StyleNormalization
from styleloom.networks.stylegan2 import StyledConv
from styleloom.ops.modulated_conv import ModulatedSettings, modulated_layer_reference

from .tiny import generator, shake, synthesis_of

TAPS = (1.0, 3.0, 3.0, 1.0)


def test_initial_values() -> None:
    """Weights are N(0, 1), biases 0: the 1 of a style is added when it is used, not part of its bias."""
    layer = StyledConv(64, 64, 16, 3, ModulatedSettings("lrelu"), (8, 8))
    assert layer.weight.std().item() == pytest.approx(1, rel=0.03)
    assert layer.affine.weight.std().item() == pytest.approx(1, rel=0.1)
    assert layer.bias.abs().max() == 0
    assert layer.affine.bias is not None
    assert layer.affine.bias.abs().max() == 0
    assert layer.affine.settings.act == "linear"
    assert layer.affine.lr_multiplier == 1
    assert layer.noise is not None
    assert layer.noise.strength.shape == ()  # one for all channels, StyleGAN has one for each


@pytest.mark.parametrize("normalization", get_args(StyleNormalization))
@pytest.mark.parametrize("resample", ["none", "up"])
@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_formula(normalization: StyleNormalization, resample: Any, gain: float) -> None:
    """Style = A w + b + 1; the coefficient of the equalized learning rate is 1 / sqrt(k k in)."""
    size = (8, 6) if resample == "up" else (4, 3)
    settings = ModulatedSettings("lrelu", None, 1.2, resample, TAPS, normalization)
    layer = shake(StyledConv(3, 5, 6, 3, settings.times(gain), size))
    assert layer.affine.bias is not None
    assert layer.noise is not None
    x, w, noise = torch.randn(2, 3, 4, 3), torch.randn(2, 6), torch.randn(2, 1, *size)
    style = w @ layer.affine.weight.t() / math.sqrt(6) + layer.affine.bias + 1
    expected = modulated_layer_reference(
        x,
        layer.weight,
        style,
        layer.bias,
        1 / math.sqrt(27),
        replace(settings, gain=math.sqrt(2) * gain, clamp=1.2 * gain),
        layer.noise.strength * noise,
    )
    torch.testing.assert_close(layer(x, w, noise), expected, rtol=1e-4, atol=1e-5)
    assert expected.abs().max().item() == pytest.approx(1.2 * gain)


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_roles(architecture: Architecture) -> None:
    """toRGB: 1x1, linear, modulated, not demodulated, no noise. Other layers: as configured."""
    choice = get_args(StyleNormalization)[get_args(Architecture).index(architecture) % 3]
    g = generator(32, architecture=architecture, normalization=choice)
    for block in synthesis_of(g).blocks:
        for name, layer in block.named_children():
            if not isinstance(layer, StyledConv):
                assert name == "skip"
                continue
            rgb = name == "to_rgb"
            assert layer.settings.normalization == ("none" if rgb else choice)
            assert (layer.noise is None) == rgb
            assert layer.settings.act == ("linear" if rgb else "lrelu")
            assert layer.weight.shape[2] == (1 if rgb else 3)
            assert layer.settings.resample == ("up" if name == "conv_up" else "none")

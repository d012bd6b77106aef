from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from every import every
from styleloom.config.networks import Activation, StyleNormalization
from styleloom.ops.conv_layer import Resample
from styleloom.ops.modulated_conv import (
    EPSILON,
    ModulatedSettings,
    modulated_layer,
    modulated_layer_reference,
)

from .derivatives import assert_equal_derivatives, randn

RESAMPLE: tuple[Resample, ...] = get_args(Resample)
OUT = {"none": 4, "up": 8, "down": 2}


def inputs(resample: Resample = "none", k: int = 3, noise: int | None = None) -> list[Tensor]:
    """x, w, style, bias and perhaps noise maps for `noise` samples."""
    tensors = [randn(2, 3, 4, 4), randn(2, 3, k, k, seed=1), 1 + randn(2, 3, seed=2), randn(2, seed=3)]
    if noise is not None:
        tensors.append(randn(noise, 1, OUT[resample], OUT[resample], seed=4))
    return tensors


def layer(function: Any, scale: float = 0.4, **options: Any) -> Any:
    """`function` of x, w, style, bias, noise."""
    settings = ModulatedSettings(**{"act": "lrelu", "gain": 1.3, "taps": (1, 3, 3, 1)} | options)

    def call(x: Tensor, w: Tensor, style: Tensor, bias: Tensor, noise: Tensor | None = None) -> Tensor:
        return function(x, w, style, bias, scale, settings, noise)

    return call


def compare(tensors: list[Tensor], order: int = 2, **options: Any) -> None:
    assert_equal_derivatives(
        layer(modulated_layer, **options), layer(modulated_layer_reference, **options), tensors, order
    )


@every(
    ("resample", "normalization", "noise", "k"),
    product(RESAMPLE, get_args(StyleNormalization), (None, 1, 2), (1, 3)),
)
def test_equals_reference(
    resample: Resample, normalization: StyleNormalization, noise: int | None, k: int
) -> None:
    compare(inputs(resample, k, noise), resample=resample, normalization=normalization)


@every(("act", "clamp"), product(get_args(Activation), (None, 0.7)))
def test_activations(act: Activation, clamp: float | None) -> None:
    compare(inputs(noise=2), act=act, clamp=clamp)


def test_third_derivatives() -> None:
    compare([t[:1] if t.ndim == 4 else t for t in inputs()[:1]] + _small(), order=3)


def _small() -> list[Tensor]:
    return [randn(2, 3, 3, 3, seed=1), 1 + randn(1, 3, seed=2), randn(2, seed=3)]


def test_equations_1_and_3() -> None:
    """Weights of each sample, scaled and normalised, in a grouped convolution (StyleGAN2 section 2.2)."""
    x, w, style, bias = inputs()
    scaled = 0.4 * w[None] * style[:, None, :, None, None]
    scaled = scaled / (scaled.square().sum((2, 3, 4), keepdim=True) + EPSILON).sqrt()
    y = F.conv2d(x.reshape(1, 6, 4, 4), scaled.reshape(4, 3, 3, 3), padding=1, groups=2).reshape(2, 2, 4, 4)
    expected = 1.3 * F.leaky_relu(y + bias[:, None, None], 0.2)
    torch.testing.assert_close(layer(modulated_layer)(x, w, style, bias), expected)


def test_epsilon_counts_where_styles_vanish() -> None:
    """The coefficient of the equalized learning rate enters before demodulation, and 1e-8 after it."""
    x, w, style, bias = inputs()
    compare([x, w, style * 1e-4, bias])
    assert EPSILON == 1e-8
    zero = layer(modulated_layer)(x, w, torch.zeros_like(style), bias)
    torch.testing.assert_close(zero, (1.3 * F.leaky_relu(bias, 0.2))[None, :, None, None].expand_as(zero))


def test_demodulation_removes_the_scale_of_the_styles() -> None:
    x, w, style, bias = inputs()
    one, ten = (layer(modulated_layer)(x, w, s, bias) for s in (style, style * 10))
    torch.testing.assert_close(one, ten, rtol=1e-6, atol=1e-6)
    one, ten = (layer(modulated_layer, normalization="none")(x, w, s, bias) for s in (style, style * 10))
    assert not torch.allclose(one, ten, rtol=0.5)


@pytest.mark.parametrize("normalization", get_args(StyleNormalization))
def test_unit_variance(normalization: StyleNormalization) -> None:
    """unit-variance input and N(0, 1) weights give unit standard deviation, for any s."""
    x, w, style = randn(4, 32, 24, 24), randn(16, 32, 3, 3, seed=1), 3 * randn(4, 32, seed=2)
    run = partial(layer, modulated_layer, act="linear", gain=1.0, scale=(32 * 9) ** -0.5)
    y = run(normalization=normalization)(x, w, style, torch.zeros(16, dtype=torch.float64))
    std = y[:, :, 1:-1, 1:-1].std((2, 3))  # [N, O]
    if normalization == "none":
        assert std.min() > 1.5
    else:
        assert (std - 1).abs().max() < 0.1


def test_explicit_normalization_sets_the_deviation_and_leaves_the_mean() -> None:
    """Fig. 2c: each map is divided by its own deviation, whatever went in; noise and bias come after it."""
    x, w, style, bias, noise = inputs(noise=2)
    x = 5 * x + 2  # nothing that demodulation would expect
    plain = F.conv2d(x * style[:, :, None, None], 0.4 * w, padding=1)
    deviation = torch.from_numpy(plain.numpy().std((2, 3), keepdims=True))
    expected = plain / deviation + noise + bias[:, None, None]
    run = layer(modulated_layer, normalization="explicit", act="linear", gain=1.0)
    torch.testing.assert_close(run(x, w, style, bias, noise), expected, rtol=1e-6, atol=1e-6)
    normalised = run(x, w, style, torch.zeros_like(bias))
    torch.testing.assert_close(normalised.std((2, 3), correction=0), torch.ones(2, 2).double())
    assert normalised.mean((2, 3)).abs().min() > 0.01
    demodulated = layer(modulated_layer, act="linear", gain=1.0)(x, w, style, torch.zeros_like(bias))
    assert (demodulated.std((2, 3), correction=0) - 1).abs().max() > 0.5


def test_explicit_normalization_of_a_flat_map_stays_finite() -> None:
    x, w, style, bias = inputs(k=1)
    y = layer(modulated_layer, normalization="explicit")(torch.zeros_like(x), w, style, bias)
    torch.testing.assert_close(y, (1.3 * F.leaky_relu(bias, 0.2))[None, :, None, None].expand_as(y))


def test_noise_and_bias_are_outside_of_the_modulation() -> None:
    """Fig. 2d: they are added to the normalised result, whatever the style."""
    x, w, style, bias, noise = inputs(noise=1)
    run = layer(modulated_layer, act="linear", gain=2.0)
    without = run(x, w, style, torch.zeros_like(bias))
    expected = without + 2 * (bias[:, None, None] + noise)
    torch.testing.assert_close(run(x, w, style, bias, noise), expected)

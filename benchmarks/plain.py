"""The plain variant that step_time and generate compare with.

The same mathematics as styleloom's operations, arranged as public PyTorch code does it:

- NCHW and float32; PyTorch's own derivative rules;
- modulation scales the input of a shared convolution; demodulation coefficients come from weights that are
  formed for each sample;
- filters are separate depth-wise convolutions; ProGAN's resampling repeats pixels before a convolution, and
  averages them after it;
- norm, style, bias, activation and gain are separate steps;
- reals and fakes pass the discriminator one after the other.

`grouped=True` convolves with weights of each sample instead, as such code does for inference.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleloom.layers import equalized
from styleloom.networks import stylegan, stylegan2
from styleloom.networks.assembly import Trunk
from styleloom.networks.progan import BOX
from styleloom.ops import upfirdn as upfirdn_module
from styleloom.ops.bias_act import RULES, ActivationRule
from styleloom.ops.conv_layer import ConvSettings
from styleloom.ops.instance_norm import instance_norm_reference
from styleloom.ops.upfirdn import fir_kernel, tap_count
from styleloom.training import adversaries


def _upfirdn(x, kernel, up, down, pad):
    n, c, h, w = x.shape
    ux, uy = up
    if up != (1, 1):
        x = x.reshape(n, c, h, 1, w, 1)
        x = F.pad(x, [0, ux - 1, 0, 0, 0, uy - 1]).reshape(n, c, h * uy, w * ux)
    x = F.pad(x, list(pad))
    weight = kernel.flip(0, 1).to(x)[None, None].repeat(c, 1, 1, 1)
    x = F.conv2d(x, weight, groups=c)
    return x[:, :, :: down[1], :: down[0]]


def _convolve(x: Tensor, w: Tensor, resample: str, taps: tuple, groups: int = 1) -> Tensor:
    k = w.shape[2]
    if taps == BOX and resample == "up":
        return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), w, padding=k // 2, groups=groups)
    if taps == BOX and resample == "down":
        return F.avg_pool2d(F.conv2d(x, w, padding=k // 2, groups=groups), 2)
    if resample == "up":
        p = tap_count(taps) - 2 - (k - 1)
        o, i = w.shape[0] // groups, w.shape[1]
        wt = w.reshape(groups, o, i, k, k).transpose(1, 2).reshape(groups * i, o, k, k).flip(2, 3)
        y = F.conv_transpose2d(x, wt, stride=2, groups=groups)
        a, b = (p + 1) // 2 + 1, p // 2 + 1
        return _upfirdn(y, fir_kernel(taps, 4.0), (1, 1), (1, 1), (a, b, a, b))
    if resample == "down":
        p = tap_count(taps) - 2 + k - 1
        a, b = (p + 1) // 2, p // 2
        y = _upfirdn(x, fir_kernel(taps, 1.0), (1, 1), (1, 1), (a, b, a, b))
        return F.conv2d(y, w, stride=2, groups=groups)
    return F.conv2d(x, w, padding=k // 2, groups=groups)


def _finish(y: Tensor, bias: Tensor | None, settings: ConvSettings) -> Tensor:
    if bias is not None:
        y = y + bias.reshape(1, -1, 1, 1)
    rule, clamp = RULES[settings.act], settings.clamp
    y = rule.function(y, rule.alpha)
    gain = rule.gain if settings.gain is None else settings.gain
    y = y * gain if gain != 1 else y
    return y if clamp is None else y.clamp(-clamp, clamp)


def _conv_layer(x, w, bias, scale, settings):
    return _finish(_convolve(x, w * scale, settings.resample, settings.taps), bias, settings)


def _standardized(y: Tensor) -> Tensor:
    return y / (y.var((2, 3), keepdim=True, correction=0) + 1e-8).sqrt()


def _modulated_layer(x, w, style, bias, scale, settings, noise=None):
    n = len(x)
    coefficients = None
    if settings.normalization == "demodulation":
        per_sample = (w * scale)[None] * style.reshape(n, 1, -1, 1, 1)
        coefficients = (per_sample.square().sum((2, 3, 4)) + 1e-8).rsqrt()
    y = x * style.reshape(n, -1, 1, 1)
    y = _convolve(y, w * scale, settings.resample, settings.taps)
    if coefficients is not None:
        y = y * coefficients.reshape(n, -1, 1, 1)
    if settings.normalization == "explicit":
        y = _standardized(y)
    if noise is not None:
        y = y + noise
    return _finish(y, bias, settings)


def _modulated_layer_grouped(x, w, style, bias, scale, settings, noise=None):
    n, c, height, width = x.shape
    per_sample = (w * scale)[None] * style.reshape(n, 1, -1, 1, 1)
    if settings.normalization == "demodulation":
        factors = (per_sample.square().sum((2, 3, 4)) + 1e-8).rsqrt()
        per_sample = per_sample * factors.reshape(n, -1, 1, 1, 1)
    y = x.reshape(1, n * c, height, width)
    y = _convolve(y, per_sample.flatten(0, 1), settings.resample, settings.taps, groups=n)
    y = y.reshape(n, -1, *y.shape[2:])
    if settings.normalization == "explicit":
        y = _standardized(y)
    if noise is not None:
        y = y + noise
    return _finish(y, bias, settings)


def _modulate(x: Tensor, style: Tensor) -> Tensor:
    scale, shift = style[:, :, None, None].chunk(2, 1)
    return x * (scale + 1) + shift


@contextlib.contextmanager
def plain_operations(grouped: bool = False) -> Iterator[None]:
    """Within the context every network computes the plain way; networks must be `make_plain`."""
    modulated = _modulated_layer_grouped if grouped else _modulated_layer
    swaps = [
        (equalized, "conv_layer", _conv_layer),
        (stylegan2, "modulated_layer", modulated),
        (stylegan, "conv2d", F.conv2d),
        (stylegan, "NORMALIZATIONS", stylegan.NORMALIZATIONS | {"instance": instance_norm_reference}),
        (stylegan, "modulate", _modulate),
        (ActivationRule, "consume", lambda self, x: self.function(x, self.alpha)),
        (upfirdn_module, "upfirdn2d", _upfirdn),
        (Trunk, "enter", lambda self, x: x.contiguous()),
        (adversaries, "pair_logits", adversaries.pair_logits_reference),
    ]
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in swaps]
    try:
        for owner, name, function in swaps:
            setattr(owner, name, function)
        yield
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


def make_plain(network: nn.Module) -> nn.Module:
    """Float32 trunk and NCHW weights."""
    for module in network.modules():
        if isinstance(module, Trunk):
            module.trunk_dtype = torch.float32
    for parameter in network.parameters():
        parameter.data = parameter.data.contiguous()
    return network

"""Modulated convolution and what normalises it: demodulation (StyleGAN2 section 2.2, equations 1-3), or the
explicit normalization that it replaces (Fig. 2c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from styleloom.config.networks import StyleNormalization
from styleloom.ops.bias_act import add_noise, bias_act
from styleloom.ops.conv_layer import ConvSettings, convolve, convolve_reference, finish
from styleloom.ops.derived import derived
from styleloom.ops.tracing import traced

EPSILON = 1e-8


@dataclass(frozen=True)
class ModulatedSettings(ConvSettings):
    """What a modulated layer does with its tensors: the same in every call.

    Args:
        act, gain, clamp, resample, taps: as in `ConvSettings`.
        normalization: "demodulation" (equation 3), "explicit" (Fig. 2c), or "none", as in toRGB.
    """

    normalization: StyleNormalization = "demodulation"


def modulated_layer(
    x: Tensor,
    w: Tensor,
    style: Tensor,
    bias: Tensor,
    scale: float,
    settings: ModulatedSettings,
    noise: Tensor | None = None,
) -> Tensor:
    """`clamp(gain act(norm(modulated_conv(x)) + noise + bias))`.

    Equation 1 scales the weights by the style, w' = s_i w; equation 3 divides each output feature by the
    norm of its scaled weights. Both are equal to scaling inputs by s and outputs by
    d_j = rsqrt(sum_{i,k} (s_i w_{ijk})^2 + eps) around one convolution with shared weights, and d needs no
    per-sample weights either: d_j^-2 = s^2 @ sum_k w^2. Explicit normalization divides each feature map of
    the result by its standard deviation instead, and leaves its mean (Fig. 2c): d_j then comes from it.

    Args:
        x: [N, I, H, W]; its type is that of the arithmetic.
        w: [O, I, k, k], float32.
        style: [N, I], float32, with the mean of 1 already added.
        bias: [O].
        scale: run-time coefficient of the equalized learning rate.
        settings: normalization, activation, gain, clamp, and the change of resolution.
        noise: [N or 1, 1, H', W'], already scaled by the layer's strength; None for none.
    """
    inner, outer = settings.gains()
    normalization = settings.normalization
    if w.shape[2] == 1 and settings.resample == "none" and normalization != "explicit":
        y = _pointwise(x, w, style, bias, scale, inner, normalization)
    else:
        modulated = x * _per_map(style, x)
        weights = derived(w, x.dtype, lambda w: w.to(x.dtype))
        y = convolve(modulated, weights, None, settings.resample, settings.taps)
        if normalization == "explicit":
            coefficient = _standardizing(y, scale, inner)
        else:
            coefficient = _coefficient(w, style, scale, inner, normalization)
        y = torch.addcmul((bias * inner).to(y.dtype).view(-1, 1, 1), y, _per_map(coefficient, y))
    if noise is not None:
        y = add_noise(y, noise * inner)
    return finish(y, outer, settings)


def _per_map(values: Tensor, x: Tensor) -> Tensor:
    """One value for each feature map of x, [N or 1, C], to [N or 1, C, 1, 1] of x's type."""
    return values.to(x.dtype).reshape(*values.shape, 1, 1)


def _pointwise(
    x: Tensor,
    w: Tensor,
    style: Tensor,
    bias: Tensor,
    scale: float,
    gain: float,
    normalization: StyleNormalization,
) -> Tensor:
    """A 1x1 layer up to its noise. Weights are formed for each sample, so that x is read only once."""
    n, c, height, width = x.shape
    coefficient = _coefficient(w, style, scale, gain, normalization)
    weights = style[:, :, None] * w[:, :, 0, 0].t() * coefficient[:, None, :]  # [N, I, O]
    pixels = x.permute(0, 2, 3, 1).reshape(n, height * width, c)  # a view of channels-last features
    y = torch.baddbmm((bias * gain).to(x.dtype), pixels, weights.to(x.dtype))
    return y.reshape(n, height, width, -1).permute(0, 3, 1, 2)


def _coefficient(
    w: Tensor, style: Tensor, scale: float, gain: float, normalization: StyleNormalization
) -> Tensor:
    """Output scale of the shared convolution, [N, O] or [1, O]: gain, run-time coefficient, demodulation.

    gain scale rsqrt(scale^2 s^2 @ sum_k w^2 + eps), with gain and scale under the root.
    """
    if normalization == "none":
        return style.new_full((1, w.shape[0]), scale * gain)
    recorded = torch.is_grad_enabled() and not traced()
    energy = _Energy.apply(w) if recorded else derived(w, "energy", lambda w: w.square().sum((2, 3)))
    epsilon = style.new_full((), EPSILON / (scale * gain) ** 2)
    return torch.rsqrt(torch.addmm(epsilon, style.square(), energy.t(), alpha=1 / gain**2))


class _Energy(torch.autograd.Function):
    """Sum of squares of each kernel, [O, I, k, k] -> [O, I]; its derivative reads the weights only once."""

    @staticmethod
    def forward(ctx: Any, w: Tensor) -> Tensor:
        ctx.save_for_backward(w)
        return w.square().sum((2, 3))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (w,) = ctx.saved_tensors
        return w * (2 * g).reshape(*g.shape, 1, 1)


def _standardizing(y: Tensor, scale: float, gain: float) -> Tensor:
    """Output scale [N, O] that gives every feature map of `scale` y, y [N, O, H, W], the deviation `gain`.

    gain scale rsqrt(scale^2 var(y) + eps), with gain and scale under the root; statistics are float32.
    """
    variance = y.to(torch.promote_types(y.dtype, torch.float32)).var((2, 3), correction=0)
    return torch.rsqrt(variance / gain**2 + EPSILON / (scale * gain) ** 2)


def modulated_layer_reference(
    x: Tensor,
    w: Tensor,
    style: Tensor,
    bias: Tensor,
    scale: float,
    settings: ModulatedSettings,
    noise: Tensor | None = None,
) -> Tensor:
    """Slow reference of `modulated_layer`: weights of every sample, one convolution each."""
    per_sample = w * scale * style[:, None, :, None, None]  # eq. 1: [N, O, I, k, k]
    if settings.normalization == "demodulation":
        norm = per_sample.square().sum((2, 3, 4), keepdim=True) + EPSILON
        per_sample = per_sample * torch.rsqrt(norm)  # eq. 3
    y = torch.cat(
        [
            convolve_reference(image[None], weights.to(x.dtype), None, settings.resample, settings.taps)
            for image, weights in zip(x, per_sample, strict=True)
        ]
    )
    if settings.normalization == "explicit":
        variance = (y - y.mean((2, 3), keepdim=True)).square().mean((2, 3), keepdim=True)
        y = y / torch.sqrt(variance + EPSILON)  # Fig. 2c: the mean stays
    if noise is not None:
        y = y + noise.to(y.dtype)
    return bias_act(y, bias, settings.act, gain=settings.gain, clamp=settings.clamp)

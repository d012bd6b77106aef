"""Convolution, bias and activation as one layer, whose gain is multiplied into weights and bias."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

from torch import Tensor

from styleloom.ops.bias_act import RULES, ActivationSettings, bias_act
from styleloom.ops.conv2d import conv2d, conv2d_reference
from styleloom.ops.resample_conv import (
    downsample_conv2d,
    downsample_conv2d_reference,
    upsample_conv2d,
    upsample_conv2d_reference,
)
from styleloom.ops.upfirdn import Taps

Resample: TypeAlias = Literal["none", "up", "down"]

S = TypeVar("S", bound="ConvSettings")


@dataclass(frozen=True)
class ConvSettings(ActivationSettings):
    """What a convolution layer does with its tensors: the same in every call.

    Args:
        act, gain: as in `ActivationSettings`.
        clamp: bound of the absolute result, gain included; None for none.
        resample, taps: change of resolution by 2 and its filter.
    """

    clamp: float | None = None
    resample: Resample = "none"
    taps: Taps = (1,)

    def times(self: S, factor: float) -> S:
        """These settings for a layer whose result, once clamped, is multiplied by `factor`."""
        gain = RULES[self.act].gain if self.gain is None else self.gain
        clamp = None if self.clamp is None else self.clamp * factor
        return replace(self, gain=gain * factor, clamp=clamp)


def convolve(x: Tensor, w: Tensor, bias: Tensor | None, resample: Resample, taps: Taps) -> Tensor:
    """Cross-correlation of "same" size, or with a change of resolution by 2, plus bias [O]."""
    if resample == "up":
        y = upsample_conv2d(x, w, taps)
        return y if bias is None else y + bias[:, None, None]
    if resample == "down":
        return downsample_conv2d(x, w, taps, bias=bias)
    return conv2d(x, w, bias, padding=w.shape[2] // 2)


def convolve_reference(x: Tensor, w: Tensor, bias: Tensor | None, resample: Resample, taps: Taps) -> Tensor:
    """Slow reference of `convolve`."""
    if resample == "up":
        y = upsample_conv2d_reference(x, w, taps)
    elif resample == "down":
        y = downsample_conv2d_reference(x, w, taps)
    else:
        y = conv2d_reference(x, w, padding=w.shape[2] // 2)
    return y if bias is None else y + bias[:, None, None]


def conv_layer(x: Tensor, w: Tensor, bias: Tensor | None, scale: float, settings: ConvSettings) -> Tensor:
    """`clamp(gain act(conv(x, scale w) + bias))`.

    Args:
        x: [N, I, H, W]; its type is that of the arithmetic, weights follow it.
        w: [O, I, k, k], float32.
        bias: [O], float32.
        scale: run-time coefficient of the equalized learning rate.
        settings: activation, gain, clamp, and the change of resolution.
    """
    inner, outer = settings.gains()
    b = None if bias is None else (bias * inner).to(x.dtype)
    y = convolve(x, (w * (scale * inner)).to(x.dtype), b, settings.resample, settings.taps)
    return finish(y, outer, settings)


def finish(y: Tensor, gain: float, settings: ConvSettings) -> Tensor:
    """`clamp(gain act(y))`; y may be overwritten."""
    y = RULES[settings.act].consume(y)
    y = y * gain if gain != 1 else y
    clamp = settings.clamp
    return y if clamp is None else y.clamp(-clamp, clamp)


def conv_layer_reference(
    x: Tensor, w: Tensor, bias: Tensor | None, scale: float, settings: ConvSettings
) -> Tensor:
    """Slow reference of `conv_layer`: every step apart, as the formula is written."""
    y = convolve_reference(x, w.to(x.dtype) * scale, None, settings.resample, settings.taps)
    return bias_act(y, bias, settings.act, gain=settings.gain, clamp=settings.clamp)

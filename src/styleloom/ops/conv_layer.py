"""Convolution, bias and activation as one layer; the gain is moved to where it costs nothing."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor

from styleloom.config.networks import Activation
from styleloom.ops.bias_act import RULES, bias_act
from styleloom.ops.conv2d import conv2d, conv2d_reference
from styleloom.ops.resample_conv import (
    downsample_conv2d,
    downsample_conv2d_reference,
    upsample_conv2d,
    upsample_conv2d_reference,
)
from styleloom.ops.upfirdn import Taps

Resample: TypeAlias = Literal["none", "up", "down"]


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


def conv_layer(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    scale: float,
    resample: Resample,
    taps: Taps,
    act: Activation,
    gain: float,
    clamp: float | None,
) -> Tensor:
    """`clamp(gain act(conv(x, scale w) + bias))`.

    Args:
        x: [N, I, H, W]; its type is that of the arithmetic, weights follow it.
        w: [O, I, k, k], float32.
        bias: [O], float32.
        scale: run-time coefficient of the equalized learning rate.
        resample, taps: change of resolution by 2 and its filter.
        act, gain, clamp: as in `bias_act`.
    """
    rule = RULES[act]
    # f(k x) = k f(x): then the gain costs nothing, moved to weights and bias.
    inner, outer = (gain, 1.0) if rule.homogeneous else (1.0, gain)
    b = None if bias is None else (bias * inner).to(x.dtype)
    y = convolve(x, (w * (scale * inner)).to(x.dtype), b, resample, taps)
    y = rule.consume(y)
    y = y * outer if outer != 1 else y
    return y if clamp is None else y.clamp(-clamp, clamp)


def conv_layer_reference(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    scale: float,
    resample: Resample,
    taps: Taps,
    act: Activation,
    gain: float,
    clamp: float | None,
) -> Tensor:
    """Slow reference of `conv_layer`: every step apart, as the formula is written."""
    y = convolve_reference(x, w.to(x.dtype) * scale, None, resample, taps)
    return bias_act(y, bias, act, gain=gain, clamp=clamp)
